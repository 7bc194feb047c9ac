r"""
Schedules of the learning rate
==============================

A learning rate may change during training: large at first, to get somewhere, and small at the end, to stay there. We
draw the usual schedules, start all of them at a rate that is too high to end with, and then give each its own best
rate, to see what is left of the difference.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)

# %%
# Rate over steps
# ---------------
#
# Each is a function of the number of the step. Steps multiply the rate by a factor now and then, the exponential does
# it a little at each step, :math:`1 / (1 + kt)` falls fast and then slowly, the cosine slowly, fast, and slowly. A
# warm-up climbs first, for nets that the full rate would throw off at the start. One cycle does all of it.

STEPS = 240  # of a training run: 12 epochs with 20 batches
SCHEDULES = {
    "constant": lambda rate: dl.schedules.Constant(rate),
    "steps": lambda rate: dl.schedules.Steps(rate, factor=0.3, every=STEPS // 3),
    "exponential": lambda rate: dl.schedules.Exponential(rate, factor=0.1, every=STEPS // 2),
    "1 / (1 + kt)": lambda rate: dl.schedules.InverseTime(rate, half_time=STEPS // 10),
    "cosine": lambda rate: dl.schedules.Cosine(rate, steps=STEPS),
    "warm-up, then cosine": lambda rate: dl.schedules.WarmUp(24, dl.schedules.Cosine(rate, steps=STEPS - 24)),
    "one cycle": lambda rate: dl.schedules.OneCycle(rate, steps=STEPS),
}
COLORS = dict(
    zip(SCHEDULES, ("#000000", "#D55E00", "#E69F00", "#CC79A7", "#0072B2", "#56B4E9", "#009E73"), strict=True)
)
drawn = {name: np.array([schedule(1.0)(step) for step in range(STEPS)]) for name, schedule in SCHEDULES.items()}

figure, row = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axes, scale in zip(row, ("linear", "log"), strict=True):
    for name, values in drawn.items():
        axes.plot(values, color=COLORS[name], label=name)
    axes.set(yscale=scale, xlabel="step", ylim=(0, 1.05) if scale == "linear" else (1e-3, 1.3))
row[0].set_ylabel("learning rate / largest learning rate")
figure.legend(*row[0].get_legend_handles_labels(), loc="outside right center")
figure.suptitle("Six ways to end with small steps, and a constant")
figure.savefig(figures / "12b_schedules_drawn.png")

# %%
# Each at its own rate
# --------------------
#
# 1,000 digits, a net with 32 hidden units, momentum, and six rates for each of five schedules, with two seeds; then
# five seeds at the best rate, and at one that is too high.

digits, _ = dl.data.digits()
train, validation, _ = dl.data.split(digits, 1000, 1000, 8000)
rates = np.logspace(-2.5, 0, 6)
TRAINED = ("constant", "steps", "cosine", "warm-up, then cosine", "one cycle")


def final_losses(schedule, rate, seeds):
    """Losses on training and validation rows after 12 epochs, each (seeds,)."""
    losses = np.full((len(seeds), 2), np.inf)
    for i, seed in enumerate(seeds):
        model = dl.Sequential(dl.Dense(784, 32), dl.ReLU(), dl.Dense(32, 10), backend="cpu", seed=seed)
        optimizer, loss = dl.Momentum(SCHEDULES[schedule](rate)), dl.SoftmaxCrossEntropy()
        try:
            dl.fit(model, train, loss=loss, optimizer=optimizer, epochs=12, batch_size=50, graph=True, progress=False)
            losses[i] = [dl.evaluate(model, rows, loss=loss).loss for rows in (train, validation)]
        except dl.DivergenceError:
            pass
    return losses.T


trained = {
    name: np.array([final_losses(name, rate, (0, 1)) for rate in rates]) for name in TRAINED
}  # (rates, 2, seeds)
validation_losses = {name: losses[:, 1].mean(axis=1) for name, losses in trained.items()}  # (rates,)
place_of_best = {name: int(losses.argmin()) for name, losses in validation_losses.items()}
HIGH = 4  # 0.32, ten times the rate that suits the constant or more


def of_five(name, place):
    return np.concatenate([trained[name][place], final_losses(name, rates[place], (2, 3, 4))], axis=1)


best = {name: of_five(name, place)[1] for name, place in place_of_best.items()}
at_high = {name: of_five(name, HIGH) for name in TRAINED}
high = {name: losses[1] for name, losses in at_high.items()}

figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
for name, marker in zip(TRAINED, "os^vD", strict=True):
    label = f"{name}: {best[name].mean():.3f}"
    axes.plot(rates, validation_losses[name], marker=marker, color=COLORS[name], label=label)
axes.set(xscale="log", ylim=(0.3, 1.3), xlabel="largest learning rate", ylabel="validation loss, two seeds")
figure.legend(title="best loss, five seeds", loc="outside right center")
figure.suptitle("A schedule forgives a rate that is too high, and gains a little at the best one")
figure.savefig(figures / "12b_schedules_rates.png")

for name in TRAINED:
    print(
        f"{name:<21} at {rates[place_of_best[name]]:<6.2g} {best[name].mean():.3f} ± {best[name].std(ddof=1):.3f}; "
        f"at {rates[HIGH]:.2g}: {high[name].mean():.2f}, on training rows {at_high[name][0].mean():.2f}"
    )
    claims += [
        ("hyperparameters", f"validation loss at the best rate, five seeds, {name}", None, best[name].mean()),
        ("hyperparameters", f"validation loss at a rate that is too high, {name}", None, high[name].mean()),
    ]

# %%
# At a constant rate that is too high the loss gets stuck, as in the tutorial on babysitting; a schedule passes through
# that rate, too, and then brings the loss down. With the best rate for each, the schedules win by some hundredths, with
# every seed and by more than the seeds differ, and start higher than the constant does. Which one it is makes no
# difference here. A schedule is a hyperparameter to be searched together with the rate: put on top of the rate that is
# best without it, its steps become too small, and it loses more than it had to gain.
#
# Depth is one, too
# -----------------
#
# How many layers, and of which kind (dense, residual, with batch norm), are hyperparameters like the others. One to
# four hidden layers, each at the best of the same six rates for two of five seeds, with the cosine:


def losses_of_depth(depth, rate, seeds):
    """Validation losses after 12 epochs, (seeds,)."""
    losses = np.full(len(seeds), np.inf)
    for i, seed in enumerate(seeds):
        hidden = [layer for _ in range(depth - 1) for layer in (dl.Dense(32, 32), dl.ReLU())]
        model = dl.Sequential(
            dl.Dense(784, 32), dl.ReLU(), *hidden, dl.Dense(32, 10), backend="cpu", seed=seed,
        )  # fmt: skip
        optimizer, loss = dl.Momentum(dl.schedules.Cosine(rate, steps=STEPS)), dl.SoftmaxCrossEntropy()
        try:
            dl.fit(model, train, loss=loss, optimizer=optimizer, epochs=12, batch_size=50, graph=True, progress=False)
            losses[i] = dl.evaluate(model, validation, loss=loss).loss
        except dl.DivergenceError:
            pass
    return losses


by_depth, place_of_depth = {}, {}
for depth in (1, 2, 3, 4):
    tries = np.array([losses_of_depth(depth, rate, (0, 1)) for rate in rates])
    place_of_depth[depth] = place = int(tries.mean(axis=1).argmin())
    by_depth[depth] = found = np.append(tries[place], losses_of_depth(depth, rates[place], (2, 3, 4)))
    print(f"{depth} hidden: {found.mean():.3f} ± {found.std(ddof=1):.3f} at rate {rates[place]:.2g}")
    claims.append(("hyperparameters", f"validation loss, five seeds, hidden layers: {depth}", None, found.mean()))

# %%
# A second layer gains nothing here, and further ones cost something: 1,000 digits have no use for more capacity, and a
# deeper net of the same width is the harder one to train. With other data the search may end elsewhere.
#
# In short
# --------
#
# Start with the largest rate that learns, and let it fall to nearly nothing. Which curve it falls along matters less
# than that it falls.

for row_name, what, _, ours in claims:
    print(f"{row_name}: {what:<72}{ours:8.3f}")

# %%
# Break it
# --------
#
# 1. In ``Cosine.at`` of ``minidl/schedules.py``, write ``1 - math.cos``. The rate grows during training, and
#    ``tests/tutorials/test_12b_schedules.py::test_schedules_start_high_and_end_low`` fails.
# 2. Let the cosine take ``10 * STEPS``, as happens to those who shorten a run and forget the schedule. It hardly falls:
#    the same test fails, and ``test_a_schedule_forgives_a_rate_that_is_too_high`` beside it.
