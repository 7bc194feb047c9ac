"""
Initialization
==============

Where the weights start decides whether a deep network learns at all. All zero, and its units stay copies of each other.
Too small, and what goes through the layers dies out; too large, and it saturates. In between lies a scale that depends
on the number of inputs and on the activation. We measure the lectures' tables again.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, figure, the lecture's number, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
train, test = dl.data.digits()

# %%
# All weights the same
# --------------------
# With zeros or a constant all hidden units of a layer compute the same, get the same gradient, and take the same step:
# nothing ever tells them apart. Thirty units are then one unit, whose one number must tell ten classes apart, and worse
# than a linear model, which has no hidden units. With zeros it is worse still: tanh(0) = 0, so no weight of the last
# layer gets a gradient, they pass none on to the layers below, and all that learns is the last bias: one answer for all
# images. (With sigmoids it differs: :doc:`03d_gradients_by_hand`.) So much holds for every seed and rate, because no
# weight is drawn. How much worse one unit is depends on the rate, so the others get their best of four, which two of
# five seeds choose; a seed is also 2,000 images of its own.

RATES, SEEDS = (0.03, 0.1, 0.3, 1.0), range(5)
NETS = {  # a network for a seed, and its learning rates
    "zeros": (lambda seed: digit_net("zeros", seed), (0.1,)),
    "constant 0.01": (lambda seed: digit_net("constant(value=0.01)", seed), RATES),
    "linear model": (lambda seed: dl.Sequential(dl.Dense(784, 10), backend="cpu", seed=seed), RATES),
    "random": (lambda seed: digit_net("glorot_uniform", seed), RATES),
}


def digit_net(init, seed):
    hidden, last = dl.Dense(784, 30, init=init), dl.Dense(30, 10, init=init)
    return dl.Sequential(hidden, dl.Tanh(), last, backend="cpu", seed=seed)


def train_on_its_images(network, rate, seed):
    """The network after six epochs, and its test accuracy."""
    model, options = network(seed), {"loss": dl.SoftmaxCrossEntropy()}
    own = train[2000 * seed : 2000 * (seed + 1)]
    dl.fit(model, own, optimizer=dl.Momentum(rate), epochs=6, graph=True, progress=False, **options)
    return model, dl.evaluate(model, test, **options).accuracy


symmetric, symmetric_accuracy, best_rate, unit_spread = {}, {}, {}, {}
for name, (network, rates) in NETS.items():
    tried = [[train_on_its_images(network, rate, seed) for seed in SEEDS[:2]] for rate in rates]
    best = int(np.argmax([np.mean([accuracy for _, accuracy in runs]) for runs in tried]))
    best_rate[name] = rates[best]
    others = [train_on_its_images(network, rates[best], seed) for seed in SEEDS[2:]]
    models, accuracies = zip(*tried[best], *others, strict=True)
    symmetric[name], symmetric_accuracy[name] = models, np.array(accuracies)
    # The largest difference between two hidden units in a weight of the first layer:
    unit_spread[name] = max(np.ptp(model.layers[0].weight.value, axis=1).max() for model in models)
    mean, low, high = np.mean(accuracies), min(accuracies), max(accuracies)
    print(f"{name:14} rate {best_rate[name]:4}   units differ by {unit_spread[name]:.2g}", end="")
    print(f"   test accuracy {mean:.1%} ({low:.1%} to {high:.1%})")

claims += [
    ("zero / constant", "difference of units after 6 epochs, zeros", 0.0, unit_spread["zeros"]),
    ("zero / constant", "difference of units after 6 epochs, constant", 0.0, unit_spread["constant 0.01"]),
    ("zero / constant", "test accuracy, constant", None, symmetric_accuracy["constant 0.01"].mean()),
    ("zero / constant", "test accuracy of a linear model", None, symmetric_accuracy["linear model"].mean()),
]

# %%
# Too small, too large, and 1/√n
# ------------------------------
# The lectures' experiment, of CS231n: 1,000 rows from N(0, 1) with 500 features go through 10 tanh layers of 500 units.
# The numbers are standard deviations of what comes out of each layer. They depend on the draw by about one percent, so
# we take the mean over five seeds, and one network for the gradients, which five others have in :doc:`03c_saturation`,
# and for the figures. (The lecture's table of the small weights has six decimals: from layer 8 on they are one digit.)

SMALL, LARGE, SCALED = "normal(std=0.01)", "normal(std=1.0)", "lecun_normal"
lecture = {
    SMALL: [0.213081, 0.047551, 0.010630, 0.002378, 0.000532, 0.000119, 0.000026, 0.000006, 0.000001, 0.000000],
    SCALED: [0.627953, 0.486051, 0.407723, 0.357108, 0.320917, 0.292116, 0.273387, 0.254935, 0.239266, 0.228008],
}
LAYERS, UNITS, ROWS = 10, 500, 1000


def stack(init, activation=dl.Tanh, layers=LAYERS, units=UNITS, seed=0):
    """Layers of equal width, and rows from N(0, 1) for them."""
    parts = [part for _ in range(layers) for part in (dl.Dense(units, units, init=init), activation())]
    rows = np.random.default_rng(seed).standard_normal((ROWS, units), dtype=np.float32)
    return dl.Sequential(*parts, backend="cpu", seed=seed), rows


def output_stds(model, rows):
    """Standard deviation of each layer's output."""
    model.forward(rows, training=True)
    return [float(np.std(output, dtype=float)) for output in model.outputs[1::2]]


