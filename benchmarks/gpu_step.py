"""A training step on a GPU, in several ways: first whether all of them train alike, then how long one takes.

The batch lies on the device and is always the same, because a graph looks at one place only, and the loss is not read.
Each turn starts from the same weights, so that gradients stay as large as they are at the beginning of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import minidl as dl
from benchmarks.gpu_timing import Place, between_events, medians, take_turns
from benchmarks.peers.problem import Problem
from benchmarks.peers.with_minidl import network, optimizer
from benchmarks.turns import Disagreement, trained_alike

PROBLEM = Problem((784, 512, 256, 10), 128, optimizer="adam")
WARM_UP = 5  # a captured step is compiled in its first, captured in its second and verified in its third
COMPARED = 10
OURS, BY_HAND = "minidl", "minidl by hand"


class Contender(NamedTuple):
    """One way to make the step."""

    step: Callable[[], None]
    restart: Callable[[], None]  # weights and optimizer as they were before the first step
    parameters: Callable[[], list[np.ndarray]]
    event: Callable[[], Any]  # makes one for the time on the device


def our_contenders(place: Place, problem: Problem) -> dict[str, Callable[[], Contender]]:
    """What makes minidl's contenders: the captured step, and the four lines."""
    return {OURS: lambda: _captured(place, problem), BY_HAND: lambda: _by_hand(place, problem)}


def _captured(place: Place, problem: Problem) -> Contender:
    model, rule = network(problem, place.backend.name), optimizer(problem)
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), rule, graph=True)
    x, labels = map(place.backend.wrap, problem.batches()[0])

    def once() -> None:
        step.forward(x, labels, look=False)
        step.update()

    return _contender(place, problem, model, rule, once)


def _by_hand(place: Place, problem: Problem) -> Contender:
    model, rule, loss = network(problem, place.backend.name), optimizer(problem), dl.SoftmaxCrossEntropy()
    parameters = model.parameters()
    loss.use(model.backend)
    x, labels = map(place.backend.wrap, problem.batches()[0])

    def once() -> None:
        loss.compute(model.forward(x, training=True), labels)
        model.backward_parameters(loss.backward())
        rule.step(parameters)

    return _contender(place, problem, model, rule, once)


def _contender(
    place: Place, problem: Problem, model: dl.Sequential, rule: dl.Optimizer, step: Callable[[], None]
) -> Contender:
    backend, parameters, start = place.backend, model.parameters(), problem.start()
    rule.prepare(parameters)  # makes its moments

    def restart() -> None:
        for parameter, value in zip(parameters, start, strict=True):
            backend.copy_into(parameter.value, value)
        for moment in rule.arrays().values():
            backend.copy_into(moment, np.zeros(moment.shape, moment.dtype))

    return Contender(step, restart, lambda: [backend.to_numpy(p.value) for p in parameters], place.event)


def training_step(
    place: Place, peer: Any = None, problem: Problem = PROBLEM, steps: int = 50, repetitions: int = 20
) -> dict[str, Any]:
    """Milliseconds of a step for each contender, and who is not among them and why.

    peer         `benchmarks.gpu_torch`, or None
    missing      cannot run here
    disagreeing  ended ten steps with other weights than the four lines of minidl; not timed
    """
    made = our_contenders(place, problem) | (peer.step_contenders(problem) if peer else {})
    ready, missing = _ready(made)
    if BY_HAND not in ready:
        raise RuntimeError(f"{BY_HAND} cannot run: {missing[BY_HAND]}")
    disagreeing = _disagreeing(problem, ready)
    contenders = {name: contender for name, contender in ready.items() if name not in disagreeing}
    measured = {
        name: between_events(contender.event, contender.step, steps, contender.restart)
        for name, contender in contenders.items()
    }
    taken = take_turns(measured, repetitions)
    return {
        "network": "-".join(map(str, problem.sizes)),
        "batch": problem.batch,
        "missing": missing,
        "disagreeing": disagreeing,
        "gpu": medians(taken, "gpu"),
        "wall": medians(taken, "wall"),
        "turns": {name: [list(times) for times in turns] for name, turns in taken.items()},
    }


def _ready(makers: Mapping[str, Callable[[], Contender]]) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders after their first steps, and why the others cannot make any."""
    contenders, missing = {}, {}
    for name, make in makers.items():
        try:
            contender = make()
            for _ in range(WARM_UP):
                contender.step()
            contender.restart()
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        else:
            contenders[name] = contender
    return contenders, missing


def _disagreeing(problem: Problem, contenders: Mapping[str, Contender]) -> dict[str, str]:
    """Who does not end with the weights of the four lines, and how far off."""
    reference, found = _after_some_steps(contenders[BY_HAND]), {}
    for name, contender in contenders.items():
        try:
            results = {BY_HAND: reference, name: _after_some_steps(contender)}
            trained_alike(f"{COMPARED} steps", problem.start(), results)
        except Disagreement as error:
            found[name] = str(error)
    return found


def _after_some_steps(contender: Contender) -> list[np.ndarray]:
    contender.restart()
    for _ in range(COMPARED):
        contender.step()
    return contender.parameters()
