"""
Training from naive weights
===========================

What does it mean that weights are small or large? A network with small weights says the same of everything; one with
large weights has strong opinions before it has seen a single image, and "must do some un-learning" first, as one
lecture puts it. We look at both in the plane, as the TensorFlow playground does, and then train on digits from each of
the lecture's initializers. Every network gets the learning rate that suits it best: a rate is not a property of the
data, and one for all would only measure whom it suits.
"""

import functools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, figure, the lecture's number, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
SEEDS = range(5)


def at_best_rate(rates, accuracy, choosing):
    """The rate that so many seeds like best, the accuracies of five with it, and whether it is at the edge."""
    tried = [[accuracy(rate, seed) for seed in SEEDS[:choosing]] for rate in rates]
    best = int(np.argmax([np.mean(of) for of in tried]))
    others = [accuracy(rates[best], seed) for seed in SEEDS[choosing:]]
    return rates[best], np.array(tried[best] + others), best in (0, len(rates) - 1)


# %%
# In the plane
# ------------
# Two noisy circles, two hidden layers of 16 tanh units, and all weights zero, or from N(0, s²) with s from 0.01 to 5,
# or from ``init="auto"``, which is Glorot's for tanh. The colours say what the network answers: the probability of the
# outer circle; "sure" is an answer below 0.1 or above 0.9. (Points drawn with other seeds tell the same story.)

plane, new_points = dl.data.circles(200, noise=0.2), dl.data.circles(1000, noise=0.2, seed=1)
PLANES = {"zeros": "zeros", "s = 0.01": "normal(std=0.01)", "auto": "auto", "s = 1": "normal(std=1.0)",
          "s = 5": "normal(std=5.0)"}  # fmt: skip
PLANE_RATES = {"zeros": (0.1,), "s = 0.01": (0.3, 1.0, 3.0, 10.0), "auto": (0.01, 0.03, 0.1, 0.3),
               "s = 1": (0.003, 0.01, 0.03, 0.1), "s = 5": (0.03, 0.1, 0.3, 1.0)}  # fmt: skip
axis_points = np.linspace(-1.5, 1.5, 61, dtype=np.float32)
grid = np.stack(np.meshgrid(axis_points, axis_points), axis=-1).reshape(-1, 2)


def plane_net(init, seed):
    parts = [dl.Dense(2, 16, init=init), dl.Tanh(), dl.Dense(16, 16, init=init), dl.Tanh(), dl.Dense(16, 1, init=init)]
    return dl.Sequential(*parts, backend="cpu", seed=seed)


def accuracy_in_the_plane(model, rate):
    """On new points, after 40 epochs; half, as by guessing, if it diverges."""
    options = {"optimizer": dl.Momentum(rate), "epochs": 40, "batch_size": 20, "graph": True, "progress": False}
    try:
        dl.fit(model, plane, loss=dl.BinaryCrossEntropy(), **options)
    except dl.DivergenceError:
        return 0.5
    return dl.evaluate(model, new_points, loss=dl.BinaryCrossEntropy()).accuracy


def answers(model):
    """The probability of the outer circle at each point of the plane."""
    return 1 / (1 + np.exp(-model.predict(grid).astype(float)[:, 0].reshape(61, 61)))


plane_accuracy, first_loss, before, after, edges = {}, {}, {}, {}, {}
print("two circles   first loss   sure before training   accuracy on new points, 5 seeds   rate")
for name, init in PLANES.items():
    fresh = [plane_net(init, seed) for seed in SEEDS]
    first_loss[name] = np.mean([dl.evaluate(net, new_points, loss=dl.BinaryCrossEntropy()).loss for net in fresh])
    before[name] = [answers(net) for net in fresh]
    rate, plane_accuracy[name], edges[name] = at_best_rate(
        PLANE_RATES[name], lambda rate, seed, init=init: accuracy_in_the_plane(plane_net(init, seed), rate), choosing=5
    )
    trained = plane_net(init, 0)
    accuracy_in_the_plane(trained, rate)
    after[name] = answers(trained)
    mean, low, high = plane_accuracy[name].mean(), plane_accuracy[name].min(), plane_accuracy[name].max()
    sure = np.mean(np.abs(np.array(before[name]) - 0.5) > 0.4)
    print(f"{name:13} {first_loss[name]:9.2f} {sure:20.0%} {mean:21.1%} ({low:.1%} to {high:.1%})   {rate:9}")
    claims.append(("large random", f"two circles, {name}: accuracy on new points", None, mean))