def gradient_stds(model, gradient):
    """Standard deviation of the gradient that arrives below each layer, if `gradient` comes from above the last."""
    stds = []
    for layer in reversed(model.layers):
        gradient = layer.backward(gradient)
        if isinstance(layer, dl.Dense):
            stds.insert(0, float(np.std(gradient, dtype=float)))
    return stds


outputs, gradients, example = {}, {}, {}
for init in (SMALL, LARGE, SCALED):
    outputs[init] = np.mean([output_stds(*stack(init, seed=seed)) for seed in SEEDS], axis=0)
    model, rows = stack(init)
    model.forward(rows, training=True)
    example[init] = [output.copy() for output in model.outputs[1::2]]
    gradients[init] = gradient_stds(model, np.random.default_rng(100).standard_normal(rows.shape, dtype=np.float32))

print("layer   N(0, 0.01²)   lecture     1/√n     lecture   N(0, 1)")
for i in range(LAYERS):
    small, scaled = lecture[SMALL][i], lecture[SCALED][i]
    print(
        f"{i + 1:5}   {outputs[SMALL][i]:11.6f}   {small:.6f}   {outputs[SCALED][i]:.6f}   {scaled:.6f}   "
        f"{outputs[LARGE][i]:.6f}"
    )

saturated = np.mean(np.abs(example[LARGE][-1]) > 0.99)
print(f"N(0, 1): {saturated:.1%} of the outputs of the last layer are beyond ±0.99")
for init, row in ((SMALL, "small random"), (SCALED, "1/sqrt(fan_in)")):
    shown = 8 if init == SMALL else LAYERS
    claims += [(row, f"std of layer {i + 1}", lecture[init][i], outputs[init][i]) for i in range(shown)]
claims += [
    ("small random", "std of the gradient below layer 1, from 1 at the top", None, gradients[SMALL][0]),
    ("large random", "share of tanh outputs beyond ±0.99 in layer 10", None, saturated),
    ("large random", "std of the gradient below layer 1, from 1 at the top", None, gradients[LARGE][0]),
]

figure, axes = plt.subplots(1, 2, figsize=(8, 3.7), layout="constrained")
depth = np.arange(1, LAYERS + 1)
labels = {SMALL: "N(0, 0.01²)", LARGE: "N(0, 1)", SCALED: "N(0, 1/n)"}
for init, color, style in ((SMALL, ORANGE, "--"), (LARGE, GREEN, "-."), (SCALED, BLUE, "-")):
    axes[0].plot(depth, outputs[init], style, color=color, label=labels[init])
    axes[1].plot(depth, gradients[init], style, color=color, label=labels[init])
    if init in lecture:
        shown = np.array(lecture[init]) > 0
        axes[0].plot(depth[shown], np.array(lecture[init])[shown], "o", color="black", fillstyle="none")
axes[0].plot([], [], "o", color="black", fillstyle="none", label="lecture")
axes[0].set_title("Outputs: die out, or saturate", fontsize="medium")
axes[1].set_title("Gradients: die out, or explode", fontsize="medium")
axes[0].set_ylabel("standard deviation of the outputs")
axes[1].set_ylabel("standard deviation of the gradient")
for axis in axes:
    axis.set_yscale("log")
    axis.set_xlabel("layer")
    axis.grid(alpha=0.3)
axes[0].legend(loc="lower left")
axes[1].legend(loc="upper right")
figure.savefig(figures / "03_initialization_tanh.png")

figure, axes = plt.subplots(3, 4, figsize=(8, 4.6), layout="constrained", sharex=True)
for line, (init, color) in zip(axes, ((SMALL, ORANGE), (LARGE, GREEN), (SCALED, BLUE)), strict=True):
    for axis, i in zip(line, (0, 3, 6, 9), strict=True):
        axis.hist(example[init][i].ravel(), bins=41, range=(-1, 1), color=color, histtype="stepfilled")
        axis.set_yticks([])
        axis.set_title(f"{labels[init]}, layer {i + 1}", fontsize="small")
