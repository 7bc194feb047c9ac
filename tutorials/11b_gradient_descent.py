r"""
Gradient descent: all rows, one row, a few
==========================================

How many rows should a step look at? All of them (classical gradient descent), one (stochastic), or a few (mini-batch)?
We measure how noisy the gradient of a few rows is, and then train in all three ways, each at its own best rate.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# The gradient of a few rows
# --------------------------
#
# The cost is a mean over n rows, and so is its gradient. The mean over b rows drawn at random points the same way on
# average, with an error whose standard deviation is that of one row's gradient divided by :math:`\sqrt b`:
#
# .. math::
#
#    g = \frac{1}{n} \sum_{i=1}^{n} g_i, \qquad
#    \mathrm{E}\,\lVert g_b - g \rVert^2 = \frac{1}{b}\, \mathrm{E}\,\lVert g_i - g \rVert^2 .
#
# A hundred times the work for a tenth of the error.

digits, _ = dl.data.digits()
train, validation, _ = dl.data.split(digits, 500, 1000, 8500)


def network(seed):
    return dl.Sequential(dl.Dense(784, 32), dl.ReLU(), dl.Dense(32, 10), backend="cpu", seed=seed)


def gradient(model, rows):
    loss = dl.SoftmaxCrossEntropy()
    x, labels = train[rows]
    loss.forward(model.forward(x, training=True), labels)
    model.backward(loss.backward())
    return np.concatenate([parameter.gradient.ravel() for parameter in model.parameters()])


batch_sizes = np.array([1, 4, 16, 64, 256])
errors = []  # relative to the length of g, (seeds, batch sizes)
for seed in range(5):
    rng, model = np.random.default_rng(seed), network(seed)
    g = gradient(model, np.arange(500))
    draws = [[gradient(model, rng.integers(0, 500, b)) - g for _ in range(30)] for b in batch_sizes]
    errors.append([np.sqrt(np.mean(np.square(d).sum(axis=1))) / np.linalg.norm(g) for d in map(np.array, draws)])
errors = np.array(errors)
slope = float(np.polyfit(np.log(batch_sizes), np.log(errors.mean(axis=0)), 1)[0])

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.loglog(batch_sizes, errors.T, "o", color=BLUE, markersize=4, alpha=0.6)
axes.loglog(batch_sizes, errors.mean(axis=0)[0] * batch_sizes**-0.5, "--", color="0.5", label=r"$1/\sqrt{b}$")
axes.axhline(1, color=ORANGE, linewidth=1)
axes.text(1, 0.88, "as long as the gradient itself", color=ORANGE, va="top")
axes.set(xlabel="rows in the batch", ylabel="error of the gradient / its length")
axes.set_title("Four times the rows, half the noise")
axes.legend()
figure.savefig(figures / "11b_gradient_descent_noise.png")

claims += [
    ("mini-batch SGD loop", "slope of the gradient's error over the batch size, log-log", -0.5, slope),
    ("mini-batch SGD loop", "error of one row's gradient, relative to the gradient", None, errors[:, 0].mean()),
]

# %%
# Three ways to train
# -------------------
#
# 500 digits, five epochs, five seeds, and for each way the best of five learning rates, which two of the seeds choose.
# In five epochs classical gradient descent takes 5 steps, mini-batches of 25 take 100, and stochastic gradient descent
# 2,500. A fourth run gives the classical way 100 epochs, as many steps as the mini-batches had.

WAYS = {"classical": (500, 5), "mini-batch of 25": (25, 5), "stochastic": (1, 5), "classical, 100 epochs": (500, 100)}
rates = {way: np.logspace(-3, -1, 5) if way == "stochastic" else np.logspace(-1.5, 0.5, 5) for way in WAYS}


def losses_of(batch_size, epochs, rate, seeds):
    """Validation losses along the epochs, (seeds, epochs), and the seconds for an epoch."""
    losses, seconds = np.full((len(seeds), epochs), np.inf), []
    for i, seed in enumerate(seeds):
        try:
            history = dl.fit(
                network(seed), train, validation=validation, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(rate),
                epochs=epochs, batch_size=batch_size, graph=True, progress=False,
            )  # fmt: skip
            losses[i] = history["validation_loss"]
            seconds.append(np.median(history["seconds"]))
        except dl.DivergenceError:
            pass
    return losses, np.median(seconds) if seconds else np.nan


losses, by_rate, place_of_best = {}, {}, {}
for way, (batch_size, epochs) in WAYS.items():
    tries = [losses_of(batch_size, epochs, rate, (0, 1))[0] for rate in rates[way]]
    by_rate[way] = np.array([tried[:, -1].mean() for tried in tries])
    place_of_best[way] = best = int(by_rate[way].argmin())
    others, seconds = losses_of(batch_size, epochs, rates[way][best], (2, 3, 4))
    losses[way] = np.concatenate([tries[best], others])
    steps = 500 // batch_size * epochs
    print(
        f"{way:<22}{steps:>5} steps, rate {rates[way][best]:.2g}: validation loss {losses[way][:, -1].mean():.2f} ± "
        f"{losses[way][:, -1].std(ddof=1):.2f}, {1000 * seconds:.1f} ms for an epoch"
    )
    claims.append(("mini-batch SGD loop", f"validation loss, five seeds, {way}", None, losses[way][:, -1].mean()))

figure, row = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
looks = dict(zip(WAYS, ((ORANGE, "s-"), (BLUE, "o-"), (GREEN, "^-"), (ORANGE, "--")), strict=True))
for way, (batch_size, epochs) in WAYS.items():
    (color, style), epoch, mean = looks[way], np.arange(1, epochs + 1), losses[way].mean(axis=0)
    if epochs == 5:
        row[0].plot(epoch, mean, style, color=color, label=way)
    row[1].plot(epoch * (500 // batch_size), mean, style, color=color, label=way)
row[0].set(xlabel="epoch", ylabel="validation loss, five seeds", title="For each row that is looked at", ylim=(0, 2.5))
row[0].set_xticks(range(1, 6))
row[1].set(xscale="log", xlabel="step", title="For each step")
row[1].legend(fontsize="small")
figure.suptitle("Few rows at a time learn most from each row, all rows most from each step")
figure.savefig(figures / "11b_gradient_descent_ways.png")

# %%
# From each row that it looks at classical gradient descent learns least. A mini-batch of 25 has more error in its
# gradient than there is gradient, at least at the start, but 20 such steps cost as much as one exact step, and along
# the way their errors cancel. From each step classical gradient descent learns most, and with as many steps as the
# mini-batches it comes out a little ahead, at 20 times their number of rows. One row at a time needs a rate that is
# some thirty times smaller, or the noise keeps the loss up, and many times the seconds, because a processor multiplies
# matrices faster than it multiplies as many vectors. Mini-batches are the bargain between the two.
#
# In short
# --------
#
# A few rows give a poor direction at a fraction of the cost, and many steps in poor directions get further than a few
# in the best one. Enough rows at once keep the processor busy.

for row_name, what, lecture, ours in claims:
    print(f"{row_name}: {what:<66}{ours:8.3f}" + (f"   by the formula {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# 1. Draw the batches with ``rng.permutation(500)[:b]``. Without putting rows back the error shrinks faster than
#    :math:`1 / \sqrt b`, and ``tests/tutorials/test_11b_gradient_descent.py::test_four_times_the_rows_half_the_noise``
#    fails.
# 2. Give the stochastic way the rates of the others. Its best is the smallest of them, and
#    ``tests/tutorials/test_11b_gradient_descent.py::test_each_way_has_its_best_rate_inside_the_grid`` fails.
