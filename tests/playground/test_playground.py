"""The playground without a browser: settings, networks, the program beside them, pictures, and runs."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from minidl.playground import network
from minidl.playground.presets import PRESETS
from minidl.playground.session import Session, Sessions
from minidl.playground.settings import CONTROLS, Choice, Settings, checked
from scripts.playground_claims import CLAIMS
from tests.conftest import each

SMALL = {"rows": 30, "layers": 2, "units": 5, "batch_size": 10}
VARIED = {
    "plain": {},
    "sigmoid": {"activation": "sigmoid", "init": "glorot_uniform", "gain": 4.0},
    "before": {"batch_norm": "before", "activation": "relu", "optimizer": "adam", "learning_rate": 0.01},
    "after": {"batch_norm": "after", "activation": "leaky_relu", "init": "he_normal", "gain": 0.5},
    "sum": {"residual": "sum", "layers": 4, "activation": "selu", "batch_norm": "before", "dropout": 0.2},
    "zeroed": {"residual": "zeroed", "layers": 3, "optimizer": "momentum", "clip": 0.5},
    "penalized": {"dropout": 0.3, "l1": 0.001, "l2": 0.01, "optimizer": "adamw", "learning_rate": 0.001},
    "digits": {"data": "digits", "activation": "gelu", "init": "orthogonal", "gain": 2.0, "seed": 7},
    "a remainder": {"rows": 37, "batch_size": 10, "data": "xor", "init": "normal", "gain": 0.3},
    "more rows than are looked at": {"rows": 600, "batch_size": 100},
}


def run_program(session: Session) -> dict:
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(session.picture()["program"], names)
    return names


def trained(settings: dict, steps: int) -> Session:
    session = Session(checked(settings))
    while session.steps < steps and not session.ended:
        session.advance(steps - session.steps, 10.0)
    return session


# Settings


def test_what_is_left_out_has_its_default():
    assert checked({}) == Settings._make(control.default for control in CONTROLS.values())
    assert checked({"units": 7}).units == 7
    assert tuple(CONTROLS) == Settings._fields


def wrong_values():
    for name, control in CONTROLS.items():
        values = [None, [], {}, True, "x" * 100_000, math.nan, math.inf, -math.inf]
        if isinstance(control, Choice):
            values += ["", 1, "Tanh "]
        else:
            values += ["1", control.low - 1, control.high + 1, 10**400]
            values += [0.5] if isinstance(control.default, int) else []
        yield from ((name, value) for value in values)


@pytest.mark.parametrize(("name", "value"), [*wrong_values()], ids=lambda value: str(value)[:12])
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} got"):
        checked({name: value})


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'units'"):
        checked({"unit": 3})
    for settings in ([], None, "units", 3):
        with pytest.raises(TypeError, match="expected an object"):
            checked(settings)


# The program


@each("name", VARIED)
def test_the_program_gives_the_same_numbers(name):
    """Before training and after two epochs: every bit of the weights, and what `inspect` says of them."""
    session = Session(checked({**SMALL, **VARIED[name]}))
    before = session.picture()
    steps = 2 * session.run.batches.steps
    session.advance(steps, 100.0)
    assert session.picture()["epochs"] == 2
    program = run_program(session)
    for key, array in program["model"].snapshot().items():
        assert array.tobytes() == session.model.snapshot()[key].tobytes(), key
    check_columns(session, program)
    test = dl.evaluate(program["model"], program["test"], loss=dl.SoftmaxCrossEntropy())
    assert session.picture()["test"] == {"loss": test.loss, "accuracy": test.accuracy}
    train = dl.evaluate(program["model"], program["train"][: network.TEST_ROWS], loss=dl.SoftmaxCrossEntropy())
    assert session.picture()["train"] == {"loss": train.loss, "accuracy": train.accuracy}
    assert program["history"].epochs[-1].validation_loss == pytest.approx(test.loss, rel=1e-6)

    fresh = Session(checked({**SMALL, **VARIED[name]})).picture()
    assert fresh == before


@each("name", VARIED)
def test_before_training_the_program_shows_the_network_and_trains_nothing(name):
    session = Session(checked({**SMALL, **VARIED[name]}))
    program = run_program(session)
    assert "history" not in program
    check_columns(session, program)


def check_columns(session, program):
    """Compare what the page shows of each column with what the program's `inspect` says of its layers."""
    model = program["model"]
    rows = {row.layer: row for row in dl.inspect(model, *program["train"][:200]).rows}
    layers, columns = list(model.layers), session.picture()["columns"]
    starts = [i for i, layer in enumerate(layers) if isinstance(layer, (dl.Dense, dl.Residual))]
    assert len(columns) == len(starts)
    for column, start, stop in zip(columns, starts, [*starts[1:], len(layers)], strict=True):
        group = [layer for layer in layers[start:stop] if not isinstance(layer, dl.Dropout)]
        inside = [layer for outer in group for layer in outer.walk()]
        dense = next(layer for layer in inside if isinstance(layer, dl.Dense))
        last = rows[group[-1].name]
        for name in ("std", "mean", "second_moment", "sample_variance", "not_finite", "gradient_norm"):
            assert column[name] == getattr(last, name), name
        for name in ("outputs", "gradients"):
            histogram = getattr(last, name)
            assert column[name] == {
                "low": histogram.edges[0],
                "high": histogram.edges[-1],
                "counts": [*histogram.counts],
            }
        assert column["delta"] == rows[dense.name].delta
        assert column["update"] == session.updates.get(f"{dense.name}.weight")
        activations = [rows[layer.name] for layer in inside if rows[layer.name].active is not None]
        assert ("active" in column) == bool(activations)
        if activations:
            shown = activations[0]
            assert (column["saturated"], column["dead"]) == (shown.saturated, shown.dead)
            assert column["active"] == [*np.round(shown.active, 3)]


