"""
Activations
===========

Without an activation between them, two dense layers are one dense layer. Which activation it is decides how much
gradient comes back through it. We draw all of minidl's activations with their slopes, and then look at three things
the choice does: the sigmoid takes at least three quarters of the gradient per layer, saturated units stop learning, and
outputs that are all positive make the path of the weights a zig-zag. That a ReLU can die is in
:doc:`02b_relu_against_tanh`.
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
# Values and slopes
# -----------------
# The backward pass of an activation multiplies what comes from above by the slope. So if we send ones backward, what
# comes out is the slope itself.

z = np.linspace(-5, 5, 1001)
values, slopes = {}, {}
for name, kind in dl.ACTIVATION_LAYERS.items():
    layer = kind().build("cpu", dtype="float64")
    values[name] = layer.forward(z[:, None], training=True).ravel().copy()
    slopes[name] = layer.backward(np.ones((len(z), 1))).ravel().copy()

figure, axes = plt.subplots(3, 3, figsize=(7.5, 6), layout="constrained", sharex=True, sharey=True)
for axis, name in zip(axes.flat, values, strict=True):
    axis.plot(z, values[name], color=BLUE, label="value")
    axis.plot(z, slopes[name], color=ORANGE, linestyle="--", label="slope")
    axis.set_title(f"{name}: slope {slopes[name].min():.2g} to {slopes[name].max():.3g}", fontsize="medium")
    axis.set_ylim(-2, 3)
    axis.grid(alpha=0.3)
for axis in axes[-1]:
    axis.set_xlabel("z")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.suptitle("Where the slope is near 0, no gradient comes back", fontsize="medium")
figure.savefig(figures / "02_activations_slopes.png")

# %%
# Three of them side by side, in numbers. "Mean" is the mean output for inputs from N(0, 1): it is 0 for an activation
# that is zero-centred. A unit saturates where its slope is nearly 0: sigmoid and tanh on both sides, the ReLU for z <
# 0.

weights = np.exp(-(z**2) / 2)
weights /= weights.sum()  # the normal density on the grid
mean_output = {name: weights @ values[name] for name in values}
slope_at_5 = {name: slopes[name][-1] for name in values}
print("activation  mean output  slope at 0  slope at 5")
for name in ("Sigmoid", "Tanh", "ReLU"):
    print(f"{name:10}  {mean_output[name]:11.3f}  {slopes[name][500]:10.3f}  {slope_at_5[name]:10.6f}")
claims += [
    ("sigmoid", "largest slope", 0.25, slopes["Sigmoid"].max()),
    ("sigmoid", "slope at z = 5 (saturated)", None, slope_at_5["Sigmoid"]),
    ("sigmoid", "mean output for inputs from N(0, 1): not zero-centred", None, mean_output["Sigmoid"]),
    ("tanh", "mean output for inputs from N(0, 1): zero-centred", 0.0, mean_output["Tanh"]),
    ("tanh", "slope at z = 5 (saturated)", None, slope_at_5["Tanh"]),
    ("ReLU", "slope at z = 5 (not saturated)", 1.0, slope_at_5["ReLU"]),
]

# %%
# Four layers
# -----------
# With one unit in each of four layers, :math:`h_l = \sigma(z_l)` and :math:`z_l = w_l h_{l-1} + b_l`, the chain rule is
# a product of terms :math:`w \sigma'`:
#
# .. math::
#
#    \frac{\partial L}{\partial b_1} = \sigma'(z_1) \; w_2 \sigma'(z_2) \; w_3 \sigma'(z_3) \; w_4 \sigma'(z_4) \;
#    \frac{\partial L}{\partial h_4} .
#
# Since :math:`\sigma' = \sigma (1 - \sigma) \le 1/4`, each sigmoid leaves at most a quarter of the gradient, and four
# of them at most :math:`4^{-4} = 1/256`; only weights beyond 4 could make up for it. To see the sigmoids alone we take
# orthogonal weights, which keep the length of every vector that passes them in either direction, whatever the seed.


def gradient_left(kind, depth=8, width=100):
    """‖dL/dx‖ / ‖dL/dy‖ through the first 1, 2, ..., depth layers with orthogonal weights: medians over 200 rows."""
    layers = [layer for _ in range(depth) for layer in (dl.Dense(width, width, init="orthogonal"), kind())]
    model = dl.Sequential(*layers, backend="cpu", seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    model.forward(rng.normal(size=(200, width)), training=True)
    dy, shares = rng.normal(size=(200, width)), []
    for n in range(1, depth + 1):
        dx = dy
        for layer in reversed(layers[: 2 * n]):
            dx = layer.backward(dx)
        shares.append(np.median(np.linalg.norm(dx, axis=1) / np.linalg.norm(dy, axis=1)))
    return shares


depths = np.arange(1, 9)
left = {kind.__name__: gradient_left(kind) for kind in (dl.Sigmoid, dl.Tanh, dl.ReLU)}

figure, axis = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
axis.plot(depths, 0.25**depths, color="black", linestyle=":", label="$4^{-n}$")
for (name, shares), style in zip(left.items(), ((BLUE, "o-"), (ORANGE, "s--"), (GREEN, "^-.")), strict=True):
    axis.plot(depths, shares, style[1], color=style[0], label=name)
axis.set(yscale="log", xlabel="layers, n", ylabel="share of the gradient that is left")
axis.set_title(f"4 sigmoid layers leave 1/{1 / left['Sigmoid'][3]:.0f} of the gradient", fontsize="medium")
axis.grid(alpha=0.3)
axis.legend()
figure.savefig(figures / "02_activations_depth.png")
claims.append(("sigmoid", "gradient left by 4 layers (at most 4⁻⁴)", 4.0**-4, left["Sigmoid"][3]))

# %%
# The ReLU halves the mean square of the gradient per layer, because half of the units are at 0; He's weights make up
# for it by their factor :math:`\sqrt 2`. For the sigmoid the factor would be 4 and more.
#
# All-positive inputs
# -------------------
# The gradient of the weights of a unit is :math:`x\,\delta`: one number :math:`\delta` times the input. If all inputs
# are positive, as behind a sigmoid, all weights of a unit get a gradient of the same sign. With two weights, a step
# can only go up and right or down and left. To get to a solution that lies down and right the path must zig-zag. Here
# one unit learns :math:`y = x_1 - x_2` with one sample a step: from inputs between 0 and 1, from the same inputs with
# their mean subtracted, and from these times 2. Subtracting the mean leaves a quarter of the mean square, so the same
# learning rate makes smaller steps, which alone makes a path straighter; the factor 2 takes that advantage away again.
# The fourth learns from batches of 20.

goal, PATHS = np.array([1.0, -1.0]), range(5)
KINDS = {  # how many times the mean is subtracted, the factor, and the rows in a batch
    "inputs from 0 to 1": (0, 1, 1),
    "centred inputs": (1, 1, 1),
    "centred, same size": (1, 2, 1),
    "0 to 1, batches": (0, 1, 20),
}


def learn(x, batch, steps=200):
    """The path of the two weights, (steps + 1, 2), and their gradients, (steps, 2)."""
    unit = dl.Sequential(dl.Dense(2, 1, init="zeros", bias=False), backend="cpu", dtype="float64")
    (weight,), loss, optimizer = unit.parameters(), dl.MeanSquaredError(), dl.SGD(0.3)
    path, gradients = [weight.value.ravel().copy()], []
    for i in range(steps):
        rows = x[i * batch : (i + 1) * batch]
        loss.forward(unit.forward(rows, training=True), rows @ goal[:, None])
        unit.backward(loss.backward())
        optimizer.step([weight])
        path.append(weight.value.ravel().copy())
        gradients.append(weight.gradient.ravel().copy())
    return np.array(path), np.array(gradients)


paths, one_sign, detours, detour = {}, {}, {}, {}
for name, (means, factor, batch) in KINDS.items():
    signs, detours[name] = [], []
    for seed in PATHS:
        x = np.random.default_rng(seed).uniform(0, 1, (200 * batch, 2))
        path, gradients = learn(factor * (x - means * x.mean(axis=0)), batch)
        paths.setdefault(name, path)  # of the first seed, for the figure
        signs.append(np.mean(gradients[:, 0] * gradients[:, 1] >= 0))
        length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
        detours[name].append(length / np.linalg.norm(path[-1] - path[0]))
    one_sign[name], detour[name] = np.mean(signs), np.mean(detours[name])
    print(f"{name:19} {one_sign[name]:4.0%} of the gradients have one sign; the path is", end=" ")
    print(f"{detour[name]:.2f} times as long ({min(detours[name]):.2f} to {max(detours[name]):.2f}, 5 seeds)")

figure, axes = plt.subplots(1, 4, figsize=(10, 3.8), layout="constrained", sharex=True, sharey=True)
for axis, (name, path), color in zip(axes, paths.items(), (ORANGE, BLUE, BLUE, GREEN), strict=True):
    axis.plot(*path.T, color=color, linewidth=1, marker=".", markersize=3)
    axis.plot(*goal, "*", color="black", markersize=12)
    axis.set_title(f"{name}:\n{detour[name]:.1f} times the straight way", fontsize="small")
    axis.set(xlabel="weight 1", aspect="equal")
    axis.grid(alpha=0.3)
axes[0].set_ylabel("weight 2")
figure.suptitle("All-positive inputs make the path of the weights a zig-zag (star: the solution)", fontsize="medium")
figure.savefig(figures / "02_activations_zigzag.png")

for name, lecture in (("inputs from 0 to 1", 1.0), ("0 to 1, batches", None)):
    what = f"share of steps with gradients of one sign, {name}"
    claims.append(("all-positive inputs", what, lecture, one_sign[name]))
for name in KINDS:
    claims.append(("all-positive inputs", f"length of the path over the straight way, {name}", None, detour[name]))

# %%
# So positive inputs make the detour, and only a small part of the difference is due to the size of the steps: with the
# learning rates 0.03 and 0.1 it is nearly the same (from 0.6 on single steps overshoot). In a batch the samples have
# :math:`\delta` of both signs, and a sum over them need not have one sign for all weights: that is why the zig-zag is
# milder in practice than one sample a step suggests.
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
# 1. In ``minidl/scalar/activations.py``, let ``sigmoid_slope`` return ``y``.
#    ``tests/operations/test_activations.py::test_slope_is_the_derivative_of_value`` fails, and in the first figure the
#    slope of the sigmoid reaches 1.
# 2. Replace ``init="orthogonal"`` by ``init="orthogonal(gain=4.0)"``: the factor 4 that the lectures give the sigmoid.
#    Four sigmoid layers then leave 0.13 of the gradient instead of 0.003, and those of ReLUs make it grow;
#    ``tests/tutorials/test_02_activations.py::test_four_sigmoid_layers_leave_less_than_one_in_256`` fails.
# 3. Let the inputs of the zig-zag be ``uniform(0.5, 1, ...)``: further from 0, and nearly parallel. The path
#    becomes 8 times as long as the straight way.
