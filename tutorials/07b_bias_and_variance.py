"""
Bias and variance
=================

Why should it help to keep a network from fitting its data as well as it can? A prediction can be wrong in two ways: the
model cannot say what is true (bias), or it says something else for every training set (variance). Regularization trades
one for the other, and has to get more than it pays. Here are the trade itself, what penalties of each strength bring,
why they leave biases alone, and a better deal, more data.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row of the lectures, what the number is, the lecture's number or None, ours)
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.5"

# %%
# The trade
# ---------
#
# Twenty training sets of 30 noisy points of :math:`f(x) = \sin 3x`, and a network for each. Their mean prediction
# misses the truth by the bias; they scatter about their mean by the variance; the expected error is the sum of both:
#
# .. math::
#
#    E\,(\hat f - f)^2
#    = \underbrace{(E\hat f - f)^2}_{\text{bias}^2} + \underbrace{E\,(\hat f - E\hat f)^2}_{\text{variance}}
#
# because the mixed term, :math:`2\,(E\hat f - f)\,E(\hat f - E\hat f)`, is zero.

grid = np.linspace(-2, 2, 101, dtype="float32")[:, None]
truth = np.sin(3 * grid[:, 0])


def curve(seed, width, strength):
    """The predictions on the grid of a network of two hidden layers of tanh, trained on points of its own."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (30, 1)).astype("float32")
    y = (np.sin(3 * x) + 0.3 * rng.normal(size=x.shape)).astype("float32")
    layers = dl.Dense(1, width), dl.Tanh(), dl.Dense(width, width), dl.Tanh(), dl.Dense(width, 1)
    model = dl.Sequential(*layers, backend="cpu", seed=seed, penalty=dl.L2(strength) if strength else None)
    step = dl.TrainingStep(model, dl.MeanSquaredError(), dl.Adam(0.01), graph=True)
    for _ in range(400):
        step(x, y)
    return model.predict(grid)[:, 0]


def bias_and_variance(width, strength, sets):
    curves = np.array([curve(seed, width, strength) for seed in sets])
    return curves, float(np.mean((curves.mean(axis=0) - truth) ** 2)), float(curves.var(axis=0).mean())


models = {
    "2 units": (2, 0), "32 units": (32, 0), "32 units, L2 0.0003": (32, 3e-4), "32 units, L2 0.001": (32, 1e-3),
    "32 units, L2 0.1": (32, 1e-1),
}  # fmt: skip
trade = {name: bias_and_variance(*model, range(20)) for name, model in models.items()}
for name, (_, bias, variance) in trade.items():
    print(f"{name:>20}: bias² {bias:.3f} + variance {variance:.3f} = {bias + variance:.3f}")
    claims.append(("bias and variance", f"expected squared error, {name}", None, bias + variance))

# %%
# Two units cannot draw the sine. Thirty-two can, and draw the noise as well: nearly all of their error is variance. A
# weak penalty pays a little bias for more variance than that, and is the best of all: a large model, appropriately
# regularized. A strong one pays more than it gets, and is worse than none: the trade has to be profitable.

figure, row = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
for axes, name in zip(row, ("2 units", "32 units", "32 units, L2 0.1"), strict=True):
    curves, bias, variance = trade[name]
    axes.plot(grid, curves.T, color=ORANGE, linewidth=0.6, alpha=0.5)
    axes.plot(grid, curves.mean(axis=0), color=BLUE, label="mean of 20 networks")
    axes.plot(grid, truth, "--", color="black", label="truth")
    axes.set(xlabel="x", ylim=(-2.2, 2.2), title=f"{name}\nbias² {bias:.3f}, variance {variance:.3f}")
row[2].legend(loc="upper right", fontsize="small")
figure.suptitle("Bias is what the mean misses, variance is how the networks differ")
figure.savefig(figures / "07b_bias_and_variance_trade.png")

# %%
# How strong?
# -----------
#
# The same with 500 digits at half their size, five seeds, and the strength swept over a range that holds its optimum.

everything, _ = dl.data.digits()
halved = everything.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)  # the mean of four pixels
everything = dl.data.Dataset(halved, everything.y)
train, validation, _ = dl.data.split(everything, 500, 2000, 7500)


def validate(data, seed, epochs, on=validation, penalty=None):
    """Validation loss and accuracy of 196-64-10."""
    model = dl.Sequential(
        dl.Dense(196, 64), dl.ReLU(), dl.Dense(64, 10), backend="cpu", seed=seed, penalty=penalty
    )  # fmt: skip
    options = {"optimizer": dl.Adam(3e-3), "batch_size": 32, "graph": True, "progress": False}
    dl.fit(model, data, loss=dl.SoftmaxCrossEntropy(), epochs=epochs, **options)
    return dl.evaluate(model, on, loss=dl.SoftmaxCrossEntropy())


seeds = range(5)
none = np.array([validate(train, seed, 30) for seed in seeds])
sweep = {"L2": {}, "L1": {}}
for name, kind, strengths in (
    ("L2", dl.L2, (3e-4, 3e-3, 3e-2)),
    ("L1", dl.L1, (1e-4, 5e-4, 3e-3)),
):
    for strength in strengths:
        sweep[name][strength] = np.array([validate(train, seed, 30, penalty=kind(strength)) for seed in seeds])