@given(st.data())
def test_any_settings_make_a_network_and_the_text_of_the_same(data):
    strategies = {
        name: st.sampled_from(control.choices)
        if isinstance(control, Choice)
        else st.integers(control.low, control.high)
        if isinstance(control.default, int)
        else st.floats(control.low, control.high)
        for name, control in CONTROLS.items()
    }
    few = {"layers": st.integers(1, 6), "units": st.integers(1, 9), "rows": st.integers(20, 60)}
    settings = checked(data.draw(st.fixed_dictionaries({**strategies, **few})))
    train, _ = network.datasets(settings)
    try:
        model = network.build(settings, train)
        run = network.begin(settings, model, train)
    except ValueError as error:  # of a last batch of one row there is no batch norm
        assert "batch" in str(error)
        return
    text = network.program(settings, 1).replace("history = dl.fit(", "dict(").replace("\n    model, train,", "")
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(text.replace("print(dl.inspect", "(lambda *_: None)((lambda *_: None)"), names)
    assert [repr(layer) for layer in names["model"].layers] == [repr(layer) for layer in model.layers]
    for key, array in names["model"].snapshot().items():
        assert array.tobytes() == model.snapshot()[key].tobytes()
    assert len(names["train"]) == len(run.train) and np.array_equal(names["train"].x, run.train.x)
    json.dumps(Session(settings).picture(), allow_nan=False)


@each("init", CONTROLS["init"].choices)
@each("gain", [0.5, 1.0, 3.0])
def test_a_gain_makes_the_weights_as_many_times_larger(init, gain):
    chosen = dl.initializers.automatic("relu") if init == "auto" else dl.initializers.get(init)
    at_one, scaled = (dl.initializers.get(network.scaled(chosen, g)) for g in (1.0, gain))
    draw = [initializer(np.random.default_rng(0), 30, 20) for initializer in (at_one, scaled)]
    np.testing.assert_allclose(draw[1], gain * draw[0], rtol=2e-6)
    if init in ("normal", "uniform"):  # times one is a standard deviation, or a limit, of 1
        assert np.abs(draw[0]).max() == pytest.approx(3.0 if init == "normal" else 1.0, rel=0.4)
    elif init != "auto":
        np.testing.assert_array_equal(draw[0], chosen(np.random.default_rng(0), 30, 20))


@each("data", CONTROLS["data"].choices)
def test_no_row_of_the_test_data_is_one_of_the_training_data(data):
    train, test = network.datasets(checked({"data": data, "rows": network.TEST_ROWS}))
    assert len(train) == len(test) == network.TEST_ROWS
    assert not {row.tobytes() for row in train.x} & {row.tobytes() for row in test.x}


