"""Launches of a captured step that share a kernel.

A launch takes a GPU one or two microseconds, as long as many a kernel of a small network runs. What a captured step
launches is known before any of it runs. So neighbours are joined in two ways; neither changes what an element of an
array is computed from, nor in which order.

    handed on      A matrix product hands each element of C, as soon as it is known, to the activation that follows, or
                   in the backward pass to its slope.
    side by side   Launches of which none writes what another one reads or writes become one: blockIdx.z says which
                   kernel a block runs.

The layers are as they were, and `TrainingStep` compares every bit of the first joined step with one that is not.
docs/kernels.md says how many launches are left of a step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numba import cuda

from minidl.cuda import activations, losses, optimizers
from minidl.cuda.dense import PRODUCTS, handing_on
from minidl.cuda.elementwise import THREADS
from minidl.cuda.engine.device import is_device_array
from minidl.cuda.engine.launches import Launch
from minidl.cuda.reduce import column_sums_kernel
from minidl.scalar.activations import ACTIVATIONS

MOST = 4  # launches side by side
MOST_BYTES_OF_PRODUCTS = 8  # of their elements: a block has shared memory for two in float32, or for one in float64
QUICK = ("plain", "small", "tiny")  # products; in others a launch does not count, and they have no registers to spare

# What a kernel writes, by the names of its parameters. A product writes C, and what the taker of its elements writes.
# All have blocks of 256 threads; none asks whether they stand in one row or in 8, or how many blocks there are.
WRITES: dict[Any, tuple[str, ...]] = {
    column_sums_kernel: ("sums",),
    losses.softmax_kernel: ("y",),
    losses.softmax_losses: ("row_losses", "row_correct"),
    losses.softmax_cross_entropy_backward_kernel: ("dlogits",),
    losses.soft_losses: ("row_losses", "row_correct"),
    losses.soft_cross_entropy_backward_kernel: ("doutputs",),
    losses.binary_cross_entropy_forward_kernel: ("row_losses", "row_correct"),
    losses.binary_cross_entropy_backward_kernel: ("doutputs",),
    losses.mean_squared_error_forward_kernel: ("row_losses", "row_correct"),
    losses.mean_squared_error_backward_kernel: ("doutputs",),
    losses.mean_loss_kernel: ("mean", "totals"),
    optimizers.sgd_kernel: ("value",),
    optimizers.momentum_kernel: ("value", "velocity"),
    optimizers.nesterov_kernel: ("value", "velocity"),
    optimizers.rmsprop_kernel: ("value", "mean_square"),
    optimizers.adam_advance_kernel: ("correction",),
    optimizers.adam_kernel: ("value", "first", "second"),
}


def joined(launches: Iterable[Launch]) -> list[Launch]:
    """Return launches that do the same as `launches`, with fewer kernels."""
    stages: list[list[Launch]] = []
    for launch in _handed_on(launches):
        if stages and _fits(launch, stages[-1]):
            stages[-1].append(launch)
        else:
            stages.append([launch])
    return [_side_by_side(stage) for stage in stages]


# Handed on ------------------------------------------------------------------------------------------------------------


def _take_value(value):
    value = cuda.jit(device=True)(value)

    @cuda.jit(device=True)
    def take(x, row, column, alpha, y):
        y[row, column] = value(x, alpha)

    return take


def _take_slope(slope):
    slope = cuda.jit(device=True)(slope)

    @cuda.jit(device=True)
    def take(dy, row, column, x, y, alpha, dx):
        dx[row, column] = dy * slope(x[row, column], y[row, column], alpha)

    return take


# For each kernel of an activation: what takes its elements one by one, and the place of the argument they come from.
# Not of GELU: where its argument has just been computed, NVIDIA's compiler rounds -z/√2 otherwise.
_EXACT = {name: entry for name, entry in ACTIVATIONS.items() if name != "gelu"}
TAKERS = {activations.FORWARD[name]: (_take_value(entry.value), 0) for name, entry in _EXACT.items()} | {
    activations.BACKWARD[name]: (_take_slope(entry.slope), 2) for name, entry in _EXACT.items()
}


def _handed_on(launches: Iterable[Launch]) -> list[Launch]:
    done: list[Launch] = []
    for launch in launches:
        both = _product_with_activation(done[-1], launch) if done else None
        if both is None:
            done.append(launch)
        else:
            done[-1] = both
    return done


def _product_with_activation(product: Launch, activation: Launch) -> Launch | None:
    """Return both as one launch, or None if they are something else, or the activation has other elements."""
    if not _quick(product) or activation.kernel not in TAKERS or isinstance(product.arguments[3], tuple):
        return None
    take, place = TAKERS[activation.kernel]
    a, b, inner, more, c = product.arguments
    others = list(activation.arguments)
    elements = others.pop(place)
    if elements.size != c.size or _bytes_of(elements) != _bytes_of(c):
        return None
    # The activation comes while the product still runs: it may neither touch C nor write what C is made of.
    if any(_overlap(array, c) for array in _arrays(others)) or any(
        _overlap(others[-1], x) for x in _arrays((a, b, more))
    ):
        return None
    handed = (more, *(other.reshape(c.shape) if _is_array(other) else other for other in others))
    return Launch(handing_on(product.kernel, take), product.grid, product.block, (a, b, inner, handed, c))


def _quick(launch: Launch) -> bool:
    return launch.kernel in PRODUCTS and PRODUCTS[launch.kernel].variant in QUICK


# Side by side ---------------------------------------------------------------------------------------------------------


def _fits(launch: Launch, stage: Sequence[Launch]) -> bool:
    """Return whether `launch` may run beside all of `stage`."""
    every = [*stage, launch]
    products = sum(one.arguments[-1].dtype.itemsize for one in every if _quick(one))
    return (
        len(every) <= MOST
        and all(_written(one) is not None for one in every)
        and products <= MOST_BYTES_OF_PRODUCTS
        and all(_independent(launch, one) for one in stage)
    )


def _written(launch: Launch) -> list[Any] | None:
    """Return the arrays that a launch writes, or None if it is joined with nothing."""
    if _quick(launch):
        *_, more, c = launch.arguments
        return [c, more[-1]] if isinstance(more, tuple) else [c]
    if launch.kernel not in WRITES:
        return None
    names = launch.kernel.py_func.__code__.co_varnames
    return [launch.arguments[names.index(name)] for name in WRITES[launch.kernel]]


def _independent(one: Launch, other: Launch) -> bool:
    """Return whether neither launch writes what the other one reads or writes."""
    return not any(
        _overlap(written, array)
        for writer, another in ((one, other), (other, one))
        for written in _written(writer) or ()
        for array in _arrays(another.arguments)
    )


def _side_by_side(stage: Sequence[Launch]) -> Launch:
    if len(stage) == 1:
        return stage[0]
    kernels, arguments = (tuple(getattr(launch, name) for launch in stage) for name in ("kernel", "arguments"))
    grids = tuple((*launch.grid, 1)[:2] for launch in stage)
    widest, highest = map(max, zip(*grids, strict=True))
    return Launch(_kernel_of(kernels), (widest, highest, len(stage)), (THREADS,), (grids, arguments))


@functools.cache
def _kernel_of(kernels: tuple[Any, ...]) -> Any:
    """Return a kernel whose blocks with blockIdx.z == i run the i-th of `kernels`."""
    run = _one_of(kernels)

    @cuda.jit
    def side_by_side(grids, arguments):
        run(cuda.blockIdx.z, grids, arguments)

    return side_by_side


def _one_of(kernels):
    """Return a device function that runs kernel `number` in a block that is inside its grid.

    Only a constant can be an index into a tuple of several types, as the arguments are. So this function runs the first
    kernel or leaves it to another one for the rest. All threads of a block go the same way and meet at its barriers.
    """
    first = cuda.jit(device=True)(kernels[0].py_func)
    others = _one_of(kernels[1:]) if len(kernels) > 1 else _nothing

    @cuda.jit(device=True)
    def run(number, grids, arguments):
        if number > 0:
            others(number - 1, grids[1:], arguments[1:])
        elif cuda.blockIdx.x < grids[0][0] and cuda.blockIdx.y < grids[0][1]:
            first(*arguments[0])

    return run


@cuda.jit(device=True)
def _nothing(number, grids, arguments):
    pass


# Memory ---------------------------------------------------------------------------------------------------------------


def _is_array(argument: Any) -> bool:
    return isinstance(argument, np.ndarray) or is_device_array(argument)


def _arrays(arguments: Iterable[Any]) -> list[Any]:
    """Return all arrays among arguments, those in tuples as well."""
    nested = [_arrays(argument) for argument in arguments if isinstance(argument, tuple)]
    return sum(nested, [argument for argument in arguments if _is_array(argument)])


def _bytes_of(array: Any) -> range:
    """Return the addresses from the first byte of an array to its last one; a view may have gaps between them."""
    on_host = isinstance(array, np.ndarray)
    start = array.ctypes.data if on_host else array.__cuda_array_interface__["data"][0]
    reach = [(side - 1) * stride for side, stride in zip(array.shape, array.strides, strict=True)]
    before, behind = (sum(choose(0, each) for each in reach) for choose in (min, max))
    return range(start + before, start + behind + array.dtype.itemsize)


def _overlap(one: Any, other: Any) -> bool:
    one, other = _bytes_of(one), _bytes_of(other)
    return one.start < other.stop and other.start < one.stop
