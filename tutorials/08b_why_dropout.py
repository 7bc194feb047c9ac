"""
What is dropout for?
====================

The first part shows how dropout works. Why should one want it? The lectures say: so that no unit relies on single
others, knowledge is spread and redundant, and training and validation cost stay together. That can be measured: we
switch units off after training. And dropout is one of many that add randomness in training and average over it at
inference; we put its relatives into one trained network each, and see what they bring.
"""

import functools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
everything, _ = dl.data.digits()
train, validation, others = dl.data.split(everything, 500, 2000, 7500)
seeds = range(5)

# %%
# Training and validation cost
# ----------------------------
#
# 784-64-10 on 500 digits, without dropout and with a rate of 0.5, at four learning rates, five seeds each. The learning
# rate falls to zero along a cosine, so that the noise of the last steps decides nothing. The training cost that ``fit``
# reports is measured with dropout on; to compare it with the validation cost we measure both at inference.

RATES = (0.02, 0.06, 0.2, 0.6)  # of learning
SHARED = 2  # the place of a rate that suits both
COLORS = {0.0: BLUE, 0.5: ORANGE}


def fit(model, learning_rate, **options):
    options |= {"batch_size": 20, "epochs": 24, "graph": True, "progress": False}  # 600 steps
    optimizer = dl.SGD(dl.schedules.Cosine(learning_rate, steps=600))
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, **options)
    return model


def network(rate, seed):
    return dl.Sequential(
        dl.Dense(784, 64), dl.ReLU(), dl.Dropout(rate), dl.Dense(64, 10), backend="cpu", seed=seed
    )  # fmt: skip


def costs(model):
    """Training and validation loss, both at inference."""
    return [dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy()).loss for data in (train, validation)]


class Costs(dl.callbacks.Callback):
    """The costs at the end of each epoch."""

    def __init__(self):
        self.costs = []

    def on_epoch_end(self, run):
        self.costs.append(costs(run.model))


def watched(rate, learning, seed):
    """A trained network, and its costs along the epochs if the learning rate is the shared one."""
    watch = Costs()
    callbacks = [watch] if learning == RATES[SHARED] else []
    return fit(network(rate, seed), learning, callbacks=callbacks), watch.costs


runs = {rate: {learning: [watched(rate, learning, seed) for seed in seeds] for learning in RATES} for rate in COLORS}
models = {rate: {learning: [model for model, _ in of[learning]] for learning in RATES} for rate, of in runs.items()}
curves = {rate: np.array([curve for _, curve in of[RATES[SHARED]]]) for rate, of in runs.items()}  # (seeds, epochs, 2)
ends = {rate: np.array([[costs(model) for model in of[r]] for r in RATES]) for rate, of in models.items()}
place_of_best = {rate: int(of[..., 1].mean(axis=1).argmin()) for rate, of in ends.items()}
gaps = {rate: (of[..., 1] - of[..., 0]).mean(axis=1) for rate, of in ends.items()}  # at each learning rate
for rate, of in ends.items():
    best = place_of_best[rate]
    on_training, on_validation = of[best].mean(axis=0)
    print(f"dropout {rate:g}, learning rate {RATES[best]}: training loss {on_training:.3f}", end="")
    print(f", validation loss {on_validation:.3f}, gap {gaps[rate][best]:.3f}", end="")
    print(f"; gap at {RATES[SHARED]}: {gaps[rate][SHARED]:.3f}")
    claims += [
        ("dropout", f"validation loss, rate {rate:g}, best learning rate, 5 seeds", None, on_validation),
        ("dropout", f"validation minus training loss, rate {rate:g}, same learning rate", None, gaps[rate][SHARED]),
        ("dropout", f"the same, rate {rate:g}, best learning rate", None, gaps[rate][best]),
    ]

figure, row = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
PARTS = (0, "training", "--"), (1, "validation", "-")
for axes, (rate, of) in zip(row, curves.items(), strict=False):
    for part, name, style in PARTS:
        epochs = np.arange(1, of.shape[1] + 1)
        axes.plot(epochs, of[..., part].mean(axis=0), style, color=COLORS[rate], label=name)
        lowest, highest = of[..., part].min(axis=0), of[..., part].max(axis=0)
        axes.fill_between(epochs, lowest, highest, color=COLORS[rate], alpha=0.2, linewidth=0)
    axes.set(xlabel=f"epoch (learning rate {RATES[SHARED]})", yscale="log")
    axes.set_title(f"{'Rate 0.5' if rate else 'No dropout'}: {gaps[rate][SHARED]:.2f} apart", fontsize="medium")
    axes.legend(loc="lower left", fontsize="small")
