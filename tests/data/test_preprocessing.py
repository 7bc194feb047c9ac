"""Preprocessing: what each step makes of the training rows, and that it never learns from other rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from minidl.data import PCA, Center, Chain, Dataset, Standardize, Whiten, load_preprocessing

SEEDS = st.integers(0, 2**32 - 1)
STEPS = [
    lambda: Center(),
    lambda: Center("channel", channels=2),
    lambda: Standardize(),
    lambda: Standardize("channel", channels=3),
    lambda: PCA(),
    lambda: Whiten(),
    lambda: Whiten("zca"),
    lambda: Chain(Standardize(), PCA(), Whiten("zca", epsilon=1e-9)),
]
ids = [repr(step()) for step in STEPS]


def correlated(seed=0, rows=50, features=6, dtype=np.float64):
    """Rows with a mean and correlations; standard deviations from 3 to 0.3 along random axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(features, features)))[0]
    return (rng.normal(size=(rows, features)) * np.linspace(3, 0.3, features) @ axes + 5).astype(dtype)


def covariance(x):
    return np.cov(x, rowvar=False, bias=True)


# What the steps do


@given(SEEDS)
def test_center_subtracts_the_mean_image(seed):
    x = correlated(seed)
    step = Center().fit(x)
    np.testing.assert_allclose(step.mean, x.mean(axis=0))
    np.testing.assert_allclose(step.transform(x), x - x.mean(axis=0), atol=1e-12)


def test_center_per_channel_subtracts_one_mean_for_each_channel():
    x = np.array([[1.0, 3.0, 10.0, 30.0], [5.0, 7.0, 50.0, 70.0]])  # two channels of two pixels
    assert Center("channel", channels=2).fit(x).mean.tolist() == [4, 4, 40, 40]
    assert Center("channel").fit(x).mean.tolist() == [22] * 4
    np.testing.assert_array_equal(Center("channel", channels=2).fit_transform(x)[0], [-3, -1, -30, -10])


@given(SEEDS)
def test_standardize_gives_mean_0_and_variance_1(seed):
    y = Standardize().fit_transform(correlated(seed))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1)


@given(SEEDS, st.sampled_from([1, 2, 3]))
def test_standardize_per_channel(seed, channels):
    y = Standardize("channel", channels).fit_transform(correlated(seed)).reshape(50, channels, -1)
    np.testing.assert_allclose(y.mean(axis=(0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 2)), 1)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_a_constant_feature_stays_0(constant):
    x = correlated(rows=49)
    x[:, 2] = constant
    step = Standardize(epsilon=0).fit(x)
    assert (step.transform(x)[:, 2] == 0).all()
    assert step.transform(x + 1)[:, 2].max() < 2  # a test row that is not constant does not explode
    assert Standardize(epsilon=1e9).fit_transform(x).std() == pytest.approx(Center().fit_transform(x).std())


@given(SEEDS)
def test_pca_rotates_to_uncorrelated_features_in_falling_order(seed):
    x = correlated(seed)
    step = PCA().fit(x)
    y = step.transform(x)
    np.testing.assert_allclose(step.axes.T @ step.axes, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(covariance(y), np.diag(step.variances), atol=1e-10 * step.variances[0])
    assert (np.diff(step.variances) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x - x.mean(axis=0), axis=1))
    assert (np.take_along_axis(step.axes, np.abs(step.axes).argmax(axis=0)[None], axis=0) > 0).all()


@given(SEEDS, st.integers(1, 6))
def test_pca_keeps_the_axes_of_the_largest_variance(seed, components):
    x = correlated(seed)
    part = PCA(components).fit(x)
    y = part.transform(x)
    np.testing.assert_allclose(y, PCA().fit_transform(x)[:, :components])
    # Nothing of that rank is nearer: what is lost is the sum of the variances left out (Eckart & Young 1936).
    lost = np.sum((part.inverse_transform(y) - x) ** 2) / len(x)
    everything = PCA().fit(x).variances
    assert lost == pytest.approx(everything[components:].sum(), rel=1e-8, abs=1e-9 * everything[0])