@each("activation", CONTROLS["activation"].choices)
def test_a_gain_multiplies_the_automatic_initializer(activation):
    weights = [
        Session(checked({**SMALL, "activation": activation, "gain": gain})).model.parameters()[0].value
        for gain in (1.0, 3.0)
    ]
    np.testing.assert_allclose(weights[1], 3.0 * weights[0], rtol=2e-6)


def test_no_bias_stands_before_batch_norm():
    names = {
        norm: [*dict(Session(checked({**SMALL, "batch_norm": norm})).model.arrays())] for norm in ("before", "after")
    }
    assert "0.bias" not in names["before"] and "0.bias" in names["after"]


# Runs


def test_what_is_live_acts_under_way_and_the_optimizer_keeps_its_moments():
    settings = {**SMALL, "optimizer": "adam", "learning_rate": 0.01}
    session = trained(settings, 6)  # two epochs
    session.change(checked({**settings, "learning_rate": 0.001, "l2": 0.05, "batch_size": 5}))
    session.advance(6, 100.0)  # one epoch

    train, _ = network.datasets(session.settings)
    optimizer = dl.Adam(0.01)
    model = network.build(checked(settings), train)
    options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": optimizer, "progress": False}
    dl.fit(model, train, epochs=2, batch_size=10, **options)
    optimizer.learning_rate = 0.001
    for layer in model.walk():
        if isinstance(layer, dl.Dense):
            layer.penalty_in_use = dl.L2(0.05)
    dl.fit(model, train, epochs=1, batch_size=5, **options)
    for key, array in model.snapshot().items():
        assert array.tobytes() == session.model.snapshot()[key].tobytes(), key
    assert session.picture()["epochs"] == 3
    assert "# The settings were changed under way" in session.picture()["program"]


def test_what_changes_before_the_first_step_is_in_the_program():
    session = Session(checked(SMALL))
    session.change(checked({**SMALL, "l1": 0.001, "l2": 0.05, "learning_rate": 0.3}))
    session.advance(3, 10.0)
    assert "# The settings were changed" not in session.picture()["program"]
    for key, array in run_program(session)["model"].snapshot().items():
        assert array.tobytes() == session.model.snapshot()[key].tobytes(), key


@each("optimizer", ["adam", "sgd"])
def test_a_change_that_is_refused_changes_nothing(optimizer):
    settings = {**SMALL, "rows": 21, "batch_size": 7, "batch_norm": "before", "optimizer": "adam"}
    asked, alone = trained(settings, 4), trained(settings, 4)  # in the middle of an epoch
    other = {"optimizer": optimizer, "learning_rate": 1.0, "l1": 0.1, "l2": 0.1, "batch_size": 20}
    with pytest.raises(ValueError, match="^batch_size got 20, which leaves a last batch of 1 row"):
        asked.change(checked({**settings, **other}))
    for session in (asked, alone):
        session.change(checked(settings))
        session.advance(5, 10.0)
    assert asked.picture() == alone.picture()
    for key, array in alone.model.snapshot().items():
        assert array.tobytes() == asked.model.snapshot()[key].tobytes(), key


def test_another_optimizer_takes_over():
    session = trained(SMALL, 3)
    session.change(checked({**SMALL, "optimizer": "adam"}))
    session.advance(1, 10.0)
    assert isinstance(session.run.optimizer, dl.Adam) and session.run.optimizer.steps == 1
    assert session.steps == 4


@each("name", [name for name, control in CONTROLS.items() if not control.live])
def test_what_is_not_live_is_refused_under_way(name):
    control = CONTROLS[name]
    other = control.choices[-1] if isinstance(control, Choice) else control.high
    session = Session(checked({"rows": 30, "layers": 2, "seed": 1}))
    with pytest.raises(ValueError, match="^settings got other data or another network"):
        session.change(checked({"rows": 30, "layers": 2, "seed": 1, name: other}))


