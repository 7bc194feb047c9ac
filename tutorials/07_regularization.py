"""
Regularization
==============

A network with 25,000 weights and 500 images can learn the images by heart. Regularization is everything that makes it
learn something else instead: stopping in time, penalties on the weights, new training images made from old ones, noise,
sparse activations. Each is shown here at a small size; ``docs/regularization.md`` compares them at full size. The third
part, :doc:`07c_other_labels`, is about a second task and images without labels.
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
# Overfitting
# -----------
#
# 500 training images, 2,000 others to see how well the network does on images that it has not learned from. All
# choices below are judged on these validation images; the test images of the package stay untouched.

everything, _ = dl.data.digits()
train, validation, _ = dl.data.split(everything, 500, 2000, 7500)
EPOCHS = 40


def trained(seed=0, rate=3e-3, penalty=None, below=list, behind=list, **options):
    """784-32-10, with layers of `below()` in front and of `behind()` behind its ReLU; the model and its history."""
    layers = [*below(), dl.Dense(784, 32), dl.ReLU(), *behind(), dl.Dense(32, 10)]
    model = dl.Sequential(*layers, backend="cpu", seed=seed, penalty=penalty)
    options |= {"optimizer": dl.Adam(rate), "epochs": EPOCHS, "batch_size": 32, "graph": True, "progress": False}
    return model, dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), **options)


def measured(model, data=validation):
    """Loss and accuracy."""
    return dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy())


plain, history = trained(validation=validation)

# %%
# The training loss goes to zero. The validation loss falls for a while and then rises again, with this seed as with
# others: the two curves move apart, and what the network learns from then on holds for these 500 images only.

turn = int(np.argmin(history["validation_loss"]))
gap = history["validation_loss"][-1] - history["loss"][-1]
gap_at_turn = history["validation_loss"][turn] - history["loss"][turn]

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(history["epoch"], history["loss"], color=BLUE, label="training")
axes.plot(history["epoch"], history["validation_loss"], "--", color=ORANGE, label="validation")
axes.axvline(turn + 1, color="0.4", linestyle=":", label=f"best validation loss, epoch {turn + 1}")
axes.set(xlabel="epoch", ylabel="mean loss", ylim=(0, 1.2), title="Training and validation loss move apart")
axes.legend()
figure.savefig(figures / "07_regularization_overfitting.png")

# %%
# Early stopping
# --------------
#
# The cheapest regularizer: stop when the validation loss has not become better for some epochs, and take the weights of
# the best epoch. It needs validation images, because the training loss has nothing to say about when to stop.

stopping = dl.EarlyStopping("validation_loss", patience=5)
stopped, stopped_history = trained(validation=validation, callbacks=[stopping])
print(f"stopped after {len(stopped_history)} of {EPOCHS} epochs, with the weights of epoch {stopping.best.epoch}")

# %%
# This network learns at a rate of 0.003. At a smaller one it gets less far in 40 epochs, a kind of early stopping, too.
# So here and below five networks at 0.003 compete with five plain ones at the best of five rates. That is a handicap:
# where they win all the same, as early stopping does by a little, a better rate of their own could only add to it.

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def five(rate=3e-3, **options):
    return [trained(seed, rate, **options)[0] for seed in range(5)]


def compare(row, what, measure, name, models, better=max):
    """The place of the best rate for plain networks, the measure of five of them, and that of the models."""
    of_rates = [np.array([measure(model) for model in of]) for of in plain_at.values()]
    place = better(range(len(RATES)), key=lambda place: of_rates[place].mean())
    others = np.array([measure(model) for model in models])
    for who, of in (("none, best rate", of_rates[place]), (name, others)):
        claims.append((row, f"{what}, {who}, 5 seeds", None, of.mean()))
    return place, of_rates[place], others


plain_at = {rate: five(rate) for rate in RATES}
early = five(validation=validation, callbacks=[stopping])  # which starts anew with each run
of_early = compare("overfitting", "validation loss", lambda model: measured(model).loss, "early stopping", early, min)
claims.append(("overfitting", "validation loss minus training loss, best epoch", None, gap_at_turn))
claims.append(("overfitting", f"validation loss minus training loss, epoch {EPOCHS}", None, gap))

# %%
# L2 and L1
# ---------
#
# Both add a price for large weights to the loss, and only for weights: there are few biases, and a price on them can
# cost more than it saves (the second part measures it, and what strength is best).
#
# .. math::
#
#    J_{L2} = L + \frac{\alpha}{2} \sum w^2, \qquad J_{L1} = L + \alpha \sum |w|
#
# Their gradients differ in one thing. That of L2 is :math:`\alpha w`, so a small weight is hardly pulled at all; that
# of L1 is :math:`\alpha\,\mathrm{sign}(w)`, the same pull for every weight, and those that the loss does not hold
# against it end at zero.

alpha = 1e-3
price = dl.Sequential(dl.Dense(784, 10, init="he_normal"), backend="cpu", dtype="float64", penalty=dl.L2(alpha))
weight, bias = price.parameters()
bias.value[:] = 1.0  # if it had a price, the cost below would show it
price.forward(train.x[:32].astype("float64"), training=True)
price.backward(np.zeros((32, 10)))  # no loss: what is left is the gradient of the penalty alone
l2_error = abs(price.penalty_cost() - alpha / 2 * np.sum(weight.value**2))
l2_error += np.abs(weight.gradient - alpha * weight.value).max()
bias_gradient = np.abs(bias.gradient).max()
claims.append(("L2 and L1", "L2 cost and gradient, difference from the formula", None, l2_error))
claims.append(("L2 and L1", "gradient of the penalty on a bias", None, bias_gradient))

# %%
# Trained with each: how many weights of the first layer are smaller than 0.001? We ask only about pixels that have ink
# in many images. At the border, where there is never any, a weight has no gradient but that of the penalty, and either
# penalty takes it to zero. (Weights are counted, not answers: one rate will do.)

inked = train.x.mean(axis=0) > 0.1
weights = {}  # (seeds, weights)
for name, penalty in (("none", None), ("L2, 0.003", dl.L2(3e-3)), ("L1, 0.001", dl.L1(1e-3))):
    models = five(penalty=penalty) if penalty else plain_at[3e-3]
    weights[name] = np.array([model.parameters()[0].value[inked].ravel() for model in models])
zeros = {name: float(np.mean(np.abs(w) < 1e-3)) for name, w in weights.items()}
claims += [("L2 and L1", f"share of weights below 0.001, {name}", None, share) for name, share in zeros.items()]

figure, row = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for axes, (name, w), color in zip(row, weights.items(), (BLUE, ORANGE, GREEN), strict=True):
    axes.hist(w[0], bins=np.linspace(-0.1, 0.1, 101), color=color, histtype="stepfilled")
    axes.set(yscale="log", xlabel="weight (not shown: beyond ±0.1)", title=f"{name}: {zeros[name]:.0%} below 0.001")
row[0].set_ylabel("weights of inked pixels")
figure.suptitle("L2 makes weights small, L1 makes them zero")
figure.savefig(figures / "07_regularization_weights.png")

# %%
# Data augmentation
# -----------------
#
# More images are better than any penalty, and small changes of an image make new ones: a shift by two pixels, a turn by
# ten degrees, mild noise. A network sees other versions of its 500 images in every epoch.

gentle = dl.data.Augmentation(dl.data.Shift(2), dl.data.Rotation(10), dl.data.Noise(0.1))
augmented = five(augmentation=gentle)
of_augmented = compare(
    "data augmentation", "validation accuracy", lambda model: measured(model).accuracy, "augmentation", augmented
)

# %%
# The change must keep the label. Turned upside down a 6 is a 9, and nobody could tell from the image which label it
# should have. The trained network agrees: show it the validation 6s upside down (the rows of pixels in reverse order,
# and the columns, too, for a half turn), and count its nines.


def answers(model, x):
    return model.predict(x).argmax(axis=1)


sixes = validation.x[validation.y == 6].reshape(-1, 28, 28)
shown = {"upright": sixes, "flipped": sixes[:, ::-1, :], "half turn": sixes[:, ::-1, ::-1]}
read = {name: answers(augmented[0], np.ascontiguousarray(x.reshape(-1, 784))) for name, x in shown.items()}
still_six = {name: float(np.mean(digits == 6)) for name, digits in read.items()}
nines_of_turned = float(np.mean(read["half turn"] == 9))

# %%
# Training with turns by any angle teaches exactly this confusion: 6s and 9s are taken for each other. (One network of
# each kind is enough to see what labels that are wrong do.)

reckless, _ = trained(augmentation=dl.data.Augmentation(dl.data.Rotation(180)))
six_or_nine = np.isin(validation.y, (6, 9))
swapped = {
    name: float(np.mean(answers(model, validation.x[six_or_nine]) == 15 - validation.y[six_or_nine]))
    for name, model in (("gentle", augmented[0]), ("any angle", reckless))
}

a_six = train.x[train.y == 6][:1]
versions, _ = gentle(np.repeat(a_six, 5, axis=0), np.full(5, 6), np.random.default_rng(0))
upside_down, half_turn = a_six.reshape(28, 28)[::-1], a_six.ravel()[::-1]
figure, row = plt.subplots(1, 8, figsize=(9, 1.9), layout="constrained")
for axes, image in zip(row, [a_six, *versions, upside_down, half_turn], strict=True):
    axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
row[0].set_title("A 6")
row[3].set_xlabel("five times shifted, turned, noisy: still a 6")
row[6].set_title("Flipped")
row[7].set(title="Half turn", xlabel="a 9?")
figure.suptitle("Augmentation must keep the label")
figure.savefig(figures / "07_regularization_augmentation.png")

claims += [("data augmentation", f"6s recognized, {name}", None, share) for name, share in still_six.items()]
claims.append(("data augmentation", "6s called 9 after a half turn", None, nines_of_turned))
for name, share in swapped.items():
    claims.append(("data augmentation", f"6s and 9s taken for each other, trained with turns: {name}", None, share))

# %%
# Noise robustness
# ----------------
#
# A layer of Gaussian noise before the first weights: it adds noise in training and nothing at inference. The network
# learns not to rely on single pixels, and then stands noise in the images that it is tested on.

noisy, _ = dl.data.Augmentation(dl.data.Noise(0.4))(validation.x, validation.y, np.random.default_rng(1))
noisy = dl.data.Dataset(noisy, validation.y)
with_noise = five(below=lambda: [dl.GaussianNoise(0.4)])
of_noise = compare(
    "noise robustness", "on noisy images", lambda model: measured(model, noisy).accuracy, "noise", with_noise
)

# %%
# Sparse representations
# ----------------------
#
# The penalty may also lie on what a layer says instead of on its weights: ``ActivityPenalty`` with L1, behind the ReLU.
# Then few units speak for each image.


def active(model):
    """The share of hidden units that are not zero, over the validation images."""
    hidden = model.layers[1].forward(model.layers[0].forward(validation.x))
    return float(np.mean(hidden > 0))


sparse = five(behind=lambda: [dl.ActivityPenalty(dl.L1(0.01))])
share_active = {"none": [active(model) for model in plain_at[3e-3]], "L1": [active(model) for model in sparse]}
for name, shares in share_active.items():
    claims.append(("sparse representation", f"active hidden units, {name}, 5 seeds", None, np.mean(shares)))
right = np.mean([measured(model).accuracy for model in sparse])
claims.append(("sparse representation", "validation accuracy, L1, 5 seeds", None, right))

# %%
# In short
# --------
#
# A second set of images shows overfitting, and when to stop. New images made from old ones help, as long as they keep
# their label. Which of all these helps most depends on strengths and learning rates, and so small a network cannot
# tell; ``docs/regularization.md`` searches for strengths, at one rate.

for row, what, _, ours in claims:
    print(f"{row:>25}: {what:<62}{ours:8.3f}")

# %%
# Break it
# --------
#
# 1. In ``minidl/layers/dense.py``, give the bias the penalty, too: put
#    ``self.penalize_gradient(self.bias.value, self.bias.gradient, self.bias.gradient)`` below ``column_sums``. The
#    gradient of the penalty on a bias above is no longer 0, and
#    ``tests/tutorials/test_07_regularization.py::test_penalties_are_on_weights_only_and_l1_makes_zeros`` fails.
# 2. In ``gentle``, replace ``Rotation(10)`` by ``Rotation(180)``: the picture shows 6s upside down, and
#    ``tests/tutorials/test_07_regularization.py::test_augmentation_helps_as_long_as_it_keeps_the_label`` fails.
# 3. Give ``EarlyStopping`` the argument ``restore_best=False``: the network keeps the weights of the last epoch instead
#    of the best, and ``tests/tutorials/test_07_regularization.py::test_early_stopping_has_the_best_validation_loss``
#    fails.