best = {name: min(results, key=lambda a, of=results: of[a][:, 0].mean()) for name, results in sweep.items()}
print(f"{'no penalty':>12}: loss {none[:, 0].mean():.3f}, accuracy {none[:, 1].mean():.1%}")
claims.append(("L2 and L1", "validation loss, no penalty, 5 seeds", None, none[:, 0].mean()))
for name, results in sweep.items():
    for strength, result in results.items():
        print(f"{name:>3} {strength:8g}: loss {result[:, 0].mean():.3f}, accuracy {result[:, 1].mean():.1%}")
    claims.append(
        ("L2 and L1", f"validation loss, {name} of the best strength", None, results[best[name]][:, 0].mean())
    )
gained = max(results[best[name]][:, 1].mean() for name, results in sweep.items()) - none[:, 1].mean()
print(f"the best strength answers {100 * gained:.1f} points more of the digits rightly")

figure, row = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for axes, (name, results) in zip(row, sweep.items(), strict=True):
    axes.axhline(none[:, 0].mean(), color=GREY, linestyle=":", label="no penalty")
    axes.plot(list(results), [result[:, 0].mean() for result in results.values()], "o-", color=BLUE, label="mean")
    for strength, result in results.items():
        axes.plot([strength] * len(result), result[:, 0], ".", color=ORANGE, label=None)
    axes.set(xscale="log", xlabel=f"strength of {name}", title=f"{name}: best at {best[name]:g}")
row[0].set_ylabel("validation loss (dots: 5 seeds)")
row[0].legend()
figure.suptitle("A penalty helps at the right strength, and harms beyond it")
figure.savefig(figures / "07b_bias_and_variance_strength.png")

# %%
# With these 500 images the loss is lower with every seed of the weights; with 500 others the gain is smaller, down to a
# fifth of it with L2, and L1 may gain nothing. The network is a little less sure of what is wrong, and the share of
# right answers hardly moves: on digits a penalty is a small help, for those who ask how sure the network is.
#
# Why not the biases?
# -------------------
#
# There are few of them, and each governs one variable, where a weight says how two of them go together; so they take
# few data to get right, and little variance is saved. A penalty on them has its price all the same. Here the target
# lies about 5, which only the bias can say.

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 5))
y = 0.3 * x @ rng.normal(size=(5, 1)) + 5.0


def with_penalty(strength, on_bias):
    """The mean squared error of a linear model, with L2 on its weights or on its bias, too."""
    model = dl.Sequential(dl.Dense(5, 1), backend="cpu", dtype="float64", penalty=dl.L2(strength))
    loss, optimizer = dl.MeanSquaredError(), dl.SGD(0.05)
    _, bias = model.parameters()
    for _ in range(400):
        loss.forward(model.forward(x, training=True), y)
        model.backward(loss.backward())
        bias.gradient[:] += strength * bias.value if on_bias else 0.0
        optimizer.step(model.parameters())
    return loss.forward(model.forward(x), y)


underfit = {strength: (with_penalty(strength, False), with_penalty(strength, True)) for strength in (0.1, 1.0)}
for strength, (free, penalized) in underfit.items():
    print(f"L2 {strength:g}: mean squared error {free:.3f} with a free bias, {penalized:.3f} with a penalized one")
    claims.append(("L2 and L1", f"MSE, L2 {strength:g} on weights", None, free))
    claims.append(("L2 and L1", f"MSE, L2 {strength:g} on weights and bias", None, penalized))

# %%
# More data
# ---------
#
# The best way to generalize is to train with more data. Beside it stands the best L2 from above, with 500 images of the
# same pool; each seed draws its own. (The fewer images, the more epochs, so that all networks take some hundreds of
# steps.) In :doc:`07c_other_labels` the data are of another task, or have no label.

pool, held_out = everything[:8000], everything[8000:]


def drawn(n, seed):
    return pool[np.random.default_rng(seed).permutation(len(pool))[:n]]


more, strength = {}, dl.L2(best["L2"])
penalized = np.array([validate(drawn(500, seed), seed, 30, held_out, strength) for seed in seeds])
print(f"  500 images, L2: loss {penalized[:, 0].mean():.3f}, accuracy {penalized[:, 1].mean():.1%}")
for n in (100, 300, 1000, 3000, 8000):
    more[n] = np.array([validate(drawn(n, seed), seed, max(3, 6000 // n), held_out) for seed in seeds])
    print(f"{n:>5} images: loss {more[n][:, 0].mean():.3f}, accuracy {more[n][:, 1].mean():.1%}")
    claims.append(("more data", f"validation accuracy, {n} images, 5 seeds", None, more[n][:, 1].mean()))

figure, axes = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
axes.semilogx(list(more), [result[:, 0].mean() for result in more.values()], "o-", color=BLUE, label="more images")
for n, result in more.items():
    axes.plot([n] * len(result), result[:, 0], ".", color=ORANGE)
axes.axhline(penalized[:, 0].mean(), color=GREY, linestyle=":", label="500 images, the best L2")
axes.set(xlabel="training images", ylabel="validation loss (dots: 5 seeds)", title="Data helps more than a penalty")
axes.legend()
figure.savefig(figures / "07b_bias_and_variance_data.png")

# %%
# The penalty is worth about as much as twice the images. Six times as many leave it behind.

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>20}: {what:<52}{ours:10.4g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# In ``y``, leave out ``+ 5.0``. The bias then has nothing to say, its penalty costs nothing, and
# ``tests/tutorials/test_07b_bias_and_variance.py::test_a_penalty_on_the_bias_underfits`` fails.
