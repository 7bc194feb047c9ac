"""
Batch normalization
===================

A good initialization gives every layer inputs of a sensible size, once. Batch normalization does it at every step: it
gives each feature mean 0 and variance 1 over the mini-batch, and then a scale and a shift that are learned. We write
both passes by hand, look at what the layer can undo and what becomes superfluous, and measure what it does to training.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, figure, the lecture's number, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# Forward by hand
# ---------------
# For each feature, with the mean :math:`\mu` and the biased variance :math:`\sigma^2` over the rows of the batch:
#
# .. math::
#
#    \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y = \gamma \hat x + \beta ,
#
# with :math:`\gamma = 1` and :math:`\beta = 0` at the start.

rng = np.random.default_rng(0)
x = rng.normal(3.0, 2.0, (32, 5))
EPSILON = 1e-5

layer = dl.BatchNorm(5, epsilon=EPSILON).build("cpu", dtype="float64")
layer.gamma.value[...] = rng.uniform(0.5, 2, 5)
layer.beta.value[...] = rng.normal(size=5)
gamma, beta = layer.gamma.value, layer.beta.value

mean, std = x.mean(axis=0), np.sqrt(x.var(axis=0) + EPSILON)
normalized = (x - mean) / std
y = gamma * normalized + beta
forward_difference = np.abs(layer.forward(x, training=True) - y).max()

# %%
# Backward by hand
# ----------------
# Every x has a part in the mean and in the variance of its feature, and so in every y of that feature. The chain rule
# along the three ways, from y to :math:`\hat x`, to :math:`\sigma^2` and to :math:`\mu`, as in the paper (Ioffe &
# Szegedy 2015), with a batch of :math:`m` rows:

dy = rng.normal(size=x.shape)
m = len(x)
dnormalized = dy * gamma
dvariance = (dnormalized * (x - mean)).sum(axis=0) * -0.5 / std**3
dmean = -dnormalized.sum(axis=0) / std - dvariance * 2 * (x - mean).mean(axis=0)
dx = dnormalized / std + dvariance * 2 * (x - mean) / m + dmean / m

backward_difference = max(
    np.abs(layer.backward(dy) - dx).max(),
    np.abs(layer.gamma.gradient - (dy * normalized).sum(axis=0)).max(),
    np.abs(layer.beta.gradient - dy.sum(axis=0)).max(),
)
print(f"largest difference from dl.BatchNorm: forward {forward_difference:.0e}, backward {backward_difference:.0e}")

# %%
# It can undo itself, and needs no bias
# -------------------------------------
# With :math:`\gamma = \sqrt{\mathrm{Var}}` (and the :math:`\varepsilon` in it) and :math:`\beta = E` the layer gives
# back what it was given: normalization takes nothing away from what a network can express. And whatever is added to
# all rows of a feature, the mean takes out again. So the bias of a dense layer before it has no effect, and its
# gradient is 0. The layer has two parameters per unit of its own, of which :math:`\beta` takes the place of the bias.

layer.gamma.value[...] = np.sqrt(x.var(axis=0) + EPSILON)
layer.beta.value[...] = x.mean(axis=0)
identity_difference = np.abs(layer.forward(x, training=True) - x).max()

dense, norm = dl.Dense(5, 8), dl.BatchNorm(8)
pair = dl.Sequential(dense, norm, backend="cpu", seed=0, dtype="float64")
before = pair.forward(x, training=True).copy()
pair.backward(rng.normal(size=before.shape))
bias_gradient = np.abs(dense.bias.gradient).max() / np.abs(dense.weight.gradient).max()
dense.bias.value[...] = 100.0
bias_effect = np.abs(pair.forward(x, training=True) - before).max()
extra = sum(parameter.size for parameter in norm.parameters())
print(f"undoing itself: {identity_difference:.0e}   a bias of 100 changes the output by {bias_effect:.0e}")

# %%
# Inference
# ---------
# At test time there may be one row only, and an answer must not depend on who else is in the batch. So training keeps
# running estimates, here with weight 0.9 for the old value: the mean of means, and of unbiased variances. Inference
# uses these. They lag behind at first: after :math:`k` batches they are still :math:`0.9^k` of where they started, 0
# and 1.

norm = dl.BatchNorm(1).build("cpu", dtype="float64")
running = [(0.0, 1.0)]
for _ in range(60):
    norm.forward(rng.normal(3.0, 2.0, (32, 1)), training=True)
    running.append((float(norm.running_mean[0]), float(norm.running_variance[0])))
running = np.array(running)
lag = 3.0 * (1 - 0.9 ** np.arange(61))

rows = rng.normal(3.0, 2.0, (10, 1))
alone = np.concatenate([norm.forward(row[None]).copy() for row in rows])
row_dependence = np.abs(norm.forward(rows) - alone).max()
claims += [
    ("forward", "largest difference of the formulas and dl.BatchNorm", 0.0, forward_difference),
    ("forward", "the same for the backward pass", 0.0, backward_difference),
    ("identity", "largest difference of y and x with γ = √Var, β = E", 0.0, identity_difference),
    ("bias", "gradient of a bias before it, over that of the weights", 0.0, bias_gradient),
    ("bias", "change of the output by a bias of 100", 0.0, bias_effect),
    ("bias", "parameters per unit", 2, extra / 8),
    ("inference", "running mean after 60 batches from N(3, 2²)", 3.0, running[-1, 0]),
    ("inference", "running variance after 60 batches", 4.0, running[-1, 1]),
    ("inference", "difference of a row alone and in a batch", 0.0, row_dependence),
]

figure, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
axis.plot(running[:, 1], "--", color=ORANGE, label="running variance (of N(3, 2²): 4)")
axis.plot(running[:, 0], color=BLUE, label="running mean")
axis.plot(lag, ":", color="black", label="3 (1 - 0.9ᵏ)")
axis.set(xlabel="training batches, k", ylabel="running estimate")
axis.set_title("Running estimates need about 40 batches to arrive", fontsize="medium")
axis.grid(alpha=0.3)
axis.legend(fontsize="small")
figure.savefig(figures / "06_batchnorm_running.png")

# %%
# Learning rates and initializations
# ----------------------------------
# Three hidden layers of 64 ReLUs on 2,000 digits. First with He's weights and learning rates from 0.03 to 10, two
# networks each. Then with weights from N(0, s²) for s from 0.001 to 1, each with its own best rate, which one of five
# networks chooses.

digits = dl.data.digits()[0][:2000]
rates = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
widths = [0.001, 0.01, 0.03, 0.1, 0.3, 1.0]


def network(placement=None, init="he_normal", seed=0):
    """784-64-64-64-10 with ReLU; placement: batch norm "before" or "after" the activation, or None."""
    layers, features = [], 784
    for _ in range(3):
        layers.append(dl.Dense(features, 64, init=init, bias=placement != "before"))
        norm = [dl.BatchNorm(64)] if placement else []
        layers += [dl.ReLU(), *norm] if placement == "after" else [*norm, dl.ReLU()]
        features = 64
    return dl.Sequential(*layers, dl.Dense(64, 10, init="normal(std=0.01)"), backend="cpu", seed=seed)


def losses(model, rate, epochs):
    """The training loss of each epoch; log 10, as of a network that knows nothing, where it diverges."""
    options = {"epochs": epochs, "batch_size": 32, "graph": True, "progress": False}
    try:
        return dl.fit(model, digits, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(rate), **options)["loss"]
    except dl.DivergenceError:
        return [np.log(10)] * epochs


def of_rates(place, seeds):
    return np.array([[losses(network(place, seed=seed), rate, 4) for rate in rates] for seed in seeds])


def after_two(place, width, rate, seeds):
    return [losses(network(place, f"normal(std={width})", seed), rate, 2)[-1] for seed in seeds]


def at_best_rate(place, width):
    """The rate, and the mean loss after two epochs."""
    tried = {rate: after_two(place, width, rate, [0]) for rate in rates}
    best = min(tried, key=tried.get)
    return best, np.mean(tried[best] + after_two(place, width, best, (1, 2, 3, 4)))


curves = {place: of_rates(place, (0, 1)) for place in (None, "before", "after")}  # (seeds, rates, epochs)
by_rate = {place: curves[place][:, :, 1].mean(axis=0) for place in (None, "before")}  # after two epochs
found = {place: [at_best_rate(place, width) for width in widths] for place in by_rate}
by_width = {place: np.array([loss for _, loss in of]) for place, of in found.items()}
rate_of_width = {place: [rate for rate, _ in of] for place, of in found.items()}
for title, points, shown in (
    ("learning rate", rates, by_rate), ("weights' std", widths, by_width), ("... best rate", widths, rate_of_width)
):  # fmt: skip
    print(f"{title:15}" + "".join(f"{point:8}" for point in points))
    for place, name in ((None, "without"), ("before", "batch norm")):
        print(f"  {name:13}" + "".join(f"{value:8.2f}" for value in shown[place]))

figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained", sharey=True)
for axis, points, shown in ((axes[0], rates, by_rate), (axes[1], widths, by_width)):
    axis.plot(points, np.minimum(shown[None], 3), "s--", color=ORANGE, label="without")
    axis.plot(points, shown["before"], "o-", color=BLUE, label="batch norm")
    axis.axhline(np.log(10), color="black", linewidth=0.8, linestyle=":", label="guessing: log 10")
    axis.set_xscale("log")
    axis.grid(alpha=0.3)
axes[0].set(xlabel="learning rate", ylabel="training loss after 2 epochs", title="Larger learning rates work")
axes[1].set(xlabel="std of the initial weights (best rate for each)", title="The initialization matters less")
axes[1].legend(loc="center left", fontsize="small")
figure.savefig(figures / "06_batchnorm_robust.png")

LEARNED = 2.0  # a training loss below this counts as learning
for place, name in ((None, "without"), ("before", "batch norm")):
    claims += [
        ("effects", f"training loss at learning rate 1, {name}", None, by_rate[place][rates.index(1.0)]),
        ("effects", f"of 6 widths of initial weights, learned: {name}", None, np.sum(by_width[place] < LEARNED)),
    ]

# %%
# Without batch norm, weights that are too small let nothing through, and weights that are too large explode, at any
# rate. With it, the size of the weights makes no difference to the outputs. It still makes one to the learning: a step
# of the same length turns a long vector of weights less than a short one, so large weights need a larger rate, and the
# largest are slow even then.
#
# Before or after the activation?
# -------------------------------
# The paper puts it between the dense layer and the activation; putting it behind the activation is common, too. Four
# epochs, five seeds each, at the best of the rates above for each of the three.

place_of_best = {place: int(of[:, :, -1].mean(axis=0).argmin()) for place, of in curves.items()}
placements = {}  # (seeds, epochs)
for place, best in place_of_best.items():
    others = [losses(network(place, seed=seed), rates[best], 4) for seed in (2, 3, 4)]
    placements[place] = np.concatenate([curves[place][:, best], others])
names = {None: "without", "before": "before the activation", "after": "after the activation"}
for place, of in placements.items():
    print(f"{names[place]:22} rate {rates[place_of_best[place]]}: " + "  ".join(f"{x:.3f}" for x in of.mean(axis=0)))
    claims.append(("placement", f"training loss after 4 epochs, {names[place]}", None, of[:, -1].mean()))
shared = {place: of[:, rates.index(0.1), -1].mean() for place, of in curves.items()}
print(f"all at rate 0.1: before {shared['before']:.3f}, after {shared['after']:.3f}")

figure, axis = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
for place, color, style in ((None, ORANGE, "s--"), ("before", BLUE, "o-"), ("after", GREEN, "^-.")):
    of = placements[place]
    axis.plot(range(1, 5), of.mean(axis=0), style, color=color, label=names[place])
    axis.fill_between(range(1, 5), of.min(axis=0), of.max(axis=0), color=color, alpha=0.2, linewidth=0)
axis.set(yscale="log", xlabel="epoch", xticks=range(1, 5), ylabel="training loss (band: 5 seeds)")
axis.set_yticks([0.2, 0.3, 0.5, 1.0, 2.0], ["0.2", "0.3", "0.5", "1", "2"])
axis.minorticks_off()
axis.set_title("Batch norm speeds training up, before and after the activation", fontsize="medium")
axis.grid(alpha=0.3)
axis.legend()
figure.savefig(figures / "06_batchnorm_placement.png")

# %%
# On either side it trains faster than without. Behind the activation the first epoch is the better one, and after four
# the place of the paper is ahead, with all seeds. At a rate of 0.1 for all it would have been the other way round: who
# compares networks at one rate compares how well that rate suits them.
#
# Conclusion
# ----------

print()
for row, what, lecture, ours in claims:
    beside = "" if lecture is None else f"   (lecture: {lecture:.4g})"
    print(f"{row}: {what}: {ours:.4g}{beside}")

# %%
# Break it
# --------
# 1. By hand, use ``x.var(axis=0, ddof=1)``: the unbiased variance is right for the running estimate and wrong here. The
#    first printed difference is no longer 0;
#    ``tests/tutorials/test_06_batchnorm.py::test_by_hand_and_the_layer_agree`` fails.
# 2. In ``minidl/cpu/batchnorm.py``, leave the part of the mean, ``dbeta[j]``, out of the backward pass.
#    ``tests/layers/test_batchnorm.py::test_the_input_gradient_has_no_mean_and_no_component_along_the_output`` fails.
#    The network still learns, to a loss of 0.7 instead of 0.2: a wrong gradient rarely looks like a mistake.
# 3. Let ``alone`` be computed with ``training=True``: a single row has no variance, and minidl says so with a
#    ``ValueError``. With two equal rows instead, every output is :math:`\beta`.
# 4. Use ``dl.BatchNorm(1, decay=0.99)`` for the running estimates: after 60 batches they are only half way, and
#    ``tests/tutorials/test_06_batchnorm.py::test_running_estimates_arrive`` fails.