def test_a_run_that_diverges_says_what_fit_says_and_stands_still():
    settings = {**SMALL, "layers": 8, "units": 40, "activation": "relu", "gain": 3.0, "learning_rate": 100.0}
    session = trained(settings, 1000)
    train, _ = network.datasets(session.settings)
    with pytest.raises(dl.DivergenceError) as error:
        dl.fit(
            network.build(session.settings, train), train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(100.0),
            batch_size=10, epochs=100, progress=False,
        )  # fmt: skip
    name = error.value.layer.name
    column = int(name.split(".")[0]) // 2  # dense, activation, dense, ...
    assert session.ended == f"{error.value}. It stands in column {column + 1}"
    with pytest.raises(dl.DivergenceError, match=f"^{re.escape(str(error.value))}$"):
        run_program(session)
    steps, shown = session.steps, session.picture()
    assert shown["ended"] == session.ended
    json.dumps(shown, allow_nan=False)
    session.advance(100, 10.0)
    assert session.steps == steps


def test_a_diverging_run_counts_its_epochs():
    settings = {**SMALL, "activation": "relu", "optimizer": "sgd", "learning_rate": 0.1, "layers": 6, "units": 30}
    session = trained(settings, 9)
    session.change(checked({**settings, "learning_rate": 100.0, "l2": 0.1}))
    session.advance(1000, 60.0)
    assert session.ended
    epoch = int(session.ended.partition("epoch ")[2].partition(",")[0].partition(";")[0])
    assert epoch == session.model.epochs_trained + 1 >= 4
    assert f"epochs={epoch}\n" in session.picture()["program"]


def test_a_run_whose_arrays_overflow_ends():
    session = trained({**SMALL, "batch_norm": "before"}, 3)
    dict(session.model.arrays())["1.running_variance"][0] = np.inf
    session.advance(3, 10.0)
    assert session.ended.startswith("the 1.running_variance became inf in the last step of epoch 2")


def test_the_first_layer_that_is_not_finite_is_named():
    session = trained(SMALL, 1)
    assert session.picture()["not_finite"] == ""
    session.model.parameters()[2].value[:] = np.inf
    shown = session.picture()
    assert shown["not_finite"] == "the first layer whose output is not finite is 2.Dense"
    assert shown["columns"][1]["not_finite"] > 0 and shown["test"]["loss"] is None
    assert set(decoded(shown["plane"]["values"], "<f4")) == {0.0}  # of NaN nobody knows which class it is


def test_a_run_ends(monkeypatch):
    monkeypatch.setattr("minidl.playground.session.MOST_EPOCHS", 2)
    session = trained(SMALL, 100)
    assert session.steps == 6 and session.picture()["ended"] == "2 epochs are enough"
    assert "epochs=2\n" in session.picture()["program"]
    session.change(checked({**SMALL, "learning_rate": 0.01}))
    session.advance(10, 1.0)
    assert session.steps == 6


def test_time_ends_a_request_after_the_step_that_has_begun():
    session = Session(checked(SMALL))
    session.advance(1000, 0.0)
    assert session.steps == 1


def test_of_too_many_sessions_the_one_unused_for_longest_is_dropped():
    sessions = Sessions(most=2)
    first, second = (sessions.add(Session(checked(SMALL))) for _ in range(2))
    kept = sessions.get(first)
    third = sessions.add(Session(checked(SMALL)))
    assert sessions.get(first) is kept
    sessions.get(third)
    with pytest.raises(ValueError, match=f"^session got {second}, which is none or was dropped"):
        sessions.get(second)
    for wrong in (None, "1", 1.0, True, -1, 10**400):
        with pytest.raises((TypeError, ValueError), match="^session got"):
            sessions.get(wrong)


def test_a_session_that_nobody_asks_for_is_dropped():
    sessions = Sessions(idle=-1.0)
    with pytest.raises(ValueError, match="was dropped"):
        sessions.get(sessions.add(Session(checked(SMALL))))


# Pictures


def test_a_column_is_a_layer_with_what_stands_behind_it():
    settings = {**SMALL, "layers": 3, "batch_norm": "after", "dropout": 0.5, "activation": "relu"}
    session = trained(settings, 4)
    shown, rows = session.picture(), {row.layer: row for row in dl.inspect(session.model, *session.train).rows}
    assert len(shown["columns"]) == 4
    for k, column in enumerate(shown["columns"][:-1]):
        dense, relu, norm = (rows[f"{4 * k + i}.{name}"] for i, name in enumerate(["Dense", "ReLU", "BatchNorm"]))
        assert column["std"] == norm.std and column["dead"] == relu.dead and column["delta"] == dense.delta
        for name in ("mean", "second_moment", "sample_variance", "gradient_norm"):
            assert column[name] == getattr(norm, name)
        assert column["outputs"]["counts"] == norm.outputs.counts.tolist()
        assert column["gradients"]["counts"] == norm.gradients.counts.tolist()
        assert [column["outputs"]["low"], column["outputs"]["high"]] == [norm.outputs.edges[0], norm.outputs.edges[-1]]
        np.testing.assert_allclose(column["active"], relu.active, atol=6e-4)
        assert column["update"] > 0
    assert shown["columns"][-1]["std"] == rows["12.Dense"].std and "dead" not in shown["columns"][-1]


