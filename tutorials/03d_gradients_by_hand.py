"""
A 3-2-1 network by hand
=======================

One lecture sets this as a task: three inputs, two hidden units, one output, all of them sigmoids, and all weights the
same. Calculate the partial derivatives, and interpret them. We do it on paper, let minidl check every number, and then
see what the answer means for a training run.
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
# The derivatives
# ---------------
# Forward, with a row :math:`x` of three numbers, :math:`W^1` of shape (3, 2), :math:`W^2` of shape (2, 1), no biases:
#
# .. math::
#
#    h_j = \sigma\Bigl(\sum_i x_i W^1_{ij}\Bigr) , \qquad \hat y = \sigma\Bigl(\sum_j h_j W^2_j\Bigr) , \qquad
#    L = -t \log \hat y - (1 - t) \log (1 - \hat y) .
#
# Backward, starting with :math:`\delta = \partial L / \partial z^2 = \hat y - t` and using
# :math:`\sigma' = \sigma (1 - \sigma)`:
#
# .. math::
#
#    \frac{\partial L}{\partial W^2_j} = h_j \, \delta , \qquad
#    \delta_j = \delta \, W^2_j \, h_j (1 - h_j) , \qquad
#    \frac{\partial L}{\partial W^1_{ij}} = x_i \, \delta_j .
#
# **All weights equal to c**: both hidden units get the same sum, :math:`h_1 = h_2 = h`, and then
# :math:`\delta_1 = \delta_2 = \delta\, c\, h (1 - h)`. So the two columns of :math:`\partial L / \partial W^1` are
# equal. Its rows are not: each has its own :math:`x_i`. **All weights 0**: :math:`h = \hat y = 1/2`, and since
# :math:`c = 0`, all of :math:`\partial L / \partial W^1` is 0. That of :math:`W^2` is not: both of its entries are
# :math:`\tfrac12 (\tfrac12 - t)`.


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


x, t = np.array([[0.5, -1.0, 1.5]]), np.array([[1.0]])


def by_hand(c):
    """The gradients of W¹ and W², from the formulas above."""
    h = sigmoid(x @ np.full((3, 2), c))
    delta = sigmoid(h @ np.full((2, 1), c)) - t
    return x.T @ (delta * c * h * (1 - h)), h.T @ delta


def by_minidl(init):
    """The same from the backward pass; the loss has the last sigmoid inside."""
    model = dl.Sequential(
        dl.Dense(3, 2, init=init), dl.Sigmoid(), dl.Dense(2, 1, init=init), backend="cpu", seed=0, dtype="float64"
    )  # fmt: skip
    loss = dl.BinaryCrossEntropy()
    loss.forward(model.forward(x, training=True), t)
    model.backward(loss.backward())
    return model.layers[0].weight.gradient.copy(), model.layers[2].weight.gradient.copy()


hand, ours = {}, {}
for c in (0.0, 0.3):
    hand[c], ours[c] = by_hand(c), by_minidl(f"constant(value={c})")
    print(f"all weights {c}: dL/dW² {np.round(ours[c][1].ravel(), 4)}, dL/dW¹\n{np.round(ours[c][0], 4)}")
    largest = max(np.abs(a - b).max() for a, b in zip(hand[c], ours[c], strict=True))
    print(f"    largest difference from the formulas: {largest:.1e}")
claims += [
    ("zero / constant", "3-2-1, zeros: largest entry of dL/dW¹", 0.0, np.abs(ours[0.0][0]).max()),
    ("zero / constant", "3-2-1, zeros: dL/dW² for t = 1", -0.25, ours[0.0][1][0, 0]),
    ("zero / constant", "3-2-1, all 0.3: difference of the columns of dL/dW¹", 0.0, np.ptp(ours[0.3][0], axis=1).max()),
    ("zero / constant", "3-2-1, all 0.3: difference of its rows", None, np.ptp(ours[0.3][0], axis=0).max()),
]

# %%
# A slide of another lecture says that with zeros "the derivative is the same for every w in every layer". That is right
# within the last layer, and within the first, where all are 0, but the two layers differ; and with a constant it is
# wrong within the first layer, too: equal are the weights of *different units* from the *same input*.
#
# What it means for training
# --------------------------
# Columns that are equal, with gradients that are equal, stay equal. The two hidden units are one unit, at every step.
# With zeros :math:`W^2` moves first, and :math:`W^1` in the step after it: with sigmoids, unlike with tanh, zeros do
# learn, as one unit. How much difference is needed to tell two apart? The output shall say whether the first two inputs
# are both positive, for which one unit is not enough. We add ε times N(0, 1) to the weights 0.3 of the first layer, and
# take 800 steps on all of 300 rows.

STEPS, SEEDS = 800, range(5)
EPSILONS = {"ε = 0": 0.0, "ε = 1e-6": 1e-6, "ε = 1e-3": 1e-3, "ε = 1": 1.0}


def train(epsilon, seed, init="constant(value=0.3)"):
    """How far the two hidden units are apart before each step and at the end, the accuracy, and the first weights."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((300, 3))
    labels = ((rows[:, 0] > 0) & (rows[:, 1] > 0)).astype(float)[:, None]
    first = dl.Dense(3, 2, init=init)
    model = dl.Sequential(first, dl.Sigmoid(), dl.Dense(2, 1, init=init), backend="cpu", dtype="float64")
    parameters, loss, optimizer = model.parameters(), dl.BinaryCrossEntropy(), dl.Momentum(0.3)
    first.weight.value[...] += epsilon * rng.standard_normal((3, 2))
    apart = []
    for _ in range(STEPS):
        apart.append(np.linalg.norm(first.weight.value[:, 0] - first.weight.value[:, 1]))
        loss.forward(model.forward(rows, training=True), labels)
        model.backward(loss.backward())
        optimizer.step(parameters)
    apart.append(np.linalg.norm(first.weight.value[:, 0] - first.weight.value[:, 1]))
    return np.array(apart), np.mean((model.forward(rows) > 0) == (labels > 0)), first.weight.value.copy()