def test_the_signs_of_the_axes_do_not_depend_on_the_signs_of_the_data():
    x = correlated()
    np.testing.assert_allclose(PCA().fit(x).axes, PCA().fit(-x).axes, atol=1e-9)


@given(SEEDS, st.sampled_from(["pca", "zca"]))
def test_whitened_training_rows_have_the_identity_for_a_covariance(seed, method):
    x = correlated(seed)
    # Of the scale of the smallest variance, so that the tolerance means the same for every seed.
    epsilon = 1e-6 * PCA().fit(x).variances[-1]
    y = Whiten(method, epsilon=epsilon).fit_transform(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(covariance(y), np.eye(6), atol=1e-5)


@given(SEEDS)
def test_zca_is_the_symmetric_map_and_changes_the_data_least(seed):
    x = correlated(seed)
    zca, pca = (Whiten(method, epsilon=1e-9).fit(x) for method in ("zca", "pca"))
    matrix = zca.transform(np.eye(6) + zca.mean)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-8 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix).min() > 0
    centred = x - x.mean(axis=0)
    assert np.sum((zca.transform(x) - centred) ** 2) <= np.sum((pca.transform(x) - centred) ** 2) + 1e-9


def test_epsilon_is_added_to_the_variance():
    x = correlated()
    variances = PCA().fit(x).variances
    y = Whiten(epsilon=0.7).fit_transform(x)
    np.testing.assert_allclose(np.diag(covariance(y)), variances / (variances + 0.7))


METHODS = pytest.mark.parametrize("method", ["pca", "zca"])
UNITS = pytest.mark.parametrize("unit", [1e-3, 1.0, 255.0])


@METHODS
@UNITS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "features"), [(2, 6), (10, 50), (30, 60)])
def test_whitening_of_fewer_rows_than_features_amplifies_nothing(rng, rows, features, dtype, unit, method):
    train, test = (unit * (rng.normal(size=(n, features)) + 5).astype(dtype) for n in (rows, 1000))
    step = Whiten(method, epsilon=1e-5 * unit**2).fit(train)
    y = step.transform(train).astype(np.float64)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance(y))[1 - rows :], 1, atol=1e-2)
    np.testing.assert_allclose(step.inverse_transform(step.transform(train)), train, rtol=1e-4)
    # What is left of other rows lies in the rows - 1 directions that the training rows span, and is of their size.
    y = step.transform(test).astype(np.float64)
    spread = np.linalg.svd(y - y.mean(axis=0), compute_uv=False) / np.sqrt(len(y))
    assert (spread[rows - 1 :] < 1e-4).all()
    assert (spread < 3).all()


@METHODS
@UNITS
def test_whitening_leaves_out_what_is_constant_or_a_combination_of_the_others(rng, unit, method):
    """One dead pixel, and one that is the sum of two; rows that are otherwise come out like the others."""
    x = unit * rng.normal(size=(200, 4))
    train = np.column_stack([x, np.full(200, 1e9 / 3), x[:, 0] + x[:, 1]])
    step = Whiten(method, epsilon=1e-5 * unit**2).fit(train)
    other = train + unit * np.array([0, 0, 0, 0, 1, 0])  # the dead pixel lights up
    np.testing.assert_allclose(step.transform(other), step.transform(train), atol=1e-6)
    other = train + unit * np.array([0, 0, 0, 0, 0, 1.0])  # the sum is another
    assert np.abs(step.transform(other) - step.transform(train)).max() < 2
    assert np.isfinite(Whiten(method).fit_transform(np.ones((5, 3)))).all()


@METHODS
def test_whitening_keeps_what_varies_a_little(rng, method):
    x = rng.normal(size=(500, 3)) * [1.0, 1e-3, 1e-5] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(covariance(Whiten(method, epsilon=1e-16).fit_transform(x)), np.eye(3), atol=1e-4)