for rate, of in ends.items():
    for part, _, style in PARTS:
        label = ("rate 0.5" if rate else "no dropout") if part else None
        row[2].plot(RATES, of[..., part].mean(axis=1), f"o{style}", color=COLORS[rate], markersize=4, label=label)
row[2].set(xlabel="learning rate", xscale="log")
row[2].set_xticks(RATES, [str(rate) for rate in RATES])
row[2].minorticks_off()
row[2].set_title("At the end, at each learning rate", fontsize="medium")
row[2].legend(loc="lower left", fontsize="small")
row[0].set_ylabel("mean loss at inference, 5 seeds")
figure.suptitle("At one learning rate dropout keeps the costs closer; each at its best, it lowers the validation cost")
figure.savefig(figures / "08b_why_dropout_costs.png")

# %%
# At one and the same learning rate, dropout learns its images by heart more slowly, and the costs end closer together.
# But it also likes a larger learning rate, and what counts is where each does best. There the validation loss is lower
# with dropout, for every seed, while the difference of the two costs is larger: that says how well a network knows its
# own images, and not how well it knows others.
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


off = {
    rate: np.array([[units_off(model) for model in of[learning]] for learning in RATES]) for rate, of in models.items()
}  # (learning rates, seeds, three measures)
for rate, of in off.items():
    print(f"dropout {rate:g}\n           learning rate  whole  worst unit off  half of them")
    for learning, (whole, worst, half) in zip(RATES, of.mean(axis=1), strict=True):
        print(f"{learning:24}{whole:7.1%}  -{100 * worst:.1f} points      {half:6.1%}")
    whole, worst, half = of[place_of_best[rate]].mean(axis=0)
    claims += [
        ("dropout", f"validation accuracy, rate {rate:g}, best learning rate", None, whole),
        ("dropout", f"accuracy lost by the worst unit off, rate {rate:g}", None, worst),
        ("dropout", f"accuracy with half of the units off, rate {rate:g}", None, half),
    ]

figure, row = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axes, column, title in ((row[0], 1, "Worst single unit off"), (row[1], 2, "A random half off")):
    for rate, of in off.items():
        for learning, points in zip(RATES, of[..., column], strict=True):
            axes.plot([learning] * len(points), points, ".", color=COLORS[rate])
        label = "rate 0.5" if rate else "no dropout"
        axes.plot(RATES, of[..., column].mean(axis=1), "-" if rate else "--", color=COLORS[rate], label=label)
    axes.set(xlabel="learning rate", xscale="log")
    axes.set_xticks(RATES, [str(rate) for rate in RATES])
    axes.minorticks_off()
    axes.set_title(title, fontsize="medium")
row[0].set(ylabel="accuracy lost (dots: 5 seeds)", ylim=(0, None))
row[1].set(ylabel="accuracy left", ylim=(0.45, None))  # with room for the legend
row[1].legend(loc="lower right")
figure.suptitle("Units that are missing cost less if dropout was on in training")
figure.savefig(figures / "08b_why_dropout_units_off.png")

# %%
# At every learning rate dropout makes units redundant: with each at its best, half of them cost 7 points with dropout,
# and 26 without. "Strong pathways" are there, too: without dropout the worst single unit costs 5 points, with it less
# than one. As long as all units are there the networks are about equally often right.
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
# ``predict_augmented`` changes the inputs. Here each is in a network of 64 hidden units that learns the 500 digits,
# with one usual strength. Each has the best of its learning rates, which two of its five networks choose by their
# accuracy on 2,000 digits that are used for nothing else.

