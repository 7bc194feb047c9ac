"""Two functions with NumPy and the objects of `import minidl as dl`, each the solution of an exercise.

Nothing of minidl calls them: the layer `Dropout` and `minidl.fit` do the same on every backend.
"""

from __future__ import annotations


def dropout_forward(x, rate, training, rng):
    """Apply inverted dropout: in training y = x ⊙ mask / (1 - rate), at inference y = x."""
    if not training:
        return x
    kept = rng.random(x.shape) >= rate
    return x * kept / (1 - rate)


def train(model, loss, optimizer, x, labels, epochs, batch_size, rng):
    """Train by mini-batch gradient descent: each epoch goes once through all rows, in a new order."""
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            y = model.forward(x[rows], training=True)
            loss.forward(y, labels[rows])
            model.backward(loss.backward())
            optimizer.step(model.parameters())