@each("steps", [1, 3])
def test_the_update_is_that_of_the_first_step_since_the_last_picture(steps):
    session = trained(SMALL, 3)
    old, weights = (trained(SMALL, made).model.parameters()[0] for made in (3, 4))
    old = old.value.astype(np.float64)
    session.advance(steps, 10.0)
    change = np.linalg.norm(weights.value - old) / np.linalg.norm(old)
    assert session.picture()["columns"][0]["update"] == pytest.approx(change, rel=1e-6)


def test_a_picture_changes_nothing():
    settings = {**SMALL, "dropout": 0.5, "batch_norm": "before"}
    looked, alone = trained(settings, 2), trained(settings, 2)
    looked.picture()
    for session in (looked, alone):
        session.advance(3, 10.0)
    for key, array in alone.model.snapshot().items():
        assert array.tobytes() == looked.model.snapshot()[key].tobytes(), key


def decoded(text, dtype=np.uint8):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_the_plane_shows_the_log_odds_of_class_1():
    session = trained({"data": "xor", "learning_rate": 0.5}, 300)
    plane = session.picture()["plane"]
    size = plane["size"]
    values = decoded(plane["values"], "<f4").reshape(size, size)
    axis = np.linspace(-plane["extent"], plane["extent"], size, dtype=np.float32)
    for row, column in np.ndindex(size, size):
        x = np.array([[axis[column], axis[size - 1 - row]]], np.float32)  # the first row is the top
        zero, one = dl.softmax(session.model.predict(x).astype(np.float64))[0]
        assert values[row, column] == pytest.approx(np.log(one / zero), abs=1e-4)
    quarter = size // 4  # class 0 is where both coordinates have the same sign
    assert values[quarter, -quarter] < -1.4 < 1.4 < values[quarter, quarter]


def test_the_plane_of_a_network_that_is_too_sure_is_finite():
    session = trained(SMALL, 0)
    session.model.parameters()[-1].value[:] = [-np.inf, np.inf]
    values = decoded(session.picture()["plane"]["values"], "<f4")
    assert set(values) == {100.0}


def test_the_wrong_digits_are_wrong():
    session = trained({"data": "digits", "rows": 300, "units": 20}, 60)
    wrong = session.picture()["wrong"]
    answers = session.model.predict(session.test.x).argmax(axis=1)
    rows = np.flatnonzero(answers != session.test.y)[:10]
    assert 0 < len(wrong) == len(rows)
    for shown, row in zip(wrong, rows, strict=True):
        assert (shown["label"], shown["answer"]) == (session.test.y[row], answers[row])
        np.testing.assert_allclose(decoded(shown["image"]) / 255, session.test.x[row], atol=0.003)


# The experiments


def test_every_experiment_has_a_claim():
    assert [preset.name for preset in PRESETS] == [*CLAIMS]
    for preset in PRESETS:
        checked(preset.settings)
        assert preset.title[-1] != "." and preset.sentence.endswith(".")


@each("preset", PRESETS)
def test_an_experiment_shows_what_its_sentence_says(preset):
    """With a seed that is not the page's; `scripts/check_playground.py` reads the numbers of that one."""
    session = trained({**preset.settings, "seed": 1}, preset.steps)
    assert CLAIMS[preset.name](session.picture())


@each("name", CLAIMS)
def test_a_claim_can_fail(name):
    """Each is false for some of the other experiments, before they are trained."""
    results = []
    for preset in PRESETS:
        with contextlib.suppress(TypeError, KeyError, ZeroDivisionError):
            results.append(CLAIMS[name](before_training(preset.name)))
    assert not all(results)


@functools.cache
def before_training(name):
    settings = next(preset.settings for preset in PRESETS if preset.name == name)
    return Session(checked(settings)).picture()
