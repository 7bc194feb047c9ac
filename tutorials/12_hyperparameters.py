r"""
Hyperparameters
===============

How wide, which learning rate and schedule, how much L2, how much dropout? Nobody can compute them; one searches. This
tutorial searches on the digits: at random and on a grid, on a logarithmic scale, first coarse and then fine.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# One trial
# ---------
#
# Images to train with, and others to choose with; a third set, not to be looked at before the choice is made, has its
# turn in :doc:`12c_luck`. A trial is a training run with one setting; small and short, because there will be many.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 500, 1000, 8500)


def trial(rate, l2=0.0, dropout=0.0, width=32, epochs=6):
    """The validation loss after training; infinite if training overflowed."""
    model = dl.Sequential(
        dl.Dense(784, width), dl.ReLU(), dl.Dropout(dropout), dl.Dense(width, 10),
        backend="cpu", seed=0, penalty=dl.L2(l2),
    )  # fmt: skip
    loss, optimizer = dl.SoftmaxCrossEntropy(), dl.Momentum(rate)
    try:
        dl.fit(model, train, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=50, graph=True, progress=False)
    except dl.DivergenceError:
        return np.inf
    return dl.evaluate(model, validation, loss=loss).loss


# %%
# A logarithmic scale
# -------------------
#
# A learning rate acts by its order of magnitude: from 0.001 to 0.01 is as far as from 0.1 to 1. Drawn uniformly between
# 0.00001 and 1, nine of ten rates lie above 0.1. Draw the exponent instead.

rng = np.random.default_rng(0)


def log_uniform(low, high, size=None):
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


below = {
    "uniform": float(np.mean(rng.uniform(1e-5, 1, 10_000) < 0.1)),
    "log-uniform": float(np.mean(log_uniform(1e-5, 1, 10_000) < 0.1)),
}
claims += [("hyperparameters", f"share of rates below 0.1, {name}", None, share) for name, share in below.items()]

# %%
# Random search against a grid
# ----------------------------
#
# Sixteen trials for two hyperparameters. A grid of four by four tries four learning rates; sixteen random points try
# sixteen. Which hyperparameter matters is not known beforehand; if only one does, the grid spends twelve of its sixteen
# trials on repetitions (Bergstra & Bengio 2012). One search can be lucky, so we make five of each kind; the grids are
# shifted against each other.

RATES, L2S = (1e-5, 1.0), (1e-7, 1e-2)


def between(limits, share):
    """The point at this share of the way from one limit to the other, on a logarithmic scale."""
    return limits[0] * (limits[1] / limits[0]) ** share


def losses_at(shares):
    return np.array([trial(between(RATES, a), between(L2S, b)) for a, b in shares])


corners = np.arange(4) / 4
grids = [
    np.array([(a + shift, b + shift) for a in corners for b in corners]) for shift in (np.arange(5) + 0.5) / 20
]  # fmt: skip
randoms = [rng.random((16, 2)) for _ in range(5)]
grid_losses, random_losses = ([losses_at(shares) for shares in searches] for searches in (grids, randoms))
grid_best, random_best = (
    [float(losses.min()) for losses in searches] for searches in (grid_losses, random_losses)
)  # fmt: skip
print("best of 16, five grids:          ", *(f"{loss:.3f}" for loss in grid_best))
print("best of 16, five random searches:", *(f"{loss:.3f}" for loss in random_best))

figure, row = plt.subplots(2, 2, figsize=(9, 6), sharex=True, height_ratios=(1, 1.2), layout="constrained")
for column, (name, shares, losses, color, marker) in enumerate(
    (("grid", grids[0], grid_losses[0], ORANGE, "s"), ("random", randoms[0], random_losses[0], BLUE, "o"))
):
    rates = between(RATES, shares[:, 0])
    row[0, column].plot(rates, between(L2S, shares[:, 1]), marker, color=color)
    row[0, column].set(
        xscale="log", yscale="log", title=f"{name.capitalize()}: {len(np.unique(rates))} rates in 16 trials"
    )
    row[1, column].plot(rates, np.minimum(losses, 3), marker, color=color)
    row[1, column].set(xlabel="learning rate", ylim=(0.3, 3.1))
    row[1, column].axhline(losses.min(), color="0.5", linestyle=":", label=f"best: {losses.min():.3f}")
    row[1, column].legend(loc="upper right")
row[0, 0].set_ylabel("L2 strength")
row[1, 0].set_ylabel("validation loss (at most 3)")
figure.suptitle("The learning rate matters, the L2 strength hardly: the grid repeats itself")
figure.savefig(figures / "12_hyperparameters_search.png")

grid_rates, random_rates = (len(np.unique(searches[0][:, 0])) for searches in (grids, randoms))
claims += [
    ("hyperparameters", "learning rates tried by 16 trials, grid", None, grid_rates),
    ("hyperparameters", "learning rates tried by 16 trials, random", None, random_rates),
    ("hyperparameters", "best validation loss of 16 trials, mean of 5 grids", None, np.mean(grid_best)),
    ("hyperparameters", "best validation loss of 16 trials, mean of 5 random searches", None, np.mean(random_best)),
    ("hyperparameters", "the worst of the 5 grids", None, max(grid_best)),
    ("hyperparameters", "the worst of the 5 random searches", None, max(random_best)),
]

# %%
# Which of the two mattered? Sort all 160 trials into eight bins by the learning rate. If the losses within a bin are
# far more alike than all losses together, the learning rate explains them. Then the same for L2.

all_shares, all_losses = np.concatenate(grids + randoms), np.minimum(np.concatenate(grid_losses + random_losses), 3)


def explained(shares):
    """The share of the variance of the losses that lies between eight bins, and not within them."""
    bins = np.minimum((8 * shares).astype(int), 7)
    within = sum(all_losses[bins == each].var() * np.mean(bins == each) for each in np.unique(bins))
    return float(1 - within / all_losses.var())


by_rate, by_l2 = explained(all_shares[:, 0]), explained(all_shares[:, 1])
claims += [
    ("hyperparameters", "share of the loss's variance explained by the learning rate", None, by_rate),
    ("hyperparameters", "share of the loss's variance explained by L2", None, by_l2),
]

# %%
# Coarse to fine
# --------------
#
# Four hyperparameters: width, learning rate, L2, dropout. First 12 trials of three epochs within wide limits; then
# eight of eight epochs, within the limits in which the four best of the first lie. That is 100 epochs; 12 trials of
# eight epochs within the wide limits take 96. Which is better? Five searches of each kind.


def draw(limits):
    """One random setting: widths, rates and strengths on a logarithmic scale, dropout uniform."""
    rate, l2, width = (float(log_uniform(*limits[name])) for name in ("rate", "l2", "width"))
    return {"rate": rate, "l2": l2, "width": round(width), "dropout": float(rng.uniform(*limits["dropout"]))}


def search(limits, trials, epochs):
    """Validation losses and settings of so many random trials, the best first."""
    settings = [draw(limits) for _ in range(trials)]
    return sorted(((trial(**setting, epochs=epochs), setting) for setting in settings), key=lambda each: each[0])


WIDE = {"rate": (1e-5, 1.0), "l2": (1e-7, 1e-2), "width": (8, 128), "dropout": (0.0, 0.8)}
coarse, fine, at_once, narrow = [], [], [], []
for _ in range(5):
    coarse.append(search(WIDE, trials=12, epochs=3))
    best_four = [setting for _, setting in coarse[-1][:4]]
    narrow.append({name: (min(s[name] for s in best_four), max(s[name] for s in best_four)) for name in WIDE})
    fine.append(search(narrow[-1], trials=8, epochs=8))
    at_once.append(search(WIDE, trials=12, epochs=8))
for name, (low, high) in narrow[0].items():
    print(f"{name:>8}: from {WIDE[name][0]:g} to {WIDE[name][1]:g}, narrowed to {low:.3g} to {high:.3g}")
print("the best setting:", fine[0][0][1])

best, median = (
    {
        name: np.array([summary([loss for loss, _ in found]) for found in searches])
        for name, searches in (("coarse to fine", fine), ("at once", at_once))
    }
    for summary in (min, np.median)
)
for name in best:
    print(f"{name:>14}: best of a search", *(f"{loss:.3f}" for loss in best[name]), end="; ")
    print("median of its trials", *(f"{loss:.2f}" for loss in median[name]))
    claims += [
        ("hyperparameters", f"validation loss of the best trial, five searches, {name}", None, best[name].mean()),
        ("hyperparameters", f"median of the trials of eight epochs, five searches, {name}", None, median[name].mean()),
    ]

figure, row = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for axes, shown, title in (
    (row[0], ((coarse[0], "o", BLUE, "coarse, 3 epochs"), (fine[0], "^", ORANGE, "fine, 8 epochs")), "Coarse to fine"),
    (row[1], ((at_once[0], "s", "0.4", "8 epochs"),), "At once"),
):
    for found, marker, color, label in shown:
        losses = [min(loss, 3) for loss, _ in found]
        axes.plot([s["rate"] for _, s in found], losses, marker, color=color, label=label)
    axes.set(xscale="log", xlabel="learning rate", xlim=RATES, title=title)
    axes.legend(loc="upper left")
row[0].set(ylabel="validation loss (at most 3)", ylim=(0.3, 3.1))
figure.suptitle("About 100 epochs each: first find the region, and few of the long trials are wasted")
figure.savefig(figures / "12_hyperparameters_coarse_to_fine.png")

# %%
# Within wide limits most of the long trials are wasted on rates with which nothing is learned. In the region that the
# coarse trials found, most are good. So the best of a search is mostly better, too, but not always: the region can be
# wrong, because a rate that is fast for three epochs may be too high for eight.
#
# The same with dl.sweep
# ----------------------
#
# That loop is all there is to a search. ``dl.sweep`` does the same with less waste: Hyperband (Li et al. 2018) stops
# trials that fall behind after an epoch or three, which is coarse to fine within one search, and TPE (Bergstra et al.
# 2011) draws, after ten random trials, where earlier ones were good. Several processes may share the work, and one that
# is killed loses nothing. It needs the extra ``sweep``, and there is a command ``minidl sweep``, too. Five searches of
# 24 trials within the wide limits:

SPACE = {
    "learning_rate": WIDE["rate"], "l2": WIDE["l2"], "width": WIDE["width"], "dropout": WIDE["dropout"],
    "optimizer": "momentum", "batch_norm": False, "batch_size": 50,
}  # fmt: skip
options = {"space": SPACE, "trials": 24, "pruner": "hyperband", "epochs": 8, "backend": "cpu", "progress": False}
try:
    sweeps = [dl.sweep(train, validation, seed=seed, **options) for seed in range(5)]
except ImportError as missing:
    print(missing)
    sweeps = []

if sweeps:
    print(sweeps[0])
    sweeps[0].plot(figures / "12_hyperparameters_sweep.png")
    swept = np.array([each.best.loss for each in sweeps])
    swept_epochs = np.array([sum(len(each.losses) for each in one.trials) for one in sweeps])
    print("best of a sweep", *(f"{loss:.3f}" for loss in swept), "after epochs:", *swept_epochs)
    claims += [
        ("hyperparameters", "validation loss of the best trial, five searches, sweep", None, swept.mean()),
        ("hyperparameters", "epochs of 24 trials that might have eight each, five searches", None, swept_epochs.mean()),
    ]

# %%
# More than half of the epochs are saved, and the best of a sweep is better than that of either loop, for about the same
# price. The picture shows for each hyperparameter what the trials tell about it, whatever the others were.
#
# In short
# --------
#
# Draw at random and on a logarithmic scale, go from coarse to fine, and let a program do the stopping.

for row_name, what, _, ours in claims:
    print(f"{row_name}: {what:<62}{ours:8.3f}")

# %%
# Break it
# --------
#
# 1. In ``log_uniform``, return ``rng.uniform(low, high, size)``. Most coarse trials go to rates that are too large, the
#    left half of the pictures is empty, and
#    ``tests/tutorials/test_12_hyperparameters.py::test_a_logarithmic_scale_reaches_small_rates`` fails.
# 2. In ``grids``, give all 16 points to the learning rate: ``for a in np.arange(16) / 16 for b in [0]``. The grid then
#    repeats nothing and has nothing to lose against random points, and
#    ``tests/tutorials/test_12_hyperparameters.py::test_random_search_tries_more_rates_and_finds_a_better_one`` fails.
#    Only, somebody would have had to know beforehand which of the two matters.
