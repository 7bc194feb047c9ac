"""
What is dropout for?
====================

The first part shows how dropout works. Why should one want it? The lectures say: so that no unit relies on single
others, knowledge is spread and redundant, and training and validation cost stay together. That can be measured: we
look at both costs, and switch units off after training.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
digits, _ = dl.data.digits()
halved = digits.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)  # the mean of four pixels
train, validation, _ = dl.data.split(dl.data.Dataset(halved, digits.y), 500, 2000, 7500)
seeds = range(5)

# %%
# Training and validation cost
# ----------------------------
#
# 196-64-10 on 500 digits at half their size, without dropout and with a rate of 0.5, at four learning rates, five seeds
# each. The learning rate falls to zero along a cosine, so that the noise of the last steps decides nothing. The
# training cost that ``fit`` reports is measured with dropout on; to compare it with the validation cost we measure both
# at inference.

RATES = (0.06, 0.2, 0.6, 1.2)  # of learning
SHARED = 2  # the place of a rate that suits both
COLORS = {0.0: BLUE, 0.5: ORANGE}


def fit(model, learning_rate, **options):
    options |= {"batch_size": 20, "epochs": 24, "graph": True, "progress": False}  # 600 steps
    optimizer = dl.SGD(dl.schedules.Cosine(learning_rate, steps=600))
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, **options)
    return model


def network(rate, seed):
    return dl.Sequential(
        dl.Dense(196, 64), dl.ReLU(), dl.Dropout(rate), dl.Dense(64, 10), backend="cpu", seed=seed
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
# At every learning rate dropout makes units redundant: with each at its best, half of them cost 8 points with dropout,
# and 26 without. "Strong pathways" are there, too: without dropout the worst single unit costs 5 points, with it half a
# point. With all units, at one rate for both, the networks are about equally often right.

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>10}: {what:<58}{ours:9.4g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# In ``minidl/layers/dropout.py``, let ``Dropout.forward`` return ``x`` in training, too. Then the two rates train the
# same networks, and the tests of ``tests/tutorials/test_08b_why_dropout.py`` on costs and on units fail.
