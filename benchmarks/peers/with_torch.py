"""PyTorch: as most people write it, with the optimizer as one kernel (`fused`), and compiled."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers.problem import MOMENTUM, Problem

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def network(problem: Problem) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(problem.links, start=1):
        hidden = i < len(problem.links)
        layers.append(nn.Linear(n_in, n_out, bias=not (hidden and problem.batch_norm)))
        if hidden and problem.batch_norm:
            layers.append(nn.BatchNorm1d(n_out))
        if hidden:
            layers.append(ACTIVATIONS[problem.activation]())
        if hidden and problem.dropout:
            layers.append(nn.Dropout(problem.dropout))
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), problem.start(), strict=True):
            parameter.copy_(torch.from_numpy(value.T))  # a Linear keeps its weight as (n_out, n_in)
    return model


def optimizer(problem: Problem, model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    if problem.optimizer == "momentum":
        return torch.optim.SGD(model.parameters(), problem.rate, momentum=MOMENTUM, **options)
    return torch.optim.Adam(model.parameters(), problem.rate, **options)


class Peer:
    def __init__(self, problem: Problem, fused: bool | None = None, compiled: bool = False):
        self._model, self._loss = network(problem), nn.CrossEntropyLoss()
        self._optimizer = optimizer(problem, self._model, fused=fused)
        self._cost = torch.compile(self._forward, dynamic=False) if compiled else self._forward
        self._batches = cycle([(torch.from_numpy(x), torch.from_numpy(labels)) for x, labels in problem.batches()])

    def _forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._loss(self._model(x), labels)

    def run(self, steps: int) -> None:
        for x, labels in islice(self._batches, steps):
            self._optimizer.zero_grad()
            self._cost(x, labels).backward()
            self._optimizer.step()

    def parameters(self) -> list[np.ndarray]:
        return [parameter.detach().numpy().T.copy() for parameter in self._model.parameters()]


def peers(problem: Problem) -> dict[str, Any]:
    torch.compiler.reset()  # what was compiled for another problem must not make this one compile for any shape
    return {
        "PyTorch": Peer(problem),
        "PyTorch fused": Peer(problem, fused=True),
        "torch.compile": Peer(problem, fused=True, compiled=True),
    }


class Epochs:
    def __init__(self, problem: Problem, x: np.ndarray, labels: np.ndarray):
        self._model, self._loss, self._batch = network(problem), nn.CrossEntropyLoss(), problem.batch
        self._optimizer = optimizer(problem, self._model)
        self._x, self._labels = torch.from_numpy(x), torch.from_numpy(labels)
        torch.manual_seed(0)

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(self._x)).split(self._batch):
                self._optimizer.zero_grad()
                self._loss(self._model(self._x[rows]), self._labels[rows]).backward()
                self._optimizer.step()

    def accuracy(self) -> float:
        with torch.no_grad():
            return float((self._model(self._x).argmax(1) == self._labels).float().mean())