choosing = others[:2000]
relu, norm, drop, width = dl.ReLU, lambda: dl.BatchNorm(64), lambda: dl.Dropout(0.5), 64
kinds = {
    "none": lambda: [dl.Dense(784, width), relu()],
    "dropout 0.5": lambda: [dl.Dense(784, width), relu(), drop()],
    "DropConnect 0.5": lambda: [dl.DropConnect(784, width, 0.5), relu()],
    "batch norm": lambda: [dl.Dense(784, width), norm(), relu()],
    "batch norm, dropout": lambda: [dl.Dense(784, width), norm(), relu(), drop()],
    "fractional pooling": lambda: [dl.FractionalMaxPool((28, 28), ratio=1.41), dl.Dense(361, width), relu()],
}
augmentations = {
    "cutout 8": dl.data.Cutout(8), "mixup 0.2": dl.data.Mixup(0.2), "CutMix 1": dl.data.CutMix(1.0),
    "shifts 2": dl.data.Shift(2),
}  # fmt: skip
drawn = ("dropout 0.5", "DropConnect 0.5", "batch norm, dropout", "fractional pooling")
moved = ("cutout 8", "shifts 2")
grids = dict.fromkeys([*kinds, *augmentations], (0.1, 0.3, 1.0)) | {
    "batch norm": (0.3, 1.0, 3.0, 10.0), "batch norm, dropout": (0.3, 1.0, 3.0), "cutout 8": (0.03, 0.1, 0.3, 1.0)
}  # fmt: skip


def augmentation(name):
    return dl.data.Augmentation(augmentations[name]) if name in augmentations else None


@functools.cache
def learned(name, learning_rate, seed):
    layers = kinds.get(name, kinds["none"])()
    model = dl.Sequential(*layers, dl.Dense(width, 10), backend="cpu", seed=seed)
    return fit(model, learning_rate, augmentation=augmentation(name))


def chosen_by(name, learning_rate):
    """The accuracy of two networks on the digits that choose the rate; 0 where the loss overflows."""
    try:
        models = [learned(name, learning_rate, seed) for seed in (0, 1)]
    except dl.DivergenceError:
        return 0.0
    return np.mean([dl.evaluate(model, choosing, loss=dl.SoftmaxCrossEntropy()).accuracy for model in models])


def of_probabilities(p):
    rows = np.arange(len(validation))
    return -np.mean(np.log(p[rows, validation.y] + 1e-12)), np.mean(p.argmax(axis=1) == validation.y)


def outcome(name, learning_rate, seed):
    """Validation loss and accuracy in one pass, and on average over 10 passes where there are such."""
    model, averaged = learned(name, learning_rate, seed), (np.nan, np.nan)
    if name in drawn:
        averaged = of_probabilities(dl.predict_mc(model, validation.x, 10, transform=dl.softmax).mean)
    elif name in moved:
        passes = dl.predict_augmented(model, validation.x, augmentation(name), 10, transform=dl.softmax)
        averaged = of_probabilities(passes.mean)
    return *of_probabilities(dl.softmax(model.predict(validation.x))), *averaged


best = {name: max(rates, key=functools.partial(chosen_by, name)) for name, rates in grids.items()}
outcomes = {name: np.array([outcome(name, rate, seed) for seed in seeds]) for name, rate in best.items()}
print(f"{'':>20}  rate   {'one pass: loss':>15}{'accuracy':>10}  {'10 passes: loss':>16}{'accuracy':>10}")
for name, of in outcomes.items():
    loss, right, mean_loss, mean_right = of.mean(axis=0)
    averaged = "" if np.isnan(mean_loss) else f"  {mean_loss:16.3f}{mean_right:10.1%}"
    print(f"{name:>20} {best[name]:5}   {loss:15.3f}{right:10.1%}{averaged}")
    claims.append(("relatives", f"validation accuracy, {name}, best rate, 5 seeds", None, right))
    if averaged:
        claims.append(("relatives", f"the same, mean of 10 passes, {name}", None, mean_right))

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
# Not all randomness is worth having. Shifts, which look like what other writers do, win almost three points. Dropout,
# DropConnect and fractional pooling change the accuracy by half a point at most. Batch normalization, which two slides
# praise for regularizing, costs more than a point, and dropout on top of it takes this back: "reduces the need for
# dropout, maybe" is put with care. Cutout and CutMix, made for large networks and long training, cost a network of 64
# units more than they bring; mixup costs nothing. Nor is an average over passes always better than the shortcut: it is
# behind fractional pooling and shifts, and behind dropout the one pass is more often right.
#
# The rates matter as much as the methods: batch norm likes one ten times that of most others, and at a common rate the
# order would be another. With one strength for all this ranks no method for good. In
# :doc:`06c_batchnorm_as_regularizer`, with two hidden layers, batch norm with batches of 20 costs nothing, and dropout
# gains nothing.

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>10}: {what:<58}{ours:9.4g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# In ``minidl/layers/dropout.py``, let ``Dropout.forward`` return ``x`` in training, too. Then the two rates train the
# same networks, and the tests of ``tests/tutorials/test_08b_why_dropout.py`` on costs and on units fail.
