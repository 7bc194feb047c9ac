"""How well a 784-512-256-10 network with batch norm and dropout does on all of MNIST.

    python benchmarks/mnist_accuracy.py [--data FOLDER] [--epochs 20] [--seed 0]

Trains on the 60,000 training images with AdamW and a learning rate that falls along half a cosine, and prints the
accuracy on the 10,000 test images after each epoch. The test images choose nothing: the last epoch is the result.
"""

from __future__ import annotations

import argparse
import math
import time

import minidl as dl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the four MNIST files (default: where dl.data.mnist looks)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    train, test = dl.data.mnist(options.data)
    model = dl.Sequential(
        dl.Dense(784, 512, init="he_normal", bias=False),
        dl.BatchNorm(512),
        dl.ReLU(),
        dl.Dropout(0.3),
        dl.Dense(512, 256, init="he_normal", bias=False),
        dl.BatchNorm(256),
        dl.ReLU(),
        dl.Dropout(0.3),
        dl.Dense(256, 10),
        seed=options.seed,
    )
    loss, optimizer, peak = dl.SoftmaxCrossEntropy(), dl.AdamW(1e-3, weight_decay=0.05), 2e-3
    start = time.perf_counter()
    for epoch in range(options.epochs):
        optimizer.learning_rate = peak * (1 + math.cos(math.pi * epoch / options.epochs)) / 2
        (seen,) = dl.fit(model, train, validation=test, loss=loss, optimizer=optimizer, epochs=1, progress=False)
        print(f"epoch {epoch + 1:>2}   training {seen.accuracy:.2%}   test {seen.validation_accuracy:.2%}", flush=True)
    seconds = time.perf_counter() - start
    print(f"test accuracy {seen.validation_accuracy:.2%} after {options.epochs} epochs, {seconds:.0f} s")


if __name__ == "__main__":
    main()
