"""The learning-rate range test: what it suggests, when it ends, and that it leaves no trace."""

from __future__ import annotations

import math
import re

import matplotlib.image
import numpy as np
import pytest

import minidl as dl


@pytest.fixture(scope="module")
def digits():
    return dl.data.digits()[0][:2000]


def make(backend="cpu"):
    return dl.Sequential(
        dl.Dense(784, 32), dl.BatchNorm(32), dl.ReLU(), dl.Dropout(0.2), dl.Dense(32, 10), backend=backend, seed=0
    )


def find(model, train, **options):
    options = {"optimizer": dl.SGD(0.1), "steps": 100, "batch_size": 64, **options}
    return dl.find_learning_rate(model, train, loss=dl.SoftmaxCrossEntropy(), **options)


KINDS = [dl.SGD, dl.Momentum, dl.RMSProp, dl.Adam]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_epoch_at_the_suggested_rate_lowers_the_loss(digits, kind):
    model, optimizer = make(), kind()
    result = find(model, digits, optimizer=optimizer)
    before = dl.evaluate(model, digits, loss=dl.SoftmaxCrossEntropy())
    optimizer.learning_rate = result.suggestion
    dl.fit(model, digits, loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, epochs=1, batch_size=64, progress=False)
    after = dl.evaluate(model, digits, loss=dl.SoftmaxCrossEntropy())
    assert after.loss < 0.5 * before.loss


def test_the_model_and_the_optimizer_are_as_before(digits):
    model, optimizer = make(), dl.Adam(0.02)
    before, epochs_trained = model.snapshot(), model.epochs_trained
    find(model, digits, optimizer=optimizer)
    for name, array in model.snapshot().items():
        assert array.tobytes() == before[name].tobytes(), name
    assert (model.epochs_trained, optimizer.steps, repr(optimizer)) == (epochs_trained, 0, repr(dl.Adam(0.02)))
    trained, fresh = model, make()
    for model in (trained, fresh):
        dl.fit(model, digits[:200], loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(), epochs=1, progress=False)
    for name, array in trained.snapshot().items():
        assert array.tobytes() == fresh.snapshot()[name].tobytes(), name


