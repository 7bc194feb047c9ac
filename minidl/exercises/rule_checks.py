"""Checks of the exercises about initial weights and update rules."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minidl.exercises.student import Student
from minidl.statistics.distributions import Distribution, assert_follows


def glorot(student: Student, name: str, distribution: Distribution) -> Iterator[str]:
    """Check one of Glorot's two initializers."""
    yield f"{name}: shape, and the same weights from the same generator"
    student.calls(f"{name}(rng, 3, 5)")
    function = getattr(student, name)
    first, second = (function(np.random.default_rng(7), 3, 5) for _ in range(2))
    if not isinstance(first, np.ndarray) or first.shape != (3, 5) or first.dtype != np.float64:
        got = f"{first.dtype} {first.shape}" if isinstance(first, np.ndarray) else repr(first)
        raise student.mistake(f"it returned {got}; expected float64 (3, 5), that is (fan_in, fan_out).")
    if not np.array_equal(first, second):
        raise student.mistake("the same rng gave other weights the second time; draw from rng only.")

    yield f"{name}: the distribution of the weights"
    for fan_in, fan_out, gain in ((100, 350, 1.0), (350, 100, 1.0), (100, 350, 3.0)):
        student.calls(f"{name}(rng, {fan_in}, {fan_out}, gain={gain:g})")
        weights = function(np.random.default_rng(0), fan_in, fan_out, gain=gain)
        _name_the_variance(student, weights, distribution, fan_in, fan_out, gain)
        assert_follows(weights, distribution, gain * math.sqrt(2 / (fan_in + fan_out)), name)


def _name_the_variance(
    student: Student, weights: np.ndarray, distribution: Distribution, fan_in: int, fan_out: int, gain: float
) -> None:
    """Raise `Mistake` if the variance is wrong, and name the mistake if it is a known one."""
    right = gain**2 * 2 / (fan_in + fan_out)
    named = {
        "that of a gain that is left out": right / gain**2,
        "that of gain instead of gain²": right / gain,
        "1 / fan_in, LeCun's": gain**2 / fan_in,
        "1 / fan_out": gain**2 / fan_out,
        "2 / fan_in, He's": gain**2 * 2 / fan_in,
        "2 / fan_out": gain**2 * 2 / fan_out,
        "1 / (fan_in + fan_out), without the 2": gain**2 / (fan_in + fan_out),
        "that of a variance where the standard deviation belongs": right**2,
        "that of the limit r where the standard deviation belongs": 3 * right,
        "that of the standard deviation where the limit r belongs": right / 3,
    }
    measured, allowed = float(np.mean(weights**2)), distribution.second_moment(weights.size)
    if measured in allowed.scaled(right):
        return
    names = [name for name, variance in named.items() if measured in allowed.scaled(variance)]
    raise student.mistake(
        f"the variance is {measured:.3g}; expected {right:.3g} (from "
        f"{allowed.low * right:.3g} to {allowed.high * right:.3g} for so many draws)."
        + (f"\nIt is {names[0]}." if names else "")
    )


def adam(student: Student) -> Iterator[str]:
    """Check the update rule of Adam."""
    rate, beta1, beta2, epsilon = 0.1, 0.9, 0.999, 0.02  # an ε large enough to matter

    def step(
        w: float, g: float, m: float, v: float, t: int, decay: float = 0.0, epsilon: float = epsilon
    ) -> tuple[float, float, float]:
        corrections = 1 - beta1**t, 1 - beta2**t
        student.calls(f"adam at step {t} with w = {w:g}, g = {g:g}, m = {m:g}, v = {v:g}, λ = {decay:g}")
        numbers = (w, g, m, v, *corrections, rate, beta1, beta2, epsilon, decay)
        result = student.adam(*map(np.float64, numbers))  # a Python float would become float32 beside ONE
        if not isinstance(result, tuple) or len(result) != 3:
            raise student.mistake(f"it returned {result!r}; expected three numbers, (w, m, v).")
        return result

    yield "the first step"
    w, g = 1.5, 0.25
    new_w, new_m, new_v = step(w, g, 0.0, 0.0, 1)
    m, v = (1 - beta1) * g, (1 - beta2) * g * g
    student.expect("m", new_m, m, {"β₁ and 1 - β₁ are exchanged": beta1 * g, "the corrected m̂ is returned": g})
    mistakes = {
        "β₂ and 1 - β₂ are exchanged": beta2 * g * g,
        "g is not squared": (1 - beta2) * g,
        "the corrected v̂ is returned": g * g,
    }
    student.expect("v", new_v, v, mistakes)
    mistakes = {
        "the bias correction is missing": w - rate * m / (math.sqrt(v) + epsilon),
        "only m has its bias correction": w - rate * g / (math.sqrt(v) + epsilon),
        "only v has its bias correction": w - rate * m / (g + epsilon),
        "ε is under the root": w - rate * g / math.sqrt(g * g + epsilon),
        "the root is missing": w - rate * g / (g * g + epsilon),
        "the step goes uphill": w + rate * g / (g + epsilon),
        "m and v before the step are used": w,
        "ε is left out": w - rate,
    }
    student.expect("w", new_w, w - rate * g / (g + epsilon), mistakes)

    yield "five steps, one after another"
    w, m, v = 0.7, 0.0, 0.0
    for t, g in enumerate((0.5, -1.25, 0.125, 2.0, -0.25), start=1):
        new = step(w, g, m, v, t)
        old_m, old_v, m, v = m, v, beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        scale, old_scale = (math.sqrt(moment / (1 - beta2**t)) + epsilon for moment in (v, old_v))
        mistakes = {
            "m before the step is used": w - rate * old_m / (1 - beta1**t) / scale,
            "v before the step is used": w - rate * m / (1 - beta1**t) / old_scale,
            "g stands in the place of m": w - rate * g / scale,
        }
        student.expect("m", new[1], m)
        student.expect("v", new[2], v)
        w -= rate * m / (1 - beta1**t) / scale
        student.expect("w", new[0], w, mistakes)

    yield "weight decay"
    w, g, decay = 2.0, 0.5, 0.3
    new_w, new_m, _ = step(w, g, 0.0, 0.0, 1, decay)
    step_by_gradient, with_l2 = rate * g / (g + epsilon), g + decay * w
    mistakes = {
        "λ w is added to g, as L2 does, and passes through m and v": w - rate * with_l2 / (with_l2 + epsilon),
        "λ is left out": w - step_by_gradient,
        "λ w is not multiplied by the learning rate": w - step_by_gradient - decay * w,
        "λ w has the wrong sign": w - step_by_gradient + rate * decay * w,
    }
    student.expect("w", new_w, w - step_by_gradient - rate * decay * w, mistakes)
    student.expect("m", new_m, (1 - beta1) * g)

    yield "the first step is as long as the learning rate, whatever the gradient"
    for g in (1e-6, 3.0, -1e5):
        student.expect("w", step(1.0, g, 0.0, 0.0, 1, epsilon=0.0)[0], 1 - math.copysign(rate, g))