def test_a_chain_is_its_steps_one_after_another():
    x, test = correlated(1), correlated(2)
    scale, rotate = Standardize(), PCA(3)
    rotate.fit(scale.fit_transform(x))
    chain = Chain(Standardize(), PCA(3)).fit(x)
    np.testing.assert_array_equal(chain.transform(test), rotate.transform(scale.transform(test)))
    assert chain.rows == 50 and chain.features == 6
    inner = Chain(Chain(Center(), PCA()), Standardize())
    assert repr(inner) == "Chain(Center(), PCA(), Standardize())"


# Properties of all steps


@pytest.mark.parametrize("make", STEPS, ids=ids)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(make, dtype):
    x, test = correlated(1, dtype=dtype), correlated(2, dtype=dtype)
    step = make().fit(x)
    for rows in (x, test):
        y = step.transform(rows)
        assert y.dtype == dtype and y.flags.c_contiguous
        np.testing.assert_allclose(step.inverse_transform(y), rows, rtol=2e-4 if dtype == np.float32 else 1e-8)


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_other_rows_are_transformed_with_what_the_training_rows_said(make):
    x, test = correlated(1), correlated(2)
    step = make().fit(x)
    alone = step.transform(test[:1])
    np.testing.assert_allclose(step.transform(test)[:1], alone, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(step.transform(x), make().fit_transform(x))


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_it_computes_in_float64(make):
    x = correlated(dtype=np.float32)
    exact = make().fit_transform(x.astype(np.float64))
    np.testing.assert_array_equal(make().fit_transform(x), exact.astype(np.float32))


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_a_dataset_keeps_everything_else_and_the_input_stays(make):
    x = correlated(dtype=np.float32)
    before = x.copy()
    names = {"feature_names": list("abcdef"), "class_names": ["no", "yes"]}
    step = make().fit(Dataset(x, np.arange(50) % 2, **names))
    test = Dataset(x, np.arange(50) % 2, held_out=True, **names)
    result = step.transform(test)
    assert result.y is test.y and result.held_out and result.class_names == ("no", "yes")
    rotated = "PCA" in repr(step) or repr(step) == "Whiten()"
    assert result.feature_names == (None if rotated else tuple("abcdef"))
    np.testing.assert_array_equal(result.x, step.transform(x))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_repr_builds_the_step_again(make):
    assert repr(eval(repr(make()), vars(dl.data))) == repr(make())


def test_repr_shows_what_is_not_the_default():
    assert repr(Standardize("channel", 3, epsilon=0.1)) == "Standardize(per='channel', channels=3, epsilon=0.1)"
    assert repr(Whiten("zca", components=2)) == "Whiten(method='zca', components=2)"
    assert repr(Chain(Center(), PCA(5))) == "Chain(Center(), PCA(components=5))"


# No leak from held-out rows


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_held_out_rows_are_refused(make):
    test = Dataset(correlated(), np.arange(50) % 2, held_out=True)
    step = make()
    for fit in (step.fit, step.fit_transform):
        with pytest.raises(ValueError, match="^data got Dataset.* held out.*; expected training rows.*allow_held_out"):
            fit(test)
    with pytest.raises(RuntimeError, match="is not fitted yet"):
        step.transform(test)
    assert step.fit(test, allow_held_out=True).rows == 50


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_a_second_fit_is_refused(make):
    step = make().fit(correlated(1))
    before = step.transform(correlated(2))
    for fit in (step.fit, step.fit_transform):
        with pytest.raises(RuntimeError, match=r"is already fitted on 50 rows; make a new one$"):
            fit(correlated(2))
    np.testing.assert_array_equal(step.transform(correlated(2)), before)


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_before_fit_there_is_nothing_to_transform_with(make, tmp_path):
    for use in (make().transform, make().inverse_transform, lambda x: make().save(tmp_path / "step.npz")):
        with pytest.raises(RuntimeError, match="is not fitted yet; call fit with the training data first"):
            use(correlated())


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: Center("pixel"), ValueError, "^per got 'pixel'; expected one of 'feature', 'channel'"),
        (lambda x: Center("channel", 0), ValueError, "^channels got 0"),
        (lambda x: Center("channel", 4).fit(x), ValueError, "^data got 6 features; expected a multiple of channels"),
        (lambda x: Standardize(epsilon=-1), ValueError, "^epsilon got -1"),
        (lambda x: PCA(0), ValueError, "^components got 0"),
        (lambda x: PCA(7).fit(x), ValueError, "^data got 6 features; expected at least components, which is 7$"),
        (lambda x: Whiten("cholesky"), ValueError, "^method got 'cholesky'; expected one of 'pca', 'zca'$"),
        (lambda x: Whiten(epsilon=0), ValueError, "^epsilon got 0; expected a finite number, greater than 0$"),
        (lambda x: Center().fit(x.astype(int)), TypeError, "^data got dtype int64"),
        (lambda x: Center().fit(x * np.nan), ValueError, "^data got nan at row 0, column 0"),
        *[
            (
                lambda x, step=step: step.fit(x * 1e200),
                ValueError,
                r"^data got numbers up to \S+e\+20\d; expected",
            )
            for step in (Center(), Standardize(), PCA(), Whiten())
        ],
        (lambda x: Center().fit(x, 1), TypeError, "^allow_held_out got 1"),
        (lambda x: Center().fit(x).transform(x[:, :4]), ValueError, r"^data got 4 features; expected 6, as Center\(\)"),
        (lambda x: PCA(2).fit(x).inverse_transform(x), ValueError, "^data got 6 features; expected 2"),
        (lambda x: Chain(), ValueError, "^steps got nothing"),
        (lambda x: Chain(Center), TypeError, "^steps got <class.*at position 0; expected steps such as"),
        (lambda x: Chain(*[Center()] * 2), ValueError, "^steps got one of them twice"),
        (lambda x: Chain(PCA(), Center().fit(x)), RuntimeError, r"^Center\(\) is already fitted"),
        (lambda x: Standardize().fit(x * 1e-7).transform(x.astype("f4") * 1e37), ValueError, "^data got -?inf at"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call(correlated())


# Files


@pytest.mark.parametrize("make", STEPS, ids=ids)
def test_a_file_brings_the_same_step_back(make, tmp_path):
    step = make().fit(correlated(1))
    step.save(tmp_path / "step.npz")
    again = load_preprocessing(tmp_path / "step.npz")
    assert repr(again) == repr(step) and (again.rows, again.features) == (50, 6)
    y = step.transform(correlated(2))
    np.testing.assert_array_equal(again.transform(correlated(2)), y)
    np.testing.assert_array_equal(again.inverse_transform(y), step.inverse_transform(y))
    with pytest.raises(RuntimeError, match="already fitted on 50 rows"):
        again.fit(correlated(2))


def test_files_of_another_kind_or_damaged_are_refused(tmp_path):
    path = tmp_path / "step.npz"
    dl.Sequential(dl.Dense(2, 2), backend="cpu").save(path)
    with pytest.raises(ValueError, match=r"step.npz is not a minidl preprocessing file.*its format is 'minidl model'"):
        load_preprocessing(path)
    Chain(Center(), PCA()).fit(correlated()).save(path)
    with pytest.raises(ValueError, match=r"step.npz is not a minidl model file"):
        dl.load(path)
    content = path.read_bytes()
    for length in range(0, len(content), 53):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"step.npz is not a minidl preprocessing file"):
            load_preprocessing(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d, a: d.pop("steps"),
        lambda d, a: d["steps"][1].update(name="Center2"),
        lambda d, a: d["steps"][1].update(arguments={"wrong": 1}),
        lambda d, a: d["steps"][0].update(rows=0),
        lambda d, a: d["steps"][0].update(features=5),
        lambda d, a: a.pop("0.mean"),
        lambda d, a: a.update({"1.axes": a["1.axes"][:5]}),
        lambda d, a: a.update({"0.mean": a["0.mean"] * np.nan}),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "step.npz"
    Chain(Center(), PCA()).fit(correlated()).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    description = json.loads(str(arrays.pop("description")))
    del description["checksum"]  # or that alone would tell
    change(description, arrays)
    np.savez(path, description=np.array(json.dumps(description)), **arrays)
    with pytest.raises(ValueError, match="does not describe preprocessing that minidl can build"):
        load_preprocessing(path)
