"""
Initialization
==============

Where the weights start decides whether a deep network learns at all. All zero, and its units stay copies of each other.
Too small, and what goes through the layers dies out; too large, and it saturates. In between lies a scale that depends
on the number of inputs and on the activation. We measure the lectures' tables again, and beside them the initializers
that they only cite.
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
# nothing ever tells them apart. Thirty units are then one unit, and worse than a linear model, which has no hidden
# units. With zeros it is worse still: tanh(0) = 0, so no weight of the last layer gets a gradient, they pass none on
# to the layers below, and all that learns is the last bias. (With sigmoids it differs: :doc:`03d_gradients_by_hand`.)


def digit_net(init):
    return dl.Sequential(
        dl.Dense(784, 30, init=init), dl.Tanh(), dl.Dense(30, 10, init=init), backend="cpu", seed=0
    )  # fmt: skip


def accuracy_after_training(model):
    history = dl.fit(
        model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Momentum(0.05), epochs=6,
        graph=True, progress=False,
    )  # fmt: skip
    return history["validation_accuracy"][-1]


symmetric = {init: digit_net(init) for init in ("zeros", "constant(value=0.01)", "glorot_uniform")}
symmetric_accuracy = {init: accuracy_after_training(model) for init, model in symmetric.items()}
linear_accuracy = accuracy_after_training(dl.Sequential(dl.Dense(784, 10), backend="cpu", seed=0))
unit_spread = {}  # the largest difference between two hidden units in a weight of the first layer, after training
for init, model in symmetric.items():
    unit_spread[init] = np.ptp(model.layers[0].weight.value, axis=1).max()
    print(f"{init:21} units differ by {unit_spread[init]:.2g}   test accuracy {symmetric_accuracy[init]:.1%}")
print(f"linear model                               test accuracy {linear_accuracy:.1%}")

claims += [
    ("zero / constant", "difference of units after 6 epochs, zeros", 0.0, unit_spread["zeros"]),
    ("zero / constant", "difference of units after 6 epochs, constant", 0.0, unit_spread["constant(value=0.01)"]),
    ("zero / constant", "test accuracy, constant", None, symmetric_accuracy["constant(value=0.01)"]),
    ("zero / constant", "test accuracy of a linear model", None, linear_accuracy),
]

# %%
# Too small, too large, and 1/√n
# ------------------------------
# The lectures' experiment: 1,000 rows from N(0, 1) with 500 features go through 10 tanh layers of 500 units. The
# numbers are standard deviations of what comes out of each layer. They depend on the draw by about one percent, so we
# take the mean over four seeds. (The lecture's table of the small weights has six decimals: from layer 8 on they are
# one digit.)

SMALL, LARGE, SCALED = "normal(std=0.01)", "normal(std=1.0)", "lecun_normal"
lecture = {
    SMALL: [0.213081, 0.047551, 0.010630, 0.002378, 0.000532, 0.000119, 0.000026, 0.000006, 0.000001, 0.000000],
    SCALED: [0.627953, 0.486051, 0.407723, 0.357108, 0.320917, 0.292116, 0.273387, 0.254935, 0.239266, 0.228008],
}
LAYERS, UNITS, ROWS, SEEDS = 10, 500, 1000, 4


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
    outputs[init] = np.mean([output_stds(*stack(init, seed=seed)) for seed in range(SEEDS)], axis=0)
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
axes[0].set_ylabel("standard deviation")
for axis in axes:
    axis.set_yscale("log")
    axis.set_xlabel("layer")
    axis.grid(alpha=0.3)
axes[0].legend(loc="lower left")
figure.savefig(figures / "03_initialization_tanh.png")

figure, axes = plt.subplots(3, 4, figsize=(8, 4.6), layout="constrained", sharex=True)
for line, (init, color) in zip(axes, ((SMALL, ORANGE), (LARGE, GREEN), (SCALED, BLUE)), strict=True):
    for axis, i in zip(line, (0, 3, 6, 9), strict=True):
        axis.hist(example[init][i].ravel(), bins=41, range=(-1, 1), color=color, histtype="stepfilled")
        axis.set_yticks([])
        axis.set_title(f"{labels[init]}, layer {i + 1}", fontsize="small")
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
# in minidl; weights are arrays that we may set.)

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
# Outputs of the third of three layers with 256 units each. The naive normal N(0, 1) saturates sigmoid and tanh. With
# Glorot's variance :math:`2 / (n_\mathrm{in} + n_\mathrm{out})`, normal or uniform, both have a bell. That of the
# sigmoid has humps: a unit hardly moves about a mean of its own, and there are 256 means. Outputs of the ReLU pile up
# at 0 and are never negative, whatever the weights.

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
figure.suptitle("Naive weights saturate, Glorot's give a bell, a ReLU is one-sided", fontsize="medium")
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
# The factor 4 for the sigmoid, the factor √2 for the ReLU
# --------------------------------------------------------
# Glorot's scale is made for an activation that has slope 1 at 0, as tanh does. The sigmoid has 1/4 there, and the
# lectures' table gives it 4 times the range: :math:`r = 4 \sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})}`. A ReLU halves
# the second moment, and He's :math:`2 / n_\mathrm{in}` doubles it again. ``init="auto"`` knows both.

auto = dl.Sequential(dl.Dense(300, 200), dl.Sigmoid(), dl.Dense(200, 100), dl.ReLU(), backend="cpu", seed=0)
largest_weight = np.abs(auto.layers[0].weight.value).max()
he_std = auto.layers[2].weight.value.std()
print(auto.layers[0].init_summary(), "|", auto.layers[2].init_summary())
claims += [
    ("Glorot for the logistic sigmoid", "r for 300 → 200", 4 * np.sqrt(6 / 500), largest_weight),
    ("He (Kaiming/MSRA)", "standard deviation for 200 inputs", np.sqrt(2 / 200), he_std),
]


def sigmoid_stds(gain, centred=False):
    """Per sigmoid layer, the standard deviation of a unit over the samples, as a mean over the units."""
    model, rows = stack(f"glorot_uniform(gain={gain})", dl.Sigmoid, layers=8, units=256)
    if centred:  # x W - W/2 is (x - 1/2) W
        for layer in model.layers[2::2]:
            layer.bias.value[...] = -layer.weight.value.sum(axis=0) / 2
    model.forward(rows)
    return np.array([output.std(axis=0).mean() for output in model.outputs[1::2]])


def relu_sizes(init):
    """Per ReLU layer, the root mean square of all outputs in all seeds."""
    squares = []
    for seed in range(SEEDS):
        model, rows = stack(init, dl.ReLU, layers=20, units=256, seed=seed)
        model.forward(rows)
        squares.append([np.mean(output**2) for output in model.outputs[1::2]])
    return np.sqrt(np.mean(squares, axis=0))


sigmoid_std = {"Glorot": sigmoid_stds(1.0), "4 × Glorot": sigmoid_stds(4.0), "and centred": sigmoid_stds(4.0, True)}
relu_rms = {"Glorot": relu_sizes("glorot_normal"), "He": relu_sizes("he_normal")}
kept = {name: std[7] / std[0] for name, std in sigmoid_std.items()}

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for (name, std), color, style in zip(sigmoid_std.items(), (ORANGE, BLUE, GREEN), ("s--", "o-", "^-."), strict=True):
    axes[0].plot(range(1, 9), std, style, color=color, label=name)
axes[0].set_title("Sigmoid: the factor 4 helps, and centring", fontsize="medium")
axes[0].set_ylabel("std of a unit over samples")
for (name, rms), color, style in zip(relu_rms.items(), (ORANGE, BLUE), ("s--", "o-"), strict=True):
    axes[1].plot(range(1, 21), rms, style, color=color, label=name)
axes[1].set_title("ReLU: with He the second moment stays", fontsize="medium")
axes[1].set_ylabel("root mean square of the outputs")
for axis in axes:
    axis.set_yscale("log")
    axis.set_xlabel("layer")
    axis.grid(alpha=0.3)
    axis.legend()
figure.savefig(figures / "03_initialization_gains.png")

claims += [("Glorot for the logistic sigmoid", f"std of layer 8 over 1, {name}", None, kept[name]) for name in kept]
claims.append(("He (Kaiming/MSRA)", "RMS of layer 20 over layer 1", 1.0, relu_rms["He"][19] / relu_rms["He"][0]))

# %%
# The factor 4 makes samples die out much more slowly, and still they do, by a factor of about 0.6 per layer. The reason
# is the mean of the sigmoid: outputs around 1/2 times weights four times as large push units to where the slope is
# small. Take it out, here with biases of :math:`-\tfrac12 \sum_i w_{ij}`, and it works: since
# :math:`\sigma(z) - \tfrac12 = \tfrac12 \tanh \tfrac z2`, the network is then a tanh network with Glorot's weights.
#
# The cited ones
# --------------
# Each in a ReLU network of 20 layers with 100 units, on 2,000 digits. *Forward* is the factor by which the root mean
# square of the outputs changes per layer, and *backward* that of :math:`\|\delta\|` from a layer to the one below it,
# as means over five seeds. A factor of 1 is what they all aim for; 0.7 per layer is 1/1000 after 20. How they train,
# each with its own best rate, and what the papers are about, is in :doc:`03e_what_the_cited_papers_say`.

digits = train[:2000]
digits = dl.data.Dataset((digits.x - digits.x.mean()) / digits.x.std(), digits.y)
DEPTH, WIDTH = 20, 100
CENTRED_GAIN = np.sqrt(2 / (1 - 1 / np.pi))


def deep(init, kind=dl.Dense, dropout=0.0, seed=0):
    parts = [kind(784, WIDTH, init=init), dl.ReLU()]
    for _ in range(DEPTH - 1):
        parts += [dl.Dropout(dropout)] * bool(dropout) + [kind(WIDTH, WIDTH, init=init), dl.ReLU()]
    return dl.Sequential(*parts, dl.Dense(WIDTH, 10, init="lecun_normal"), backend="cpu", seed=seed)


def factors(model):
    """Per layer: how the root mean square of the outputs grows upward, and ‖δ‖ downward."""
    loss = dl.SoftmaxCrossEntropy()
    loss.forward(model.forward(digits.x, training=True), digits.y)
    sizes, norms, gradient = [], [], loss.backward()
    for layer, output in reversed(list(zip(model.layers, model.outputs, strict=True))):
        gradient = layer.backward(gradient)
        if isinstance(layer, dl.ReLU):
            sizes.append(np.sqrt(np.mean(output.astype(float) ** 2)))
            norms.append(np.linalg.norm(gradient.astype(float)))
    return (sizes[0] / sizes[-1]) ** (1 / (DEPTH - 1)), (norms[-1] / norms[0]) ** (1 / (DEPTH - 1))


CITED = {
    "Glorot": ("glorot_normal", dl.Dense, None),
    "He": ("he_normal", dl.Dense, None),
    "orthogonal": (f"orthogonal(gain={np.sqrt(2)})", dl.Dense, None),
    "random walk": ("random_walk", dl.Dense, None),
    "LSUV": ("auto", dl.Dense, dl.calibration.lsuv),
    "within-layer": ("he_normal", dl.Dense, dl.calibration.within_layer),
    "centred, He": ("he_normal", dl.CenteredDense, None),
    "centred, adjusted": (f"lecun_normal(gain={CENTRED_GAIN})", dl.CenteredDense, None),
}
cited = {}
for name, (init, kind, calibrate) in CITED.items():
    runs = []
    for seed in range(5):
        model = deep(init, kind, seed=seed)
        if calibrate:
            calibrate(model, digits.x[:500])
        runs.append(factors(model))
    cited[name] = np.mean(runs, axis=0)
print("                    forward  backward")
for name, (forward, backward) in cited.items():
    print(f"{name:18}    {forward:.3f}     {backward:.3f}")

# %%
# - **Orthogonal** weights (with the ReLU's gain √2), the **random walk** and **LSUV** keep both directions near 1,
#   like He.
# - **Within-layer** normalization gives each unit variance 1 *over the samples*. Behind a ReLU part of the second
#   moment is a mean, which does not count, so its weights are larger than He's and gradients grow by
#   :math:`\sqrt{\pi / (\pi - 1)} = 1.21` per layer. Krähenbühl et al. follow it with a step that evens out the rates of
#   learning between the layers; minidl has only the first step, and :doc:`03e_what_the_cited_papers_say` the other.
# - **Centred** weights do not see the mean of their input at all. With He's scale outputs therefore shrink by
#   :math:`\sqrt{1 - 1/\pi} = 0.83` per layer; with a gain that makes up for it they do not, and the gradient grows
#   instead, for the same reason as above.
#
# **Dropout-adjusted** weights are for networks with dropout. Inverted dropout with rate 0.3 divides what it keeps by
# 0.7, which raises the second moment by 1/0.7 per layer:

RATE = 0.3
DROPOUT = {"Glorot": "glorot_normal", "He": "he_normal", "dropout-adjusted": f"dropout_adjusted(rate={RATE})"}
with_dropout = {name: factors(deep(init, dropout=RATE))[0] for name, init in DROPOUT.items()}
print("forward with dropout:", ", ".join(f"{name} {factor:.3f}" for name, factor in with_dropout.items()))

figure, axis = plt.subplots(figsize=(6.5, 3.9), layout="constrained")
lines = {**cited, **{f"{name}, dropout {RATE}": (factor,) for name, factor in with_dropout.items()}}
for row, values in enumerate(lines.values()):
    axis.plot(values[0], row, "o", color=BLUE, label="forward" if row == 0 else None)
    if len(values) > 1:
        axis.plot(values[1], row, "s", color=ORANGE, fillstyle="none", label="backward" if row == 0 else None)
axis.axvline(1, color="black", linewidth=0.8)
axis.set_yticks(range(len(lines)), lines)
axis.invert_yaxis()
axis.set_xlabel(f"factor per layer, in {DEPTH} ReLU layers")
axis.set_title("Behind ReLUs Glorot dies out, most others do not", fontsize="medium")
axis.grid(alpha=0.3, axis="x")
axis.legend()
figure.savefig(figures / "03_initialization_cited.png")

for name, (forward, backward) in cited.items():
    claims += [
        ("cited", f"{name}: factor forward per layer", None, forward),
        ("cited", f"{name}: factor backward per layer", None, backward),
    ]
claims += [("cited", f"{name}: factor forward with dropout", None, factor) for name, factor in with_dropout.items()]

# %%
# Conclusion
# ----------

print()
for row, what, number, ours in claims:
    beside = "" if number is None else f"   (lecture: {number:.4g})"
    print(f"{row}: {what}: {ours:.4g}{beside}")

# %%
# Break it
# --------
# 1. In ``minidl/initializers/__init__.py``, let ``_variance_scaling`` use ``fan_out`` for "fan_in". Square layers do
#    not notice; here only the 200 by 100 layer of ``auto`` does, whose standard deviation becomes 0.141 instead of 0.1.
#    ``tests/properties/test_weights.py::test_weights_follow_their_distribution`` draws matrices that are not square and
#    fails.
# 2. Change ``np.sqrt(2)`` of the orthogonal weights to 1: forward and backward fall to 0.7, like Glorot, and
#    ``tests/tutorials/test_03_initialization.py::test_the_cited_ones_keep_both_directions`` fails.
# 3. Give one weight of ``symmetric["constant(value=0.01)"]`` another value before training: call
#    ``model.parameters()`` and set ``model.layers[0].weight.value[300, 0] = 0.02``. One unit now differs from 29 that
#    stay equal. How much does the accuracy gain?
#    ``tests/tutorials/test_03_initialization.py::test_equal_units_stay_equal`` fails.
# 4. Let ``minidl/initializers/__init__.py`` have ``GLOROT_SIGMOID_GAIN = 1.0``.
#    ``tests/tutorials/test_03_initialization.py::test_auto_knows_the_factors`` fails.