WEIGHTS = np.array([-3.0, -0.5, -0.001, 0.0, 0.001, 0.25, 2.0])


def penalty(student: Student) -> Iterator[str]:
    """Check the penalty on the size of a weight."""

    def values(l1: float, l2: float) -> list[float]:
        student.calls(f"penalty(w, l1={l1}, l2={l2}) for w = {', '.join(map(str, WEIGHTS))}")
        return [student.penalty(w, np.float64(l1), np.float64(l2)) for w in WEIGHTS]

    w = WEIGHTS
    yield "penalty: weight decay, l2"
    mistakes = {
        "the ½ is missing": 0.3 * w**2,
        "w is not squared": 0.15 * w,
        "the strength is squared as well": 0.3**2 * w**2 / 2,
        "|w| is taken, as l1 does": 0.3 * abs(w),
    }
    student.expect("the penalty", values(0.0, 0.3), 0.15 * w**2, mistakes)
    yield "penalty: lasso, l1"
    mistakes = {"w has its sign": 0.7 * w, "a ½ stands there too": 0.35 * abs(w), "w is squared": 0.7 * w**2}
    student.expect("the penalty", values(0.7, 0.0), 0.7 * abs(w), mistakes)
    yield "penalty: both"
    mistakes = {"l1 and l2 are exchanged": 0.3 * abs(w) + 0.35 * w**2}
    student.expect("the penalty", values(0.7, 0.3), 0.7 * abs(w) + 0.15 * w**2, mistakes)


def penalty_slope(student: Student) -> Iterator[str]:
    """Check the slope of the penalty, and what it does to a weight."""

    def slopes(w: np.ndarray, l1: float, l2: float) -> list[float]:
        student.calls(f"penalty_slope(w, l1={l1}, l2={l2}) for w = {', '.join(map(str, w))}")
        return [student.penalty_slope(number, np.float64(l1), np.float64(l2)) for number in w]

    w = WEIGHTS[WEIGHTS != 0]
    yield "slope: weight decay, l2"
    mistakes = {
        "there is no ½ any more: the 2 of the square takes it away": 0.15 * w,
        "the 2 of the square is left, though the penalty has a ½": 0.6 * w,
        "the penalty is returned instead of its slope": 0.15 * w**2,
        "the sign is wrong": -0.3 * w,
    }
    student.expect("the slope", slopes(w, 0.0, 0.3), 0.3 * w, mistakes)
    yield "slope: lasso, l1"
    mistakes = {
        "the sign of w is left out": np.full(w.shape, 0.7),
        "it is proportional to w, but |w| has the same slope everywhere on one side": 0.7 * w,
        "it is proportional to |w|": 0.7 * abs(w),
    }
    student.expect("the slope", slopes(w, 0.7, 0.0), 0.7 * np.sign(w), mistakes)
    yield "slope: at 0, where a weight may rest"
    zero = np.zeros(1)
    student.expect("the slope", slopes(zero, 0.7, 0.3), zero, {"0 counts as positive": [0.7], "0 as negative": [-0.7]})
    yield "slope: ten steps of gradient descent on the penalty alone"
    rate, decay, weight = 0.1, 0.3, np.float64(2.0)
    student.calls("ten steps w ← w - 0.1 · penalty_slope(w, l1=0, l2=0.3) from w = 2")
    for _ in range(10):
        weight = weight - rate * student.penalty_slope(weight, np.float64(0), np.float64(decay))
    student.expect("w", weight, 2 * (1 - rate * decay) ** 10)
