r"""
A layer of your own
===================

minidl has no automatic differentiation: whoever writes a layer writes its derivative. That is where mistakes are made,
so there are checks that know nothing of the layer and find them all the same. Here an activation and a layer with
weights are written, judged, mended and trained with.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

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
# A layer of your own goes wherever minidl's go.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 1000, 1000, 8000)


def fit(first, activation, rate, seed, graph=False):
    """A trained model, and its validation accuracy."""
    model = dl.Sequential(first, activation, dl.Dense(64, 10), backend="cpu", seed=seed)
    options = {"loss": dl.SoftmaxCrossEntropy(), "epochs": 8, "batch_size": 50, "graph": graph, "progress": False}
    dl.fit(model, train, optimizer=dl.Adam(rate), **options)
    return model, dl.evaluate(model, validation, loss=dl.SoftmaxCrossEntropy()).accuracy


both, accuracy_of_both = fit(LowRank(784, 64, 8), Softsign(), rate=5e-3, seed=0)
claims.append(("training", "validation accuracy with both, rank 8", None, accuracy_of_both))

# %%
# ``inspect`` runs one training pass and measures every layer, also those that it knows nothing about.

inspection = dl.inspect(both, validation.x[:500], validation.y[:500])
print(inspection)
inspection.plot(figures / "15_your_own_layer_inspection.png")

# %%
# How narrow may the middle be?
# -----------------------------
#
# Five ranks and the full matrix, five seeds, and for each the best of five learning rates, which two of the seeds
# choose. The activation here is minidl's tanh, for the sake of ``graph=True``: the steps are captured, which takes
# operations and no NumPy. The layer of low rank has nothing else; what becomes of the softsign is in
# :doc:`15b_table_of_activations`.

ranks, rates = [1, 2, 4, 8, 16, None], np.logspace(-3, -1, 5)


def accuracy_of(rank, rate, seed):
    first = LowRank(784, 64, rank) if rank else dl.Dense(784, 64)
    return fit(first, dl.Tanh(), rate, seed, graph=True)[1]


accuracies, place_of_best = {}, {}
for rank in ranks:
    tried = np.array([[accuracy_of(rank, rate, seed) for rate in rates] for seed in (0, 1)])  # (seeds, rates)
    place_of_best[rank] = best = int(tried.mean(axis=0).argmax())
    accuracies[rank] = np.append(tried[:, best], [accuracy_of(rank, rates[best], seed) for seed in (2, 3, 4)])
weights = {rank: rank * (784 + 64) if rank else 784 * 64 for rank in ranks}

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for rank, found in accuracies.items():
    color, mark = (BLUE, "o") if rank else (ORANGE, "s")
    axes.semilogx(np.full(5, weights[rank]), found, mark, color=color, markersize=4, alpha=0.6)
    axes.annotate(
        f"rank {rank}" if rank else "full", (weights[rank], found.min()), (-12, -14), textcoords="offset points"
    )
    claims.append(
        ("training", f"validation accuracy, five seeds, {f'rank {rank}' if rank else 'full rank'}", None, found.mean())
    )
axes.semilogx(weights.values(), [found.mean() for found in accuracies.values()], color="0.5", zorder=0)
axes.set(xlabel="weights of the first layer", ylabel="validation accuracy", xlim=(500, 90000), ylim=(0.2, 0.95))
lost = accuracies[None].mean() - accuracies[16].mean()
axes.set_title(
    f"Rank 16 has {weights[16] / weights[None]:.0%} of the weights, and {100 * lost:.0f} points less accuracy"
)
figure.savefig(figures / "15_your_own_layer_rank.png")

# %%
# In short
# --------
#
# Write forward, write backward, and let ``check_layer`` judge both before you train. Computed with the operations of
# the backend, a layer runs everywhere.

for row, what, known, ours in claims:
    print(f"{row:>16}: {what:<58}{ours:10.4g}" + (f"   known {known:g}" if known is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``LowRank.backward``, leave out ``column_sums``. The bias is never learned, and hardly any accuracy is lost; the
#    table of gradients shows it, and
#    ``tests/tutorials/test_15_your_own_layer.py::test_the_layer_of_low_rank_is_right_on_both_backends`` fails.
# 2. In ``tanh_slope`` of ``minidl/scalar/activations.py``, write ``ONE - y``. Tanh still trains, but not as well, and
#    ``tests/operations/test_activations.py::test_slope_is_the_derivative_of_value`` fails.
