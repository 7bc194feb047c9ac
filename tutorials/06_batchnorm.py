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
# uses these. They lag behind: after :math:`k` batches they are still :math:`0.9^k` of where they started, 0 and 1.
#
# A plain average over all batches, as another lecture has it, needs no such time and scatters less, as long as nothing
# changes. But in training the weights below change. Here the inputs have mean 3, and after 60 batches mean 1: the
# running mean forgets the old one, the plain average does not.

norm = dl.BatchNorm(1).build("cpu", dtype="float64")
running, means = [(0.0, 1.0)], []
for k in range(120):
    batch = rng.normal(3.0 if k < 60 else 1.0, 2.0, (32, 1))
    norm.forward(batch, training=True)
    running.append((float(norm.running_mean[0]), float(norm.running_variance[0])))
    means.append(batch.mean())
running = np.array(running)
plain = np.cumsum(means) / np.arange(1, 121)  # after 1, 2, ... batches
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
    ("inference", "running mean after 60 batches from N(3, 2²)", 3.0, running[60, 0]),
    ("inference", "running variance after 60 batches", 4.0, running[60, 1]),
    ("inference", "running mean after 60 more from N(1, 2²)", None, running[-1, 0]),
    ("inference", "plain average of all 120 batch means", None, plain[-1]),
    ("inference", "difference of a row alone and in a batch", 0.0, row_dependence),
]

figure, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
axis.plot(running[:, 1], "--", color=ORANGE, label="running variance (true: 4)")
axis.plot(running[:, 0], color=BLUE, label="running mean (true: 3, then 1)")
axis.plot(lag, ":", color="black", label="3 (1 - 0.9ᵏ)")
axis.plot(range(1, 121), plain, "-.", color=GREEN, label="plain average of the means")
axis.set(xlabel="training batches, k", ylabel="estimate", ylim=(-0.2, 7))
axis.set_title("Running estimates need about 40 batches to arrive", fontsize="medium")
axis.grid(alpha=0.3)
axis.legend(fontsize="small", ncols=2)
figure.savefig(figures / "06_batchnorm_running.png")

# %%
# What it does to training
# ------------------------
# Three hidden layers of 64 ReLUs on 2,000 digits of half size. The paper puts batch norm between the dense layer and
# the activation; behind the activation is common, too. First with He's weights and learning rates from 0.03 to 10, five
# networks each. Then with weights from N(0, s²) for s from 0.001 to 1, five networks at the best of the same rates,
# which two of them choose.

images = dl.data.digits()[0][:2000]
halved = images.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)  # the mean of four pixels, to save time
digits = dl.data.Dataset(halved, images.y)
rates = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
widths = [0.001, 0.01, 0.03, 0.1, 0.3, 1.0]


def network(placement=None, init="he_normal", seed=0):
    """196-64-64-64-10 with ReLU; placement: batch norm "before" or "after" the activation, or None."""
    layers, features = [], 196
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


def of_rates(place, seeds=range(5)):
    """The losses, shape (seeds, rates, epochs)."""
    return np.array([[losses(network(place, seed=seed), rate, 4) for rate in rates] for seed in seeds])


def after_two(place, width, rate, seeds):
    return [losses(network(place, f"normal(std={width})", seed), rate, 2)[-1] for seed in seeds]


def at_best_rate(place, width):
    """The rate, and the losses of five networks after two epochs."""
    tried = {rate: after_two(place, width, rate, (0, 1)) for rate in rates}
    best = min(tried, key=lambda rate: sum(tried[rate]))
    return best, tried[best] + after_two(place, width, best, (2, 3, 4))


curves = {place: of_rates(place) for place in (None, "before", "after")}
by_rate = {place: of[:, :, 1].mean(axis=0) for place, of in curves.items()}  # after two epochs
found = {place: [at_best_rate(place, width) for width in widths] for place in (None, "before")}
by_width = {place: np.mean([last for _, last in of], axis=1) for place, of in found.items()}
rate_of_width = {place: [rate for rate, _ in of] for place, of in found.items()}
place_of_best = {place: int(of[:, :, -1].mean(axis=0).argmin()) for place, of in curves.items()}
placements = {place: curves[place][:, best] for place, best in place_of_best.items()}  # (seeds, epochs)
names = {None: "without", "before": "before ReLU", "after": "behind ReLU"}
for title, points, shown in (
    ("learning rate", rates, by_rate), ("weights' std", widths, by_width), ("... best rate", widths, rate_of_width)
):  # fmt: skip
    print(f"{title:15}" + "".join(f"{point:8}" for point in points))
    for place, of in shown.items():
        print(f"  {names[place]:13}" + "".join(f"{value:8.2f}" for value in of))
LEARNED = 1.5  # a training loss below this counts as learning
for place, of in placements.items():
    print(f"{names[place]:12} rate {rates[place_of_best[place]]}: " + "  ".join(f"{x:.3f}" for x in of.mean(axis=0)))
    claims.append(("placement", f"training loss after 4 epochs, {names[place]}", None, of[:, -1].mean()))
    claims.append(("effects", f"training loss at learning rate 1, {names[place]}", None, by_rate[place][3]))
for place, of in by_width.items():
    claims.append(("effects", f"of 6 widths of initial weights, learned: {names[place]}", None, np.sum(of < LEARNED)))

figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained", sharey=True)
along_epochs = {place: of.mean(axis=0) for place, of in placements.items()}
for axis, points, shown in zip(axes, (rates, widths, range(1, 5)), (by_rate, by_width, along_epochs), strict=True):
    for (place, of), color, style in zip(shown.items(), (ORANGE, BLUE, GREEN), ("s--", "o-", "^-."), strict=False):
        axis.plot(points, np.minimum(of, 3), style, color=color, label=names[place])
    axis.axhline(np.log(10), color="black", linewidth=0.8, linestyle=":")  # guessing
    axis.grid(alpha=0.3)
for place, color in zip(placements, (ORANGE, BLUE, GREEN), strict=True):
    lowest, highest = placements[place].min(axis=0), placements[place].max(axis=0)
    axes[2].fill_between(range(1, 5), lowest, highest, color=color, alpha=0.2, linewidth=0)
axes[0].set(xscale="log", xlabel="learning rate", ylabel="training loss (after 2 epochs)", title="Larger rates work")
axes[1].set(xscale="log", xlabel="std of the initial weights, at its best rate", title="Weights matter less")
axes[2].set(xlabel="epoch, at the best rate (band: 5 seeds)", xticks=range(1, 5), title="Training is faster")
axes[2].legend()
figure.savefig(figures / "06_batchnorm_training.png")

# %%
# Without batch norm a rate of 1 is too large; before the activation it still learns at 3. And without it, weights that
# are too small let nothing through at any rate, and from weights that are too large two epochs lead nowhere, not at
# smaller rates either. With batch norm the size of the weights makes no difference to the outputs. It still makes one
# to the learning: a step of the same length turns a long vector of weights less than a short one, so at a rate of 0.1
# the largest weights learn slowest. A larger rate mends some of that, and they are slow even then.
#
# On either side of the activation it trains faster than without. Behind it the first epoch is the better one; after
# four the place of the paper is a little ahead. At a rate of 0.1 for all it would have been the other way round: who
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
