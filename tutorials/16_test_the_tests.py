r"""
What do your tests let pass?
============================

A test that passes says little; one that fails on wrong code says something. So let us test tests. minidl keeps small
changes of its initializers, each a mistake that somebody could make, with what a teacher would say about it. We write
tests in four styles, from the usual to the careful, and see which of the mistakes each one notices.
``minidl exercise check-tests FILE`` does the same with a file of your own.
"""

import contextlib
import importlib
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl
from minidl.exercises import wrong
from minidl.statistics import bounds, distributions

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row, what the number is, the known number or None, ours)
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SEEDS, LAWS = 5, ("normal", "uniform", "truncated_normal")

# %%
# Wrong code
# ----------
# A change replaces a piece of the text of one file. The initializers are imported anew with the changed text, and
# afterwards put back as they were.


@contextlib.contextmanager
def initializers(change):
    """minidl.initializers with a change of its text, or with none."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("minidl.initializers")}
    finders = [wrong.Finder(change)] if change else []
    sys.meta_path[:0] = finders
    try:
        yield importlib.import_module("minidl.initializers")
    finally:
        del sys.meta_path[: len(finders)]
        sys.modules.update(kept)
        dl.initializers = kept["minidl.initializers"]


for change in wrong.INITIALIZERS:
    print(f"{change.name:26} {change.lesson}")

# %%
# First rung: in the style of Keras
# ---------------------------------
# One layer with 200 inputs and 100 outputs. Mean, standard deviation, largest and smallest weight may be off by 0.03,
# whatever their size.


def close(found, expected):
    assert abs(found - expected) < 0.03, f"{found} is not {expected}"


def keras_style(module, seed):
    rng, shape = np.random.default_rng(seed), (200, 100)
    for name, std in (("lecun", math.sqrt(1 / 200)), ("glorot", math.sqrt(2 / 300)), ("he", math.sqrt(2 / 200))):
        for law, end in zip(LAWS, (None, math.sqrt(3), 2), strict=True):
            weights = getattr(module, f"{name}_{law}")(rng, *shape)
            close(weights.mean(), 0)
            if end is None:
                close(weights.std(), std)
            else:
                close(weights.max(), end * std)
                close(weights.min(), -end * std)
    close(module.normal(rng, *shape, std=1.0).std(), 1)
    close(module.orthogonal(rng, *shape).mean(), 0)


# %%
# Second rung: the variance
# -------------------------
# The variance is what the theory is about. It may be off by 10 % of what it should be, in a layer of 100 units behind
# 100 units.


def variance_test(module, seed):
    rng, n = np.random.default_rng(seed), 100
    for law in LAWS:
        for name, expected in (("lecun", 1 / n), ("glorot", 1 / n), ("he", 2 / n)):
            variance = getattr(module, f"{name}_{law}")(rng, n, n).var()
            assert abs(variance / expected - 1) < 0.1, f"{name}_{law}: {variance} is not {expected}"


# %%
# Third rung: a property
# ----------------------
# A property holds for every layer, so the test draws layers: other fans, gains and slopes each time. And there is no
# tolerance to choose. How far the variance of so many draws may be from the true one is a theorem; right code leaves
# these bounds once in :math:`10^9` times. Mean, largest weight and the shape of the distribution have theirs.


def property_test(module, seed):
    rng = np.random.default_rng(seed)
    cut = distributions.truncated(2.0)
    for law, distribution in zip(LAWS, (distributions.NORMAL, distributions.UNIFORM, cut), strict=True):
        for _ in range(2):
            fan_in, fan_out = map(int, np.exp(rng.uniform(np.log(20), np.log(200), 2)))
            gain, slope = rng.uniform(0.5, 2), rng.uniform(0, 1)
            for name, variance, parameters in (
                ("lecun", gain**2 / fan_in, {"gain": gain}),
                ("glorot", 2 * gain**2 / (fan_in + fan_out), {"gain": gain}),
                ("he", 2 / (1 + slope**2) / fan_in, {"slope": slope}),
            ):
                name = f"{name}_{law}"
                weights = getattr(module, name)(rng, fan_in, fan_out, **parameters)
                distributions.assert_follows(weights, distribution, math.sqrt(variance), name)


# %%
# Fourth rung: what the weights are for
# -------------------------------------
# The first three look at weights. What counts is what a layer does with them: where :math:`z` has the mean square 1,
# so has :math:`\varphi(z) W`. That must hold for the choice before each activation, and for structured weights, behind
# what each of them is made for. Orthogonal weights have one property more: they favour no direction, so that each entry
# is as often positive as negative.

PHI = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu(slope=0.3)": lambda z: np.where(z > 0, z, 0.3 * z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
}


def signal_test(module, seed):
    rng, n, table = np.random.default_rng(seed), 200, module.INITIALIZERS
    z, kept = rng.normal(size=(100, n)), rng.random((100, n)) < 0.75
    cases = [(f"automatic({name!r})", phi(z), module.automatic(name)) for name, phi in PHI.items()]
    cases += [(name, z, table[name]) for name in ("sparse", "orthogonal")]
    adjusted = table["dropout_adjusted"].with_parameters(rate=0.25)
    cases.append(("dropout_adjusted", PHI["relu"](z) * kept / 0.75, adjusted))
    for name, inputs, initializer in cases:
        outputs = inputs @ initializer(rng, n, n if name == "orthogonal" else 5 * n)
        assert abs(np.mean(outputs**2) - 1) < 0.15, f"{name}: the mean square becomes {np.mean(outputs**2)}"
    positive = sum(table["orthogonal"](rng, 3, 3)[0, 0] > 0 for _ in range(100))
    assert positive in bounds.binomial(100, 0.5), f"orthogonal: W[0, 0] is positive {positive} times of 100"


# %%
# Who notices what
# ----------------
# Each test meets the right code and every mistake, with several seeds. On right code it must pass.

RUNGS = {
    "in the style of Keras": keras_style,
    "the variance": variance_test,
    "a property": property_test,
    "what weights are for": signal_test,
}


def fails(test, module, seed):
    try:
        test(module, seed)
    except AssertionError:
        return True
    return False


def verdicts(change):
    """For each rung and each seed, whether the test fails."""
    with initializers(change) as module:
        return [[fails(test, module, seed) for seed in range(SEEDS)] for test in RUNGS.values()]


false_alarms = np.sum(verdicts(None), axis=1)
noticed = np.array([verdicts(change) for change in wrong.INITIALIZERS])  # mistake, rung, seed
always, ever = noticed.all(axis=2), noticed.any(axis=2)
print(f"\n{len(noticed)} mistakes, {SEEDS} seeds      noticed   by this rung or one below   alarms on right code")
for i, rung in enumerate(RUNGS):
    below = always[:, : i + 1].any(axis=1).sum()
    print(f"{rung:26} {always[:, i].sum():9} {below:19} {false_alarms[i]:22}")
    claims.append(("tests of initializers", f"mistakes noticed of {len(noticed)}, {rung}", None, always[:, i].sum()))
print("depends on the seed:", [wrong.INITIALIZERS[i].name for i in np.flatnonzero((ever != always).any(axis=1))])

figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
axis.imshow(noticed.mean(axis=2), cmap="Blues", vmin=0, vmax=2, aspect="auto")
for (mistake, rung), share in np.ndenumerate(noticed.mean(axis=2)):
    text = {0.0: "lets pass", 1.0: "notices"}.get(share, f"{share:.0%}")
    axis.text(rung, mistake, text, ha="center", va="center", fontsize="small")
counts = [f"{rung}\n{n} of {len(noticed)}" for rung, n in zip(RUNGS, always.sum(axis=0), strict=True)]
axis.set_xticks(range(len(RUNGS)), counts)
axis.set_yticks(range(len(noticed)), [change.name for change in wrong.INITIALIZERS])
axis.set_title("What each test notices", fontsize="medium")
figure.savefig(figures / "16_test_the_tests_ladder.png")

# %%
# The first two notice six each, and not the same six. A square layer cannot show fans that are swapped, nor which fan
# Glorot takes; a layer of one shape, without a gain, cannot show what becomes of a gain. The property notices all that
# is wrong with the nine distributions, and knows nothing of other initializers. Nobody but the last asks what
# ``init="auto"`` chooses.

# %%
# A tolerance is a decision
# -------------------------
# Why does the first test let a Glorot with the wrong fan pass? The weights of a wide layer are small, and 0.03 is the
# same for all layers. Of He's standard deviation :math:`\sqrt{2 / n}` it is the part :math:`0.03 \sqrt{n / 2}`, and the
# whole at :math:`n = 2 / 0.03^2 = 2222`: there, even weights of zero pass. The bound of the theorem shrinks instead,
# because a wide layer has more weights, which tell its variance better.

sizes = np.unique(np.logspace(1, 3.6, 60).astype(int))
keras_allows = 0.03 * np.sqrt(sizes / 2)
theorem_allows = [math.sqrt(bounds.normal_second_moment(n * 100).high) - 1 for n in sizes]
right = {n: [np.random.default_rng(seed).normal(size=(n, 100)).std() - 1 for seed in range(50)] for n in (10, 40, 150)}

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.plot(sizes, keras_allows, color=ORANGE, label="0.03, whatever the size")
axis.axhline(math.sqrt(1.1) - 1, color=PINK, linestyle="-.", label="10 % of the variance")
axis.plot(sizes, theorem_allows, "--", color=BLUE, label="theorem: right code leaves it once in 10⁹ times")
axis.plot(np.repeat(list(right), 50), np.abs(np.ravel(list(right.values()))), ".", color="gray", label="right code")
for height, text in ((1, "weights of zero"), (1 - math.sqrt(0.5), "He without its 2")):
    axis.axhline(height, color="black", linewidth=0.8, linestyle=":")
    axis.text(12, height, text, va="bottom", fontsize="small")
axis.set(xscale="log", yscale="log", ylim=(2e-4, 3), xlabel="inputs of a layer with 100 outputs")
axis.set_ylabel("error of the standard deviation, relative")
axis.set_title("An absolute tolerance lets everything pass in wide layers", fontsize="medium")
axis.legend(fontsize="small", loc="lower right")
figure.savefig(figures / "16_test_the_tests_tolerance.png")
claims.append(("tests of initializers", "0.03 over He's std, 200 inputs", None, 0.03 * math.sqrt(200 / 2)))

# %%
# Conclusion
# ----------

for row, what, _, ours in claims:
    print(f"{row}: {what}: {ours:.4g}")

# %%
# The careful tests are not much longer than the usual ones. They begin with the question what must hold for every
# layer, and take their bounds from a theorem. No test looks at everything: the last one sees what the weights are for,
# but only in one shape, and needs the third below it.
#
# Break it
# --------
# 1. Let the second test draw layers with 100 inputs and 300 outputs. Which mistakes does it notice now, and why?
# 2. Make the tolerance of the second test 1 %. What happens on right code, with 50 seeds?
# 3. Add a mistake of your own, a ``wrong.Change`` like those in ``minidl/exercises/wrong.py``. Which rung notices it?
#    ``tests/sabotage`` must find it, too, and tells you where minidl's own tests look.
# 4. Write your own file of tests, and ask ``minidl exercise check-tests FILE``.
