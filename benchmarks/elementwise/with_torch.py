"""The same in PyTorch: the kernels that `torch.nn` and autograd call, and the optimizers of `torch.optim`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from benchmarks.elementwise.given import LEARNING_RATE, RATE, Given

aten: Any = torch.ops.aten
SELU = 1.6732632423543772, 1.0507009873554805, 1.0  # alpha, scale, input scale

FORWARD: dict[str, Callable] = {
    "relu": lambda x, y: torch.clamp(x, min=0, out=y),
    "leaky_relu": lambda x, y: aten.leaky_relu.out(x, 0.01, out=y),
    "sigmoid": lambda x, y: torch.sigmoid(x, out=y),
    "tanh": lambda x, y: torch.tanh(x, out=y),
    "softplus": lambda x, y: aten.softplus.out(x, out=y),
    "elu": lambda x, y: aten.elu.out(x, out=y),
    "selu": lambda x, y: aten.elu.out(x, *SELU, out=y),
    "gelu": lambda x, y: aten.gelu.out(x, out=y),
    "silu": lambda x, y: aten.silu.out(x, out=y),
}
BACKWARD: dict[str, Callable] = {
    "relu": lambda x, y, dy, dx: aten.threshold_backward.grad_input(dy, y, 0, grad_input=dx),
    "leaky_relu": lambda x, y, dy, dx: aten.leaky_relu_backward.grad_input(dy, x, 0.01, False, grad_input=dx),
    "sigmoid": lambda x, y, dy, dx: aten.sigmoid_backward.grad_input(dy, y, grad_input=dx),
    "tanh": lambda x, y, dy, dx: aten.tanh_backward.grad_input(dy, y, grad_input=dx),
    "softplus": lambda x, y, dy, dx: aten.softplus_backward.grad_input(dy, x, 1, 20, grad_input=dx),
    "elu": lambda x, y, dy, dx: aten.elu_backward.grad_input(dy, 1, 1, 1, False, x, grad_input=dx),
    "selu": lambda x, y, dy, dx: aten.elu_backward.grad_input(dy, *SELU, False, x, grad_input=dx),
    "gelu": lambda x, y, dy, dx: aten.gelu_backward.grad_input(dy, x, grad_input=dx),
    "silu": lambda x, y, dy, dx: aten.silu_backward.grad_input(dy, x, grad_input=dx),
}
OPTIMIZERS: dict[str, Callable] = {
    "sgd": lambda w: torch.optim.SGD(w, LEARNING_RATE, fused=True),
    "momentum": lambda w: torch.optim.SGD(w, LEARNING_RATE, momentum=0.9, fused=True),
    "nesterov": lambda w: torch.optim.SGD(w, LEARNING_RATE, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": lambda w: torch.optim.RMSprop(w, LEARNING_RATE, alpha=0.9, eps=1e-8, capturable=w[0].is_cuda),
    "adam": lambda w: torch.optim.Adam(w, LEARNING_RATE, fused=True, capturable=w[0].is_cuda),
}


def prepare(operation: str, given: Given, device: str = "cpu") -> Callable[[], Sequence[Any]] | None:
    name, _, direction = operation.rpartition(" ")
    if name == "softmax cross-entropy":
        return _loss(direction, given, device)
    x, dy = torch.from_numpy(given.x).to(device), torch.from_numpy(given.dy).to(device)
    if name in FORWARD:
        y = FORWARD[name](x, torch.empty_like(x))
        if direction == "forward":
            return lambda: (FORWARD[name](x, y),)
        dx = torch.empty_like(x)
        return lambda: (BACKWARD[name](x, y, dy, dx),)
    if name == "batch norm":
        return _batch_norm(direction, given, x, dy)
    if operation == "dropout":
        return lambda: (functional.dropout(x, RATE),)
    if operation == "column sums":
        sums = torch.empty(x.shape[1], device=device)
        return lambda: (torch.sum(x, 0, out=sums),)
    return _update(operation, x, dy)


def _batch_norm(direction, given, x, dy):
    gamma, beta = torch.from_numpy(given.gamma).to(x), torch.from_numpy(given.beta).to(x)
    running_mean, running_variance = torch.zeros_like(beta), torch.ones_like(beta)
    kept = {"out": torch.empty_like(x), "save_mean": torch.empty_like(beta), "save_invstd": torch.empty_like(beta)}

    def forward():
        return aten.native_batch_norm.out(x, gamma, beta, running_mean, running_variance, True, 0.1, 1e-5, **kept)[:1]

    def backward():
        statistics = running_mean, running_variance, kept["save_mean"], kept["save_invstd"]
        return aten.native_batch_norm_backward(dy, x, gamma, *statistics, True, 1e-5, [True, True, True])

    forward()
    return forward if direction == "forward" else backward


def _loss(direction, given, device):
    logits, labels = torch.from_numpy(given.logits).to(device), torch.from_numpy(given.labels).to(device)
    logarithms, one = functional.log_softmax(logits, 1), torch.ones((), device=device)
    total = torch.tensor(float(len(labels)), device=device)

    def backward():
        picked = aten.nll_loss_backward(one, logarithms, labels, None, 1, -100, total)
        return (aten._log_softmax_backward_data(picked, logarithms, 1, torch.float32),)

    if direction == "forward":
        return lambda: (functional.cross_entropy(logits, labels, reduction="none"),)
    return backward


def _update(name, x, dy):
    value = x.reshape(-1).clone().requires_grad_()
    value.grad = dy.reshape(-1)
    optimizer = OPTIMIZERS[name]([value])

    def update():
        optimizer.step()
        return (value.detach(),)

    return update
