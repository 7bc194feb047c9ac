"""
Dropout
=======

In training each unit of a layer is switched off with some probability, anew for every sample and every step. We do it
by hand, look at all 1,024 networks that a layer of ten units stands for, and ask a trained network how sure it is.
What dropout is good for is in :doc:`08b_why_dropout`, and its relatives are in :doc:`08c_relatives_of_dropout`.
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
# By hand
# -------
#
# A mask has a 1 with the probability to keep, :math:`1-p`, and a 0 with probability :math:`p`: one Bernoulli variable
# for each unit and each sample.
#
# .. math::
#
#    \text{inverted:}\quad y = \frac{x \odot m}{1-p} \text{ in training},\; y = x \text{ at inference}
#    \qquad
#    \text{classic:}\quad y = x \odot m,\; y = (1-p)\,x
#
# The inverted form is the usual one today: inference needs to know nothing about dropout.

rng = np.random.default_rng(0)
p = 0.4
h = rng.normal(size=(64, 100))  # 64 samples, 100 units
mask = rng.random(h.shape) >= p
inverted_by_hand = h * mask / (1 - p)
classic_by_hand = h * mask

# %%
# The layer of minidl computes its mask from a counter and never stores it. We can read it off the output, and see that
# the rest is the formula. Backward, the gradient passes where the unit was kept, with the same factor, and nowhere
# else.

inverted = dl.Dropout(p).build("cpu", seed=0, dtype="float64")
y = inverted.forward(h, training=True).copy()
kept = y != 0
dy = rng.normal(size=h.shape)
dx = inverted.backward(dy)
forward_error = np.abs(y - h * kept / (1 - p)).max()
backward_error = np.abs(dx - dy * kept / (1 - p)).max()
share_kept = kept.mean()
claims += [
    ("dropout", "share of units kept, rate 0.4", 1 - p, share_kept),
    ("dropout", "backward: difference from dy ⊙ mask / (1 - p)", None, backward_error),
]

figure, row = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axes, values, title in ((row[0], y, "Training: zeros where dropped"), (row[1], dx, "Gradient: the same zeros")):
    axes.imshow(values[:20, :40] != 0, cmap="gray", interpolation="nearest", aspect="auto")
    axes.set(xlabel="unit", title=title)
row[0].set_ylabel("sample")
figure.suptitle("One Bernoulli variable per unit and sample, the same in both passes (black: 0)")
figure.savefig(figures / "08_dropout_masks.png")

# %%
# The expectation is kept
# -----------------------
#
# Averaged over many masks, the output in training is the output at inference, in both forms. The mean of n passes
# misses it by about :math:`1/\sqrt{n}`.

classic = dl.Dropout(p, inverted=False).build("cpu", seed=0, dtype="float64")
passes = np.array([1, 4, 16, 64, 256, 1024])
misses = {}
for name, layer in (("inverted", inverted), ("classic", classic)):
    at_inference = layer.forward(h).copy()
    total, misses[name] = np.zeros_like(h), []
    for n in range(1, passes[-1] + 1):
        total += layer.forward(h, training=True)
        if n in passes:
            misses[name].append(float(np.sqrt(np.mean((total / n - at_inference) ** 2))))
    claims.append(("dropout", f"{name}: mean of 1,024 passes minus inference, rms", None, misses[name][-1]))
ratio_of_forms = float(np.mean(classic.forward(h) / inverted.forward(h)))
claims.append(("dropout", "classic at inference: factor on the activations, rate 0.4", 1 - p, ratio_of_forms))

figure, axes = plt.subplots(figsize=(6.2, 3.6), layout="constrained")
axes.loglog(passes, misses["inverted"], "o-", color=BLUE, label="inverted")
axes.loglog(passes, misses["classic"], "s--", color=ORANGE, label="classic")
axes.loglog(passes, 1.5 * misses["inverted"][0] / np.sqrt(passes), ":", color="0.3", label=r"slope of $1/\sqrt{n}$")
axes.set(xlabel="training passes averaged", ylabel="distance to inference (rms)")
axes.set_title("The mean of training passes is the output at inference")
axes.legend()
figure.savefig(figures / "08_dropout_expectation.png")

# %%
# 1,024 networks in one
# ---------------------
#
# Ten units have :math:`2^{10}` masks :math:`m`, and each is a network of its own; they share their weights. At
# inference we would like the average of all of them, weighted with the probability of each mask. For ten units we can
# compute it.
#
# .. math::
#
#    y = \sum_m p(m)\, f(x, w, m)

x = rng.normal(size=(200, 20))
linear = dl.Sequential(
    dl.Dense(20, 10), dl.Tanh(), dl.Dropout(0.5), dl.Dense(10, 3), backend="cpu", seed=0, dtype="float64"
)
ensemble = dl.dropout_ensemble(linear, x)
linear_error = np.abs(ensemble.mean - ensemble.inference).max()
print(f"{len(ensemble.masks)} masks, probabilities sum to {ensemble.probabilities.sum():.12f}")

# %%
# Behind the dropout layer stands one linear layer, and the mean of a linear function is the function of the mean: the
# single pass at inference is exactly the average over all 1,024 networks. With a ReLU behind it, it is not: the mean of
# max(0, z) is larger than max(0, mean of z) wherever z has either sign.

curved = dl.Sequential(
    dl.Dense(20, 10), dl.Tanh(), dl.Dropout(0.5), dl.Dense(10, 50), dl.ReLU(), dl.Dense(50, 3),
    backend="cpu", seed=0, dtype="float64",
)  # fmt: skip
behind_relu = dl.dropout_ensemble(curved, x)
miss = np.sqrt(np.mean((behind_relu.mean - behind_relu.inference) ** 2))
spread = np.sqrt(np.average((behind_relu.outputs - behind_relu.mean) ** 2, axis=0, weights=behind_relu.probabilities))
relative_miss = miss / behind_relu.mean.std()
miss_of_spread = miss / np.sqrt(np.mean(spread**2))

figure, row = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for axes, result, title in ((row[0], ensemble, "Linear layer: exact"), (row[1], behind_relu, "ReLU: an approximation")):
    ends = [result.mean[:, 0].min(), result.mean[:, 0].max()]
    axes.plot(ends, ends, color="0.6", linewidth=1, label="equal")
    axes.plot(result.mean[:, 0], result.inference[:, 0], "o", color=BLUE, markersize=3)
    axes.set(xlabel="mean of 1,024 networks", title=title)
row[0].set_ylabel("one pass at inference")
row[0].legend()
figure.suptitle("Inference against the average over all masks")
figure.savefig(figures / "08_dropout_ensemble.png")

claims += [
    ("ensemble view", "masks of 10 units", 2**10, len(ensemble.masks)),
    ("ensemble view", "linear layer behind: largest difference", None, linear_error),
    ("ensemble view", "ReLU behind: difference, share of the outputs' standard deviation", None, relative_miss),
    ("ensemble view", "ReLU behind: difference, share of the networks' spread", None, miss_of_spread),
]

# %%
# Monte Carlo dropout
# -------------------
#
# Train with dropout, leave it on at inference, predict a hundred times, and look at the spread (Gal & Ghahramani 2016).
# On digits the networks agree. On images that are no digits they should not: two digits on top of each other, digits on
# their side, noise. The entropy of the mean probabilities says how unsure the answer is, from 0 to log 10 = 2.3. One
# trained network is shown; it is a hundred networks, and each number is a mean over 200 images.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 1000, 400, 8600)
images = validation.x[:200]
turned = np.ascontiguousarray(images.reshape(-1, 28, 28).transpose(0, 2, 1)[:, ::-1].reshape(-1, 784))
odd = {
    "digits": images,
    "two at once": np.maximum(images, validation.x[200:400]),
    "on their side": turned,
    "noise": rng.random((200, 784)).astype("float32"),
}


def predictions(seed):
    """Mean and standard deviation of the probabilities of each image, of a network trained with dropout."""
    layers = dl.Dense(784, 128), dl.ReLU(), dl.Dropout(0.5), dl.Dense(128, 10)
    model = dl.Sequential(*layers, backend="cpu", seed=seed)
    options = {"optimizer": dl.Adam(1e-3), "epochs": 30, "batch_size": 50, "graph": True, "progress": False}
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), **options)
    return {name: dl.predict_mc(model, x_odd, samples=100, transform=dl.softmax) for name, x_odd in odd.items()}


def doubts(mean, std):
    """The mean entropy, and the mean standard deviation of the winner's probability."""
    of_winner = np.take_along_axis(std, mean.argmax(axis=1)[:, None], axis=1)
    return np.mean(-np.sum(mean * np.log(mean + 1e-12), axis=1)), np.mean(of_winner)


