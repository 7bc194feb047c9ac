"""
Factors for activations, and the initializers that are cited
============================================================

Glorot's weights suit tanh. What does a sigmoid need, and a ReLU? And what do the initializers do that the lectures only
cite: how much does a signal change from layer to layer, forward and backward?
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


ROWS, SEEDS = 1000, range(5)


def stack(init, activation, layers, seed=0):
    """Layers of 256 units, and rows from N(0, 1) for them."""
    parts = [part for _ in range(layers) for part in (dl.Dense(256, 256, init=init), activation())]
    rows = np.random.default_rng(seed).standard_normal((ROWS, 256), dtype=np.float32)
    return dl.Sequential(*parts, backend="cpu", seed=seed), rows


def sigmoid_stds(gain, centred=False):
    """Per sigmoid layer, the standard deviation of a unit over the samples, as a mean over units and seeds."""
    deviations = []
    for seed in SEEDS:
        model, rows = stack(f"glorot_uniform(gain={gain})", dl.Sigmoid, layers=8, seed=seed)
        if centred:  # x W - W/2 is (x - 1/2) W
            for layer in model.layers[2::2]:
                layer.bias.value[...] = -layer.weight.value.sum(axis=0) / 2
        model.forward(rows)
        deviations.append([output.std(axis=0).mean() for output in model.outputs[1::2]])
    return np.mean(deviations, axis=0)


def relu_sizes(init):
    """Per ReLU layer, the root mean square of all outputs in all seeds."""
    squares = []
    for seed in SEEDS:
        model, rows = stack(init, dl.ReLU, layers=20, seed=seed)
        model.forward(rows)
        squares.append([np.mean(output**2) for output in model.outputs[1::2]])
    return np.sqrt(np.mean(squares, axis=0))


sigmoid_std = {
    "Glorot": sigmoid_stds(1.0),
    "4 × Glorot": sigmoid_stds(4.0),
    "4 × Glorot, centred": sigmoid_stds(4.0, True),
}
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
figure.savefig(figures / "03e_cited_initializers_gains.png")

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
# Each in a ReLU network of 20 layers with 100 units, on 500 digits. *Forward* is the factor by which the root mean
# square of the outputs changes per layer, and *backward* that of :math:`\|\delta\|` from a layer to the one below it,
# as means over five seeds. A factor of 1 is what they all aim for; 0.7 per layer is 1/1000 after 20. How they train,
# each with its own best rate, and what the papers are about, is in :doc:`03f_what_the_cited_papers_say`.

digits = dl.data.digits()[0][:500]
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
    for seed in SEEDS:
        model = deep(init, kind, seed=seed)
        if calibrate:
            calibrate(model, digits.x)
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
#   learning between the layers; minidl has only the first step, and :doc:`03f_what_the_cited_papers_say` the other.
# - **Centred** weights do not see the mean of their input at all. With He's scale outputs therefore shrink by
#   :math:`\sqrt{1 - 1/\pi} = 0.83` per layer; with a gain that makes up for it they do not, and the gradient grows
#   instead, for the same reason as above.
#
# **Dropout-adjusted** weights are for networks with dropout. Inverted dropout with rate 0.3 divides what it keeps by
# 0.7, which raises the second moment by 1/0.7 per layer:

RATE = 0.3
DROPOUT = {"Glorot": "glorot_normal", "He": "he_normal", "dropout-adjusted": f"dropout_adjusted(rate={RATE})"}
with_dropout = {
    name: np.mean([factors(deep(init, dropout=RATE, seed=seed))[0] for seed in SEEDS]) for name, init in DROPOUT.items()
}
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
figure.savefig(figures / "03e_cited_initializers_factors.png")

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
#    ``tests/tutorials/test_03e_cited_initializers.py::test_the_cited_ones_keep_both_directions`` fails.
# 3. Let ``minidl/initializers/__init__.py`` have ``GLOROT_SIGMOID_GAIN = 1.0``.
#    ``tests/tutorials/test_03e_cited_initializers.py::test_auto_knows_the_factors`` fails.
