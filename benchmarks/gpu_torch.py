"""PyTorch on a GPU, as the measurements need it. Importing this file turns TF32 off, which is PyTorch's default too.

`DEVICE` may be "cpu": everything but events and graphs then runs without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.elementwise import with_torch as operations
from benchmarks.elementwise.given import Given
from benchmarks.gpu_step import Contender
from benchmarks.peers.problem import Problem
from benchmarks.peers.with_torch import network, optimizer

DEVICE = "cuda"
torch.set_float32_matmul_precision("highest")


def available() -> bool:
    return torch.cuda.is_available()


def event() -> Any:
    return torch.cuda.Event(enable_timing=True)


def capture(function: Callable[[], None]) -> Callable[[], None]:
    """What `function` launches, as a CUDA graph. PyTorch wants it to run on another stream first."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def to_numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy()


# The training step ----------------------------------------------------------------------------------------------------


def step_contenders(problem: Problem) -> dict[str, Callable[[], Contender]]:
    """What makes PyTorch's contenders: as most people write it, and its three ways to be faster."""
    return {
        "PyTorch eager": lambda: _contender(problem),
        "PyTorch fused": lambda: _contender(problem, fused=True),
        "torch.compile": lambda: _contender(problem, compiled=True, fused=True),
        "PyTorch graph": lambda: _contender(problem, graph=True, capturable=True),
        "PyTorch graph fused": lambda: _contender(problem, graph=True, capturable=True, fused=True),
    }


def _contender(problem: Problem, compiled: bool = False, graph: bool = False, **options: Any) -> Contender:
    model, loss = network(problem).to(DEVICE), nn.CrossEntropyLoss()
    rule, start = optimizer(problem, model, **options), [torch.from_numpy(value.T) for value in problem.start()]
    x, labels = (torch.from_numpy(array).to(DEVICE) for array in problem.batches()[0])

    def forward() -> Any:
        return loss(model(x), labels)

    cost = torch.compile(forward, dynamic=False) if compiled else forward

    def step() -> None:
        rule.zero_grad()
        cost().backward()
        rule.step()

    def restart() -> None:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), start, strict=True):
                parameter.copy_(value)
            for state in rule.state.values():
                for moment in state.values():
                    moment.zero_()

    def parameters() -> list[np.ndarray]:
        return [to_numpy(parameter).T.copy() for parameter in model.parameters()]

    return Contender(capture(step) if graph else step, restart, parameters, event)


# Products and elementwise operations ----------------------------------------------------------------------------------


def product(a: np.ndarray, b: np.ndarray) -> tuple[Callable[[], None], Any]:
    """What computes a b, which is cuBLAS, and the tensor where it puts it."""
    x, y = torch.from_numpy(a).to(DEVICE), torch.from_numpy(b).to(DEVICE)
    z = torch.empty((len(a), b.shape[1]), device=DEVICE)

    def multiply() -> None:
        torch.matmul(x, y, out=z)

    return multiply, z


def prepare(operation: str, given: Given) -> Callable[[], Sequence[Any]] | None:
    """What does an operation of `benchmarks.elementwise`, and returns its tensors."""
    return operations.prepare(operation, given, DEVICE)
