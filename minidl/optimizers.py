"""Optimizers: how a gradient g becomes a step of the weights w. η is the learning rate.

The rules for one weight stand in `scalar/optimizers.py`. Weight decay touches weights only: never biases, γ or β.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.backend.parameters import Parameter, contiguous_groups, listed, same_parameters
from minidl.schedules import Hyperparameter, Schedule
from minidl.utils import checks
from minidl.utils.reprs import CopiedWhole, without_address


class Optimizer(CopiedWhole):
    """The base class: steps the parameters of one model.

    An optimizer keeps moments for each parameter, so it belongs to the first list of parameters that it steps. Each of
    its hyperparameters is a number or a schedule (`minidl.schedules`), and may be changed between two steps.

    Args:
        learning_rate: η, greater than 0; a schedule may reach 0.

    Attributes:
        steps: How many steps were made.

    Raises:
        TypeError, ValueError: For a hyperparameter out of its range, also where a schedule gives one.
    """

    moments = 0  # how many arrays of the parameter's shape the rule keeps

    learning_rate = Hyperparameter(may_decay_to_0=True, above=0.0)

    def __init__(self, learning_rate: float | Schedule):
        self.steps = 0
        self.values: dict[str, float] = {}
        self.schedules: dict[str, Schedule] = {}
        self.learning_rate = learning_rate
        self._parameters: list[Parameter] | None = None
        self._rate_on_device: float | None = None
        self._in_dtype: dict[str, float] = {}  # values that the dtype of the parameters holds
        self._groups: list[tuple[Any, ...]]

    def __repr__(self) -> str:
        """Return the call that builds it again, with the present values and the schedules."""
        shown = {**{name: repr(value) for name, value in self.values.items()}, **self._schedule_texts()}
        return f"{type(self).__name__}({', '.join(f'{name}={shown[name]}' for name in self._arguments())})"

    def _schedule_texts(self) -> dict[str, str]:
        return {name: without_address(schedule) for name, schedule in self.schedules.items()}

    def _arguments(self) -> list[str]:
        return list(inspect.signature(type(self)).parameters)

    def new(self) -> Optimizer:
        """Return an optimizer with the same hyperparameters that has not made a step."""
        settings: dict[str, Any] = {**self.values, **self.schedules}
        return type(self)(**{name: settings[name] for name in self._arguments()})

    def step(self, parameters: Sequence[Parameter]) -> None:
        """Change each `parameter.value` by the rule, from its `parameter.gradient`; then enforce `max_norm`.

        Raises:
            ValueError: If an earlier step was for other parameters.
        """
        self.prepare(parameters)
        self.apply()
        self.steps += 1

    def prepare(self, parameters: Sequence[Parameter]) -> None:
        """Do the host's part of a step of `parameters`: follow schedules, and copy the learning rate to the device."""
        if self._parameters is None:
            self._attach(listed(parameters))
        elif not same_parameters(self._parameters, parameters):
            raise ValueError(
                f"parameters got another list than before; {self!r} already belongs to a model. "
                "(A model and its optimizer are copied together: copy.deepcopy((model, optimizer)))"
            )
        for name, schedule in self.schedules.items():
            getattr(type(self), name).set_from(schedule, self)
        if self._in_dtype != self.values:
            self.check_dtype(self._dtype)
            self._in_dtype = dict(self.values)
        if self._rate_on_device != self.learning_rate:
            self._backend.copy_into(self._rate, np.array([self.learning_rate], self._dtype))
            self._rate_on_device = self.learning_rate

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raise ValueError if a hyperparameter, rounded to `dtype`, is out of its bounds."""
        for name, value in self.values.items():
            hyperparameter = getattr(type(self), name)
            bounds = hyperparameter.scheduled if name in self.schedules else hyperparameter.bounds
            checks.in_dtype(f"{name} of {type(self).__name__}", value, dtype, **bounds)

    def apply(self) -> None:
        """Do the rest of a step, which consists of operations alone."""
        self._advance()
        for group in self._groups:
            self._update(*group)
        for parameter, limit in self._max_norms:
            self._ops.max_norm(parameter.value, limit)

    def _attach(self, parameters: list[Parameter]) -> None:
        if not parameters:
            raise ValueError("parameters got an empty list; expected those of a model with weights")
        self._backend = parameters[0].backend
        self._ops = self._backend.operations
        self._dtype = parameters[0].value.dtype
        self._real = self._dtype.type
        self._rate = self._backend.zeros((1,), self._dtype)
        self._rate_on_device = None
        self._max_norms = [
            (parameter, checks.in_dtype(f"max_norm of {parameter.name}", parameter.max_norm, self._dtype, above=0.0))
            for parameter in parameters
            if parameter.max_norm is not None
        ]
        # The kernels walk over flat arrays: value, gradient, then the moments, which start at zero.
        self._groups = [
            (decays, value, gradient, *(self._backend.zeros(value.shape, self._dtype) for _ in range(self.moments)))
            for decays, value, gradient in contiguous_groups(parameters)
        ]
        self._parameters = parameters

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickled optimizer consists of; one that was copied with its model steps the copy."""
        state = {name: value for name, value in vars(self).items() if name != "_ops"}
        if "_groups" in state:
            state["_groups"] = [group[3:] for group in self._groups]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._parameters is not None:
            self._ops = self._backend.operations
            groups = contiguous_groups(self._parameters)
            self._groups = [(*group, *moments) for group, moments in zip(groups, state["_groups"], strict=True)]

    def constants(self) -> list[float]:
        """Return the hyperparameters that `apply` hands to operations as numbers: all but the learning rate."""
        return [value for name, value in self.values.items() if name != "learning_rate"]

    def snapshot(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a checkpoint needs to go on from here: a description in JSON, and arrays by name."""
        description = {
            "optimizer": type(self).__name__,
            "steps": self.steps,
            "values": self.values,
            "schedules": self._schedule_texts(),
        }
        return description, {name: self._backend.to_numpy(array) for name, array in self.arrays().items()}

    def restore(
        self, description: dict[str, Any], arrays: dict[str, np.ndarray], parameters: Sequence[Parameter]
    ) -> None:  # fmt: skip
        """Go on from `snapshot() = description, arrays`, for `parameters`; ValueError if it is that of others."""
        checks.keys("description", description, ("optimizer", "steps", "values", "schedules"))
        checks.keys("the schedules of description", description["schedules"])
        steps, values = checks.integer("steps", description["steps"], minimum=0), description["values"]
        schedules = {name: text for name, text in self._schedule_texts().items() if name in description["schedules"]}
        if description["optimizer"] != type(self).__name__ or description["schedules"] != schedules:
            was = f"{description['optimizer']} with schedules {description['schedules']}"
            raise ValueError(f"optimizer got {self!r}; the checkpoint is of {was}")
        checks.keys("the hyperparameters of description", values, self.values)
        self._attach(listed(parameters))
        state = self.arrays()
        arrays = checks.arrays("arrays", arrays, state)
        for name, value in values.items():
            hyperparameter = getattr(type(self), name)
            checks.real(name, value, **(hyperparameter.scheduled if name in schedules else hyperparameter.bounds))
        for name, array in state.items():
            self._backend.copy_into(array, arrays[name])
        self.steps = steps
        self.values.update(values)
        for name in self.schedules.keys() - schedules:  # during the run a number took its place
            del self.schedules[name]

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that the next step depends on beside the parameters, by name."""
        return {f"{i}.{k}": moment for i, group in enumerate(self._groups) for k, moment in enumerate(group[3:])}

    def _advance(self) -> None:
        """Do what happens once for each step, before the parameters are updated."""

    def _update(self, decays: bool, value: Any, gradient: Any, *moments: Any) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent:  w ← w - η g.

    Args:
        learning_rate: η.
    """

    def __init__(self, learning_rate: float | Schedule = 0.01):
        super().__init__(learning_rate)

    def _update(self, decays: bool, value: Any, gradient: Any) -> None:
        self._ops.sgd_update(value, gradient, self._rate)


class Momentum(Optimizer):
    """Heavy ball (Polyak 1964):  v ← μ v + g,   w ← w - η v.

    The new gradient enters with weight 1, not 1 - μ: a steady gradient is followed 1 / (1 - μ) times as fast.

    Args:
        learning_rate: η.
        momentum: μ, in [0, 1).
    """

    moments = 1

    momentum = Hyperparameter(0.0, below=1.0)

    def __init__(self, learning_rate: float | Schedule = 0.01, momentum: float | Schedule = 0.9):
        super().__init__(learning_rate)
        self.momentum = momentum

    def _update(self, decays: bool, value: Any, gradient: Any, velocity: Any) -> None:
        self._ops.momentum_update(value, gradient, velocity, self._rate, self._real(self.momentum))


class Nesterov(Momentum):
    """Nesterov's momentum in the form of Sutskever et al. (2013):  v ← μ v + g,   w ← w - η (g + μ v)."""

    def _update(self, decays: bool, value: Any, gradient: Any, velocity: Any) -> None:
        self._ops.nesterov_update(value, gradient, velocity, self._rate, self._real(self.momentum))


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012):  s ← ρ s + (1-ρ) g²,   w ← w - η g / (√s + ε).

    Args:
        learning_rate: η.
        decay: ρ, in [0, 1).
        epsilon: ε, greater than 0.
    """

    moments = 1

    decay = Hyperparameter(0.0, below=1.0)
    epsilon = Hyperparameter(above=0.0)

    def __init__(
        self, learning_rate: float | Schedule = 1e-3, decay: float | Schedule = 0.9, epsilon: float | Schedule = 1e-8
    ):
        super().__init__(learning_rate)
        self.decay = decay
        self.epsilon = epsilon

    def _update(self, decays: bool, value: Any, gradient: Any, mean_square: Any) -> None:
        real = self._real
        self._ops.rmsprop_update(value, gradient, mean_square, self._rate, real(self.decay), real(self.epsilon))


class AdamW(Optimizer):
    """Adam with decoupled weight decay λ (Loshchilov & Hutter 2019):

    m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   w ← w - η (m̂ / (√v̂ + ε) + λ w)

    with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) at step t. λ is 0 for biases, γ and β.

    Args:
        learning_rate: η.
        beta1, beta2: β₁ and β₂, in [0, 1).
        epsilon: ε, greater than 0.
        weight_decay: λ, at least 0.
    """

    moments = 2

    beta1 = Hyperparameter(0.0, below=1.0)
    beta2 = Hyperparameter(0.0, below=1.0)
    epsilon = Hyperparameter(above=0.0)
    weight_decay = Hyperparameter(0.0)

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float | Schedule = 0.9,
        beta2: float | Schedule = 0.999,
        epsilon: float | Schedule = 1e-8,
        weight_decay: float | Schedule = 0.01,
    ):
        super().__init__(learning_rate)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def _attach(self, parameters: list[Parameter]) -> None:
        super()._attach(parameters)
        self._correction = self._backend.zeros((2,), self._dtype)

    def arrays(self) -> dict[str, Any]:
        return {**super().arrays(), "correction": self._correction}

    def _advance(self) -> None:
        self._ops.adam_advance(self._correction, self._real(self.beta1), self._real(self.beta2))

    def _update(self, decays: bool, value: Any, gradient: Any, first: Any, second: Any) -> None:
        real = self._real
        self._ops.adam_update(
            value, gradient, first, second, self._correction, self._rate,
            real(self.beta1), real(self.beta2), real(self.epsilon), real(self.weight_decay if decays else 0),
        )  # fmt: skip


class Adam(AdamW):
    """Adam (Kingma & Ba 2015): `AdamW` without weight decay.

    Args:
        learning_rate: η.
        beta1, beta2: β₁ and β₂, in [0, 1).
        epsilon: ε, greater than 0.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float | Schedule = 0.9,
        beta2: float | Schedule = 0.999,
        epsilon: float | Schedule = 1e-8,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=0.0)
