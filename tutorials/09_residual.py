r"""
Residual blocks
===============

A residual block adds what its layers compute to what came in: :math:`y = x + F(x)`. That makes nets of fifty layers
trainable, but it has a price: each block adds variance. We measure how much, take it away again by zeroing one matrix
in each block, follow the gradient back to the first layer, and train deep nets with and without the sum.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
STYLES = {  # colour, line and marker of each kind of net, in every picture
    "plain": {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    "plain, weights 30 % too small": {"color": "#CC79A7", "linestyle": ":", "marker": "v"},
    "residual": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "residual, last weights 0": {"color": "#009E73", "linestyle": "-.", "marker": "^"},
}

# %%
# Variance grows
# --------------
#
# The block here is dense, ReLU, dense; in nets for images the two are convolutions, and the sum is the same. With He
# weights before the ReLU and :math:`1/\sqrt{n_\mathrm{in}}` behind it (what ``init="auto"`` chooses), F alone keeps the
# variance of its input. As F(x) is not correlated with x,
#
# .. math::
#
#    \mathrm{Var}(x + F(x)) = \mathrm{Var}(x) + \mathrm{Var}(F(x)) = 2\,\mathrm{Var}(x),
#
# so d blocks multiply the variance by :math:`2^d`.


def block(width, zero_init):
    return dl.Residual(dl.Dense(width, width), dl.ReLU(), dl.Dense(width, width), zero_init=zero_init)


def blocks(depth, width, zero_init):
    chain = [block(width, zero_init) for _ in range(depth)]
    return dl.Sequential(*chain, backend="cpu", seed=0, dtype="float64")


rng = np.random.default_rng(0)
x = rng.normal(size=(200, 256))
depth = 12
variances = {}
for name, zero_init in (("residual", False), ("residual, last weights 0", True)):
    chain = blocks(depth, 256, zero_init)
    chain.forward(x)
    variances[name] = np.array([x.var(), *(y.var() for y in chain.outputs)])
growth = (variances["residual"][-1] / variances["residual"][0]) ** (1 / depth)
growth_of_zeroed = variances["residual, last weights 0"][-1] / variances["residual, last weights 0"][0]

# %%
# Zero the last matrix of each block, and F(x) is 0 at the start: the block passes x on, and Var(y) = Var(x) at any
# depth. The block can still learn, because the gradient of that last matrix is not zero, only the matrix is.

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.semilogy(2.0 ** np.arange(depth + 1), color="0.6", linewidth=4, alpha=0.5, label=r"$2^d$")
for name, values in variances.items():
    axes.semilogy(values, **STYLES[name], markersize=4, label=name)
axes.set(
    xlabel="blocks", ylabel="variance of the output", title="Each block doubles the variance, zeroed blocks keep it"
)
axes.legend()
figure.savefig(figures / "09_residual_variance.png")

claims += [
    ("residual blocks", "Var(x + F(x)) / Var(x), geometric mean over 12 blocks", None, growth),
    ("residual blocks", "the same over all 12 blocks", None, variances["residual"][-1] / variances["residual"][0]),
    ("residual blocks", "over all 12 blocks, last weights 0", 1.0, growth_of_zeroed),
]

# %%
# The gradient reaches the first layer
# ------------------------------------
#
# Backward, a block gives :math:`dx = dy + F'^{T} dy`. Whatever F does, dy itself goes past it. In a plain net
# everything must go through the weights. We send one batch through nets with 40 hidden layers, and the gradient of the
# loss back, layer by layer. (The images are at half their size, to save time.)

digits, _ = dl.data.digits()
halved = digits.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)  # the mean of four pixels
train, validation, _ = dl.data.split(dl.data.Dataset(halved, digits.y), 1000, 1000, 8000)
WIDTH = 64


def network(kind, depth, seed=0, rate=0.0):
    """196, then `depth` hidden layers of 64 units, then 10; in residual nets two hidden layers are a block."""
    if kind.startswith("plain"):
        init = "lecun_normal" if "small" in kind else "he_normal"  # for a ReLU the first has half the variance it needs
        hidden = [layer for _ in range(depth) for layer in (dl.Dense(WIDTH, WIDTH, init=init), dl.ReLU())]
    else:
        hidden = []
        for i in range(depth // 2):
            skip = [dl.StochasticDepth(rate * 2 * (i + 1) / depth)] if rate else []
            layers = dl.Dense(WIDTH, WIDTH), dl.ReLU(), dl.Dense(WIDTH, WIDTH), *skip
            hidden.append(dl.Residual(*layers, zero_init="0" in kind))
        hidden.append(dl.ReLU())
    first = dl.Dense(196, WIDTH), dl.ReLU()
    return dl.Sequential(*first, *hidden, dl.Dense(WIDTH, 10), backend="cpu", seed=seed)


def sizes_of_gradients(model):
    """The norm of the gradient at the output of each layer of the chain, from the first hidden layer to the last."""
    loss = dl.SoftmaxCrossEntropy()
    loss.forward(model.forward(train.x[:200], training=True), train.y[:200])
    dy, norms = loss.backward(), []
    for layer in reversed(model.layers[2:]):
        dy = layer.backward(dy)
        norms.append(float(np.linalg.norm(dy)))
    return np.array(norms[::-1])


def likeness(model):
    """How alike the images look behind each layer: the mean cosine between the activations of two different images."""
    model.forward(train.x[:200])
    result = []
    for y in model.outputs[1:-1]:
        unit = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-30)
        cosines = unit @ unit.T
        result.append(float((cosines.sum() - np.trace(cosines)) / (len(y) * (len(y) - 1))))
    return np.array(result)


gradients, alike = {}, {}  # (seeds, layers)
for kind in STYLES:
    models = [network(kind, depth=40, seed=seed) for seed in range(5)]
    norms = np.array([sizes_of_gradients(model) for model in models])
    gradients[kind], alike[kind] = norms / norms[:, -1:], np.array([likeness(model) for model in models])

figure, row = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for kind, style in STYLES.items():
    for axes, values in zip(row, (gradients[kind], alike[kind]), strict=True):
        places = np.linspace(0, 40, values.shape[1])
        axes.plot(places, np.median(values, axis=0), **style, markersize=4, markevery=0.1, label=kind)
        lowest, highest = values.min(axis=0), values.max(axis=0)
        axes.fill_between(places, lowest, highest, color=style["color"], alpha=0.2, linewidth=0)
row[0].set(yscale="log", xlabel="hidden layer", ylabel="gradient, relative to the last layer")
row[0].set_title("The gradient on its way back (right to left)", fontsize="medium")
row[1].set(xlabel="hidden layer", ylabel="mean cosine between two images", ylim=(0, 1.02))
row[1].set_title("How alike all images look", fontsize="medium")
row[1].legend(loc="lower right")
figure.suptitle("40 layers: what reaches the first layer, and what reaches the last (median and range of 5 seeds)")
figure.savefig(figures / "09_residual_gradients.png")

for what, found, place in (
    ("gradient at layer 1 / layer 40", gradients, 0),
    ("cosine of two images at layer 40", alike, -1),
):
    for kind, of in found.items():
        claims.append(("residual blocks", f"{what}, {kind}, median of 5", None, np.median(of[:, place])))

# %%
# In the plain net a small error in the scale of the weights, 30 %, is a factor of a million after 40 layers. With exact
# He weights the gradient arrives at full size, and yet there is a second problem: forward, all images become alike,
# until the last layers see the same vector whatever the image was. The zeroed residual net has neither problem. Without
# zeroing, the gradient explodes the way the variance does.
#
# Training
# --------
#
# 4, 12 and 40 hidden layers, 1,000 digits, five epochs, five seeds, and for each net the best of three learning rates,
# a factor of 3 apart. Two seeds choose it. The gradients of the residual net grow by :math:`2^{d/2}` over d blocks, so
# its rates are sought lower: no kind suffers from the rate of another. (On other digits the best rate may be a
# neighbour of these; the order of the nets is the same.) A net whose loss overflows counts as guessing.

depths = (4, 12, 40)
MIDDLE = {"plain": (0.03, 0.01, 0.003), "residual": (0.03, 0.01, 5e-5), "residual, last weights 0": (0.1, 0.05, 0.01)}


def accuracy(model, rate):
    options = {"optimizer": dl.Momentum(rate), "epochs": 5, "batch_size": 50, "graph": True, "progress": False}
    try:
        dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), **options)
    except dl.DivergenceError:
        return 0.1
    return dl.evaluate(model, validation, loss=dl.SoftmaxCrossEntropy()).accuracy


def accuracies(kind, depth, rate, seeds, skipped=0.0):
    return [accuracy(network(kind, depth, seed, skipped), rate) for seed in seeds]


def at_best_rate(kind, depth, rates, skipped=0.0):
    """The accuracies of five seeds, and which of the rates was best for the first two."""
    tried = [accuracies(kind, depth, rate, (0, 1), skipped) for rate in rates]
    best = int(np.argmax(np.mean(tried, axis=1)))
    return np.array(tried[best] + accuracies(kind, depth, rates[best], (2, 3, 4), skipped)), best


reached, place_of_best = {}, {}  # [kind, depth]: accuracies of five seeds; which of the three rates was best
for kind, middles in MIDDLE.items():
    for depth, middle in zip(depths, middles, strict=True):
        rates = (middle / 3, middle, middle * 3)
        reached[kind, depth], place_of_best[kind, depth] = at_best_rate(kind, depth, rates)
        a, rate = reached[kind, depth], rates[place_of_best[kind, depth]]
        print(f"{kind:>25}, {depth:>2} layers: {a.mean():.0%}, from {a.min():.0%} to {a.max():.0%}; rate {rate:.2g}")

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for kind in MIDDLE:
    middle, low, high = (np.array([f(reached[kind, d]) for d in depths]) for f in (np.mean, np.min, np.max))
    axes.errorbar(depths, middle, (middle - low, high - middle), **STYLES[kind], capsize=3, label=kind)
axes.axhline(0.1, color="0.5", linestyle=":", label="guessing")
axes.set(xlabel="hidden layers", ylabel="validation accuracy, five seeds", ylim=(0, 1), xticks=depths)
axes.set_title("40 layers learn well only with the sum and zeroed blocks")
axes.legend(loc="lower left")
figure.savefig(figures / "09_residual_training.png")

for kind in MIDDLE:
    claims.append(
        ("residual blocks", f"accuracy at 40 layers, 5 seeds, best rate, {kind}", None, reached[kind, 40].mean())
    )

# %%
# With 12 layers the sum is all that is needed. With 40 the variance of the last layer is a million times that of the
# first, and the net overflows at every rate that shallow nets like; at one 600 times smaller it learns
# more than the plain net. With zeroed blocks it learns nearly what a shallow net learns, at a tenth of its rate.
#
# Stochastic depth
# ----------------
#
# If a block may be left out of the sum, it can be left out at random: ``StochasticDepth`` as the last layer of each
# block, with a rate that grows to 0.5 with depth. More than a quarter of the blocks is skipped in training, and none at
# inference. Does the net still learn? Twenty layers, the best of three rates for each, five seeds:

skipped = np.mean([0.5 * (i + 1) / 10 for i in range(10)])
skip_rates = (0.01, 0.03, 0.1)
with_skips = {
    name: at_best_rate("residual, last weights 0", 20, skip_rates, rate)
    for name, rate in (("all blocks", 0.0), ("blocks skipped at random", 0.5))
}
for name, (found, place) in with_skips.items():
    print(f"{name}, rate {skip_rates[place]}: " + ", ".join(f"{each:.1%}" for each in found))
    claims.append(("relatives", f"accuracy at 20 layers, 5 seeds, best rate, {name}", None, found.mean()))

# %%
# It does, some points less well: in five epochs on 1,000 digits there is nothing to gain by it yet.

# %%
# In short
# --------
#
# The sum lets the gradient through and keeps images apart, but doubles the variance with each block; zeroing the last
# weights of each block keeps all that is good and takes the growth away.

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>15}: {what:<68}{ours:10.3g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``Residual.backward`` of ``minidl/layers/residual.py``, leave dy out of the sum (``return
#    self.backward_chain(dy)``). The zeroed blocks let nothing through, and
#    ``tests/tutorials/test_09_residual.py::test_the_gradient_reaches_the_first_layer`` fails.
# 2. In ``Residual.forward``, leave x out in the same way. The variance no longer doubles, and
#    ``tests/layers/test_residual.py::test_the_output_is_the_input_plus_that_of_the_chain`` fails.
# 3. In ``network``, write ``zero_init=False``. The green curve of the last picture falls; the nets with
#    stochastic depth overflow, so that the tutorial stops there and no test of it passes, such as
#    ``tests/tutorials/test_09_residual.py::test_deep_nets_learn_only_with_zeroed_blocks``.
# 4. Put ``dl.ReLU()`` behind the second dense layer of ``block``. minidl refuses to zero it: a ReLU at 0 lets no
#    gradient through, so the block would stay zero for ever. Let ``_check_zero_init`` return at once, and
#    ``tests/properties/test_depth.py::test_a_block_that_cannot_start_at_zero_and_leave_it_is_refused`` fails.
