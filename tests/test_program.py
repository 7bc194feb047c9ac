"""The program of the README, as it stands, in a fresh process; only the number of epochs is smaller."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib.image

PROGRAM = """
import minidl as dl

train, test = dl.data.digits()                        # real handwritten digits that ship with the package
model = dl.Sequential(
    dl.Dense(784, 256, init="he_normal"),
    dl.BatchNorm(256),
    dl.ReLU(),
    dl.Dropout(0.2),
    dl.Dense(256, 10),
    backend="auto", seed=0, dtype="float32",
)
history = dl.fit(model, train, validation=test, loss=dl.SoftmaxCrossEntropy(),
                 optimizer=dl.Adam(1e-3), epochs=3, batch_size=128)
print(model.summary())
print(dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy()))   # loss and accuracy, named
probabilities = dl.softmax(model.predict(test.x))                # NumPy in, NumPy out
history.plot("curves.png")                                       # loss and accuracy, training and validation
model.save("digits.npz"); again = dl.load("digits.npz")          # same predictions, bit for bit
"""

# What the comments of the program promise.
CHECKS = """
import numpy as np
np.testing.assert_array_equal(again.predict(test.x), model.predict(test.x))
assert type(probabilities) is np.ndarray and probabilities.shape == (2000, 10)
np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
result = dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy())
assert result.accuracy == history["validation_accuracy"][-1]
assert abs(result.accuracy - np.mean(probabilities.argmax(axis=1) == test.y)) < 1e-6
assert history["loss"] == sorted(history["loss"], reverse=True)
"""


def test_the_program_of_the_readme_runs_as_it_stands(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + CHECKS],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert [line[:11] for line in lines[:3]] == ["epoch   1  ", "epoch   2  ", "epoch   3  "]
    assert (
        "0  Dense(784, 256, init='he_normal')  (batch, 256)     200,960        200,704  he_normal, std 0.05049" in lines
    )
    named = re.fullmatch(r"loss (\d\.\d{4}), accuracy (\d\d\.\d\d)%", lines[-1])
    assert float(named[1]) < 0.25
    assert float(named[2]) >= 94
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "digits.npz"]
    height, width, _ = matplotlib.image.imread(tmp_path / "curves.png").shape
    assert width > 2 * height > 600
