"""
Labels of other tasks, and no labels
====================================

Labels are expensive, images are not. Two ways to learn from images without the label that one would like to have: a
second task on the same layers, and labels that the network gives itself.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
SEEDS = range(5)
RATES = (3e-3, 1e-2, 3e-2, 1e-1)

# %%
# Two tasks, one layer
# --------------------
#
# Two heads on one shared layer: which digit, and whether it has a closed loop (0, 6, 8 and 9 have, and for simplicity
# the 4 has not). The shared layer gets the sum of both gradients, so it must find features that serve both. All images
# here are at half their size, to save time. There are 500 of them to learn from, and each network has the best of four
# learning rates, which two of its five seeds choose.

digits, _ = dl.data.digits()
halved = digits.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)  # the mean of four pixels
digits = dl.data.Dataset(halved, digits.y)
validation = digits[8000:]
LOOPS = np.isin(np.arange(10), (0, 6, 8, 9)).astype(np.int64)


def fit(model, data, rate, epochs, loss=None):
    options = {"optimizer": dl.Adam(rate), "batch_size": 32, "graph": True, "progress": False}
    dl.fit(model, data, loss=loss or dl.SoftmaxCrossEntropy(), epochs=epochs, **options)
    return model


def two_heads(targets, rate, epochs, seed, digit=1.0, loop=1.0):
    """Digit and loop accuracy of a network that learns both targets, with these weights of the two losses."""
    heads = dl.Heads(digit=dl.Dense(64, 10), loop=dl.Dense(64, 2))
    model = dl.Sequential(dl.Dense(196, 64), dl.ReLU(), heads, backend="cpu", seed=seed)
    losses = {"digit": dl.SoftmaxCrossEntropy(), "loop": dl.SoftmaxCrossEntropy()}
    loss = dl.MultiTask(heads, weights={"digit": digit, "loop": loop}, **losses)
    fit(model, dl.data.Dataset(digits.x[: len(targets["digit"])], targets), rate, epochs, loss)
    y = model.predict(validation.x)
    right = y[:, :10].argmax(axis=1) == validation.y, y[:, 10:].argmax(axis=1) == LOOPS[validation.y]
    return [float(np.mean(each)) for each in right]


def at_best_rate(accuracies, head=0):
    """The rate at which this head is right most often for two seeds, and both accuracies of all seeds, (seeds, 2)."""
    tried = [[accuracies(rate, seed) for seed in SEEDS[:2]] for rate in RATES]
    best = int(np.argmax(np.mean(tried, axis=1)[:, head]))
    return RATES[best], np.array(tried[best] + [accuracies(RATES[best], seed) for seed in SEEDS[2:]])


def of_weights(digit, loop):
    targets = {"digit": digits.y[:500], "loop": LOOPS[digits.y[:500]]}
    return lambda rate, seed: two_heads(targets, rate, 15, seed, digit, loop)


nothing = 1e-6  # a weight of 0 is refused
tasks = {
    "digits alone": at_best_rate(of_weights(1.0, nothing)),
    "loops alone": at_best_rate(of_weights(nothing, 1.0), head=1),
    "both": at_best_rate(of_weights(1.0, 1.0)),
}
for name, (rate, of) in tasks.items():
    print(f"{name:>12}, rate {rate:g}: digits {of[:, 0].mean():.1%}, loops {of[:, 1].mean():.1%}")
for head, name in enumerate(("digit", "loop")):
    alone, both = tasks[f"{name}s alone"][1][:, head], tasks["both"][1][:, head]
    claims.append(("multi-task learning", f"{name} accuracy, a network of its own, 5 seeds", None, alone.mean()))
    claims.append(("multi-task learning", f"{name} accuracy, shared layer, 5 seeds", None, both.mean()))

# %%
# One layer serves both tasks as well as two layers, one for each, or nearly so. The digits gain nothing from the second
# task here: their labels already say everything about loops. A second task helps where it brings news.
#
# Labels of other images
# ----------------------
#
# Pool the samples of both tasks, each with the label of its own. Here 100 images have their digit, and 4,000 others
# only say whether the digit has a closed loop. The label -1 stands for "unknown": it costs nothing and sends no
# gradient from its head.


def with_loops(loops, epochs):
    labels = digits.y[: 100 + loops]
    known = np.arange(len(labels)) < 100
    targets = {"digit": np.where(known, labels, -1), "loop": np.where(known, -1, LOOPS[labels])}
    return lambda rate, seed: two_heads(targets, rate, epochs, seed)


pooled = {
    "100 digits": at_best_rate(with_loops(0, 60)),
    "100 digits and 4,000 loops": at_best_rate(with_loops(4000, 6)),
}
for name, (rate, of) in pooled.items():
    print(f"{name:>26}, rate {rate:g}: digit accuracy " + " ".join(f"{accuracy:.1%}" for accuracy in of[:, 0]))
    claims.append(("multi-task learning", f"digit accuracy, labels of {name}, 5 seeds", None, of[:, 0].mean()))

# %%
# Semi-supervised learning
# ------------------------
#
# 200 labels, and 3,000 images whose labels we pretend not to have. A first network labels them, where it is sure, and a
# second one learns from both (pseudo-labels, Lee 2013). Each labelled image is there five times, so that it keeps its
# say among so many, and dropout keeps both networks from being too sure. Five pairs at each of three learning rates.

few, unlabelled = digits[:200], digits[500:3500]


def network(seed):
    layers = dl.Dense(196, 64), dl.ReLU(), dl.Dropout(0.5), dl.Dense(64, 10)
    return dl.Sequential(*layers, backend="cpu", seed=seed)


def taught(seed, rate):
    """The number of pseudo-labels, the share of wrong ones, and the accuracy of teacher and student."""
    teacher = fit(network(seed), few, rate, 30)
    pseudo = dl.data.pseudo_label(teacher, unlabelled.x, threshold=0.95)
    sure = dl.softmax(teacher.predict(unlabelled.x)).max(axis=1) >= 0.95
    wrong = np.mean(pseudo.y != unlabelled.y[sure])  # we do have the labels, and may look how good its own are
    student = fit(network(seed + 100), dl.data.concatenate(*[few] * 5, pseudo), rate, 10)
    accuracies = [np.mean(model.predict(validation.x).argmax(axis=1) == validation.y) for model in (teacher, student)]
    return len(pseudo), wrong, *accuracies


schools = np.array([[taught(seed, rate) for seed in SEEDS] for rate in RATES[:3]])  # (rates, seeds, what it returns)
print("rate  pseudo-labels  wrong   teacher  student  gained by each")
for rate, of in zip(RATES, schools, strict=False):
    count, wrong, before, after = of.mean(axis=0)
    gains = "  ".join(f"{100 * gain:+.1f}" for gain in of[:, 3] - of[:, 2])
    print(f"{rate:5} {count:12,.0f} {wrong:8.1%} {before:8.1%} {after:8.1%}  {gains}")
of_rates = schools.mean(axis=1)
best_teacher, best_student = of_rates[:, 2].argmax(), of_rates[:, 3].argmax()
claims += [
    (
        "semi-supervised learning",
        "wrong pseudo-labels, the student's best rate, 5 seeds",
        None,
        of_rates[best_student, 1],
    ),
    ("semi-supervised learning", "validation accuracy, 200 labels, best rate", None, of_rates[best_teacher, 2]),
    ("semi-supervised learning", "the same, and pseudo-labels, best rate", None, of_rates[best_student, 3]),
]

figure, row = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for place, ((_, of), color) in enumerate(zip(pooled.values(), (ORANGE, GREEN), strict=True)):
    row[0].plot([place] * len(of), of[:, 0], "o", color=color)
row[0].set(xlim=(-0.5, 1.5), ylabel="digit accuracy (5 seeds)", title="Labels of another task")
row[0].set_xticks([0, 1], ["100 digits", "and 4,000 loops"])
for of, color in zip(schools.swapaxes(0, 1), (BLUE, ORANGE, GREEN, "0.5", "#CC79A7"), strict=True):
    row[1].plot(of[:, 2], of[:, 3], "o", color=color)
ends = [schools[..., 2:].min() - 0.005, schools[..., 2:].max() + 0.005]
row[1].plot(ends, ends, ":", color="0.4", label="nothing gained")
row[1].set(xlabel="accuracy of the teacher", ylabel="of its student", title="Labels of a network (colours: seeds)")
row[1].legend(loc="lower right")
figure.suptitle("Images help, too, that have no label of their own")
figure.savefig(figures / "07c_other_labels_gains.png")

# %%
# The teacher is sure of half of the images and mostly right, and at each of these rates nearly every student is better
# than its teacher, by a point or two; each at its best rate, too.
#
# In short
# --------
#
# A second task on the same images brings nothing to digits that have their labels. Images with another label, or with
# one that the network made up itself, do.

for row_name, what, _, ours in claims:
    print(f"{row_name:>25}: {what:<62}{ours:8.3f}")

# %%
# Break it
# --------
#
# 1. In ``MultiTask.backward`` of ``minidl/multi_task.py``, take away the line with ``mask_rows``: 4,000 images whose
#    digit nobody knows are taught to be 0. ``tests/test_multi_task.py`` fails, and so does
#    ``tests/tutorials/test_07c_other_labels.py::test_labels_of_another_task_help``.
# 2. Let ``taught`` take the labels of 0.0 and more: the teacher labels what it cannot read, a fifth of the
#    labels is wrong, and ``tests/tutorials/test_07c_other_labels.py::test_pseudo_labels_are_mostly_right_and_help``
#    fails.
