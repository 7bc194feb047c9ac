r"""
An activation in minidl's table
===============================

The softsign of the first part computes with NumPy, so it cannot run on a GPU, and its steps cannot be captured. As an
entry of minidl's table it becomes a compiled loop, CUDA kernels and a layer. In the end there are functions of minidl
to write again, as exercises.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl
from minidl import exercises

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row, what the number is, the known number or None, ours)
BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# A captured step
# ---------------
#
# A training step is the same operations on the same memory every time. ``TrainingStep(graph=True)`` records them and
# does the list again: on a GPU as a CUDA graph, elsewhere without the Python between them. What is no operation is not
# on the list. It would silently not happen, so the capture is verified first: one step is made both ways and
# compared bit by bit. Tanh passes; the softsign, which computes with NumPy, does not.


class Softsign(dl.Layer):
    """y = x / (1 + |x|), elementwise. Backward:  dx = dy / (1 + |x|)²."""

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        np.divide(x, 1 + np.abs(x), out=y)
        return y

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        np.divide(dy, (1 + np.abs(x)) ** 2, out=dx)
        return dx


rng = np.random.default_rng(0)
images, labels = rng.normal(size=(50, 20)).astype(np.float32), rng.integers(0, 3, 50)


def steps(activation, graph):
    """The parameters after six training steps."""
    model = dl.Sequential(dl.Dense(20, 16), activation, dl.Dense(16, 3), backend="cpu", seed=0)
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(2e-3), graph=graph)
    for _ in range(6):
        step(images, labels)
    return [parameter.value.copy() for parameter in model.parameters()]


written, captured = steps(dl.Tanh(), graph=False), steps(dl.Tanh(), graph=True)
capture_difference = max(np.abs(a - b).max() for a, b in zip(written, captured, strict=True))
try:
    steps(Softsign(), graph=True)
    refusal = "none"
except RuntimeError as error:
    refusal = str(error)
print(refusal)
claims.append(("capture", "parameters after six steps, written minus captured", 0, capture_difference))

# %%
# An entry of the table
# ---------------------
#
# minidl's own activations are written for one number, once, in ``minidl/scalar/activations.py``. Two functions and an
# entry, and everything else is made of them: the compiled loop, the CUDA kernels, the layer, its gain for the
# initializers, its name in ``minidl train``. Constants come from ``scalar/constants.py``, because a bare 1 / ... would
# compute in float64.

ENTRY = '''

def softsign(z, alpha):
    """z / (1 + |z|) (Bergstra et al. 2009)."""
    return z / (ONE + abs(z))


def softsign_slope(z, y, alpha):
    """1 / (1 + |z|)², which has a kink at 0."""
    return ONE / ((ONE + abs(z)) * (ONE + abs(z)))


ACTIVATIONS["softsign"] = Activation("softsign", "Softsign", softsign, softsign_slope, "z / (1 + abs(z))", kinks=(0.0,))
'''

# %%
# In your own copy of minidl you would write it into the file. So as not to change yours, we make a copy of the package
# for a moment, and ask a second Python, which imports that one, what it thinks of ``dl.Softsign``: all clauses on both
# backends, a captured step, and the signal in ten layers.

JUDGE = """
import json
import numpy as np
import minidl as dl

reports = [dl.check_layer(dl.Softsign(), backend=backend) for backend in ("cpu", "emulator")]
print(*reports, sep="\\n")

model = dl.Sequential(dl.Dense(4, 3), dl.Softsign(), dl.Dense(3, 2), backend="cpu", seed=0)
step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(2e-3), graph=True)
for _ in range(6):
    step(np.ones((5, 4), np.float32), np.arange(5) % 2)
print("captured")

def z_by_layer(init, seed):
    layers = [layer for _ in range(10) for layer in (dl.Dense(200, 200, init=init), dl.Softsign())]
    model = dl.Sequential(*layers, backend="cpu", seed=seed)
    model.forward(np.random.default_rng(seed).normal(size=(500, 200)).astype(np.float32), training=True)
    return [float(np.sqrt(np.mean(np.square(z)))) for z in model.outputs[::2]]

