"""
A first network
===============

Handwritten digits go in, and a network of two layers says which digit each one is. We look at the data, train, look at
the curves and at the mistakes. Then we do by hand what ``fit`` did: first a training step in four lines, then the
backward pass itself, layer by layer, in plain NumPy.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, figure, the lecture's number, ours)
ORANGE = "#D55E00"

# %%
# The data
# --------
# 10,000 digits to train with and 2,000 to test with, a sample of MNIST that ships with minidl. An image of 28 by 28
# pixels is a row of 784 numbers between 0 (paper) and 1 (ink). Always look before you train: are the labels right, are
# the classes about equally frequent, which way up are the images?

train, test = dl.data.digits()
print(train)
print("rows per digit:", np.bincount(train.y))

figure, axes = plt.subplots(2, 8, figsize=(7, 2.2), layout="constrained")
for axis, image, label in zip(axes.flat, train.x, train.y, strict=False):
    axis.imshow(image.reshape(28, 28), cmap="gray_r")
    axis.set_title(label, fontsize="medium")
    axis.axis("off")
figure.suptitle("The first 16 training digits: right side up, and labelled as we would", fontsize="medium")
figure.savefig(figures / "01_first_network_digits.png")

# %%
# The model and its first loss
# ----------------------------
# Two dense layers with a ReLU between them. A network that knows nothing gives every class a probability near 1/10, so
# the first loss should be near :math:`\log 10 = 2.30`. A first loss far above that means that the network starts out
# confident and wrong: usually weights that are too large.


def network(dtype="float32"):
    return dl.Sequential(
        dl.Dense(784, 64), dl.ReLU(), dl.Dense(64, 10, init="normal(std=0.01)"), backend="cpu", seed=0, dtype=dtype
    )


model = network()
print(model.summary())
first_loss = dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy()).loss
print(f"first loss {first_loss:.3f}, log 10 = {np.log(10):.3f}")
claims.append(("babysitting", "initial loss near log C, C = 10", np.log(10), first_loss))

# %%
# Training
# --------
# An epoch is one pass over the training set in random order, 128 rows a step. The test set is
# only watched, once after each epoch.

history = dl.fit(
    model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Momentum(0.05), epochs=15, batch_size=128
)
history.plot(figures / "01_first_network_curves.png")

# %%
# The training loss falls to the end, the validation loss hardly does after ten epochs: the two curves move apart. That
# gap is overfitting, and the tutorials on regularization are about it.
#
# Mistakes
# --------
# The average hides what goes wrong. The most confident mistakes say more: some of them we might get wrong ourselves.

probabilities = dl.softmax(model.predict(test.x))
answers = probabilities.argmax(axis=1)
accuracy = np.mean(answers == test.y)
mistakes = np.flatnonzero(answers != test.y)
mistakes = mistakes[np.argsort(-probabilities[mistakes, answers[mistakes]])]

figure, axes = plt.subplots(2, 6, figsize=(7, 2.9), layout="constrained")
for axis, i in zip(axes.flat, mistakes, strict=False):
    axis.imshow(test.x[i].reshape(28, 28), cmap="gray_r")
    title = f"{answers[i]} ({probabilities[i, answers[i]]:.0%}), is {test.y[i]}"
    axis.set_title(title, fontsize="small", color=ORANGE)
    axis.axis("off")
figure.suptitle(
    f"{len(mistakes)} of {len(test):,} test digits are wrong; these are the most confident mistakes", fontsize="medium"
)
figure.savefig(figures / "01_first_network_mistakes.png")

# %%
# A step by hand
# --------------
# What ``fit`` does with a batch are four lines: forward, loss, backward, update. Two models from the same seed start
# with the same weights. One is trained by ``fit`` for an epoch, in the order of the rows; the other by our own loop.
# They end up with the same bits, so ``fit`` has no secret.

by_fit, by_hand = network(), network()
dl.fit(
    by_fit, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.2), epochs=1, batch_size=128, shuffle=False,
    progress=False,
)  # fmt: skip

loss, optimizer = dl.SoftmaxCrossEntropy(), dl.SGD(0.2)
for start in range(0, len(train), 128):
    x, labels = train[start : start + 128]
    y = by_hand.forward(x, training=True)
    loss.forward(y, labels)
    by_hand.backward(loss.backward())
    optimizer.step(by_hand.parameters())

pairs = list(zip(by_fit.parameters(), by_hand.parameters(), strict=True))
step_difference = max(np.abs(a.value - b.value).max() for a, b in pairs)
print(f"largest difference of a weight after {-(-len(train) // 128)} steps: {step_difference}")
claims.append(("mini-batch SGD loop", "largest difference between fit and the four lines", None, step_difference))

# %%
# The backward pass by hand
# -------------------------
# Call :math:`z^l` what goes into the activation :math:`f` of layer :math:`l`, :math:`h^l = f(z^l)` what comes out, and
# :math:`\delta^l = \partial L / \partial z^l`. The chain rule goes from the last layer to the first:
#
# .. math::
#
#    \delta^L = \nabla L \odot f'(z^L), \qquad
#    \delta^l = W^{l+1} \delta^{l+1} \odot f'(z^l), \qquad
#    \frac{\partial L}{\partial b^l} = \delta^l, \qquad
#    \frac{\partial L}{\partial W^l} = h^{l-1} (\delta^l)^\top .
#
# That is for one sample, as a column. minidl has a sample in each *row* and the weights as (inputs, outputs), so the
# products change sides: :math:`\delta^{l+1} W^\top`, and :math:`h^\top \delta` sums over the batch. For the softmax
# with cross-entropy the first :math:`\delta` has a short form: probabilities minus one-hot labels, over the batch size.

checked = network("float64")
first, relu, second = checked.layers
x, labels = train.x[:32].astype(np.float64), train.y[:32]

z1 = x @ first.weight.value + first.bias.value
h1 = np.maximum(z1, 0)
z2 = h1 @ second.weight.value + second.bias.value
exponentials = np.exp(z2)
softmax = exponentials / exponentials.sum(axis=1, keepdims=True)

delta2 = (softmax - np.eye(10)[labels]) / len(x)
delta1 = delta2 @ second.weight.value.T * (z1 > 0)
gradients = [x.T @ delta1, delta1.sum(axis=0), h1.T @ delta2, delta2.sum(axis=0)]

loss = dl.SoftmaxCrossEntropy()
loss.forward(checked.forward(x, training=True), labels)
checked.backward(loss.backward())
recursion_error = {
    parameter.name: np.abs(parameter.gradient - ours).max() / np.abs(ours).max()
    for parameter, ours in zip(checked.parameters(), gradients, strict=True)
}
for name, error in recursion_error.items():
    print(f"{name:15}  relative difference {error:.1e}")
claims.append(("δ recursion", "largest relative difference of a gradient", None, max(recursion_error.values())))

# %%
# Conclusion
# ----------

print(f"\n{accuracy:.1%} of the test digits are right after {len(history)} epochs.")
for row, what, lecture, ours in claims:
    beside = "" if lecture is None else f"   (lecture: {lecture:.4g})"
    print(f"{row}: {what}: {ours:.4g}{beside}")

# %%
# Break it
# --------
# 1. In ``minidl/layers/dense.py``, let ``backward_parameters`` leave out ``self.ops.column_sums(...)``, so that biases
#    never learn. ``tests/layers/test_dense.py::test_forward_and_backward_are_the_three_products_and_a_sum`` fails, and
#    so does the comparison of gradients above: 100 % off for both biases.
# 2. In the loop by hand, swap the last two lines: the step then uses the gradient of the batch before (none, at first).
#    The loss still falls, which is what makes such a mistake hard to see. The largest difference is no longer 0, and
#    ``tests/tutorials/test_01_first_network.py::test_the_four_lines_are_what_fit_does`` fails.
# 3. In ``minidl/scalar/activations.py``, let ``relu_slope`` return ``ONE`` for every ``z``.
#    ``tests/operations/test_activations.py::test_slope_is_the_derivative_of_value`` fails; so does the comparison of
#    gradients here, in the first layer only, because the mistake is above it.
# 4. Start the last layer with ``init="normal(std=1.0)"`` instead: the first loss is several times log 10.
#    ``tests/tutorials/test_01_first_network.py::test_the_first_loss_is_near_log_10`` fails.