def test_an_error_in_the_middle_leaves_the_model_as_before(digits, monkeypatch):
    model = make()
    before = model.snapshot()
    calls, own = [], dl.Sequential.backward_parameters

    def interrupt(copy, y):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return own(copy, y)

    monkeypatch.setattr(dl.Sequential, "backward_parameters", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find(model, digits)
    assert all(array.tobytes() == before[name].tobytes() for name, array in model.snapshot().items())


def test_rates_grow_by_one_factor_from_the_lowest_to_the_highest(digits):
    result = find(make(), digits, lowest=1e-4, highest=1e-2, steps=21)
    np.testing.assert_allclose(result.rates, np.geomspace(1e-4, 1e-2, 21), rtol=1e-9)
    assert result.losses.shape == (21,)
    assert result.suggestion == result.rates[result.losses.argmin()] / 10


def test_the_losses_are_a_running_mean_over_about_ten_steps(digits):
    result = find(make(), digits, lowest=1e-30, highest=2e-30, steps=40)
    whole = dl.evaluate(make(), digits, loss=dl.SoftmaxCrossEntropy()).loss
    assert abs(result.losses - whole).max() < 1.0, "no weight has moved"
    assert np.abs(np.diff(result.losses[20:])).max() < 0.1


def test_the_test_ends_where_the_loss_explodes(digits):
    result = find(make(), digits, highest=1e6, steps=150)
    assert 10 <= len(result.rates) < 150
    assert np.isfinite(result.losses).all()
    assert result.rates[-1] < 1e6 and result.suggestion < 10


def test_the_same_seed_gives_the_same_result(digits):
    first, second = find(make(), digits), find(make(), digits)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.suggestion == second.suggestion


def test_hyperparameters_other_than_the_rate_are_those_of_the_optimizer(digits):
    plain, heavy = (find(make(), digits, optimizer=dl.Momentum(0.1, momentum=momentum)) for momentum in (0.0, 0.95))
    assert heavy.suggestion < plain.suggestion, "what momentum adds up needs a smaller rate"


def test_a_model_that_is_trained_already_gets_no_suggestion(digits):
    """Each rate makes its loss larger, so that a tenth of the first one would be suggested."""
    model, optimizer = make(), dl.Adam(1e-3)
    find(model, digits, optimizer=optimizer)
    dl.fit(model, digits, loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, epochs=20, batch_size=64, progress=False)
    with pytest.raises(
        ValueError, match=r"^model got a loss of 0\.\d{4} in the first steps, which no rate from .* makes"
    ):
        find(model, digits, optimizer=optimizer)


def test_batches_that_are_too_small_are_told():
    rng = np.random.default_rng(0)
    train = dl.data.Dataset(rng.normal(size=(400, 5)), rng.integers(0, 2, 400))
    model = dl.Sequential(dl.Dense(5, 8), dl.ReLU(), dl.Dense(8, 2), backend="cpu", seed=3)
    with pytest.raises(ValueError, match="a batch_size large enough for losses that vary little, here 8$"):
        find(model, train, batch_size=8)


def test_the_rows_come_in_a_random_order_that_follows_the_seed(monkeypatch):
    x = np.stack([np.arange(50) / 64, np.zeros(50)], axis=1).astype(np.float32)
    train = dl.data.Dataset(x, np.arange(50) % 2)

    def rows_seen(seed):
        model, seen = dl.Sequential(dl.Dense(2, 2), backend="cpu", seed=seed), []
        own = dl.Sequential.forward
        with monkeypatch.context() as patch:
            patch.setattr(
                dl.Sequential, "forward", lambda model, x, training: (seen.extend(x[:, 0]), own(model, x, training))[1]
            )
            find(model, train, lowest=1e-9, highest=2e-9, steps=10, batch_size=10)  # two passes
        return [int(64 * row) for row in seen]

    rows = rows_seen(0)
    assert sorted(rows[:50]) == sorted(rows[50:]) == list(range(50))
    assert rows[:50] != rows[50:] != list(range(50)) != rows[:50]
    assert rows == rows_seen(0) != rows_seen(1)


def test_it_prints_what_it_suggests(digits):
    assert re.fullmatch(
        r"suggested learning rate [\d.e-]+; smallest loss \d\.\d{4} at rate [\d.e-]+, \d+ steps from 1e-06 to [\d.e-]+",
        str(find(make(), digits)),
    )


def test_plot_draws_a_picture(digits, tmp_path):
    find(make(), digits).plot(tmp_path / "range.png")
    picture = matplotlib.image.imread(tmp_path / "range.png")
    assert picture.shape[0] > 300 and 0.01 < np.mean(picture[..., :3].min(axis=-1) < 0.95) < 0.5
    with pytest.raises(ValueError, match="^the suffix of path got 'pgn'; expected one of"):
        find(make(), digits).plot(tmp_path / "range.pgn")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lowest": 0}, ValueError, "^lowest got 0; expected a finite number, greater than 0$"),
        ({"lowest": 1.0, "highest": 1.0}, ValueError, "^highest got 1; expected a finite number, greater than 1$"),
        ({"highest": math.inf}, ValueError, "^highest got inf; expected a finite number"),
        ({"steps": 9}, ValueError, "^steps got 9; expected an integer of at least 10$"),
        ({"batch_size": 0}, ValueError, "^batch_size got 0; expected an integer of at least 1$"),
        ({"optimizer": dl.SGD}, TypeError, "^optimizer got .*; did you mean SGD"),
        ({"lowest": 1e5, "highest": 1e9}, ValueError, "^lowest got 100000, at which the loss explodes already after "),
    ],
)
def test_what_does_not_fit_together_is_refused(digits, options, error, message):
    with pytest.raises(error, match=message):
        find(make(), digits, **options)
