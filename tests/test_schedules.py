"""Schedules: their values at the corners, and that an optimizer with one takes the steps of one set by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl.schedules import Constant, Cosine, Exponential, InverseTime, OneCycle, Steps, WarmUp

# A schedule, and its value at some steps.
VALUES = [
    (Constant(0.3), {0: 0.3, 1: 0.3, 10**9: 0.3}),
    (Steps(0.8, 0.5, 10), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4, 20: 0.2, 35: 0.1}),
    (Exponential(0.8, 0.5), {0: 0.8, 1: 0.4, 3: 0.1}),
    (Exponential(0.8, 0.5, 10), {0: 0.8, 5: 0.8 / math.sqrt(2), 10: 0.4, 20: 0.2}),
    (InverseTime(0.8, 10), {0: 0.8, 10: 0.4, 30: 0.2, 70: 0.1}),
    (InverseTime(0.8, 0.5), {0: 0.8, 1: 0.8 / 3}),
    (Cosine(1.0, 8), {0: 1.0, 2: (1 + math.sqrt(0.5)) / 2, 4: 0.5, 7: (1 - math.cos(math.pi / 8)) / 2, 8: 0, 99: 0}),
    (Cosine(1.0, 8, end=0.2), {0: 1.0, 4: 0.6, 8: 0.2, 9: 0.2}),
    (Cosine(0.0, 8, end=1.0), {0: 0.0, 4: 0.5, 8: 1.0}),
    (Cosine(1.0, 1), {0: 1.0, 1: 0.0}),
    (WarmUp(4, Constant(0.8)), {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 0.8, 5: 0.8}),
    (WarmUp(4, Cosine(0.8, 8)), {0: 0.2, 3: 0.8, 4: 0.8, 8: 0.4, 12: 0.0, 13: 0.0}),
    (WarmUp(1, Exponential(0.8, 0.5)), {0: 0.8, 1: 0.8, 2: 0.4}),
    (OneCycle(1.0, 10), {0: 0.04, 3: 1.0, 10: 1e-4, 11: 1e-4, 10**9: 1e-4}),
    (OneCycle(1.0, 10, rising=0.5), {0: 0.04, 5: 1.0, 10: 1e-4}),
    (OneCycle(1.0, 8, rising=0.5), {2: 0.52, 6: (1 + 1e-4) / 2, 8: 1e-4}),
]  # fmt: skip
each = pytest.mark.parametrize(("schedule", "values"), VALUES, ids=[repr(schedule) for schedule, _ in VALUES])


@each
def test_values_at_the_corners(schedule, values):
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-12, abs=1e-15), step


@each
def test_repr_builds_it_again(schedule, values):
    again = eval(repr(schedule), dict(vars(dl.schedules)))
    assert again == schedule and repr(again) == repr(schedule)


@pytest.mark.parametrize(
    "schedule",
    [
        Exponential(1.0, 0.1, 1000), InverseTime(1.0, 1000), Cosine(1.0, 1000), Cosine(1.0, 1000, 0.5),
        WarmUp(1000, Cosine(1.0, 1000)), OneCycle(1.0, 1000), OneCycle(1.0, 1000, 0.9), OneCycle(1.0, 1000, 0.1),
    ],
)  # fmt: skip
def test_a_long_schedule_has_no_jumps(schedule):
    steps = np.array([schedule(step) for step in range(2500)])
    assert np.abs(np.diff(steps)).max() < 0.02
    assert (steps >= 0).all() and steps.max() <= 1.0


def test_one_cycle_rises_and_falls():
    values = [OneCycle(1.0, 100, 0.3)(step) for step in range(101)]
    assert int(np.argmax(values)) == 30
    assert (np.diff(values[:31]) > 0).all() and (np.diff(values[30:]) < 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Constant("0.1"), TypeError, "^value got '0.1'; expected a finite number$"),
        (lambda: Steps(0.1, 0.0, 5), ValueError, "^factor got 0; expected a finite number, greater than 0$"),
        (lambda: Steps(0.1, 0.5, 0), ValueError, "^every got 0; expected an integer of at least 1$"),
        (lambda: Exponential(math.nan, 0.5), ValueError, "^start got nan; expected a finite number$"),
        (lambda: InverseTime(0.1, 0), ValueError, "^half_time got 0; expected a finite number, greater than 0$"),
        (lambda: Cosine(0.1, 1.5), TypeError, "^steps got 1.5; expected an integer of at least 1$"),
        (lambda: Cosine(0.1, 10, None), TypeError, "^end got None; expected a finite number$"),
        (lambda: WarmUp(0, Constant(1)), ValueError, "^steps got 0; expected an integer of at least 1$"),
        (lambda: WarmUp(10, 0.1), TypeError, r"^then got 0.1; expected a schedule, such as Constant\(0.1\)$"),
        (lambda: OneCycle(0.1, 10, 1.0), ValueError, "^rising got 1; expected .*greater than 0 and less than 1$"),
        (lambda: OneCycle(math.inf, 10), ValueError, "^peak got inf; expected a finite number$"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# In optimizers


HYPERPARAMETERS = [
    (dl.SGD, "learning_rate"), (dl.Momentum, "learning_rate"), (dl.Momentum, "momentum"), (dl.Nesterov, "momentum"),
    (dl.RMSProp, "learning_rate"), (dl.RMSProp, "decay"), (dl.RMSProp, "epsilon"), (dl.Adam, "learning_rate"),
    (dl.Adam, "beta1"), (dl.Adam, "beta2"), (dl.Adam, "epsilon"), (dl.AdamW, "weight_decay"), (dl.AdamW, "beta1"),
]  # fmt: skip


def make(backend="cpu"):
    return dl.Sequential(dl.Dense(3, 2), backend=backend, seed=0)


def gradients(model, step):
    for i, parameter in enumerate(model.parameters()):
        values = np.random.default_rng((step, i)).normal(size=parameter.shape)
        model.backend.copy_into(parameter.gradient, values.astype(parameter.value.dtype))


@pytest.mark.parametrize(("kind", "name"), HYPERPARAMETERS, ids=[f"{k.__name__}.{n}" for k, n in HYPERPARAMETERS])
def test_a_schedule_equals_an_attribute_set_before_each_step(kind, name, any_backend):
    schedule = Cosine(0.5, 6, end=0.1)
    scheduled, by_hand = make(any_backend.name), make(any_backend.name)
    first, second = kind(**{name: schedule}), kind()
    for step in range(8):
        setattr(second, name, schedule(step))
        for model, optimizer in ((scheduled, first), (by_hand, second)):
            gradients(model, step)
            optimizer.step(model.parameters())
        assert getattr(first, name) == schedule(step)
    for found, expected in zip(scheduled.snapshot().values(), by_hand.snapshot().values(), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_any_function_of_the_step_is_a_schedule():
    model, asked = make(), []
    optimizer = dl.SGD(lambda step: asked.append(step) or 0.1)
    for _ in range(3):
        optimizer.step(model.parameters())
    assert asked == [0, 0, 1, 2], "once for the check at the start"


def test_a_learning_rate_may_decay_to_zero_and_then_nothing_moves():
    model, optimizer = make(), dl.SGD(Cosine(0.1, 2))
    for step in range(4):
        before = model.snapshot()
        gradients(model, step)
        optimizer.step(model.parameters())
        moved = any(not np.array_equal(before[name], array) for name, array in model.snapshot().items())
        assert moved == (step < 2)
    assert optimizer.learning_rate == 0.0


@pytest.mark.parametrize(
    ("kind", "name", "value", "error", "expected"),
    [
        (dl.SGD, "learning_rate", math.nan, ValueError, "nan; expected a finite number, at least 0"),
        (dl.SGD, "learning_rate", -0.1, ValueError, "-0.1; expected a finite number, at least 0"),
        (dl.SGD, "learning_rate", "0.1", TypeError, "'0.1'; expected a finite number, at least 0"),
        (dl.Momentum, "momentum", 1.0, ValueError, "1; expected a finite number, at least 0 and less than 1"),
        (dl.Adam, "beta2", None, TypeError, "None; expected a finite number, at least 0 and less than 1"),
        (dl.Adam, "epsilon", 0.0, ValueError, "0; expected a finite number, greater than 0"),
        (dl.AdamW, "weight_decay", -1, ValueError, "-1; expected a finite number, at least 0"),
    ],
)
def test_a_schedule_that_returns_nonsense_is_named_with_its_step(kind, name, value, error, expected):
    model = make()
    optimizer = kind(**{name: lambda step: value if step == 2 else 0.1})
    for _ in range(2):
        optimizer.step(model.parameters())
    before = model.snapshot()
    with pytest.raises(error, match=f"^{name} at step 2 got {expected}$"):
        optimizer.step(model.parameters())
    assert all(np.array_equal(before[key], array) for key, array in model.snapshot().items())
    with pytest.raises(error, match=f"^{name} at step 0 got {expected}$"):
        kind(**{name: lambda step: value})


def test_a_number_takes_the_place_of_a_schedule_and_the_other_way_round():
    model, optimizer = make(), dl.Momentum(Cosine(0.1, 10), momentum=0.5)
    optimizer.step(model.parameters())
    optimizer.learning_rate = 0.3
    optimizer.step(model.parameters())
    assert repr(optimizer) == "Momentum(learning_rate=0.3, momentum=0.5)"
    optimizer.momentum = Exponential(0.8, 0.5)
    optimizer.step(model.parameters())
    assert (optimizer.learning_rate, optimizer.momentum) == (0.3, 0.2), "the third step is step 2"


def test_repr_shows_schedules_and_builds_the_optimizer_again():
    optimizer = dl.AdamW(WarmUp(5, Cosine(0.1, 20)), weight_decay=Constant(0.1))
    assert repr(optimizer) == (
        "AdamW(learning_rate=WarmUp(steps=5, then=Cosine(start=0.1, steps=20, end=0.0)), beta1=0.9, beta2=0.999, "
        "epsilon=1e-08, weight_decay=Constant(value=0.1))"
    )
    assert repr(eval(repr(optimizer), {**vars(dl), **vars(dl.schedules)})) == repr(optimizer)
    assert "learning_rate=<function test_repr" in repr(dl.SGD(lambda step: 0.1)) and " at 0x" not in repr(optimizer)


def test_new_has_the_hyperparameters_but_not_the_steps():
    model, optimizer = make(), dl.Adam(Cosine(0.1, 10), beta1=0.7)
    for _ in range(3):
        optimizer.step(model.parameters())
    new = optimizer.new()
    assert (type(new), new.steps, new.learning_rate, new.beta1) == (dl.Adam, 0, 0.1, 0.7)
    assert repr(new) == repr(optimizer)
    new.step(make().parameters())  # belongs to nobody yet
    assert optimizer.steps == 3


def test_fit_counts_on_over_the_epochs():
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    optimizer = dl.SGD(Steps(0.1, 0.5, 2))
    history = dl.fit(
        make(), dl.data.Dataset(x, np.arange(20) % 2), loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, epochs=3,
        batch_size=10, progress=False,
    )  # fmt: skip
    assert history["learning_rate"] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.longdouble, np.int64, np.uint8])
def test_numbers_of_numpy_print_as_plain_ones(kind):
    number = kind(0.5) if issubclass(kind, np.floating) else kind(2)
    plain = 0.5 if issubclass(kind, np.floating) else 2
    whole = np.int16(3)
    for numpys, own in (
        (Constant(number), Constant(plain)),
        (Steps(number, number, whole), Steps(plain, plain, 3)),
        (Exponential(number, number, whole), Exponential(plain, plain, 3)),
        (InverseTime(number, number), InverseTime(plain, plain)),
        (Cosine(number, whole, number), Cosine(plain, 3, plain)),
        (WarmUp(whole, Constant(number)), WarmUp(3, Constant(plain))),
        (OneCycle(number, whole, np.float64(0.5)), OneCycle(plain, 3, 0.5)),
    ):
        assert repr(numpys) == repr(own)
        assert numpys == own