dl.decision_boundary(trained, plane, figures / "03b_training_from_naive_weights_boundary.png")  # s = 5, the classes

figure, axes = plt.subplots(2, 5, figsize=(9, 4.1), layout="constrained", sharex=True, sharey=True)
for column, name in enumerate(PLANES):
    for axis, colours in ((axes[0, column], before[name][0]), (axes[1, column], after[name])):
        picture = axis.imshow(colours, origin="lower", extent=(-1.5, 1.5, -1.5, 1.5), cmap="RdBu", vmin=0, vmax=1)
        for label, marker in ((0, "o"), (1, "s")):
            points, color = plane.x[plane.y == label], ("darkred", "navy")[label]
            axis.scatter(*points.T, s=10, marker=marker, color=color, edgecolors="white", linewidths=0.4)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0, column].set_title(name, fontsize="medium")
    axes[1, column].set_xlabel(f"new points: {plane_accuracy[name].mean():.0%}", fontsize="small")
axes[0, 0].set_ylabel("before training")
axes[1, 0].set_ylabel("after training")
figure.colorbar(picture, ax=axes, label="answer: probability of the outer circle", shrink=0.8)
figure.suptitle("Small weights have no opinion and learn none; large ones begin with a wrong one", fontsize="medium")
figure.savefig(figures / "03b_training_from_naive_weights_planes.png")

# %%
# With s = 0.01 the gradient that reaches the first layer has been through two layers of tiny weights: 400 steps are not
# enough to leave the plateau in most networks, at any rate. With s = 5 the plane is torn into patches with sharp edges
# before the first step. Training moves the edges; patches where no sample lies stay, and new points fall into them.
#
# Nine networks on digits, and three more
# ---------------------------------------
# 1,500 digits, three hidden layers of 64 units, three epochs. The lecture's three activations and three initializers,
# and ``init="auto"``: Glorot's weights for tanh, four times as large for the sigmoid, and He's for ReLUs. Two of five
# seeds choose the rate; each has 1,500 digits of its own.

train, test = dl.data.digits()
test = test[:1000]
LAWS = {"N(0, 1)": "normal(std=1.0)", "Glorot normal": "glorot_normal", "Glorot uniform": "glorot_uniform",
        "auto": "auto"}  # fmt: skip
RATES = {"Sigmoid": (0.3, 1.0, 3.0, 10.0), "Tanh": (0.03, 0.1, 0.3, 1.0), "ReLU": (0.03, 0.1, 0.3, 1.0)}
NAIVE_RELU_RATES = (0.0003, 0.001, 0.003, 0.01)
EPOCHS = 3


def own(seed):
    return train[1500 * seed : 1500 * (seed + 1)]


def digit_net(kind, init, seed):
    parts = [dl.Dense(784, 64, init=init), kind()]
    for _ in range(2):
        parts += [dl.Dense(64, 64, init=init), kind()]
    return dl.Sequential(*parts, dl.Dense(64, 10, init=init), backend="cpu", seed=seed)


def learn(kind, init, rate, seed):
    """The test accuracy after three epochs; that of guessing if it diverges."""
    options = {"optimizer": dl.SGD(rate), "epochs": EPOCHS, "batch_size": 50, "graph": True, "progress": False}
    try:
        model = digit_net(kind, init, seed)
        dl.fit(model, own(seed), loss=dl.SoftmaxCrossEntropy(), **options)
        return dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy()).accuracy
    except dl.DivergenceError:
        return 0.1


accuracy, rate_of, digit_first_loss = {}, {}, {}
print(f"\ndigits                    first loss   test accuracy after {EPOCHS} epochs, 5 seeds   rate")
for kind in (dl.Sigmoid, dl.Tanh, dl.ReLU):
    for name, init in LAWS.items():
        key = kind.__name__, name
        rates = NAIVE_RELU_RATES if key == ("ReLU", "N(0, 1)") else RATES[kind.__name__]
        learned = functools.partial(learn, kind, init)
        rate_of[key], accuracy[key], edges[key] = at_best_rate(rates, learned, choosing=2)
        fresh = [digit_net(kind, init, seed) for seed in SEEDS]
        digit_first_loss[key] = np.mean([dl.evaluate(m, test, loss=dl.SoftmaxCrossEntropy()).loss for m in fresh])
        mean, low, high = accuracy[key].mean(), accuracy[key].min(), accuracy[key].max()
        print(
            f"{kind.__name__:8} {name:15} {digit_first_loss[key]:11.4g} {mean:18.1%} ({low:.1%} to {high:.1%})"
            f"   {rate_of[key]:12}"
        )
