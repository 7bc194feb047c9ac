"""Augmentation: what each step does to pixels and targets, and that only the generator decides about it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

import minidl as dl
from minidl.data import Augmentation, CutMix, Cutout, Mixup, Noise, Rotation, Scaling, Shift, one_hot
from minidl.statistics import bounds

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(7, 7), (6, 9), (3, 5, 4), (1, 8, 8)])
STEPS = [Shift(2), Rotation(30), Scaling(0.3), Noise(0.1), Cutout(3), Mixup(0.5), CutMix(1.0)]
LABELS = np.arange(12) % 3
TARGETS = one_hot(LABELS, 3)


class Fixed(np.random.Generator):
    """A generator whose uniform and integer draws are known."""

    def __init__(self, uniform=None, integers=None):
        super().__init__(np.random.PCG64(0))
        self.values, self.numbers = uniform, integers

    def uniform(self, low, high, size):
        assert low <= self.values <= high
        return np.full(size, self.values)

    def integers(self, *bounds, **options):
        return np.asarray(self.numbers)


def images(shape=(7, 7), rows=12, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(0.1, 1, (rows, int(np.prod(shape)))).astype(dtype)


def one(step, image, rng):
    """One (height, width) image through one step."""
    x, _ = Augmentation(step, shape=image.shape)(image.reshape(1, -1), np.array([0]), rng)
    return x.reshape(image.shape)


# Properties of all steps


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=SEEDS, shape=SHAPES)
def test_the_generator_decides_and_the_input_stays(step, dtype, seed, shape):
    x, targets = images(shape, dtype=dtype), TARGETS.astype(dtype)
    before, targets_before = x.copy(), targets.copy()
    augmentation = Augmentation(step, shape=shape)
    first, again, other = (augmentation(x, targets, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert first[0].dtype == dtype and first[0].shape == x.shape and first[0].flags.c_contiguous
    assert first[1].dtype == dtype and first[1].shape == targets.shape
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(targets, targets_before)
    assert not np.shares_memory(first[0], x)


@pytest.mark.parametrize("step", [Shift(0), Rotation(0), Scaling(0), Noise(0)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=SEEDS, shape=SHAPES)
def test_nothing_to_do_changes_no_bit(step, dtype, seed, shape):
    x = images(shape, seed=seed, dtype=dtype)
    y, labels = Augmentation(step, shape=shape)(x, LABELS, np.random.default_rng(seed))
    np.testing.assert_array_equal(y, x)
    assert labels is LABELS


@pytest.mark.parametrize("step", [Shift(2), Rotation(30), Scaling(0.3), Cutout(3)], ids=repr)
def test_all_channels_change_alike_and_rows_do_not(step):
    image = images((7, 7), rows=1)
    x = np.tile(image, (5, 3))
    y, _ = Augmentation(step, shape=(3, 7, 7))(x, LABELS[:5], np.random.default_rng(0))
    channels = y.reshape(5, 3, 49)
    np.testing.assert_array_equal(channels[:, 0], channels[:, 1])
    np.testing.assert_array_equal(channels[:, 0], channels[:, 2])
    assert len(np.unique(channels[:, 0], axis=0)) > 1


def test_steps_come_in_their_order():
    x = images()
    rng = np.random.default_rng(3)
    expected = Augmentation(Cutout(3), shape=(7, 7))(*Augmentation(Noise(1), shape=(7, 7))(x, LABELS, rng), rng)
    found = Augmentation(Noise(1), Cutout(3), shape=(7, 7))(x, LABELS, np.random.default_rng(3))
    np.testing.assert_array_equal(found[0], expected[0])
    assert (found[0] == 0).any()


def test_repr_builds_the_pipeline_again():
    augmentation = Augmentation(*STEPS, shape=(3, 8, 8))
    text = (
        "Augmentation(Shift(2), Rotation(30.0), Scaling(0.3), Noise(0.1), Cutout(3), Mixup(alpha=0.5), CutMix(), "
        "shape=(3, 8, 8))"
    )
    assert repr(augmentation) == text
    assert repr(eval(text, vars(dl.data))) == text
    assert repr(Augmentation(Shift(1))) == "Augmentation(Shift(1))"


# Where the pixels come from


@pytest.mark.parametrize("down", [-2, 0, 1])
@pytest.mark.parametrize("right", [-1, 0, 3])
def test_shift_copies_exactly_down_and_to_the_right(down, right):
    image = images((6, 9), rows=1).reshape(6, 9)
    expected = ndimage.shift(image, (down, right), order=0, mode="constant")
    np.testing.assert_array_equal(one(Shift(3), image, Fixed(integers=[[down, right]])), expected)


def test_shift_draws_every_number_of_pixels_in_both_directions():
    x = np.zeros((2000, 81), np.float32)
    x[:, 40] = 1  # the centre of 9 x 9
    y, _ = Augmentation(Shift(2), shape=(9, 9))(x, np.zeros(2000, int), np.random.default_rng(0))
    places, counts = np.unique(y.argmax(axis=1), return_counts=True)
    assert sorted(places) == [9 * i + j for i in range(2, 7) for j in range(2, 7)]
    assert counts.min() > 40 and counts.max() < 130  # 80 expected, standard deviation 9


@pytest.mark.parametrize("size", [5, 7, 6])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_right_angles_turn_counter_clockwise_like_rot90(size, quarters):
    image = images((size, size), rows=1).reshape(size, size)
    turned = one(Rotation(180), image, Fixed(uniform=90 * quarters))
    np.testing.assert_allclose(turned, np.rot90(image, quarters), atol=1e-6)


def test_a_small_positive_angle_lifts_the_right_side():
    image = np.zeros((11, 11))
    image[5, 9] = 1
    turned = one(Rotation(20), image, Fixed(uniform=15))
    i, j = np.indices(image.shape)
    centre = (turned * i).sum() / turned.sum(), (turned * j).sum() / turned.sum()
    angle = np.deg2rad(15)
    assert centre == pytest.approx((5 - 4 * np.sin(angle), 5 + 4 * np.cos(angle)), abs=0.15)


def test_rotation_angles_are_uniform_in_both_directions():
    sources = Rotation(40).sources(4000, np.random.default_rng(0))
    angles = np.rad2deg(np.arctan2(sources[:, 0, 1], sources[:, 0, 0]))
    assert np.abs(angles).max() < 40
    counts = np.histogram(angles, bins=8, range=(-40, 40))[0]
    assert counts.min() > 400 and counts.max() < 600  # 500 expected, standard deviation 21


def test_scaling_enlarges_about_the_centre():
    ramp = np.add.outer(np.arange(9.0), 3 * np.arange(9.0))  # linear, so bilinear interpolation is exact
    i, j = np.indices(ramp.shape) - 4
    np.testing.assert_allclose(one(Scaling(0.5), ramp, Fixed(uniform=1.25)), 16 + (i + 3 * j) / 1.25)
    smaller = one(Scaling(0.5), ramp, Fixed(uniform=0.5))
    np.testing.assert_allclose(smaller[2:7, 2:7], ramp[::2, ::2])
    assert (smaller[:2] == 0).all() and (smaller[:, 7:] == 0).all()


def test_scaling_factors_are_uniform():
    factors = 1 / Scaling(0.4).sources(4000, np.random.default_rng(0))[:, 0, 0]
    assert factors.min() >= 0.6 and factors.max() <= 1.4
    counts = np.histogram(factors, bins=8, range=(0.6, 1.4))[0]
    assert counts.min() > 400 and counts.max() < 600


@given(SEEDS, SHAPES, st.permutations([Shift(2), Rotation(180), Scaling(0.5)]))
def test_geometric_steps_in_a_row_are_one_map_with_one_interpolation(seed, shape, steps):
    x = images(shape, dtype=np.float64)
    found, _ = Augmentation(*steps, shape=shape)(x, LABELS, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    matrices = [step.sources(12, rng) for step in steps]
    padded = np.pad(x.reshape(12, -1, *shape[-2:]), ((0, 0), (0, 0), (1, 1), (1, 1)))
    centre = (np.array(shape[-2:]) - 1) / 2
    points = np.indices(shape[-2:]).reshape(2, -1) - centre[:, None]
    for row in range(12):
        where = np.vstack([points, np.ones(points.shape[1])])
        for matrix in reversed(matrices):  # from the result back to the image
            where = matrix[row] @ where
        at = where[:2] + centre[:, None] + 1
        expected = [ndimage.map_coordinates(channel, at, order=1, cval=0) for channel in padded[row]]
        np.testing.assert_allclose(found[row], np.ravel(expected), atol=1e-9)


def test_what_leaves_the_image_comes_back_within_one_map():
    image = images(rows=1).reshape(7, 7)
    away, back = ([[[5, 0]]], [[[-5, 0]]])

    class There(Fixed):
        def integers(self, *bounds, **options):
            return np.array((away if self.numbers.pop() else back)[0])

    x, _ = Augmentation(Shift(5), Shift(5), shape=(7, 7))(image.reshape(1, -1), np.array([0]), There(integers=[0, 1]))
    np.testing.assert_array_equal(x.reshape(7, 7), image)


# What the pixels are


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_normal_and_independent(dtype):
    x = np.full((200, 100), 0.5, dtype)
    y, _ = Augmentation(Noise(0.3), shape=(10, 10))(x, np.zeros(200, int), np.random.default_rng(0))
    noise = (y - x) / 0.3
    assert abs(noise.mean()) < 0.04 and abs(noise.std() - 1) < 0.03  # 20,000 draws: standard errors 0.007 and 0.005
    assert abs(np.mean(np.abs(noise) < 1) - 0.6827) < 0.02
    assert abs(np.mean(noise[:, :-1] * noise[:, 1:])) < 0.04


@given(SEEDS, SHAPES, st.integers(1, 12))
def test_cutout_sets_one_square_to_0_and_nothing_else(seed, shape, size):
    x = images(shape)
    y, _ = Augmentation(Cutout(size), shape=shape)(x, LABELS, np.random.default_rng(seed))
    gone = (y == 0).reshape(12, -1, *shape[-2:])
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    assert (gone == gone[:, :1]).all()
    for row in gone[:, 0]:
        i, j = np.flatnonzero(row.any(axis=1)), np.flatnonzero(row.any(axis=0))
        assert row[i[0] : i[-1] + 1, j[0] : j[-1] + 1].all()  # a rectangle
        assert row.sum() == len(i) * len(j)
        for side, length in zip((i, j), shape[-2:], strict=True):
            assert len(side) <= size
            # Smaller than asked only where the border of the image cuts it.
            assert len(side) == size or side[0] == 0 or side[-1] == length - 1


@pytest.mark.parametrize(
    ("size", "centre", "rows", "columns"),
    [
        (3, (2, 4), (1, 4), (3, 6)),
        (2, (2, 4), (1, 3), (3, 5)),
        (3, (0, 6), (0, 2), (5, 7)),
        (1, (6, 0), (6, 7), (0, 1)),
    ],
)
def test_cutout_around_a_known_centre(size, centre, rows, columns):
    class Centre(Fixed):
        def integers(self, *bounds, **options):
            return np.array([self.numbers.pop(0)])

    image = np.ones((7, 7))
    image[slice(*rows), slice(*columns)] = 0
    np.testing.assert_array_equal(one(Cutout(size), np.ones((7, 7)), Centre(integers=list(centre))), image)


def test_cutout_centres_are_uniform_over_the_pixels():
    x = np.ones((6000, 12), np.float32)
    y, _ = Augmentation(Cutout(1), shape=(3, 4))(x, np.zeros(6000, int), np.random.default_rng(0))
    counts = (y == 0).sum(axis=0)
    assert counts.min() > 380 and counts.max() < 620  # 500 expected, standard deviation 21


# Two images in one


def numbered_images(rows, pixels, dtype=np.float64):
    """Row r is r everywhere and a class of its own, so that pixels and targets both tell where they came from."""
    return np.repeat(np.arange(rows, dtype=dtype)[:, None], pixels, axis=1), np.eye(rows, dtype=dtype)


@pytest.mark.parametrize("step", [Mixup(0.4), Mixup(3), CutMix(), CutMix(0.3)], ids=repr)
@given(seed=SEEDS)
def test_targets_add_up_to_1_and_each_row_has_two_parents(step, seed):
    x, targets = numbered_images(12, 48)
    _, mixed = Augmentation(step, shape=(6, 8))(x, targets, np.random.default_rng(seed))
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    assert (mixed >= 0).all() and ((mixed > 0).sum(axis=1) <= 2).all()
    # A permutation pairs the rows: each is the first parent of one row and the second of one.
    np.testing.assert_allclose((mixed - np.diag(np.diag(mixed))).sum(axis=1), 1 - np.diag(mixed))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=SEEDS, alpha=st.sampled_from([0.1, 1.0, 5.0]))
def test_mixup_mixes_images_as_it_mixes_targets(dtype, seed, alpha):
    x, targets = images(dtype=dtype), np.eye(12, dtype=dtype)
    y, mixed = Augmentation(Mixup(alpha), shape=(7, 7))(x, targets, np.random.default_rng(seed))
    np.testing.assert_allclose(y, mixed @ x, atol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("shape", [(7, 7), (2, 5, 9), (28, 28)])
@given(seed=SEEDS, alpha=st.sampled_from([0.3, 1.0, 5.0]))
def test_cutmix_weighs_targets_by_the_pixels_pasted(shape, seed, alpha):
    pixels = int(np.prod(shape))
    x, targets = numbered_images(12, pixels)
    y, mixed = Augmentation(CutMix(alpha), shape=shape)(x, targets, np.random.default_rng(seed))
    for row in range(12):
        own = np.count_nonzero(y[row] == row) / pixels
        other = np.flatnonzero(mixed[row] * (np.arange(12) != row))
        if len(other) == 0:  # paired with itself, or an empty box
            assert own == 1 and mixed[row, row] == 1
            continue
        assert mixed[row, row] == pytest.approx(own, abs=1e-15)
        assert mixed[row, other[0]] == pytest.approx(np.mean(y[row] == other[0]), abs=1e-15)
        box = (y[row] == other[0]).reshape(-1, *shape[-2:])
        assert (box == box[0]).all()
        i, j = np.flatnonzero(box[0].any(axis=1)), np.flatnonzero(box[0].any(axis=0))
        assert box[0].sum() == len(i) * len(j) == (i[-1] - i[0] + 1) * (j[-1] - j[0] + 1)


def test_the_box_of_cutmix_has_the_share_that_was_drawn():
    class Known(Fixed):
        def beta(self, a, b, size):
            assert a == b == 0.7
            return np.full(size, 0.75)

        def permutation(self, n):
            return np.arange(n)[::-1]

    x, targets = numbered_images(2, 80)
    y, mixed = Augmentation(CutMix(0.7), shape=(8, 10))(x, targets, Known(integers=[4, 4]))
    # 1 - 0.75 = 1/4 of the area: half of the height and half of the width, so 4 x 5 around pixel (4, 4).
    expected = np.zeros((8, 10))
    expected[2:6, 2:7] = 1
    np.testing.assert_array_equal(y[0].reshape(8, 10), expected)
    np.testing.assert_array_equal(mixed, [[0.75, 0.25], [0.25, 0.75]])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_has_the_beta_distribution(alpha):
    x, targets = numbered_images(3000, 1)
    _, mixed = Augmentation(Mixup(alpha), shape=(1, 1))(x, targets, np.random.default_rng(0))
    share = np.diag(mixed)
    assert share.mean() == pytest.approx(0.5, abs=0.04)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.12)


def test_mixing_works_on_every_head():
    x, heads = images(), {"a": TARGETS, "b": np.eye(12, dtype=np.float32)}
    y, mixed = Augmentation(Mixup(), shape=(7, 7))(x, heads, np.random.default_rng(0))
    np.testing.assert_allclose(y, mixed["b"] @ x, atol=1e-6)
    np.testing.assert_allclose(mixed["a"], mixed["b"] @ TARGETS, atol=1e-6)


def test_mixes_targets_says_whether_a_step_does():
    assert not Augmentation(Shift(1), Noise(0.1), Cutout(2)).mixes_targets
    assert Augmentation(Shift(1), Mixup()).mixes_targets and Augmentation(CutMix()).mixes_targets


# The choices of all steps: uniform, and independent of each other and of the row --------------------------------------


def assert_equally_likely(outcomes, kinds):
    """Each of `kinds` outcomes has the share 1 / kinds; right code fails here with a probability of at most ALPHA."""
    counts = np.bincount(np.asarray(outcomes).ravel(), minlength=kinds)
    assert len(counts) == kinds
    allowed = bounds.binomial(int(counts.sum()), 1 / kinds, bounds.ALPHA / kinds)
    assert all(count in allowed for count in counts), f"{allowed}: {sorted(counts)}"


def parents(step, rows, shape, calls, seed=0):
    """For each call and row the partner, and the share of the row itself; one mixed with itself has the share 1."""
    rng = np.random.default_rng(seed)
    x, targets = numbered_images(rows, int(np.prod(shape)))
    mixed = np.stack([Augmentation(step, shape=shape)(x, targets, rng)[1] for _ in range(calls)])
    own = np.diagonal(mixed, axis1=1, axis2=2)
    others = np.where(np.eye(rows, dtype=bool), 0, mixed)
    return np.where(own == 1, np.arange(rows), others.argmax(axis=2)), own


@pytest.mark.parametrize("step", [Mixup(1.0), CutMix(50.0)], ids=repr)  # with 50 the box is never empty
def test_every_permutation_of_partners_is_equally_likely(step):
    partners, _ = parents(step, 4, (8, 8), 4000)
    numbers = {permutation: number for number, permutation in enumerate(itertools.permutations(range(4)))}
    assert_equally_likely([numbers[tuple(row)] for row in partners.tolist()], len(numbers))


@pytest.mark.parametrize("step", [Mixup(1.0), CutMix(50.0)], ids=repr)
def test_every_row_of_a_larger_batch_is_mixed_with_every_other(step):
    partners, _ = parents(step, 24, (8, 8), 1500)
    assert_equally_likely(partners + 24 * np.arange(24), 24 * 24)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_each_row_has_a_share_of_its_own_from_the_beta_distribution(alpha):
    partners, own = parents(Mixup(alpha), 4, (1, 1), 4000)
    cdf = stats.beta(alpha, alpha).cdf
    mixed = (partners != np.arange(4)).all(axis=1)  # a row that is mixed with itself hides its share
    quarters = np.minimum((4 * cdf(own[mixed])).astype(int), 3)
    for one, other in itertools.combinations(range(4), 2):
        assert_equally_likely(4 * quarters[:, one] + quarters[:, other], 16)
    for row in range(4):
        shares = np.sort(own[mixed, row])
        assert bounds.kolmogorov_distance(shares, cdf(shares)) <= bounds.largest_distance(len(shares))


def warped(step, attribute):
    """Draws of a geometric step for batches of three images, as (calls, 3, ...)."""
    rng = np.random.default_rng(0)
    return np.stack([attribute(step.sources(3, rng)) for _ in range(6000)])


def fourths(values, low, high):
    return np.clip(4 * (values - low) / (high - low), 0, 3).astype(int)


CHOICES = {
    # For each step: draws for batches of three images as whole numbers below a limit, and that limit.
    "Shift": lambda: (warped(Shift(1), lambda m: (3 * m[:, 0, 2] + m[:, 1, 2] + 4).astype(int)), 9),
    "Rotation": lambda: (
        fourths(warped(Rotation(40), lambda m: np.rad2deg(np.arctan2(m[:, 0, 1], m[:, 0, 0]))), -40, 40), 4,
    ),
    "Scaling": lambda: (fourths(warped(Scaling(0.4), lambda m: 1 / m[:, 0, 0]), 0.6, 1.4), 4),
    "Cutout": lambda: (changed_pixel(Cutout(1)), 9),
    "CutMix": lambda: (changed_pixel(CutMix(1.0)), 9),
}  # fmt: skip


class OneByOne(np.random.Generator):
    """Partners and shares are known: the next row, and a box of one pixel. Where the box lies is drawn."""

    def permutation(self, n):
        return np.roll(np.arange(n), -1)

    def beta(self, a, b, size):
        return np.full(size, 8 / 9)


def changed_pixel(step):
    """Where each of three images of 3 x 3 pixels has changed, in many batches."""
    rng = OneByOne(np.random.PCG64(0))
    x = np.arange(1.0, 4.0)[:, None] * np.ones(9)
    augmentation = Augmentation(step, shape=(3, 3))
    changes = np.stack([augmentation(x, np.eye(3), rng)[0] != x for _ in range(6000)])
    assert (changes.sum(axis=2) == 1).all()
    return changes.argmax(axis=2)


@pytest.mark.parametrize("name", CHOICES)
def test_each_image_of_a_batch_gets_a_choice_of_its_own(name):
    draws, kinds = CHOICES[name]()
    for row in range(3):
        assert_equally_likely(draws[:, row], kinds)
    for one, other in itertools.combinations(range(3), 2):
        assert_equally_likely(kinds * draws[:, one] + draws[:, other], kinds * kinds)
    assert_equally_likely(kinds * draws[:-1, 0] + draws[1:, 0], kinds * kinds)  # of one batch and the next


def test_noise_is_drawn_for_each_image_and_each_channel():
    x = np.zeros((2000, 2 * 3), np.float64)
    noise, _ = Augmentation(Noise(1.0), shape=(2, 1, 3))(x, np.zeros(2000, int), np.random.default_rng(0))
    positive = (noise > 0).astype(int)
    for one, other in itertools.combinations(range(6), 2):  # pixels, within a channel and across
        assert_equally_likely(2 * positive[:, one] + positive[:, other], 4)
    assert_equally_likely(2 * positive[:-1, 0] + positive[1:, 0], 4)  # images


# Bad input


@pytest.mark.parametrize("step", [Mixup(), CutMix()], ids=repr)
def test_labels_cannot_be_mixed(step):
    match = r"^targets got .* dtype int64; (Mixup|CutMix)\(\) expects probabilities \(rows, classes\): .*one_hot"
    for targets in (LABELS, {"a": TARGETS, "b": LABELS}):
        with pytest.raises(TypeError, match=match):
            Augmentation(Shift(1), step, shape=(7, 7))(images(), targets, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda a, x, r: Augmentation(), ValueError, "^steps got nothing"),
        (lambda a, x, r: Augmentation(Shift), TypeError, r"^steps got <class .* at position 0; expected steps such"),
        (lambda a, x, r: Augmentation(Shift(1), shape=28), ValueError, r"^shape got 28; expected \(height, width\) or"),
        (lambda a, x, r: Augmentation(Shift(1), shape=(28,)), ValueError, r"^shape got \(28,\); expected"),
        (lambda a, x, r: Augmentation(Shift(1), shape=(0, 28)), ValueError, "^shape got 0; expected an integer"),
        (lambda a, x, r: Shift(0.5), TypeError, "^pixels got 0.5; expected an integer of at least 0$"),
        (lambda a, x, r: Rotation(-1), ValueError, "^degrees got -1"),
        (
            lambda a, x, r: Scaling(1),
            ValueError,
            "^amount got 1; expected a finite number, at least 0 and less than 1$",
        ),
        (lambda a, x, r: Noise(-0.1), ValueError, "^std got -0.1"),
        (lambda a, x, r: Cutout(0), ValueError, "^size got 0"),
        (lambda a, x, r: Mixup(0), ValueError, "^alpha got 0; expected a finite number, greater than 0$"),
        (lambda a, x, r: CutMix(-1), ValueError, "^alpha got -1"),
        (lambda a, x, r: a(x[:, :48], LABELS, r), ValueError, r"^x got 48 features; expected 49, images of \(7, 7\)$"),
        (lambda a, x, r: a(x.astype(int), LABELS, r), TypeError, "^x got dtype int64"),
        (lambda a, x, r: a(x, LABELS[:5], r), ValueError, r"^targets got shape \(5,\); expected 12 rows"),
        (lambda a, x, r: a(x, 3, r), ValueError, r"^targets got shape \(\); expected 12 rows"),
        (lambda a, x, r: a(x, LABELS, 0), TypeError, "^rng got 0; expected a numpy.random.Generator$"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call(Augmentation(Shift(1), shape=(7, 7)), images(), np.random.default_rng(0))
