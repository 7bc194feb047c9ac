r"""
Babysitting a training run
==========================

Most training runs that fail were lost before the first epoch: labels that do not belong to the inputs, a first loss of
500, a learning rate that is ten times too large. The way here goes from cheap checks to expensive ones. Look at the
data, know the first loss, learn 20 samples by heart, find the learning rate, watch the curves, and only then decide
what the network needs: more regularization, or more capacity.
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
# 1,000 digits to train with, 1,000 to validate. ``dl.preflight`` asks the questions of this tutorial all at once, each
# with a verdict and, where something is wrong, an advice.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 1000, 1000, 8000)


def network(width=64, last="normal(std=0.01)", seed=0, rate=0.0):
    return dl.Sequential(
        dl.Dense(784, width), dl.ReLU(), dl.Dropout(rate), dl.Dense(width, 10, init=last), backend="cpu", seed=seed
    )


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
# smallest loss is a good first guess (Smith 2017). Then compare whole runs: a hundredth of that rate, itself, and a
# hundred times as much.

optimizer = dl.Momentum(0.01)
found = dl.find_learning_rate(network(), train, loss=loss, optimizer=optimizer, batch_size=50, lowest=1e-5)
print(found)
guess = found.suggestion


def run(rate, epochs=15, model=None, data=train, **options):
    """Train a network, and return it with its history; the history ends where the loss overflows."""
    model = network() if model is None else model
    try:
        history = dl.fit(
            model, data, validation=validation, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Momentum(rate),
            batch_size=50, epochs=epochs, progress=False, **options,
        )  # fmt: skip
    except dl.DivergenceError as error:
        history = error.history
    return model, history


# %%
# A ``Recorder`` looks into the run with the good rate: how long is a step beside the weights? About a thousandth is the
# rule of thumb.

recorder = dl.Recorder(train.x[:200], train.y[:200], every=5)
curves = {f"a hundredth, {guess / 100:.2g}": run(guess / 100)[1]}
watched, curves[f"suggested, {guess:.2g}"] = run(guess, callbacks=[recorder])
curves[f"a hundred times, {100 * guess:.2g}"] = run(100 * guess)[1]
steps = {name: float(np.median(sizes)) for name, sizes in recorder.updates.items()}
recorder.plot(figures / "11_babysitting_inside.png")

figure, row = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
row[0].plot(found.rates, found.losses, color=BLUE)
row[0].axvline(guess, color=ORANGE, linestyle="--", label=f"suggested: {guess:.2g}")
row[0].set(xscale="log", ylim=(0, 3.5), xlabel="learning rate of the step", ylabel="loss", title="the range test")
row[0].legend(loc="lower left")
for (name, history), color, line in zip(curves.items(), (GREEN, BLUE, ORANGE), ("--", "-", ":"), strict=True):
    row[1].plot(history["epoch"], history["loss"], color=color, linestyle=line, label=name)
row[1].axhline(np.log(10), color="0.6", linewidth=0.8)
row[1].text(15, np.log(10) + 0.05, "log 10", ha="right")
row[1].set(xlabel="epoch", ylim=(0, 3.5), title="whole runs")
row[1].legend()
figure.suptitle("too small: hardly any progress; too large: no progress; between them it learns")
figure.savefig(figures / "11_babysitting_learning_rate.png")

final = {name.split(",")[0]: history["loss"][-1] if len(history) else np.inf for name, history in curves.items()}
claims += [
    ("babysitting", f"training loss after 15 epochs, rate: {name}", None, value) for name, value in final.items()
]
claims.append(("babysitting", "‖ΔW‖/‖W‖ of a step, first layer, median", None, steps["0.Dense.weight"]))

# %%
# What do the curves ask for?
# ---------------------------
#
# Three networks at the same rate, on 2,000 images. With two hidden units training and validation accuracy stay
# together, and low: it has too little capacity, and no regularization in the world will help. With 256 units the
# training accuracy goes to 100 % and the validation accuracy stays behind: it has learned the images by heart, and
# needs regularization, here dropout and shifted images.

more, validation = everything[:2000], everything[3000:4000]
shifts = dl.data.Augmentation(dl.data.Shift(2))
diagnoses = {
    "2 hidden units": run(guess, 12, network(2), more)[1],
    "256 hidden units": run(guess, 12, network(256), more)[1],
    "256, dropout and shifts": run(guess, 20, network(256, rate=0.3), more, augmentation=shifts)[1],
}
figure, row = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
advice = ("low and no gap: more capacity", "a gap: regularize", "higher, and no gap")
gap, reached = {}, {}
for axes, (name, history), told in zip(row, diagnoses.items(), advice, strict=True):
    axes.plot(history["epoch"], history["accuracy"], color=BLUE, label="training")
    axes.plot(history["epoch"], history["validation_accuracy"], "--", color=ORANGE, label="validation")
    axes.set(xlabel="epoch", ylim=(0, 1.02), xticks=range(0, 21, 5), xlim=(0.5, 20.5))
    axes.set_title(f"{name}\n{told}", fontsize="medium")
    reached[name] = float(np.mean(history["validation_accuracy"][-5:]))
    gap[name] = float(np.mean(history["accuracy"][-5:])) - reached[name]
    claims.append(("babysitting", f"gap between training and validation accuracy, {name}", None, gap[name]))
    claims.append(("babysitting", f"validation accuracy, {name}", None, reached[name]))
row[0].set_ylabel("accuracy")
row[2].legend(loc="lower right")
figure.savefig(figures / "11_babysitting_diagnosis.png")

# %%
# The training accuracy of the last network is measured on shifted images with units switched off, so it may even be
# below the validation accuracy; the curve of what it really knows of its training images lies higher.
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
# Cheap checks first. The curves then say which way to go: no gap and a low accuracy, more capacity; a gap, more
# regularization; too good to be true, a leak.

for row_name, what, lecture, ours in claims:
    print(f"{row_name}: {what:<76}{ours:8.3f}" + (f"   lecture {lecture:.3f}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# 1. Let ``network`` start its last layer with ``last="normal(std=1.0)"``: the first loss is no longer near log 10, and
#    ``tests/tutorials/test_11_babysitting.py::test_preflight_finds_nothing_wrong_and_every_mistake`` fails.
# 2. Put ``dl.Sigmoid()`` behind the last layer of ``network``, as many do who think of probabilities. The loss takes
#    logits, and these now lie between 0 and 1: 20 samples are learned slowly, if at all, and
#    ``tests/tutorials/test_11_babysitting.py::test_twenty_samples_by_heart`` fails.
# 3. In ``_climb`` of ``minidl/training/learning_rate.py``, leave out the ``return`` where the loss explodes: let the
#    condition be ``if False``. Then
#    ``tests/training/test_learning_rate.py::test_the_test_ends_where_the_loss_explodes`` fails.
# 4. In ``_leakage`` of ``minidl/diagnostics/preflight.py``, compare with the rows of ``run.validation`` instead of
#    those of ``run.train``: then every row is a leak.
#    ``tests/diagnostics/test_preflight.py::test_validation_rows_among_the_training_rows`` fails.
