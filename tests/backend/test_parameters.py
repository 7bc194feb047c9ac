"""The memory of a model's parameters: side by side, weights first, with gaps that stay zero."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import minidl as dl
from minidl.backend import CACHE_LINE
from minidl.backend.parameters import contiguous_groups


def model(dtype="float32", backend="cpu"):
    return dl.Sequential(dl.Dense(5, 3), dl.BatchNorm(3), dl.Sequential(dl.Dense(3, 7)), backend=backend, dtype=dtype)


@pytest.mark.parametrize("backend", ["numpy", "cpu", "emulator"])
def test_two_arrays_hold_everything(dtype, backend):
    parameters = model(str(dtype), backend).parameters()
    weights, others = contiguous_groups(parameters)
    assert (weights[0], others[0]) == (True, False)
    for decays, values, gradients in (weights, others):
        mine = [p for p in parameters if p.decays is decays]
        assert values.size == gradients.size >= sum(p.size for p in mine)
        for parameter in mine:
            assert np.shares_memory(parameter.value, values)
            assert np.shares_memory(parameter.gradient, gradients)
            assert parameter.value.ctypes.data % CACHE_LINE == 0
            assert parameter.value.flags.c_contiguous


def test_parameters_do_not_overlap():
    parameters = model().parameters()
    for number, parameter in enumerate(parameters, start=1):
        parameter.value[...] = number
        parameter.gradient[...] = -number
    for number, parameter in enumerate(parameters, start=1):
        assert (parameter.value == number).all() and (parameter.gradient == -number).all()


@pytest.mark.parametrize("name", ["value", "gradient"])
def test_an_assignment_copies_to_where_the_optimizer_looks(any_backend, dtype, name):
    network = model(str(dtype), any_backend.name)
    weight = network.layers[0].weight
    own, numbers = getattr(weight, name), np.arange(15).reshape(5, 3)
    for given in (
        numbers,
        numbers.tolist(),
        numbers.astype(np.float64),
        np.asfortranarray(numbers),
        numbers.astype(">f4"),
    ):
        any_backend.copy_into(own, np.zeros((5, 3), dtype))
        setattr(weight, name, given)
        assert getattr(weight, name) is own
        np.testing.assert_array_equal(any_backend.to_numpy(own), numbers)
    setattr(weight, name, any_backend.array(numbers + 1, dtype))
    np.testing.assert_array_equal(any_backend.to_numpy(own), numbers + 1)
    if any_backend.on_host:
        weight.value *= 2
        weight.value[0] = 7
        assert weight.value[0, 0] == 7 and weight.value is weight._value


@pytest.mark.parametrize("name", ["value", "gradient"])
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (np.ones((1, 1)), ValueError, r"got shape \(1, 1\); expected \(5, 3\)"),
        (np.ones((0, 0)), ValueError, r"got shape \(0, 0\); expected \(5, 3\)"),
        (np.ones((3, 5)), ValueError, r"got shape \(3, 5\); expected \(5, 3\)"),
        (1.0, ValueError, r"got shape \(\); expected \(5, 3\)"),
        ("3", TypeError, r"got '3'; expected numbers of shape \(5, 3\)"),
        (None, TypeError, r"got None; expected numbers of shape \(5, 3\)"),
        (np.ones((5, 3), complex), TypeError, ".* expected numbers of shape"),
        (np.ones((5, 3), bool), TypeError, ".* expected numbers of shape"),
        (np.full((5, 3), np.nan), ValueError, "got nan at row 0, column 0"),
        (np.full((5, 3), 1e300), ValueError, r"got 1e\+300, which is infinite in float32; expected finite"),
    ],
)
def test_an_assignment_that_does_not_fit_is_refused_and_changes_nothing(name, given, error, said):
    weight = model().layers[0].weight
    before = getattr(weight, name).copy()
    with pytest.raises(error, match=f"^{name} of 0.Dense.weight {said}"):
        setattr(weight, name, given)
    np.testing.assert_array_equal(getattr(weight, name), before)


def test_a_layer_that_assigns_its_gradient_learns():
    class Gain(dl.Layer):
        n_in = n_out = 4

        def allocate(self):
            self.gain = self.parameter("gain", np.ones(4))

        def forward(self, x, training=False):
            return self.begin_forward(x, training) * self.gain.value

        def backward(self, dy):
            x, dy = self.begin_backward(dy)
            self.gain.gradient = (x * dy).sum(axis=0)
            return dy * self.gain.value

    layer = Gain().build("cpu")
    x = np.ones((2, 4), np.float32)
    layer.forward(x, training=True)
    layer.backward(x)
    dl.SGD(0.5).step(layer.parameters())
    np.testing.assert_array_equal(layer.forward(x), np.zeros((2, 4)))


def test_an_assignment_to_a_state_of_a_layer():
    norm = dl.BatchNorm(3).build("cpu")
    norm.running_mean = [1, 2, 3]
    np.testing.assert_array_equal(dict(norm.arrays())["running_mean"], [1, 2, 3])
    norm.running_mean += 1
    np.testing.assert_array_equal(dict(norm.arrays())["running_mean"], [2, 3, 4])
    with pytest.raises(ValueError, match=r"^running_mean of BatchNorm\(3\) got shape \(1,\); expected \(3,\)"):
        norm.running_mean = [1]
    other = dl.BatchNorm(2)
    with pytest.raises(AttributeError, match="has no attribute 'running_mean'; a layer gets its arrays"):
        _ = other.running_mean
    assert other.build("cpu").running_mean.shape == (2,)


@pytest.mark.parametrize("given", [[-1], [2**32], [0.5], [np.nan]], ids=str)
def test_a_counter_takes_only_what_it_holds(any_backend, given):
    layer = dl.Dropout(0.5).build(any_backend.name)
    with pytest.raises(ValueError, match=r"^step of Dropout\(0\.5\) got "):
        layer.step = given
    assert any_backend.to_numpy(layer.step).tolist() == [0]
    layer.step = [2**32 - 1]
    assert any_backend.to_numpy(layer.step).tolist() == [2**32 - 1]


def test_some_of_the_parameters_are_groups_of_their_own():
    first, second, third = dl.Sequential(
        dl.Dense(2, 3, bias=False), dl.Dense(3, 4, bias=False), dl.Dense(4, 5, bias=False), backend="cpu"
    ).parameters()
    (group,) = contiguous_groups([second, first])
    assert group[1].size == first.slice.stop + second.slice.stop - second.slice.start
    assert [values.size for _, values, _ in contiguous_groups([third, first])] == [
        first.slice.stop,
        third.slice.stop - third.slice.start,
    ]
    other = model().parameters()
    assert len(contiguous_groups([first, *other])) == 3


@pytest.mark.parametrize(
    "optimizer",
    [dl.SGD(0.1), dl.Momentum(0.1), dl.Nesterov(0.1), dl.RMSProp(0.1), dl.Adam(0.1), dl.AdamW(0.1, weight_decay=0.1)],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_the_gaps_stay_zero(optimizer, rng):
    parameters = model().parameters()
    values, gradients = parameters[0].slice.storage.values, parameters[0].slice.storage.gradients
    for _ in range(3):
        for parameter in parameters:
            parameter.gradient[...] = rng.normal(size=parameter.shape)
        optimizer.step(parameters)
    used = sum(parameter.size for parameter in parameters)
    assert np.count_nonzero(values) <= used < values.size
    assert np.count_nonzero(gradients) == used


def test_inside_allocate_there_is_no_value_yet():
    class Eager(dl.Layer):
        def allocate(self):
            self.copy = self.parameter("weight", np.zeros((2, 3))).value

    with pytest.raises(
        RuntimeError, match=r"^<Parameter weight \(2, 3\) float32> has no value yet: keep the parameter"
    ):
        Eager().build("cpu")


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("max_norm", "x", TypeError, "^max_norm got 'x'; expected a finite number, greater than 0$"),
        ("max_norm", -1, ValueError, "^max_norm got -1; expected a finite number, greater than 0$"),
        ("max_norm", 0.0, ValueError, "^max_norm got 0; expected a finite number, greater than 0$"),
        ("max_norm", np.nan, ValueError, "^max_norm got nan; expected a finite number, greater than 0$"),
        ("decays", "x", TypeError, "^decays got 'x'; expected True or False$"),
        ("decays", None, TypeError, "^decays got None; expected True or False$"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_assigned(name, value, error, message):
    for parameter in (model().parameters()[0], pickle.loads(pickle.dumps(model().parameters()[0]))):
        before = getattr(parameter, name)
        with pytest.raises(error, match=message):
            setattr(parameter, name, value)
        assert getattr(parameter, name) == before
        setattr(parameter, name, 2 if name == "max_norm" else False)
        assert getattr(parameter, name) == (2 if name == "max_norm" else False)
        setattr(parameter, name, before)
        assert getattr(parameter, name) == before  # for max_norm None


@pytest.mark.parametrize("name", ["parameter", "state"])
def test_numbers_that_the_dtype_makes_0_are_refused(name):
    class Own(dl.Layer):
        def allocate(self):
            getattr(self, name)("w", np.array([0.0, -1e-50]))

    message = "^value got numbers of at most 1e-50, which are all 0 in float32; expected larger numbers, or zeros$"
    with pytest.raises(ValueError, match=message):
        Own().build("cpu")
    Own().build("cpu", dtype="float64")
