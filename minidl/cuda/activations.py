"""Activation functions as CUDA kernels: one thread for one element, one kernel for each entry of the table."""

from __future__ import annotations

from numba import cuda

from minidl.scalar.activations import ACTIVATIONS

THREADS = 256


def _forward_kernel(value):
    value = cuda.jit(device=True)(value)

    @cuda.jit
    def activation_forward(x, alpha, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = value(x[i], alpha)

    return activation_forward


def _backward_kernel(slope):
    slope = cuda.jit(device=True)(slope)

    @cuda.jit
    def activation_backward(x, y, dy, alpha, dx):
        i = cuda.grid(1)
        if i < x.size:
            dx[i] = dy[i] * slope(x[i], y[i], alpha)

    return activation_backward


FORWARD = {name: _forward_kernel(entry.value) for name, entry in ACTIVATIONS.items()}
BACKWARD = {name: _backward_kernel(entry.slope) for name, entry in ACTIVATIONS.items()}


def one_thread_each(count):
    """Return the grid of 256-thread blocks with one thread for each of `count` elements."""
    return (-(-count // THREADS),)


def activation_forward(launch, name, x, alpha, y):
    launch(FORWARD[name], one_thread_each(x.size), (THREADS,), x.reshape(-1), alpha, y.reshape(-1))


def activation_backward(launch, name, x, y, dy, alpha, dx):
    flat = (x.reshape(-1), y.reshape(-1), dy.reshape(-1))
    launch(BACKWARD[name], one_thread_each(x.size), (THREADS,), *flat, alpha, dx.reshape(-1))
