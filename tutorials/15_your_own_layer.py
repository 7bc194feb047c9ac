r"""
A layer of your own
===================

minidl has no automatic differentiation: whoever writes a layer writes its derivative. That is where mistakes are made,
so there are checks that know nothing of the layer and find them all the same. Here an activation and a layer with
weights are written, judged, mended, trained with and recorded; in the end the activation becomes an entry of minidl's
table.
"""

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
# An activation: value and slope
# ------------------------------
#
# The softsign (Bergstra et al. 2009) looks like tanh, but comes to its limits as :math:`1/z` and not exponentially, so
# that far out some gradient is left.
#
# .. math::
#
#    \varphi(z) = \frac{z}{1 + |z|}, \qquad \varphi'(z) = \frac{1}{(1 + |z|)^2}


def softsign(z):
    return z / (1 + np.abs(z))


def softsign_slope(z):
    return 1 / (1 + np.abs(z)) ** 2


z = np.linspace(-6, 6, 241)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(z, softsign(z), color=BLUE, label="softsign")
left.plot(z, np.tanh(z), "--", color=ORANGE, label="tanh")
left.set(xlabel="z", ylabel="φ(z)")
left.legend()
right.semilogy(z, softsign_slope(z), color=BLUE, label="softsign")
right.semilogy(z, 1 - np.tanh(z) ** 2, "--", color=ORANGE, label="tanh")
right.set(xlabel="z", ylabel="φ'(z), logarithmic")
figure.suptitle("Softsign goes flat more slowly than tanh")
figure.savefig(figures / "15_your_own_layer_softsign.png")

claims += [
    ("activation", "slope of the softsign at z = 3", 1 / 16, softsign_slope(3.0)),
    ("activation", "slope of tanh at z = 3", None, 1 - np.tanh(3.0) ** 2),
]

# %%
# As a layer
# ----------
#
# A layer has two passes. ``begin_forward`` checks x and keeps it in training; ``begin_backward`` gives it back with dy.
# Here is a first attempt, as one might write it at night.


class FirstAttempt(dl.Layer):
    """y = x / (1 + |x|), elementwise."""

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        return x / (1 + np.abs(x))

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        return dy / (1 + np.abs(x))


attempt = dl.check_layer(FirstAttempt())
print(attempt)

# %%
# Two of the 16 clauses are broken. One is a rule of the house: a layer keeps its results in buffers, so that a training
# step allocates nothing. The other is a mistake. The report shows the entry where backward and differences of forward
# are furthest apart: the square is missing.


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


mended = dl.check_layer(Softsign())
print(mended)
claims += [
    ("check_layer", "clauses broken, first attempt", None, sum(map(bool, attempt.clauses.values()))),
    ("check_layer", "clauses broken, mended", 0, sum(map(bool, mended.clauses.values()))),
]

# %%
# A layer with parameters
# -----------------------
#
# A dense layer of low rank: W = U V, with a narrow middle. From 784 inputs to 64 units that is 50,176 weights as one
# matrix, and 848 for each unit of the middle as two. The chain rule, with h = x U:
#
# .. math::
#
#    y = h V + b: \qquad
#    \mathrm{d}V = h^\top \mathrm{d}y, \quad
#    \mathrm{d}b = \textstyle\sum \mathrm{d}y, \quad
#    \mathrm{d}h = \mathrm{d}y\, V^\top, \quad
#    \mathrm{d}U = x^\top \mathrm{d}h, \quad
#    \mathrm{d}x = \mathrm{d}h\, U^\top
#
# Parameters are made in ``allocate``, where the layer knows its random stream. It computes with nothing but
# ``self.ops``, the operations of the backend, so it runs on a GPU as well.