predicted = predictions(seed=0)
entropy, doubt = {}, {}
for name, of in predicted.items():
    entropy[name], doubt[name] = doubts(*of)
    claims.append(("dropout", f"Monte Carlo entropy, {name}", None, entropy[name]))
    print(f"{name:>14}: entropy {entropy[name]:.2f}, standard deviation of the winner {doubt[name]:.2f}")

figure, row = plt.subplots(2, 4, figsize=(9, 4), height_ratios=(1, 1.3), layout="constrained")
for column, (name, x_odd) in enumerate(odd.items()):
    mean, std = predicted[name]
    row[0, column].imshow(x_odd[0].reshape(28, 28), cmap="gray_r")
    row[0, column].set(xticks=[], yticks=[], title=name)
    row[1, column].bar(range(10), mean[0], yerr=std[0], color=BLUE, error_kw={"ecolor": ORANGE})
    row[1, column].set(xticks=range(10), ylim=(0, 1.05), xlabel=f"entropy of {len(x_odd)}: {entropy[name]:.2f}")
row[1, 0].set_ylabel("probability")
figure.suptitle("Odd images: the networks of Monte Carlo dropout disagree, or agree on a wrong digit")
figure.savefig(figures / "08_dropout_monte_carlo.png")

# %%
# It is no lie detector: what looks enough like some digit gets a sure answer, as the two at once do here, where the 5
# wins as clearly as it does alone. And a network that has never seen anything but digits can only disagree about which
# digit it is.
#
# In short
# --------
#
# Dropout trains exponentially many networks with shared weights. The one pass at inference is their average, exactly so
# behind a linear layer. Behind a ReLU it is an approximation, whose miss has a side: max(0, z) is convex, so the pass
# makes the mean of every ReLU too small, and the last weights decide whether that moves an output up or down: the one
# in the picture comes out too large for nearly all rows.

below = (behind_relu.inference < behind_relu.mean).mean(axis=0)
print(f"behind a ReLU: off by {relative_miss:.0%} of the outputs' standard deviation")
print("rows in which the pass is below the average: " + ", ".join(f"{share:.0%}" for share in below))

for row_name, what, lecture, ours in claims:
    print(f"{row_name:>13}: {what:<66}{ours:10.5g}" + (f"   lecture {lecture:g}" if lecture is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``minidl/layers/dropout.py``, let ``Dropout.backward`` return ``dy`` as it came.
#    ``tests/layers/test_dropout.py::test_backward_uses_the_mask_of_the_last_forward_pass`` fails, and the right half of
#    the first picture is white.
# 2. In the same file, let ``_scale`` return ``self.dtype.type(1)`` always: inverted dropout forgets its factor. The
#    curve of the inverted form stops falling, and
#    ``tests/tutorials/test_08_dropout.py::test_training_is_inference_on_average`` fails.
# 3. In ``linear`` above, put ``dl.ReLU()`` behind the last layer: the exact ensemble becomes an approximation, and
#    ``tests/tutorials/test_08_dropout.py::test_inference_is_the_mean_of_all_networks_behind_a_linear_layer`` fails.
