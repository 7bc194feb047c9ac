"""Activation functions as CUDA kernels: four elements for a thread, a kernel for each entry of the table."""

from __future__ import annotations

from numba import cuda

from minidl.cuda.elementwise import FOUR, THREADS, four_for_each_thread, read_four, write_four
from minidl.scalar.activations import ACTIVATIONS


def _forward_kernel(value):
    value = cuda.jit(device=True)(value)

    @cuda.jit
    def activation_forward(x, alpha, y):
        i, ys = FOUR * cuda.grid(1), cuda.local.array(FOUR, x.dtype)
        if i < x.size:
            xs = read_four(x, i)
            for k in range(FOUR):
                ys[k] = value(xs[k], alpha)
            write_four(y, i, ys)

    return activation_forward


def _backward_kernel(slope):
    slope = cuda.jit(device=True)(slope)

    @cuda.jit
    def activation_backward(x, y, dy, alpha, dx):
        i, dxs = FOUR * cuda.grid(1), cuda.local.array(FOUR, x.dtype)
        if i < x.size:
            xs, ys, dys = read_four(x, i), read_four(y, i), read_four(dy, i)
            for k in range(FOUR):
                dxs[k] = dys[k] * slope(xs[k], ys[k], alpha)
            write_four(dx, i, dxs)

    return activation_backward


FORWARD = {name: _forward_kernel(entry.value) for name, entry in ACTIVATIONS.items()}
BACKWARD = {name: _backward_kernel(entry.slope) for name, entry in ACTIVATIONS.items()}


def activation_forward(launch, name, x, alpha, y):
    launch(FORWARD[name], four_for_each_thread(x.size), (THREADS,), x.reshape(-1), alpha, y.reshape(-1))


def activation_backward(launch, name, x, y, dy, alpha, dx):
    flat = (x.reshape(-1), y.reshape(-1), dy.reshape(-1))
    launch(BACKWARD[name], four_for_each_thread(x.size), (THREADS,), *flat, alpha, dx.reshape(-1))