class LowRank(dl.Layer):
    """y = x U V + b with U (n_in, rank) and V (rank, n_out)."""

    def __init__(self, n_in: int, n_out: int, rank: int):
        self.n_in, self.n_out, self.rank = n_in, n_out, rank

    def allocate(self):
        rng = self.streams.generator(f"{self.name}.u and v")
        draw = dl.initializers.lecun_normal
        self.u = self.parameter("u", draw(rng, self.n_in, self.rank), decays=True)
        self.v = self.parameter("v", draw(rng, self.rank, self.n_out), decays=True)
        self.bias = self.parameter("bias", np.zeros(self.n_out))

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        self.h, y = self.buffer("h", x.shape[0], self.rank), self.buffer("y", x.shape[0], self.n_out)
        self.ops.dense_forward(x, self.u.value, None, self.h)
        self.ops.dense_forward(self.h, self.v.value, self.bias.value, y)
        return y

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        dh, dx = self.buffer("dh", *self.h.shape), self.buffer("dx", *x.shape)
        self.ops.dense_backward_weight(self.h, dy, self.v.gradient)
        self.ops.column_sums(dy, self.bias.gradient)
        self.ops.dense_backward_input(dy, self.v.value, dh)
        self.ops.dense_backward_weight(x, dh, self.u.gradient)
        self.ops.dense_backward_input(dh, self.u.value, dx)
        return dx


# %%
# And its brother with a mistake that many make: the loss is a mean over the batch already, so dy has the 1/batch in it,
# and to average once more makes the gradient too small. Training would still work, only more slowly; nobody would
# notice.


class Averaging(LowRank):
    def backward(self, dy):
        dx = super().backward(dy)
        self.u.gradient[...] /= len(dy)
        return dx


x = np.random.default_rng(0).normal(size=(8, 6))
wrong = dl.check_gradients(Averaging(6, 4, 2), x)
print(wrong)

# %%
# 8 rows, and u is off by a factor of 8; everything else is right. The layer as it should be, with all its clauses, on
# the compiled loops and on the CUDA kernels in the emulator:

right_gradients = dl.check_gradients(LowRank(6, 4, 2), x)
print(right_gradients)
contracts = {backend: dl.check_layer(LowRank(6, 4, 2), backend=backend) for backend in ("cpu", "emulator")}
print("all clauses:", {backend: report.ok for backend, report in contracts.items()})

(of_u,) = [check for check in wrong.checks if check.name == "u"]
claims += [
    ("check_gradients", "u is too small by a factor of", 8, of_u.numeric / of_u.analytic),
    ("check_gradients", "worst error of the right layer", None, max(check.error for check in right_gradients.checks)),
]

# %%
# Training with both
# ------------------
#
# A layer of your own goes wherever minidl's go. How narrow may the middle be?

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 2000, 2000, 6000)


def network(first, activation):
    return dl.Sequential(first, activation, dl.Dense(64, 10), backend="cpu", seed=0)


def fit(model):
    """Train, and return the validation accuracy."""
    options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(2e-3), "batch_size": 50, "progress": False}
    return dl.fit(model, train, validation=validation, epochs=8, **options)["validation_accuracy"][-1]


ranks = [1, 2, 4, 8, 16]
models = {rank: network(LowRank(784, 64, rank), Softsign()) for rank in ranks}
accuracies = {rank: fit(model) for rank, model in models.items()}
full = {"softsign": fit(network(dl.Dense(784, 64), Softsign())), "tanh": fit(network(dl.Dense(784, 64), dl.Tanh()))}
weights = {rank: sum(p.size for p in model.layers[0].parameters() if p.decays) for rank, model in models.items()}

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.semilogx(list(weights.values()), list(accuracies.values()), "o-", color=BLUE, label="low rank, softsign")
for rank in ranks:
    axes.annotate(f"rank {rank}", (weights[rank], accuracies[rank]), (6, -12), textcoords="offset points")
axes.plot(784 * 64, full["softsign"], "s", color=ORANGE, label="full rank, softsign")
axes.set(xlabel="weights of the first layer", ylabel="validation accuracy", xlim=(600, 90000), ylim=(0.3, 0.95))
axes.set_title(f"Rank 16 has {weights[16] / (784 * 64):.0%} of the weights, and nearly the same accuracy")
axes.legend(loc="lower right")
figure.savefig(figures / "15_your_own_layer_rank.png")