apart, accuracy = {}, {}
for name, epsilon in EPSILONS.items():
    runs = [train(epsilon, seed) for seed in SEEDS]
    apart[name] = np.array([run for run, *_ in runs])
    accuracy[name] = np.array([share for _, share, _ in runs])
    start, end = np.median(apart[name][:, [0, -1]], axis=0)
    mean, low, high = accuracy[name].mean(), accuracy[name].min(), accuracy[name].max()
    print(f"{name:9} units {start:.2g} apart, at the end {end:.2g}; accuracy {mean:.1%} ({low:.1%} to {high:.1%})")
    claims.append(("zero / constant", f"3-2-1, {name}: accuracy after {STEPS} steps", None, accuracy[name].mean()))

zeros_apart, zeros_accuracy, zeros_weights = train(0.0, 0, init="zeros")
print(f"zeros     units are {zeros_apart.max():.2g} apart at most; first weights\n{np.round(zeros_weights, 2)}")

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for (name, curves), color in zip(list(apart.items())[1:], (GREEN, ORANGE, BLUE), strict=True):
    axis.plot(curves.T, color=color, linewidth=0.6, alpha=0.6)
    axis.plot(np.median(curves, axis=0), color=color, linewidth=2, label=name)
axis.plot([], [], color="black", label="ε = 0: exactly 0 at every step")
axis.set_yscale("log")
axis.set_xlabel("step")
axis.set_ylabel("distance of the two hidden units")
axis.set_title("Equal units stay equal; the smallest difference grows", fontsize="medium")
axis.grid(alpha=0.3)
axis.legend(loc="lower right", fontsize="small")
figure.savefig(figures / "03d_gradients_by_hand_symmetry.png")

# %%
# One unit gets as far as one unit can: other rates, such as 0.1 and 1, and 3,000 steps do not get it further. (For
# zeros one seed is enough, as no weight is drawn.) Any difference, however small, grows exponentially as soon as the
# one unit has learned what it can, so breaking the symmetry takes no more than a random number; what its size decides
# is the time that is lost. This is why biases may all start at 0: the weights have done it already.
#
# Conclusion
# ----------

print()
for row, what, lecture, number in claims:
    beside = "" if lecture is None else f"   (lecture: {lecture:.4g})"
    print(f"{row}: {what}: {number:.4g}{beside}")

# %%
# Break it
# --------
# 1. In ``by_hand``, leave out ``h * (1 - h)``: the printed difference from minidl is no longer 0, and
#    ``tests/tutorials/test_03d_gradients_by_hand.py::test_the_formulas_are_what_minidl_computes`` fails.
# 2. Give the two entries of :math:`W^2` different constants and keep those of :math:`W^1` equal. Are the columns of
#    :math:`\partial L / \partial W^1` still equal? Predict it from the formulas.
# 3. Put ``dl.Tanh()`` in place of the sigmoid, and zeros everywhere. What moves now?
