"""
What is dropout for?
====================

The first part shows how dropout works. Why should one want it? The lectures say: so that no unit relies on single
others, knowledge is spread and redundant, and training and validation cost stay together. That can be measured: we
switch units off after training. And dropout is one of many that add randomness in training and average over it at
inference; we put its relatives into one trained network each, and see what they bring.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 1000, 2000, 7000)
seeds = range(5)

# %%
# Training and validation cost
# ----------------------------
#
# 784-64-10 on 1,000 digits, without dropout and with a rate of 0.5, five seeds each. The training cost that ``fit``
# reports is measured with dropout on; to compare it with the validation cost we measure both at inference.


class Costs(dl.callbacks.Callback):
    """Training and validation loss at the end of each epoch, both at inference."""

    def __init__(self):
        self.costs = []

    def on_epoch_end(self, run):
        evaluations = (dl.evaluate(run.model, data, loss=dl.SoftmaxCrossEntropy()) for data in (train, validation))
        self.costs.append([evaluation.loss for evaluation in evaluations])


def trained(rate, seed):
    model = dl.Sequential(
        dl.Dense(784, 64), dl.ReLU(), dl.Dropout(rate), dl.Dense(64, 10), backend="cpu", seed=seed
    )  # fmt: skip
    options = {"optimizer": dl.Adam(2e-3), "batch_size": 50, "epochs": 30, "graph": True, "progress": False}
    costs = Costs()
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), callbacks=[costs], **options)
    return model, costs.costs


models, costs = {}, {}
for rate in (0.0, 0.5):
    runs = [trained(rate, seed) for seed in seeds]
    models[rate] = [model for model, _ in runs]
    costs[rate] = np.array([cost for _, cost in runs])  # (seeds, epochs, training and validation)
gaps = {rate: (of[:, -1, 1] - of[:, -1, 0]).mean() for rate, of in costs.items()}
for rate, of in costs.items():
    on_training, on_validation = of[:, -1].mean(axis=0)
    print(f"rate {rate:g}: training loss {on_training:.3f}, validation loss {on_validation:.3f}, gap {gaps[rate]:.3f}")
    claims.append(("dropout", f"validation minus training loss, rate {rate:g}, 5 seeds", None, gaps[rate]))

figure, row = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for axes, (rate, of) in zip(row, costs.items(), strict=True):
    for i, (name, color, style) in enumerate((("training", BLUE, "-"), ("validation", ORANGE, "--"))):
        epochs = np.arange(1, of.shape[1] + 1)
        axes.plot(epochs, of[:, :, i].mean(axis=0), style, color=color, label=name)
        lowest, highest = of[:, :, i].min(axis=0), of[:, :, i].max(axis=0)
        axes.fill_between(epochs, lowest, highest, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", yscale="log", title=f"Rate {rate:g}: they end {gaps[rate]:.2f} apart")
row[0].set_ylabel("mean loss at inference (band: 5 seeds)")
row[0].legend(loc="lower left")
figure.suptitle("Dropout keeps training and validation cost closer together")
figure.savefig(figures / "08b_why_dropout_costs.png")

# %%
# Both gaps are made in the same 30 epochs. Dropout learns its images by heart more slowly, and what it learns holds for
# others: its validation loss is lower. Its accuracy is the same here, as we shall see.
#
# Units off
# ---------
#
# Trained with dropout, no unit could rely on others being there. Take a trained network, switch one hidden unit off,
# each in turn, and note the worst; then switch off a random half of them, thirty times.


def units_off(model):
    """Validation accuracy whole, loss of accuracy by the worst single unit, accuracy with half of the units off."""
    dense, relu, _, last = model.layers
    hidden = relu.forward(dense.forward(validation.x)).copy()
    weight, bias = last.weight.value, last.bias.value

    def accuracy(on):
        return np.mean(((hidden * on) @ weight + bias).argmax(axis=1) == validation.y)

    whole, units = accuracy(np.ones(64)), np.arange(64)
    worst = max(whole - accuracy(units != unit) for unit in units)
    rng = np.random.default_rng(0)
    return whole, worst, np.mean([accuracy(rng.random(64) < 0.5) for _ in range(30)])


off = {rate: np.array([units_off(model) for model in of]) for rate, of in models.items()}
for rate, of in off.items():
    whole, worst, half = of.mean(axis=0)
    print(f"rate {rate:g}: {whole:.1%}; without its worst unit {100 * worst:.2f} points less; half of them: {half:.1%}")
    claims += [
        ("dropout", f"validation accuracy, rate {rate:g}, 5 seeds", None, whole),
        ("dropout", f"accuracy lost by the worst unit off, rate {rate:g}", None, worst),
        ("dropout", f"accuracy with half of the units off, rate {rate:g}", None, half),
    ]

figure, row = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for axes, column, title in ((row[0], 1, "Worst single unit off"), (row[1], 2, "A random half off")):
    for place, (of, color) in enumerate(zip(off.values(), (BLUE, ORANGE), strict=True)):
        axes.plot([place] * len(of), of[:, column], "o", color=color)
    axes.set(xticks=[0, 1], xlim=(-0.5, 1.5), title=title)
    axes.set_xticklabels(["no dropout", "rate 0.5"])
row[0].set(ylabel="accuracy lost", ylim=(0, None))
row[1].set_ylabel("accuracy left")
figure.suptitle("Units that are missing cost less if dropout was on in training")
figure.savefig(figures / "08b_why_dropout_units_off.png")

# %%
# The networks are equally good as long as all their units are there. Dropout makes units redundant: half of them cost
# some 4 points with it, and 18 without. "Strong pathways" are hardly seen without it, either: the worst single unit
# costs one point.
#
# One principle
# -------------
#
# Dropout, batch normalization, augmentation, DropConnect, fractional pooling, cutout, mixup and CutMix have this in
# common: training fits a network :math:`f(x; r)` that depends on something random :math:`r`, and inference averages
#
# .. math::
#
#    y = E_r\, f(x; r)
#
# over it, often by a shortcut: the expected mask of dropout, the running statistics of batch normalization, the image
# as it is. The mean itself can be computed with any number of passes: ``predict_mc`` draws noise in the layers, and
# ``predict_augmented`` changes the inputs. Here each is in a network of 64 hidden units that learns 500 digits, with
# one usual strength and the same rate for all, five seeds.

few, width = train[:500], 64


def network(seed, *, first=None, before=(), behind=()):
    hidden = dl.Dense(784, width) if first is None else first
    layers = (*before, hidden, *behind, dl.Dense(width, 10))
    return dl.Sequential(*layers, backend="cpu", seed=seed)


relu, norm, drop = dl.ReLU, lambda: dl.BatchNorm(width), lambda: dl.Dropout(0.5)
kinds = {
    "none": lambda: {"behind": [relu()]},
    "dropout 0.5": lambda: {"behind": [relu(), drop()]},
    "DropConnect 0.5": lambda: {"first": dl.DropConnect(784, width, 0.5), "behind": [relu()]},
    "batch norm": lambda: {"behind": [norm(), relu()]},
    "batch norm, dropout": lambda: {"behind": [norm(), relu(), drop()]},
    "fractional pooling": lambda: {
        "before": [dl.FractionalMaxPool((28, 28), ratio=1.41)], "first": dl.Dense(361, width), "behind": [relu()]
    },
}  # fmt: skip
augmentations = {
    "cutout 8": dl.data.Cutout(8), "mixup 0.2": dl.data.Mixup(0.2), "CutMix 1": dl.data.CutMix(1.0),
    "shifts 2": dl.data.Shift(2),
}  # fmt: skip
drawn = ("dropout 0.5", "DropConnect 0.5", "batch norm, dropout", "fractional pooling")
moved = ("cutout 8", "shifts 2")


def of_probabilities(p):
    rows = np.arange(len(validation))
    return -np.mean(np.log(p[rows, validation.y] + 1e-12)), np.mean(p.argmax(axis=1) == validation.y)


def outcome(name, seed):
    """Validation loss and accuracy in one pass, and on average over 10 passes where there are such."""
    model = network(seed, **kinds.get(name, kinds["none"])())
    augmentation = dl.data.Augmentation(augmentations[name]) if name in augmentations else None
    options = {"optimizer": dl.Adam(1e-3), "batch_size": 32, "epochs": 40, "progress": False}
    dl.fit(model, few, loss=dl.SoftmaxCrossEntropy(), augmentation=augmentation, graph=True, **options)
    single = of_probabilities(dl.softmax(model.predict(validation.x)))
    averaged = (np.nan, np.nan)
    if name in drawn:
        averaged = of_probabilities(dl.predict_mc(model, validation.x, 10, transform=dl.softmax).mean)
    elif name in moved:
        passes = dl.predict_augmented(model, validation.x, augmentation, 10, transform=dl.softmax)
        averaged = of_probabilities(passes.mean)
    return *single, *averaged


outcomes = {name: np.array([outcome(name, seed) for seed in seeds]) for name in [*kinds, *augmentations]}
print(f"{'':>20}  {'one pass: loss':>15}{'accuracy':>10}  {'10 passes: loss':>16}{'accuracy':>10}")
for name, of in outcomes.items():
    loss, accuracy, mean_loss, mean_accuracy = of.mean(axis=0)
    averaged = "" if np.isnan(mean_loss) else f"  {mean_loss:16.3f}{mean_accuracy:10.1%}"
    print(f"{name:>20}  {loss:15.3f}{accuracy:10.1%}{averaged}")
    claims.append(("relatives", f"validation accuracy, {name}, 500 digits, 5 seeds", None, accuracy))
    if averaged:
        claims.append(("relatives", f"the same, mean of 10 passes, {name}", None, mean_accuracy))

figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
order = sorted(outcomes, key=lambda name: outcomes[name][:, 1].mean())
for height, name in enumerate(order):
    of, label = outcomes[name], height == 0
    axes.plot(of[:, 1], [height] * len(of), ".", color=BLUE, alpha=0.5)
    axes.plot(of[:, 1].mean(), height, "|", color=BLUE, markersize=14, label="one pass" if label else None)
for height, name in enumerate(order):
    if name in (*drawn, *moved):
        mean = outcomes[name][:, 3].mean()
        label = "mean of 10 passes" if name == next(n for n in order if n in (*drawn, *moved)) else None
        axes.plot(mean, height, "d", color=ORANGE, markersize=5, label=label)
axes.axvline(outcomes["none"][:, 1].mean(), color="0.5", linestyle=":", label="no randomness")
axes.set_yticks(range(len(order)), order)
axes.set(xlabel="validation accuracy (dots: 5 seeds)", title="Randomness in training: some kinds help, some do not")
axes.legend(loc="lower right")
figure.savefig(figures / "08b_why_dropout_relatives.png")

# %%
# Not all randomness is worth having. Shifts, which look like what other writers do, and dropout help; fractional
# pooling lowers the loss (the smaller image has its share in that), and over ten passes it answers better, too.
# DropConnect changes little. Batch normalization, which two slides praise for regularizing, costs accuracy here, and
# dropout on top of it repairs only a part: "reduces the need for dropout, maybe" is put with care. Cutting and mixing
# images was made for large networks and long training, and costs a network of 64 units more than it brings. Nor is an
# average over passes always better than the shortcut: behind dropout the one pass is as good or better.
#
# With one rate and one strength for all this ranks no method for good. In :doc:`06c_batchnorm_as_regularizer`, where a
# network of two hidden layers has its own best rate each time, batch norm with batches of 20 costs nothing, and dropout
# gains nothing.

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>10}: {what:<58}{ours:9.4g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# In ``minidl/layers/dropout.py``, let ``Dropout.forward`` return ``x`` in training, too. Then the two rates train the
# same networks, and the tests of ``tests/tutorials/test_08b_why_dropout.py`` on costs and on units fail.