for (kind, name), values in accuracy.items():
    row = "Glorot for the logistic sigmoid" if kind == "Sigmoid" else "histograms"
    claims.append((row, f"{kind}, {name}: test accuracy after {EPOCHS} epochs", None, values.mean()))

at_the_edge = [key for key, edge in edges.items() if edge and key != "zeros"]
print("networks whose best rate is at the edge of what we tried:", at_the_edge or "none")

# %%
# - **Naive weights** learn worse than Glorot's behind tanh and ReLU, each with its best rate, and the two flavours of
#   Glorot do not differ by more than the seeds do: both as the lecture says.
# - **Sigmoids** are the exception that it does not mention. With three hidden layers Glorot's weights learn next to
#   nothing, normal or uniform, and even N(0, 1) is better. What is missing is the factor 4 for the slope of 1/4, which
#   ``auto`` has: without it the gradient loses a factor of 4 in each layer.
#
# Un-learning, in steps
# ---------------------
# Who knows nothing and says so has the loss ln 10 = 2.3. How many steps does it take until the loss is below that?


def losses(kind, init, rate, seed):
    """The loss of each batch of a run, before its step."""
    model, loss, optimizer = digit_net(kind, init, seed), dl.SoftmaxCrossEntropy(), dl.SGD(rate)
    order, images, values = np.random.default_rng(seed), own(seed), []
    for _ in range(EPOCHS):
        for rows in np.split(order.permutation(len(images)), len(images) // 50):
            x, labels = images[rows]
            values.append(loss.forward(model.forward(x, training=True), labels))
            model.backward(loss.backward())
            optimizer.step(model.parameters())
    return values


curves, unlearning = {}, {}
for kind in (dl.Tanh, dl.ReLU):
    for name in ("N(0, 1)", "Glorot normal"):
        key = kind.__name__, name
        curves[key] = np.array([losses(kind, LAWS[name], rate_of[key], seed) for seed in SEEDS], dtype=float)
        below = curves[key] < np.log(10)
        unlearning[key] = [int(np.argmax(run)) if run.any() else run.size for run in below]  # all: it never got there
        steps = ", ".join(str(step) for step in sorted(unlearning[key]))
        print(f"{kind.__name__} {name}: steps (of {below.shape[1]}) before the loss is below ln 10: {steps}")
        claims.append(("large random", f"{kind.__name__}, {name}: median of steps before the loss is below ln 10", None,
                       float(np.median(unlearning[key]))))  # fmt: skip

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for axis, kind in zip(axes, ("Tanh", "ReLU"), strict=True):
    for name, color in (("N(0, 1)", ORANGE), ("Glorot normal", BLUE)):
        axis.plot(curves[kind, name].T, color=color, linewidth=0.4, alpha=0.6)
        axis.plot(np.median(curves[kind, name], axis=0), color=color, linewidth=2, label=name)
    axis.axhline(np.log(10), color="black", linestyle=":", label="knows nothing: ln 10")
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_title(kind, fontsize="medium")
    axis.grid(alpha=0.3)
axes[0].set_ylabel("training loss of the batch")
axes[1].legend(fontsize="small")
figure.suptitle("From N(0, 1) a network must first un-learn (thick: median of 5 seeds)", fontsize="medium")
figure.savefig(figures / "03b_training_from_naive_weights_unlearning.png")

# %%
# Behind tanh, networks that start from N(0, 1) spend a quarter of the training or more, and most of them half of it, on
# getting back to knowing nothing; how much depends on the rate, and with 0.1, which other seeds choose, three epochs
# are not enough. Behind ReLUs the loss does not get there in three epochs, although about half of the digits are right
# by then: what is wrong is wrong with outputs in the hundreds.
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
# 1. Let ``minidl/initializers/__init__.py`` have ``GLOROT_SIGMOID_GAIN = 1.0``: "auto" is then Glorot's for sigmoids,
#    too, learns as little, and
#    ``tests/tutorials/test_03b_training_from_naive_weights.py::test_the_sigmoid_needs_its_factor`` fails.
# 2. Give all digit networks the learning rate 0.3. What would you conclude about N(0, 1) behind ReLUs?
