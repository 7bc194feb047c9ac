r"""
Babysitting a training run
==========================

Most training runs that fail were lost before the first epoch: labels that do not belong to the inputs, a first loss of
500, a learning rate that is ten times too large. The way here, that of CS231n, goes from cheap checks to expensive
ones. Look at the data, know the first loss, learn 20 samples by heart, find the learning rate, watch the curves, and
only then decide what the network needs: more regularization, or more capacity.
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
# Look at the data
# ----------------
#
# 1,000 digits to train with, 2,000 to validate. ``dl.preflight`` asks the questions of this tutorial all at once, each
# with a verdict and, where something is wrong, advice.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 1000, 2000, 7000)


def network(width=64, last="normal(std=0.01)", seed=0):
    return dl.Sequential(dl.Dense(784, width), dl.ReLU(), dl.Dense(width, 10, init=last), backend="cpu", seed=seed)


preflight = dl.preflight(network(), train, validation)
print(preflight)
preflight.plot(figures / "11_babysitting_data.png")

# %%
# All is well here. To see that it would notice, we make four mistakes that everybody makes once.

rng = np.random.default_rng(0)
mistakes = {
    "labels shuffled apart from the images": (
        "labels fit inputs", network(), dl.data.Dataset(train.x, rng.permutation(train.y)), validation,
    ),
    "pixels from 0 to 255": ("scale of inputs", network(), dl.data.Dataset(255 * train.x, train.y), None),
    "100 validation images also in the training set": (
        "leakage", network(), dl.data.concatenate(train, validation[:100]), validation,
    ),
    "all weights zero": (
        "20 samples", dl.Sequential(dl.Dense(784, 64, init="zeros"), dl.ReLU(), dl.Dense(64, 10, init="zeros"), seed=0),
        train, validation,
    ),
}  # fmt: skip
verdicts = {}
for mistake, (question, model, data, held_out) in mistakes.items():
    check = dl.preflight(model, data, held_out)[question]
    verdicts[mistake] = check.verdict
    print(f"{mistake}:\n  {check}")

# %%
# The first loss
# --------------
#
# Before training a network knows nothing. If it also says so, with a probability of 1/10 for each digit, the loss is
# :math:`-\log\frac{1}{10} = 2.303`. A larger loss means that it is sure of what is wrong, and the first epochs go into
# making the weights of the last layer smaller. A penalty must make the cost larger than that, by a little.

x, labels = train
loss = dl.SoftmaxCrossEntropy()
first_loss = {}
for std in (0.01, 0.3, 3.0):
    first_loss[std] = loss.forward(network(last=f"normal(std={std})").forward(x), labels)
    expected = loss.loss_at_random(10) if std == 0.01 else None
    claims.append(("babysitting", f"first loss, last layer with std {std:g}", expected, first_loss[std]))

penalized = dl.Sequential(dl.Dense(784, 64), dl.ReLU(), dl.Dense(64, 10), backend="cpu", seed=0, penalty=dl.L2(0.01))
penalized.forward(x, training=True)
added = penalized.penalty_cost()
claims.append(("babysitting", "what L2 with strength 0.01 adds to the first cost", None, added))

# %%
# Twenty samples by heart
# -----------------------
#
# A network that cannot learn 20 images by heart will not learn 1,000, and this takes a second to find out. No
# regularization for this, and a loss close to zero at the end.

twenty = dl.fit(network(), train[:20], loss=loss, optimizer=dl.Adam(0.01), batch_size=20, epochs=60, progress=False)
memorized = twenty["accuracy"][-1]
claims += [
    ("babysitting", "accuracy on 20 samples after 60 steps", None, memorized),
    ("babysitting", "loss on them", None, twenty["loss"][-1]),
]

# %%
# The learning rate
# -----------------
#
# Let it grow from step to step, and watch the loss: flat, then falling, then exploding. A tenth of the rate with the
# smallest loss is a good first guess (Smith 2017). Then compare whole runs, as in a picture of CS231n: 0.05, which is
# near that guess, a tenth of it, ten times and a hundred times as much, five seeds each.

optimizer = dl.Momentum(0.01)
found = dl.find_learning_rate(network(), train, loss=loss, optimizer=optimizer, batch_size=50, lowest=1e-5)
print(found)
guess = found.suggestion


SEEDS = range(5)


def run(rate, model, epochs=15, **options):
    """The history of a training run; it ends where the loss overflows."""
    options |= {"optimizer": dl.Momentum(rate), "batch_size": 50, "epochs": epochs, "progress": False}
    try:
        return dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), **options)
    except dl.DivergenceError as error:
        return error.history


# %%
# A ``Recorder`` looks into the run with the good rate: how long is a step beside the weights? About a thousandth is the
# rule of thumb (CS231n).

recorder = dl.Recorder(train.x[:200], train.y[:200], every=5)
run(0.05, network(), callbacks=[recorder])
steps = {name: float(np.median(sizes)) for name, sizes in recorder.updates.items()}
recorder.plot(figures / "11_babysitting_inside.png")

RATES = {"low": 0.005, "good": 0.05, "high": 0.5, "very high": 5.0}
curves = {  # (seeds, epochs)
    name: np.array([run(rate, network(seed=seed), graph=True)["loss"] for seed in SEEDS])
    for name, rate in RATES.items()
}

figure, row = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
row[0].plot(found.rates, found.losses, color=BLUE)
row[0].axvline(guess, color=ORANGE, linestyle="--", label=f"suggested: {guess:.2g}")
row[0].set(xscale="log", ylim=(0, 3.5), xlabel="learning rate of the step", ylabel="loss", title="The range test")
row[0].legend(loc="lower left")
looks = ((GREEN, "--"), (BLUE, "-"), (ORANGE, ":"), ("0.3", "-."))
for (name, losses), (color, line) in zip(curves.items(), looks, strict=True):
    row[1].plot(range(1, 16), losses.T, color=color, linestyle=line, alpha=0.7)
    row[1].plot([], [], color=color, linestyle=line, label=f"{name}, {RATES[name]:g}")
row[1].axhline(np.log(10), color="0.6", linewidth=0.8)
row[1].text(1, np.log(10) + 0.06, "log 10", ha="left")
row[1].set(xlabel="epoch", ylim=(0, 5), title="Whole runs, five seeds")
row[1].legend()
figure.suptitle("Low: slow; high: fast at first, then stuck; very high: worse than guessing; between them it learns")
figure.savefig(figures / "11_babysitting_learning_rate.png")

first = {name: float(losses[:, 0].mean()) for name, losses in curves.items()}
final = {name: float(losses[:, -1].mean()) for name, losses in curves.items()}
for name in curves:
    print(f"{name:>9}: training loss {first[name]:.2f} in the first epoch, {final[name]:.2f} in the last")
for name in ("good", "high"):
    claims.append(("babysitting", f"training loss of the first epoch, rate: {name}", None, first[name]))
claims += [("babysitting", f"training loss of epoch 15, rate: {name}", None, loss) for name, loss in final.items()]
claims.append(("babysitting", "‖ΔW‖/‖W‖ of a step, first layer, median", None, steps["0.Dense.weight"]))

# %%
# The high rate is the treacherous one. After one epoch it is ahead, and whoever stops looking there keeps it; then it
# jumps from wall to wall of the valley and never gets down. Make the rate smaller there, as schedules do.
#
# What do the curves ask for?
# ---------------------------
#
# Three networks, 20 epochs on these images, five seeds, and for each the best of five rates, which the first seed
# chooses. With two hidden units the training accuracy is low, too, and the gap is a small part of what is missing: too
# little capacity, and no regularization in the world will help. With 64 units the training accuracy goes to 100 % and
# the validation accuracy stays behind; all that is missing is the gap: it has learned the images by heart, and needs
# regularization, here images that are shifted by up to a pixel in each epoch.

diagnoses = {
    "2 hidden units": (2, {}),
    "64 hidden units": (64, {}),
    "64, shifted images": (64, {"augmentation": dl.data.Augmentation(dl.data.Shift(1))}),
}
GRID = (0.006, 0.02, 0.06, 0.15, 0.4)  # of rates


def curves_of(name, rate, seed):
    """Accuracies on training and on validation rows, (2, epochs)."""
    width, how = diagnoses[name]
    history = run(rate, network(width, seed=seed), 20, validation=validation, graph=True, **how)
    return np.array([history["accuracy"], history["validation_accuracy"]])


accuracies, place_of_best = {}, {}
for name in diagnoses:
    tried = [curves_of(name, rate, SEEDS[0]) for rate in GRID]
    place_of_best[name] = best = int(np.argmax([new[-5:].mean() for _, new in tried]))
    others = [curves_of(name, GRID[best], seed) for seed in SEEDS[1:]]
    accuracies[name] = np.array([tried[best], *others])  # (seeds, 2, epochs)

figure, row = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
advice = ("training is low, too: more capacity", "a gap: regularize", "higher, and the gap is smaller")
gap, reached = {}, {}
for axes, (name, found), told in zip(row, accuracies.items(), advice, strict=True):
    for of, style, label in (
        (found[:, 0], {"color": BLUE}, "training"),
        (found[:, 1], {"color": ORANGE, "ls": "--"}, "validation"),
    ):
        axes.plot(range(1, 21), of.mean(axis=0), **style, label=label)
        axes.fill_between(range(1, 21), of.min(axis=0), of.max(axis=0), color=style["color"], alpha=0.2)
    axes.set(xlabel="epoch", ylim=(0, 1.02), xticks=range(0, 21, 5), xlim=(0.5, 20.5))
    axes.set_title(f"{name}\n{told}", fontsize="medium")
    known, reached[name] = found[:, :, -5:].mean(axis=2).T  # (seeds,)
    gap[name] = known - reached[name]
    claims.append(("babysitting", f"gap between training and validation accuracy, {name}", None, gap[name].mean()))
    claims.append(("babysitting", f"validation accuracy, {name}", None, reached[name].mean()))
row[0].set_ylabel("accuracy")
row[2].legend(loc="lower right")
figure.savefig(figures / "11_babysitting_diagnosis.png")

# %%
# The training accuracy of the last network is measured on shifted images, which are harder; the curve of what it knows
# of its training images as they are lies higher.
#
# Leakage
# -------
#
# A validation accuracy that is too good is a reason for suspicion. Copies of rows are one way in, which ``preflight``
# finds. Another one it cannot see: a choice that looked at the labels of all rows. Take 200 rows of 2,000 features of
# pure noise, with random labels 0 and 1; nobody can predict them. Now keep the 50 features that agree best with the
# labels. If all rows have a say in that, the validation rows too, the validation accuracy is wonderful.

training_rows, validation_rows = np.arange(100), np.arange(100, 200)


def accuracy_on_noise(choosing_rows, seed):
    rng = np.random.default_rng(seed)
    noise, coin = rng.normal(size=(200, 2000)), rng.integers(0, 2, 200)
    x, y = noise[choosing_rows], coin[choosing_rows]
    difference = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    chosen = noise[:, np.argsort(-np.abs(difference))[:50]]
    known, new = (dl.data.Dataset(chosen[rows], coin[rows]) for rows in (training_rows, validation_rows))
    model = dl.Sequential(dl.Dense(50, 2), backend="cpu", seed=0, dtype="float64")
    dl.fit(model, known, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.01), epochs=30, progress=False)
    return dl.evaluate(model, new, loss=dl.SoftmaxCrossEntropy()).accuracy


leaked = np.mean([accuracy_on_noise(np.arange(200), seed) for seed in range(10)])
clean = np.mean([accuracy_on_noise(training_rows, seed) for seed in range(10)])
claims += [
    ("babysitting", "accuracy on noise, features chosen on all rows, 10 times", None, leaked),
    ("babysitting", "accuracy on noise, features chosen on training rows, 10 times", None, clean),
]

# %%
# In short
# --------
#
# Cheap checks first. The curves then say which way to go: a small gap and a low accuracy, more capacity; a gap, more
# regularization; too good to be true, a leak.

for row_name, what, lecture, ours in claims:
    print(f"{row_name}: {what:<76}{ours:8.3f}" + (f"   lecture {lecture:.3f}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# 1. Let ``network`` start its last layer with ``last="normal(std=1.0)"``: the first loss is no longer near log 10, and
#    ``tests/tutorials/test_11_babysitting.py::test_preflight_finds_nothing_wrong_and_every_mistake`` fails.
# 2. Put ``dl.Sigmoid()`` behind the last layer of ``network``, as many do who think of probabilities: the loss takes
#    logits, and ``fit`` refuses. ``dl.Tanh()`` is not refused, but logits between -1 and 1 are never sure: the loss of
#    20 samples stays above :math:`\log(1 + 9 e^{-2}) = 0.80`, and
#    ``tests/tutorials/test_11_babysitting.py::test_twenty_samples_by_heart`` fails.
# 3. In ``_climb`` of ``minidl/training/learning_rate.py``, leave out the ``return`` where the loss explodes: let the
#    condition be ``if False``. Then
#    ``tests/training/test_learning_rate.py::test_the_test_ends_where_the_loss_explodes`` fails.
# 4. In ``_leakage`` of ``minidl/diagnostics/preflight.py``, compare with the rows of ``run.validation`` instead of
#    those of ``run.train``: then every row is a leak.
#    ``tests/diagnostics/test_preflight.py::test_validation_rows_among_the_training_rows`` fails.
