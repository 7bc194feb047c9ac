"""The memory of a model's parameters: side by side, weights first, with gaps that stay zero."""

from __future__ import annotations

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
    values, gradients = parameters[0].slice.values, parameters[0].slice.gradients
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
