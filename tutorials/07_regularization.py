"""
Regularization
==============

A network with 50,000 weights and 500 images can learn the images by heart. Regularization is everything that makes it
learn something else instead: penalties on the weights, new training images made from old ones, stopping in time, noise,
a second task, images without labels, sparse activations. Each is shown here at a small size, with five seeds where
networks are compared; ``docs/regularization.md`` compares them at full size.
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
train, validation, unlabelled = dl.data.split(everything, 500, 2000, 7500)


def network(*extra, seed=0, penalty=None, below=()):
    """784-64-10 with ReLU, layers `extra` behind the ReLU and layers `below` in front."""
    layers = [*below, dl.Dense(784, 64), dl.ReLU(), *extra, dl.Dense(64, 10)]
    return dl.Sequential(*layers, backend="cpu", seed=seed, penalty=penalty)


def fit(model, data=train, epochs=60, **options):
    options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(1e-3), "batch_size": 32, "graph": True} | options
    return dl.fit(model, data, epochs=epochs, progress=False, **options)


def trained(*extra, seed=0, penalty=None, below=(), **options):
    model = network(*extra, seed=seed, penalty=penalty, below=below)
    fit(model, **options)
    return model


def accuracy(model, data=validation):
    return dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy()).accuracy


seeds = range(5)
plain = network()
history = fit(plain, validation=validation)
shown = {"none": [plain, *(trained(seed=seed) for seed in seeds[1:])]}  # kinds of networks, five of each

# %%
# The training loss goes to zero. The validation loss falls for a while and then rises again: the two curves move apart,
# and what the network learns from then on holds for these 500 images only.

turn = int(np.argmin(history["validation_loss"]))
gap = history["validation_loss"][-1] - history["loss"][-1]
gap_at_turn = history["validation_loss"][turn] - history["loss"][turn]

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(history["epoch"], history["loss"], color=BLUE, label="training")
axes.plot(history["epoch"], history["validation_loss"], "--", color=ORANGE, label="validation")
axes.axvline(turn + 1, color="0.4", linestyle=":", label=f"best validation loss, epoch {turn + 1}")
axes.set(xlabel="epoch", ylabel="mean loss", ylim=(0, 1.2))
axes.set_title("Overfitting: training and validation loss move apart")
axes.legend()
figure.savefig(figures / "07_regularization_overfitting.png")

claims += [
    ("overfitting", "validation loss minus training loss, best epoch", None, gap_at_turn),
    ("overfitting", "validation loss minus training loss, epoch 60", None, gap),
]

# %%
# Early stopping
# --------------
#
# The cheapest regularizer: stop when the validation loss has not become better for some epochs, and take the weights of
# the best epoch. It needs validation images, because the training loss has nothing to say about when to stop.

stopping = dl.EarlyStopping("validation_loss", patience=5)
stopped = network()
stopped_history = fit(stopped, validation=validation, callbacks=[stopping])
stopped_loss = dl.evaluate(stopped, validation, loss=dl.SoftmaxCrossEntropy()).loss
early = [
    trained(seed=seed, validation=validation, callbacks=[dl.EarlyStopping("validation_loss", patience=5)])
    for seed in seeds[1:]
]
shown["early stopping"] = [stopped, *early]
losses = {
    name: np.array([dl.evaluate(model, validation, loss=dl.SoftmaxCrossEntropy()).loss for model in of])
    for name, of in shown.items()
}
print(f"stopped after {len(stopped_history)} of 60 epochs; the weights are those of epoch {stopping.best.epoch}")
claims += [
    ("overfitting", "validation loss with early stopping, 5 seeds", None, losses["early stopping"].mean()),
    ("overfitting", "validation loss after all 60 epochs, 5 seeds", None, losses["none"].mean()),
]

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
l2_error = (
    abs(price.penalty_cost() - alpha / 2 * np.sum(weight.value**2))
    + np.abs(weight.gradient - alpha * weight.value).max()
)
bias_gradient = np.abs(bias.gradient).max()
claims += [
    ("L2 and L1", "L2 cost and gradient, difference from the formula", None, l2_error),
    ("L2 and L1", "gradient of the penalty on a bias", None, bias_gradient),
]

# %%
# Trained with each: how many weights of the first layer are smaller than 0.001? We ask only about pixels that have ink
# in many images. At the border, where there is never any, a weight has no gradient but that of the penalty, and either
# penalty takes it to zero.

for name, penalty in (("L2, 0.003", dl.L2(3e-3)), ("L1, 0.0003", dl.L1(3e-4))):
    shown[name] = [trained(seed=seed, penalty=penalty) for seed in seeds]

inked = train.x.mean(axis=0) > 0.1
weights = {
    name: np.array([model.parameters()[0].value[inked].ravel() for model in shown[name]])
    for name in ("none", "L2, 0.003", "L1, 0.0003")
}  # (seeds, weights)
zeros = {name: float(np.mean(np.abs(w) < 1e-3)) for name, w in weights.items()}
claims += [("L2 and L1", f"share of weights below 0.001, {name}", None, share) for name, share in zeros.items()]

figure, row = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for axes, (name, w), color in zip(row, weights.items(), (BLUE, ORANGE, GREEN), strict=True):
    axes.hist(w[0], bins=np.linspace(-0.1, 0.1, 101), color=color, histtype="stepfilled")
    axes.set(yscale="log", xlabel="weight", title=f"{name}: {zeros[name]:.0%} below 0.001")
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
shown["augmentation"] = [trained(seed=seed, augmentation=gentle) for seed in seeds]
augmented = shown["augmentation"][0]

# %%
# The change must keep the label. Turned upside down a 6 is a 9, and nobody could tell from the image which label it
# should have. The trained network agrees: show it the validation 6s upside down (the rows of pixels in reverse order,
# and the columns, too, for a half turn), and count its nines.


def answers(model, x):
    return model.predict(x).argmax(axis=1)


sixes = validation.x[validation.y == 6].reshape(-1, 28, 28)
flipped = np.ascontiguousarray(sixes[:, ::-1, :].reshape(-1, 784))
turned = np.ascontiguousarray(sixes[:, ::-1, ::-1].reshape(-1, 784))
still_six = {
    name: float(np.mean(answers(augmented, x) == 6))
    for name, x in (("upright", sixes.reshape(-1, 784)), ("flipped", flipped), ("half turn", turned))
}
nines_of_turned = float(np.mean(answers(augmented, turned) == 9))

# %%
# Training with turns by any angle teaches exactly this confusion: 6s and 9s are taken for each other.

reckless = trained(augmentation=dl.data.Augmentation(dl.data.Rotation(180)))
six_or_nine = np.isin(validation.y, (6, 9))
swapped = {
    name: float(np.mean(answers(model, validation.x[six_or_nine]) == 15 - validation.y[six_or_nine]))
    for name, model in (("gentle", augmented), ("any angle", reckless))
}

of_all = {name: np.mean([accuracy(model) for model in shown[name]]) for name in ("none", "augmentation")}
rng = np.random.default_rng(0)
a_six = train.x[train.y == 6][:1]
versions, _ = gentle(np.repeat(a_six, 5, axis=0), np.full(5, 6), rng)
upside_down = a_six.reshape(28, 28)[::-1].ravel()
half_turn = a_six.ravel()[::-1]
figure, row = plt.subplots(1, 8, figsize=(9, 1.9), layout="constrained")
names = ["a 6", *[""] * 5, "flipped", "half turn"]
for axes, image, name in zip(row, [a_six[0], *versions, upside_down, half_turn], names, strict=True):
    axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], title=name)
row[3].set_xlabel("five times shifted, turned, noisy: still a 6")
row[7].set_xlabel("a 9?")
figure.suptitle("Augmentation must keep the label")
figure.savefig(figures / "07_regularization_augmentation.png")

claims += [
    ("data augmentation", "validation accuracy, none, 5 seeds", None, of_all["none"]),
    ("data augmentation", "the same, shifts, slight rotation, noise", None, of_all["augmentation"]),
    ("data augmentation", "6s recognized, upright", None, still_six["upright"]),
    ("data augmentation", "6s recognized, flipped", None, still_six["flipped"]),
    ("data augmentation", "6s called 9 after a half turn", None, nines_of_turned),
    ("data augmentation", "6s and 9s taken for each other, slight rotation", None, swapped["gentle"]),
    ("data augmentation", "6s and 9s taken for each other, rotation by any angle", None, swapped["any angle"]),
]

# %%
# Noise robustness
# ----------------
#
# A layer of Gaussian noise before the first weights: it adds noise in training and nothing at inference. The network
# learns not to rely on single pixels, and then stands noise in the images that it is tested on.

noisy, _ = dl.data.Augmentation(dl.data.Noise(0.4))(validation.x, validation.y, np.random.default_rng(1))
noisy = dl.data.Dataset(noisy, validation.y)


def with_noise(seed, **options):
    return trained(seed=seed, below=[dl.GaussianNoise(0.4)], **options)


shown["noise on inputs"] = [with_noise(seed) for seed in seeds]
on_noise = {
    "trained without noise": np.array([accuracy(model, noisy) for model in shown["none"]]),
    "trained with noise": np.array([accuracy(model, noisy) for model in shown["noise on inputs"]]),
}
for name, of in on_noise.items():
    print(f"on noisy images, {name}: {of.mean():.1%}, from {of.min():.1%} to {of.max():.1%}")
    claims.append(("noise robustness", f"accuracy on noisy images, {name}, 5 seeds", None, of.mean()))

# %%
# All are trained at a rate of 0.001. Without noise 0.01 is a little better, with it 0.003; then the difference is as
# large.
#
# Multi-task learning
# -------------------
#
# Two heads on one shared layer: which digit, and whether it has a closed loop (0, 6, 8 and 9 have, and for simplicity
# the 4 has not). The shared layer gets the sum of both gradients, so it must find features that serve both.

loops = np.isin(np.arange(10), (0, 6, 8, 9)).astype(np.int64)


def with_loops(data):
    return dl.data.Dataset(data.x, {"digit": data.y, "loop": loops[data.y]})


def two_tasks(digit, loop, seed):
    """Digit and loop accuracy of a network whose two losses have these weights."""
    heads = dl.Heads(digit=dl.Dense(64, 10), loop=dl.Dense(64, 2))
    model = dl.Sequential(dl.Dense(784, 64), dl.ReLU(), heads, backend="cpu", seed=seed)
    losses = {"digit": dl.SoftmaxCrossEntropy(), "loop": dl.SoftmaxCrossEntropy()}
    loss = dl.MultiTask(heads, weights={"digit": digit, "loop": loop}, **losses)
    fit(model, with_loops(train), loss=loss, epochs=30)
    dl.evaluate(model, with_loops(validation), loss=loss)
    return [accuracy for _, accuracy in loss.by_head().values()]


nothing = 1e-6  # a weight of 0 is refused
digit_alone = np.mean([two_tasks(1.0, nothing, seed)[0] for seed in seeds])
loop_alone = np.mean([two_tasks(nothing, 1.0, seed)[1] for seed in seeds])
digit_together, loop_together = np.mean([two_tasks(1.0, 1.0, seed) for seed in seeds], axis=0)
claims += [
    ("multi-task learning", "digit accuracy, a network of its own, 5 seeds", None, digit_alone),
    ("multi-task learning", "digit accuracy, shared layer, 5 seeds", None, digit_together),
    ("multi-task learning", "loop accuracy, a network of its own, 5 seeds", None, loop_alone),
    ("multi-task learning", "loop accuracy, shared layer, 5 seeds", None, loop_together),
]

# %%
# One layer serves both tasks as well as two layers, one for each, or nearly so. The digits gain nothing from the second
# task here: their labels already say everything about loops. A second task helps where it brings news, such as labels
# of other images (in the second part).
#
# Semi-supervised learning
# ------------------------
#
# 200 labels, and 7,500 images whose labels we pretend not to have. A first network labels them, where it is sure, and a
# second one learns from both (pseudo-labels, Lee 2013). Each labelled image is there five times, so that it keeps its
# say among so many, and dropout (the next tutorial) keeps both networks from being too sure. Five pairs at each of
# three learning rates.

few = train[:200]


def taught(seed, rate):
    """The number of pseudo-labels, the share of wrong ones, and the accuracy of teacher and student."""
    teacher = trained(dl.Dropout(0.5), seed=seed, data=few, epochs=30, optimizer=dl.Adam(rate))
    pseudo = dl.data.pseudo_label(teacher, unlabelled.x, threshold=0.95)
    sure = dl.softmax(teacher.predict(unlabelled.x)).max(axis=1) >= 0.95
    wrong = np.mean(pseudo.y != unlabelled.y[sure])  # we do have the labels, and may look how good its own are
    both = dl.data.concatenate(*[few] * 5, pseudo)
    student = trained(dl.Dropout(0.5), seed=seed + 100, data=both, epochs=15, optimizer=dl.Adam(rate))
    return len(pseudo), wrong, accuracy(teacher), accuracy(student)


rates = [0.001, 0.003, 0.01]
schools = np.array([[taught(seed, rate) for seed in seeds] for rate in rates])  # (rates, seeds, what it returns)
print("rate  pseudo-labels  wrong   teacher  student  gained by each")
for rate, of in zip(rates, schools, strict=True):
    count, wrong, before, after = of.mean(axis=0)
    gains = "  ".join(f"{100 * gain:+.1f}" for gain in of[:, 3] - of[:, 2])
    print(f"{rate:5} {count:12,.0f} {wrong:8.1%} {before:8.1%} {after:8.1%}  {gains}")
of_rates = schools.mean(axis=1)
best_teacher, best_student = of_rates[:, 2].argmax(), of_rates[:, 3].argmax()
claims += [
    ("semi-supervised learning", "wrong pseudo-labels, rate 0.01, 5 seeds", None, of_rates[2, 1]),
    ("semi-supervised learning", "validation accuracy, 200 labels, best rate", None, of_rates[best_teacher, 2]),
    ("semi-supervised learning", "the same, and pseudo-labels, best rate", None, of_rates[best_student, 3]),
]

# %%
# At the smallest rate the teacher is sure of few images, those that anybody could read, and the student learns nothing
# new from them. At larger rates the teacher is sure of thousands more and still mostly right, and the student gains
# about a point, also over the best teacher. At 0.03 both are worse than at 0.01.
#
# Sparse representations
# ----------------------
#
# The penalty may also lie on what a layer says instead of on its weights: ``ActivityPenalty`` with L1, behind the ReLU.
# Then few units speak for each image.


def active(model):
    """The share of hidden units that are not zero, over the validation images."""
    hidden = model.layers[1].forward(model.layers[0].forward(validation.x))
    return float(np.mean(hidden > 0))


shown["sparse activations"] = [trained(dl.ActivityPenalty(dl.L1(0.01)), seed=seed) for seed in seeds]
share_active = {name: np.array([active(model) for model in shown[name]]) for name in ("none", "sparse activations")}
right = {name: np.array([[accuracy(model, train), accuracy(model)] for model in of]) for name, of in shown.items()}
for name, of in share_active.items():
    print(f"{name}: from {of.min():.1%} to {of.max():.1%} of the units active, accuracy {right[name][:, 1].mean():.1%}")
claims += [
    ("sparse representation", "active hidden units, no penalty, 5 seeds", None, share_active["none"].mean()),
    ("sparse representation", "the same, L1 on activations", None, share_active["sparse activations"].mean()),
    ("sparse representation", "validation accuracy, L1 on activations", None, right["sparse activations"][:, 1].mean()),
]

# %%
# Side by side
# ------------
#
# Five seeds each, all at a learning rate of 0.001 and with one usual strength.

for name, of in right.items():
    print(f"{name:>20}: training {of[:, 0].mean():.1%}, validation {of[:, 1].mean():.1%} ± {of[:, 1].std(ddof=1):.1%}")

figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
for height, of in enumerate(right.values()):
    on_training, on_validation = of.mean(axis=0)
    axes.plot([on_validation, on_training], [height, height], color="0.7", zorder=0)
    axes.plot(on_training, height, "o", color=BLUE, label="training" if height == 0 else None)
    axes.plot(on_validation, height, "s", color=ORANGE, label="validation" if height == 0 else None)
    axes.plot(of[:, 1], [height] * len(of), ".", color=ORANGE, markersize=3)
axes.set_yticks(range(len(right)), list(right))
axes.invert_yaxis()
axes.set(xlabel="accuracy (small dots: 5 seeds)", title="Augmentation narrows the gap most")
axes.grid(axis="x", alpha=0.3)
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.savefig(figures / "07_regularization_gaps.png")

# %%
# In short
# --------
#
# A second set of images shows overfitting, and when to stop. L2 makes weights small, L1 makes them zero, and neither
# touches a bias. Of everything here, new images made from old ones help most, as long as they keep their label. All
# others are within a point of each other, which a better strength or learning rate for one of them would change.

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
# 2. In ``penalty_slope`` of ``minidl/scalar/penalties.py``, replace ``l1 * sign`` by ``l1 * w``: L1 becomes L2, its
#    peak at zero is gone from the picture of weights, and
#    ``tests/test_penalties.py::test_the_gradient_is_l1_sign_w_plus_l2_w_and_0_at_0`` fails.
# 3. In ``gentle``, replace ``Rotation(10)`` by ``Rotation(180)``: the picture shows 6s upside down, and
#    ``tests/tutorials/test_07_regularization.py::test_augmentation_helps_as_long_as_it_keeps_the_label`` fails.
# 4. Give ``EarlyStopping`` the argument ``restore_best=False``: the network keeps the weights of the last epoch instead
#    of the best, and ``tests/tutorials/test_07_regularization.py::test_early_stopping_has_the_best_validation_loss``
#    fails.
