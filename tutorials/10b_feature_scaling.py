r"""
Scale of the features, and colour
=================================

Why does gradient descent converge faster when the inputs are scaled? For one linear unit the answer can be drawn and
computed: the loss is a bowl, and the inputs decide how elongated it is. Then colour images, and how AlexNet, VGG and
ResNet scaled theirs.
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
# The bowl
# --------
#
# A unit :math:`y = w^T x` and the squared error of n rows:
#
# .. math::
#
#    L(w) = \frac{1}{2n} \lVert Xw - t \rVert^2, \qquad \nabla L = H (w - w^*), \qquad H = \frac{1}{n} X^T X.
#
# Along each eigenvector of H a step multiplies the error by :math:`1 - \eta\lambda`. The largest eigenvalue limits the
# rate, :math:`\eta < 2 / \lambda_\mathrm{max}`, and then there is little left for the smallest. With the best rate,
# :math:`2 / (\lambda_\mathrm{min} + \lambda_\mathrm{max})`, each step shrinks the error by
#
# .. math::
#
#    \frac{\kappa - 1}{\kappa + 1}, \qquad \kappa = \frac{\lambda_\mathrm{max}}{\lambda_\mathrm{min}}.
#
# So everything depends on :math:`\kappa`: round is good. We take the cloud of the tutorial on preprocessing, five
# times.

WAYS = {
    "as it comes": lambda x: x,
    "minus the mean": lambda x: dl.data.Center().fit_transform(x),
    "standardized": lambda x: dl.data.Standardize().fit_transform(x),
    "whitened": lambda x: dl.data.Whiten(epsilon=1e-12).fit_transform(x),
}
START = np.array([1.3, 0.2])  # of w - w*


def cloud(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(500, 2)) @ np.array([[3.0, 0.9], [0.0, 0.4]]) + np.array([6.0, 3.0])


def descent(x):
    """H, and the path of w - w* at the best rate, until the error is a hundredth of the first."""
    bowl = x.T @ x / len(x)
    smallest, largest = np.linalg.eigvalsh(bowl)
    path = [START]
    while np.linalg.norm(path[-1]) > 0.01 * np.linalg.norm(START):
        path.append(path[-1] - 2 / (smallest + largest) * bowl @ path[-1])
    return bowl, np.array(path)


kappa, steps = ({way: [] for way in WAYS} for _ in range(2))
for seed in range(5):
    for way, preprocess in WAYS.items():
        bowl, path = descent(preprocess(cloud(seed)))
        kappa[way].append(np.linalg.cond(bowl))
        steps[way].append(len(path) - 1)
kappa, steps = ({way: np.array(values) for way, values in each.items()} for each in (kappa, steps))
expected = {
    way: np.log(0.01) / np.log((values - 1) / (values + 1)) for way, values in kappa.items() if way != "whitened"
}

figure, row = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained", sharey=True)
grid = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 100), np.linspace(-1.5, 1.5, 100)), axis=-1)
for axes, (way, preprocess) in zip(row, WAYS.items(), strict=True):
    bowl, path = descent(preprocess(cloud(0)))
    heights = np.einsum("...i,ij,...j", grid, bowl, grid)
    levels = np.linalg.eigvalsh(bowl)[0] * np.geomspace(0.4, 1.5 * np.sqrt(kappa[way][0]), 7) ** 2
    axes.contour(grid[..., 0], grid[..., 1], heights, levels=levels, colors="0.6", linewidths=0.8)
    axes.plot(*path[:30].T, "o-", color=ORANGE, markersize=3, linewidth=0.8)
    axes.plot(0, 0, "*", color=BLUE, markersize=10)
    axes.set_title(f"{way}\nκ = {kappa[way][0]:.3g}, steps: {steps[way][0]}", fontsize="medium")
    axes.set(xlabel="$w_1 - w_1^*$", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
row[0].set_ylabel("$w_2 - w_2^*$")
figure.suptitle("The rounder the bowl, the fewer steps to a hundredth of the error (the first 30 are drawn)")
figure.savefig(figures / "10b_feature_scaling_bowls.png")

print("five clouds           κ              steps   expected from κ")
for way in WAYS:
    by_formula = f"{expected[way].mean():12.0f}" if way in expected else "           1"
    print(f"{way:<15}{kappa[way].min():8.3g} to{kappa[way].max():7.3g}{steps[way].mean():9.0f}{by_formula}")
    claims.append(("preprocessing", f"steps of gradient descent to 1 % of the error, {way}", None, steps[way].mean()))

# %%
# The mean is the largest part of it: far from 0 both features say "far from 0" first of all, and H is nearly the
# product of that one vector with itself. Two scales and a correlation do the rest. Whitening takes it all away, and the
# first step arrives. It does so for this bowl. The loss of a deep net is no bowl, and there the inputs are only the
# first of many layers.
#
# Colour images
# -------------
#
# Three nets of the lectures, three ways: AlexNet (Krizhevsky et al. 2012) subtracts the mean image, VGG (Simonyan &
# Zisserman 2014) one mean for each channel, and ResNet (He et al. 2015), as it is mostly used, also divides by the
# standard deviation of each channel. A channel is a third of the features, all its pixels one after
# another. For a batch in colour we print digits with coloured ink on coloured paper: much red, little blue.

WIDE = {
    "as they come": lambda known: None,
    "AlexNet: minus the mean image": lambda known: dl.data.Center().fit(known),
    "VGG: minus the mean of each channel": lambda known: dl.data.Center(per="channel", channels=3).fit(known),
    "ResNet: also over σ of each channel": lambda known: dl.data.Standardize(per="channel", channels=3).fit(known),
}


def coloured(digits, seed):
    """Each digit with its own colours: (n, 784) becomes (n, 3 * 784), from 0 to 1."""
    rng = np.random.default_rng(seed)
    paper, ink = (
        np.clip(rng.normal(mean, 0.06, (len(digits), 3)), 0, 1) for mean in ((0.85, 0.6, 0.35), (0.5, 0.3, 0.25))
    )
    shade = digits.x[:, None, :]
    x = paper[:, :, None] * (1 - shade) + ink[:, :, None] * shade
    return dl.data.Dataset(x.reshape(len(digits), -1).astype(np.float32), digits.y)


def prepared(way, known, *others):
    step = WIDE[way](known)
    return [data if step is None else step.transform(data) for data in (known, *others)]


digits, _ = dl.data.digits()
known, unknown = dl.data.split(coloured(digits[:1500], 0), 1000, 500)
print(f"{'':<37}   mean of red, green, blue      σ of red, green, blue")
for way in WIDE:
    channels = prepared(way, known)[0].x.reshape(-1, 3, 784)
    mean, deviation = channels.mean(axis=(0, 2)), channels.std(axis=(0, 2))
    print(f"{way:<37}", *(f"{m:7.3f}" for m in mean), "     ", *(f"{d:7.3f}" for d in deviation))

# %%
# Does it matter which? The small net again, three epochs of SGD, five seeds, and for each way the best of seven rates,
# which two of the seeds choose.

rates = np.logspace(-3, 0, 7)


def losses_after_training(way, seed, rates):
    """The validation loss after three epochs at each rate."""
    seen, new = prepared(way, *dl.data.split(coloured(digits[:1500], seed), 1000, 500, seed=seed))
    options = {"loss": dl.SoftmaxCrossEntropy(), "epochs": 3, "batch_size": 20, "graph": True, "progress": False}
    losses = []
    for rate in rates:
        model = dl.Sequential(dl.Dense(3 * 784, 32), dl.ReLU(), dl.Dense(32, 10), backend="cpu", seed=seed)
        try:
            dl.fit(model, seen, optimizer=dl.SGD(rate), **options)
            losses.append(dl.evaluate(model, new, loss=dl.SoftmaxCrossEntropy()).loss)
        except dl.DivergenceError:
            losses.append(np.inf)
    return losses


trained, place_of_best, at_best = {}, {}, {}
for way in WIDE:
    trained[way] = np.array([losses_after_training(way, seed, rates) for seed in (0, 1)])  # (seeds, rates)
    place_of_best[way] = place = int(trained[way].mean(axis=0).argmin())
    others = [losses_after_training(way, seed, rates[place : place + 1]) for seed in (2, 3, 4)]
    at_best[way] = np.append(trained[way][:, place], others)

figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for (way, losses), style, color in zip(
    trained.items(), ("D-", "o--", "s-.", "^:"), ("0.5", "#E69F00", BLUE, ORANGE), strict=True
):
    axes.plot(rates, losses.mean(axis=0), style, color=color, label=f"{way}: {at_best[way].mean():.2f}")
axes.set(xscale="log", ylim=(0, 2.6), xlabel="learning rate", ylabel="validation loss, two seeds")
axes.set_title("In colour the mean must go; to divide by σ only moves the rate")
figure.legend(title="best loss, five seeds", loc="outside lower center", ncols=2)
figure.savefig(figures / "10b_feature_scaling_colour.png")

for way, losses in at_best.items():
    print(f"{way:<37}{losses.mean():.3f} ± {losses.std(ddof=1):.3f} at rate {rates[place_of_best[way]]:.2g}")
    claims.append(("preprocessing", f"validation loss in colour, five seeds, {way}", None, losses.mean()))

# %%
# As they come, no number is negative, and most of the 2,352 are paper: a large κ, and three epochs teach nothing. All
# three ways cure that. The mean image comes out a little ahead here, perhaps because the digits stand in the middle of
# all images; in photographs anything may stand anywhere, the mean image is nearly one colour, and one mean for each
# channel does the same with three numbers. To divide by σ moves the best rate to the usual ones, which is convenient,
# and no more: the loss is not lower for it.
#
# In short
# --------
#
# Gradient descent is as slow as its bowl is elongated. Mean 0 and one scale make it rounder, and cost a few numbers.

for row_name, what, _, ours in claims:
    print(f"{row_name}: {what:<78}{ours:10.3g}")

# %%
# Break it
# --------
#
# 1. In ``descent``, take the rate :math:`1 / \lambda_\mathrm{max}`, which looks safer. It needs about twice the steps,
#    and ``tests/tutorials/test_10b_feature_scaling.py::test_the_condition_of_the_bowl_says_how_many_steps`` fails.
# 2. In ``Center._mean_and_deviation`` of ``minidl/data/preprocessing.py``, return ``np.tile(mean.ravel(), size)``, as
#    if the three colours of a pixel stood side by side. The means of the channels are no longer 0, and
#    ``tests/tutorials/test_10b_feature_scaling.py::test_channels_are_centred_and_scaled`` fails.
