"""
Does saturation stop the gradient?
==================================

A saturated unit has a slope near 0, so it lets no gradient through: that is in every lecture. A whole network of them
should then have a gradient that vanishes. For a tanh network it is the other way round. Large weights are what
saturates units, and on the way back the gradient is multiplied by these weights. We derive which of the two wins,
measure it, and then look at ranges: of what goes into the activations, and of what comes out along the layers.
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
# Slopes against weights
# ----------------------
# Weights from :math:`N(0, g^2 / n)`; :math:`g = 1` is the lectures' :math:`1/\sqrt n`, and for :math:`n = 500` their
# N(0, 1) is :math:`g = \sqrt{500} = 22.4`. A layer multiplies the mean square of the gradient by
#
# .. math::
#
#    \chi = g^2 \, E[\varphi'(z)^2] ,
#
# once by the weights and once by the slopes. If most units are saturated, z is spread widely: it has the density
# :math:`1 / (\sqrt{2\pi}\, s)` around 0, where the slopes are, and there
#
# .. math::
#
#    E[\varphi'(z)^2] \approx \frac{1}{\sqrt{2\pi}\, s} \int \varphi'(z)^2 \, dz , \qquad s = g \sqrt{E[\varphi(z)^2]} .
#
# The share of units that still have a slope falls as :math:`1/g`, and the square of the weights grows as
# :math:`g^2`. The weights win: :math:`\chi` grows as :math:`g`. For tanh the integral is 4/3 and outputs are ±1, so
# :math:`\chi \approx 0.53\, g`, which is above 1 wherever the network is saturated at all. For the sigmoid the integral
# is 1/6 and outputs are 0 or 1, with mean square 1/2: :math:`\chi \approx 0.094\, g`, above 1 only from
# :math:`g \approx 10.6` on.

LAYERS, UNITS, ROWS, SEEDS = 10, 256, 100, 5
GAINS = np.array([1, 1.5, 2, 3, 4, 6, 8, 12, 16, 22.4])
PREDICTED = {"Tanh": 4 / 3 / np.sqrt(2 * np.pi), "Sigmoid": 1 / 6 / np.sqrt(np.pi)}  # times g


def stack(kind, init, layers, units, seed=0):
    """Layers of equal width, and rows from N(0, 1) for them."""
    parts = [part for _ in range(layers) for part in (dl.Dense(units, units, init=init), kind())]
    rows = np.random.default_rng(seed).standard_normal((ROWS, units), dtype=np.float32)
    return dl.Sequential(*parts, backend="cpu", seed=seed), rows


def saturation_and_gradient(kind, gain, seed):
    """The share of outputs of the last layer within 1 % of an end, and the standard deviation of the gradient below
    the first layer if it is 1 above the last."""
    model, rows = stack(kind, f"lecun_normal(gain={gain})", LAYERS, UNITS, seed)
    outputs = model.forward(rows, training=True)
    low, high = (-1, 1) if kind is dl.Tanh else (0, 1)
    share = np.mean(np.minimum(outputs - low, high - outputs) < 0.01 * (high - low))
    gradient = np.random.default_rng(100 + seed).standard_normal(rows.shape, dtype=np.float32)
    return share, model.backward(gradient).std()


saturated, left, lowest, highest = {}, {}, {}, {}
for kind in (dl.Tanh, dl.Sigmoid):
    name = kind.__name__
    runs = [[saturation_and_gradient(kind, gain, seed) for seed in range(SEEDS)] for gain in GAINS]
    shares, gradients = np.moveaxis(np.array(runs, dtype=float), 2, 0)
    saturated[name], left[name] = shares.mean(axis=1), np.median(gradients, axis=1)
    lowest[name], highest[name] = gradients.min(axis=1), gradients.max(axis=1)

print(f"{LAYERS} layers of {UNITS} units, medians of {SEEDS} seeds (lowest to highest)")
print("   g   tanh: saturated   gradient                    sigmoid: saturated   gradient")
for i, gain in enumerate(GAINS):
    tanh, sigmoid = (
        f"{saturated[name][i]:9.1%}   {left[name][i]:8.2g} ({lowest[name][i]:.2g} to {highest[name][i]:.2g})"
        for name in ("Tanh", "Sigmoid")
    )
    print(f"{gain:4.3g}   {tanh:44}   {sigmoid}")

# %%
# Wherever the tanh network saturates its gradient grows, up to 10⁵-fold and more. The sentence "saturated, so the
# gradient vanishes" holds for the sigmoid, and for it only up to some ten times :math:`1/\sqrt n`. It also
# holds for one unit: a saturated unit gets hardly any gradient for its own weights, whatever arrives above it, and
# learns slowly. The few units with a slope get far too much.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.7), layout="constrained")
for name, color, marker in (("Tanh", BLUE, "o"), ("Sigmoid", ORANGE, "s")):
    axes[0].plot(GAINS, saturated[name], marker + "-", color=color, label=name)
    axes[1].fill_between(GAINS, lowest[name], highest[name], color=color, alpha=0.25, linewidth=0)
    axes[1].plot(GAINS, left[name], marker, color=color, label=name)
    axes[1].plot(GAINS[3:], (PREDICTED[name] * GAINS[3:]) ** (LAYERS / 2), "--", color=color)
axes[1].plot([], [], "--", color="gray", label="most units saturated: $\\chi^{5}$")
axes[1].axhline(1, color="black", linewidth=0.8)
axes[1].set_yscale("log")
axes[0].set_title("Larger weights saturate both", fontsize="medium")
axes[1].set_title("Tanh: explodes; sigmoid: first vanishes", fontsize="medium")
axes[0].set_ylabel("share of saturated outputs in layer 10")
axes[1].set_ylabel("gradient below layer 1 (1 above layer 10)")
for axis in axes:
    axis.set_xscale("log")
    axis.set_xlabel("g, in weights from N(0, g²/n)")
    axis.grid(alpha=0.3)
axes[0].legend()
axes[1].legend(fontsize="small", loc="lower right")
figure.savefig(figures / "03c_saturation_gradient.png")

for name in ("Tanh", "Sigmoid"):
    for gain in (3, 22.4):
        i = list(GAINS).index(gain)
        claims += [
            ("large random", f"{name}, N(0, {gain}²/n): share of saturated outputs", None, saturated[name][i]),
            ("large random", f"{name}, N(0, {gain}²/n): log10 of the gradient left", None, np.log10(left[name][i])),
        ]

# %%
# Note the range
# --------------
# The lectures say so twice about their histograms, and it is easy to overlook: drawn to fill its frame, every histogram
# looks alike. What goes into the activations of the third of three layers, :math:`z`, and what comes out, in one draw
# (others differ by a percent or two in the deviation, and by more in the range, which is one unit's):

DISTRIBUTIONS = {"normal(std=1.0)": "N(0, 1)", "glorot_uniform": "Glorot uniform", "glorot_normal": "Glorot normal"}
z_std, largest, tanh_z = {}, {}, {}
print("layer 3 of 3, 256 units    std of z      range of z       range of the outputs")
for kind in (dl.Sigmoid, dl.Tanh, dl.ReLU):
    for init, label in DISTRIBUTIONS.items():
        model, rows = stack(kind, init, 3, UNITS)
        y = model.forward(rows, training=True)
        z = model.outputs[-2]
        z_std[kind.__name__, init], largest[kind.__name__, init] = float(z.std()), float(y.max())
        if kind is dl.Tanh:
            tanh_z[label] = z.ravel().copy()
        ranges = f"{z.min():10.4g} to {z.max():8.4g}   {y.min():8.4g} to {y.max():8.4g}"
        print(f"{kind.__name__:8} {label:15} {z.std():10.4g} {ranges}")
for kind in ("Sigmoid", "Tanh", "ReLU"):
    claims.append(("histograms", f"std of z in layer 3, {kind}, N(0, 1)", None, z_std[kind, "normal(std=1.0)"]))

figure, axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
for axis, (label, color) in zip(axes, (("N(0, 1)", ORANGE), ("Glorot normal", BLUE)), strict=True):
    z = tanh_z[label]
    axis.axvspan(-2.65, 2.65, color=GREEN, alpha=0.4, zorder=3, label="|tanh z| < 0.99")
    axis.hist(z, bins=60, color=color, histtype="stepfilled")
    axis.set_title(f"{label}: {np.mean(np.abs(z) < 2.65):.0%} inside, range ±{np.abs(z).max():.2g}", fontsize="medium")
    axis.set_xlabel("z")
    axis.set_yticks([])
    axis.legend(fontsize="small", loc="upper right")
axes[1].set_xlim(-4, 4)
figure.suptitle("What goes into tanh in layer 3: N(0, 1) puts it where there is no slope", fontsize="medium")
figure.savefig(figures / "03c_saturation_range.png")

# %%
# Behind a ReLU nothing saturates: with N(0, 1) the outputs go up into the thousands, and two more layers would make
# a million of that.
#
# Three laws along six tanh layers
# --------------------------------
# One lecture writes ``np.random.random`` for its weights, which is the uniform distribution from 0 to 1, all positive.
# Times 0.001 the outputs shrink to a point. Divided by :math:`\sqrt n`, read literally, each unit gets a weighted sum
# of all units below with weights of one sign and mean :math:`1 / (2\sqrt n)`: that multiplies what they have in common
# by :math:`\sqrt n / 2 = 11` per layer, and from the third layer on nearly everything is ±1. The lecture's figure is
# that of ``randn``, the normal distribution.

LITERAL = {
    "0.001 · U(0, 1)": lambda rng, n: 0.001 * rng.uniform(0, 1, (n, n)),
    "U(0, 1) / √n": lambda rng, n: rng.uniform(0, 1, (n, n)) / np.sqrt(n),
    "N(0, 1) / √n": lambda rng, n: rng.standard_normal((n, n)) / np.sqrt(n),
}
SPAN = {"0.001 · U(0, 1)": 0.05, "U(0, 1) / √n": 1.0, "N(0, 1) / √n": 1.0}
along, ends = {}, {}
for name, draw in LITERAL.items():
    shares = []
    for seed in range(SEEDS):
        model, rows = stack(dl.Tanh, "zeros", 6, 500, seed)
        rng = np.random.default_rng(seed)
        for layer in model.layers[::2]:
            layer.weight.value[...] = draw(rng, 500)
        model.forward(rows, training=True)
        along.setdefault(name, [output.copy() for output in model.outputs[1::2]])  # of seed 0, for the figure
        shares.append([np.mean(np.abs(output) > 0.99) for output in model.outputs[1::2]])
    ends[name] = np.mean(shares, axis=0)
    print(f"{name:16} beyond ±0.99 in layers 1 to 6: " + ", ".join(f"{share:.0%}" for share in ends[name]))
claims.append(
    ("1/sqrt(fan_in)", "U(0, 1)/√n read literally: outputs beyond ±0.99, layer 6", None, ends["U(0, 1) / √n"][5])
)

figure, axes = plt.subplots(3, 6, figsize=(8, 4.6), layout="constrained")
for line, (name, color) in zip(axes, zip(LITERAL, (ORANGE, GREEN, BLUE), strict=True), strict=True):
    for i, axis in enumerate(line):
        span = SPAN[name]
        axis.hist(np.clip(along[name][i].ravel(), -span, span), bins=41, range=(-span, span), color=color)
        axis.set_yticks([])
        axis.set_xticks([-span, span])
        axis.tick_params(labelsize="small")
        axis.set_title(f"Layer {i + 1}", fontsize="small")
    line[0].set_ylabel(name, fontsize="small")
figure.suptitle("Outputs of tanh layers: 0.001·U goes to a point (note the range), U/√n to ±1", fontsize="medium")
figure.savefig(figures / "03c_saturation_literal.png")

# %%
# ReLU layers with Glorot's and with He's weights
# -----------------------------------------------
# The same picture for ReLUs, ten layers. Half of the outputs are 0 in both; we draw the others. Glorot's shrink by
# :math:`\sqrt 2` per layer toward 0, He's keep their range.

SHOWN = (0, 3, 6, 9)
relu_rms = {}
figure, axes = plt.subplots(2, 4, figsize=(8, 3.7), layout="constrained", sharex=True)
for line, (init, label, color) in zip(
    axes, (("glorot_normal", "Glorot", ORANGE), ("he_normal", "He", BLUE)), strict=True
):
    squares = []
    for seed in range(SEEDS):
        model, rows = stack(dl.ReLU, init, LAYERS, UNITS, seed)
        model.forward(rows, training=True)
        outputs = model.outputs[1::2]
        squares.append([np.mean(output.astype(float) ** 2) for output in outputs])
        if seed == 0:
            for axis, i in zip(line, SHOWN, strict=True):
                axis.hist(outputs[i][outputs[i] > 0], bins=50, range=(0, 4), color=color, density=True)
                axis.set_yticks([])
                axis.set_title(f"{label}, layer {i + 1}", fontsize="small")
    relu_rms[label] = np.sqrt(np.mean(squares, axis=0))
    print(f"{label:6} root mean square of the outputs: layer 1 {relu_rms[label][0]:.3f}, 10 {relu_rms[label][9]:.3f}")
figure.suptitle("Positive outputs of ReLU layers: with Glorot they shrink to 0, with He they stay", fontsize="medium")
figure.savefig(figures / "03c_saturation_relu.png")
for label, rms in relu_rms.items():
    claims.append(("He (Kaiming/MSRA)", f"ReLU, {label}: RMS of layer 10 over layer 1", None, rms[9] / rms[0]))

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
# 1. In ``minidl/scalar/activations.py``, let ``sigmoid_slope`` return ``y``. What has the slope 1 on one side no longer
#    saturates there, and ``tests/tutorials/test_03c_saturation.py::test_the_sigmoid_vanishes_first`` fails.
# 2. In the same file, let ``tanh_slope`` return ``1 - y``: then units at -1 have the slope 2.
#    ``test_the_factor_per_layer_is_the_one_derived`` fails there.
# 3. Predict before you run it: with ``orthogonal(gain=...)`` in place of ``lecun_normal(gain=...)``, at which g does
#    the tanh network begin to explode?