for axis in axes[-1]:
    axis.set_xlabel("output")
figure.suptitle("Outputs of tanh layers: all 0 (small), all ±1 (large), alive (1/n)", fontsize="medium")
figure.savefig(figures / "03_initialization_histograms.png")

# %%
# With N(0, 1) the units saturate at ±1: their slopes are nearly 0. The gradient explodes all the same, because the
# weights that saturate the units also multiply it. In a tanh network they win at every scale that saturates, in a
# sigmoid network only at very large ones: :doc:`03c_saturation` derives and measures both.
#
# 0.001 · U(0, 1)
# ---------------
# Small and positive, through 6 tanh layers: the range of the outputs shrinks to a point. (There is no such initializer
# in minidl; weights are arrays that we may set. Each layer multiplies what its inputs have in common by
# :math:`500 \cdot 0.0005 = 1/4`, whatever the seed.)

model, rows = stack("zeros", layers=6)
rng = np.random.default_rng(0)
for layer in model.layers[::2]:
    layer.weight.value[...] = 0.001 * rng.uniform(0, 1, layer.weight.shape)
model.forward(rows)
ranges = [float(np.ptp(output)) for output in model.outputs[1::2]]
print("range of the outputs of 6 tanh layers:", ", ".join(f"{value:.1e}" for value in ranges))
claims += [("0.001·U(0,1)", f"range of layer {i}", None, ranges[i - 1]) for i in (1, 6)]

# %%
# Three activations, three initializers
# -------------------------------------
# Outputs of the third of three layers with 256 units each, 256,000 of them, so that another seed draws the same
# picture. The naive normal N(0, 1) saturates sigmoid and tanh. With Glorot's variance :math:`2 / (n_\mathrm{in} +
# n_\mathrm{out})`, normal or uniform, both have a bell. That of the sigmoid has humps: a unit hardly moves about a mean
# of its own, and there are 256 means. Outputs of the ReLU pile up at 0 and are never negative, whatever the weights.

DISTRIBUTIONS = {"normal(std=1.0)": "N(0, 1)", "glorot_uniform": "Glorot uniform", "glorot_normal": "Glorot normal"}
third = {}
figure, axes = plt.subplots(3, 3, figsize=(8, 5.2), layout="constrained")
for line, kind in zip(axes, (dl.Sigmoid, dl.Tanh, dl.ReLU), strict=True):
    for axis, (init, label) in zip(line, DISTRIBUTIONS.items(), strict=True):
        model, rows = stack(init, kind, layers=3, units=256)
        third[kind.__name__, init] = model.forward(rows).ravel().copy()
        axis.hist(third[kind.__name__, init], bins=60, color=BLUE, histtype="stepfilled")
        axis.set_title(f"{kind.__name__}, {label}", fontsize="small")
        axis.set_yticks([])
for axis in axes[-1]:
    axis.set_xlabel("output")
figure.suptitle("Naive weights saturate, Glorot's stay between the ends, a ReLU is one-sided", fontsize="medium")
figure.savefig(figures / "03_initialization_distributions.png")


def near_the_ends(kind, init):
    """The share of outputs within 1 % of the lower or upper end of the activation."""
    low, high = (0.0, 1.0) if kind == "Sigmoid" else (-1.0, 1.0)
    margin = 0.01 * (high - low)
    return np.mean((third[kind, init] < low + margin) | (third[kind, init] > high - margin))


for kind in ("Sigmoid", "Tanh"):
    for init, label in DISTRIBUTIONS.items():
        claims.append(("histograms", f"share of saturated outputs, {kind}, {label}", None, near_the_ends(kind, init)))
relu_zeros = np.mean(third["ReLU", "glorot_normal"] == 0)
claims.append(("histograms", "share of zeros, ReLU, Glorot normal", None, relu_zeros))

# %%
# What factor each activation needs, and what the initializers do that the lectures cite, is in
# :doc:`03e_cited_initializers`.
#
# Conclusion
# ----------

print()
for row, what, number, ours in claims:
    beside = "" if number is None else f"   (lecture: {number:.4g})"
    print(f"{row}: {what}: {ours:.4g}{beside}")

# %%
# Break it
# --------
# 1. Let ``SMALL`` be ``"normal(std=0.02)"``: a factor of 2 for each layer, and
#    ``tests/tutorials/test_03_initialization.py::test_small_weights_shrink_by_the_lectures_ratios`` fails.
# 2. Before ``fit`` call ``model.parameters()``, which draws the weights, and give one of the first layer another value:
#    ``model.layers[0].weight.value[300, 0] = 0.02``. One unit now differs from 29 that stay equal. How much does the
#    accuracy of the constant gain?
#    ``tests/tutorials/test_03_initialization.py::test_equal_units_stay_equal`` fails.
