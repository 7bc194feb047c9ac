"""Activation functions on the CPU: one loop for the value, one for the slope, compiled for each table entry."""

from __future__ import annotations

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.thread_pool import chunk
from minidl.cpu.engine.vector_loop import vector_loop
from minidl.scalar.activations import ACTIVATIONS


def _forward_loop(value):
    @parallel
    @jit
    def forward(index, chunks, x, alpha, y):
        x, y = x.reshape(-1), y.reshape(-1)
        for i in chunk(index, chunks, x.size):
            y[i] = value(x[i], alpha)
        vector_loop()

    return forward


def _backward_loop(slope):
    @parallel
    @jit
    def backward(index, chunks, x, y, dy, alpha, dx):
        x, y, dy, dx = x.reshape(-1), y.reshape(-1), dy.reshape(-1), dx.reshape(-1)
        for i in chunk(index, chunks, x.size):
            dx[i] = dy[i] * slope(x[i], y[i], alpha)
        vector_loop()

    return backward


FORWARD = {name: _forward_loop(scalar(entry.value)) for name, entry in ACTIVATIONS.items()}
BACKWARD = {name: _backward_loop(scalar(entry.slope)) for name, entry in ACTIVATIONS.items()}


def activation_forward(name, x, alpha, y):
    FORWARD[name](x, alpha, y)


def activation_backward(name, x, y, dy, alpha, dx):
    BACKWARD[name](x, y, dy, alpha, dx)