print(json.dumps({init: [z_by_layer(init, seed) for seed in range(5)] for init in ("auto", "lecun_normal")}))
raise SystemExit(not all(report.ok for report in reports))
"""

with tempfile.TemporaryDirectory() as folder:
    package = shutil.copytree(Path(dl.__file__).parent, Path(folder, "minidl"))
    with open(package / "scalar" / "activations.py", "a", encoding="utf-8") as table:
        table.write(ENTRY)
    environment = {**os.environ, "PYTHONPATH": folder, "NUMBA_CACHE_DIR": str(Path(folder, "compiled"))}
    environment["PYTHONIOENCODING"] = "utf-8"
    command = [sys.executable, "-c", JUDGE]
    judged = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
print(judged.stdout, judged.stderr)
claims.append(("table", "exit code: the entry keeps all clauses on both backends", 0, judged.returncode))

# %%
# ``Dense(init="auto")`` before a softsign takes the gain of the entry, :math:`1 / \sqrt{E[\varphi(z)^2]}`, which nobody
# had to compute by hand. It undoes what the softsign does to the signal: z settles at a root mean square of 1. With
# weights of variance 1/n it shrinks from layer to layer. The mean of five seeds:

signal = {
    init: np.array(found) for init, found in json.loads(judged.stdout.splitlines()[-1]).items()
}  # (seeds, layers)
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (init, found), color, style in zip(signal.items(), (BLUE, ORANGE), ("o-", "s--"), strict=True):
    axes.semilogy(range(1, 11), found.mean(axis=0), style, color=color, label=init)
axes.set(xlabel="layer", xticks=range(1, 11), ylabel="root mean square of z", ylim=(1e-2, 3))
axes.set_title("The entry brings its gain along: the signal stays")
axes.legend()
figure.savefig(figures / "15b_table_of_activations_gain.png")
claims += [
    ("table", "root mean square of z in layer 10, auto", 1, signal["auto"][:, -1].mean()),
    ("table", "root mean square of z in layer 10, variance 1/n", None, signal["lecun_normal"][:, -1].mean()),
]

# %%
# Exercises
# ---------
#
# To learn to write derivatives and kernels, write those that are known. ``minidl exercise list`` shows functions of
# minidl that can be had without their bodies:

for name, exercise in exercises.EXERCISES.items():
    print(f"{name:<24}{exercise.title}")

# %%
# ``minidl exercise start relu-backward`` writes a folder with the file to complete and what to do, and ``minidl
# exercise check relu-backward`` judges it, from single values up to the layer in a model. The same from Python:

answers = {
    "1 at 0": "return ONE if z >= ZERO else ZERO",
    "0 at 0": "return ONE if z > ZERO else ZERO",
}
solved = {}
with tempfile.TemporaryDirectory() as folder:
    file = exercises.start("relu-backward", folder) / "activations.py"
    begun = file.read_text(encoding="utf-8")
    for name, answer in answers.items():
        file.write_text(
            begun.replace('raise NotImplementedError("relu_slope is not written yet")', answer), encoding="utf-8"
        )
        solved[name] = exercises.check("relu-backward", folder)
print(solved)

# %%
# In short
# --------
#
# What is made of the operations of a backend can be captured and runs everywhere. An activation is best an entry of the
# table: two functions of one number.

for row, what, known, ours in claims:
    print(f"{row:>10}: {what:<58}{ours:10.4g}" + (f"   known {known:g}" if known is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``softsign_slope`` of ``ENTRY``, leave out one of the two factors. The second Python reports broken gradients,
#    and ``tests/tutorials/test_15b_table_of_activations.py::test_the_entry_of_the_table_keeps_all_clauses`` fails.
# 2. In ``TrainingStep._verify`` of ``minidl/training/step.py``, write ``return`` as the first line: recordings are
#    trusted without verification. The softsign is no longer refused, and
#    ``tests/training/test_step.py::test_what_is_more_than_operations_is_found`` fails.