claims += [
    ("training", "weights of rank 8", 8 * 848, weights[8]),
    ("training", "accuracy, rank 8, softsign", None, accuracies[8]),
    ("training", "accuracy, rank 16, softsign", None, accuracies[16]),
    ("training", "accuracy, full rank, softsign", None, full["softsign"]),
    ("training", "accuracy, full rank, tanh", None, full["tanh"]),
]

# %%
# What goes through it
# --------------------
#
# ``inspect`` runs one training pass and measures every layer, also those that it knows nothing about.

inspection = dl.inspect(models[8], validation.x[:500], validation.y[:500])
print(inspection)
inspection.plot(figures / "15_your_own_layer_inspection.png")

picture = plt.imread(figures / "15_your_own_layer_inspection.png")
figure, axes = plt.subplots(figsize=(9, 9 * picture.shape[0] / picture.shape[1]), layout="constrained")
axes.imshow(picture)
axes.set_axis_off()

# %%
# A recorded step
# ---------------
#
# A training step is the same operations on the same memory every time. ``TrainingStep(graph=True)`` records them and
# does the list again: on a GPU as a CUDA graph, elsewhere without the Python between them. What is no operation is not
# on the list. It would silently not happen, so the recording is verified first: one step is made both ways and
# compared bit by bit. The layer of low rank passes; the softsign, which computes with NumPy, does not.


def steps(activation, graph):
    """The parameters after six training steps."""
    model = network(LowRank(784, 64, 8), activation)
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(2e-3), graph=graph)
    for start in range(0, 300, 50):
        step(train.x[start : start + 50], train.y[start : start + 50])
    return [parameter.value.copy() for parameter in model.parameters()]


written, recorded = steps(dl.Tanh(), graph=False), steps(dl.Tanh(), graph=True)
recording_difference = max(np.abs(a - b).max() for a, b in zip(written, recorded, strict=True))
try:
    steps(Softsign(), graph=True)
    refusal = "none"
except RuntimeError as error:
    refusal = str(error)
print(refusal)
claims.append(("recording", "parameters after six steps, written minus recorded", 0, recording_difference))

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
# for a moment, and ask a second Python, which imports that one, what it thinks of ``dl.Softsign``.

JUDGE = """
import minidl as dl
reports = [dl.check_layer(dl.Softsign(), backend=backend) for backend in ("cpu", "emulator")]
print(*reports, sep="\\n")
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
# Write forward, write backward, and let ``check_layer`` judge both before you train. Computed with the operations of
# the backend, a layer runs everywhere and can be recorded; an activation is best an entry of the table.

for row, what, known, ours in claims:
    print(f"{row:>16}: {what:<58}{ours:10.4g}" + (f"   known {known:g}" if known is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``LowRank.backward``, leave out ``column_sums``. The bias is never learned, and hardly any accuracy is lost; the
#    table of gradients shows it, and
#    ``tests/tutorials/test_15_your_own_layer.py::test_the_layer_of_low_rank_is_right_on_both_backends`` fails.
# 2. In ``softsign_slope`` of ``ENTRY``, leave out one of the two factors. The second Python reports broken gradients,
#    and ``tests/tutorials/test_15_your_own_layer.py::test_the_entry_of_the_table_keeps_all_clauses`` fails.
# 3. In ``TrainingStep._verify`` of ``minidl/training/step.py``, write ``return`` as the first line: recordings are
#    trusted without verification. The softsign is no longer refused, and
#    ``tests/training/test_step.py::test_what_is_more_than_operations_is_found`` fails.
# 4. In ``tanh_slope`` of ``minidl/scalar/activations.py``, write ``ONE - y``. Tanh still trains, but to 77 % instead of
#    89 %, and ``tests/operations/test_activations.py::test_slope_is_the_derivative_of_value`` fails.
