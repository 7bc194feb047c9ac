"""Floor 5: one training step, and the same step without its Python.

The first steps run as they are written: forward pass, loss, backward pass, update. Then the step is recorded, and from
there on its operations are done again and nothing else. Before the recording is trusted it has a rehearsal: one step is
made both ways, and every bit of the results must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.backend.buffers import Buffers
from minidl.backend.capture import RecordingError
from minidl.backend.snapshot import Kept
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.utils import checks


class TrainingStep:
    """forward, loss, backward and update for one model, loss and optimizer.

        step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(1e-3), graph=True)
        for x, labels in batches:
            step(x, labels)
        print(step.loss.value)

    model      a `Sequential`
    loss       what is made small; penalties of the model are added
    optimizer  how
    clip       a `minidl.ClipNorm` or `minidl.ClipValue`, or any f(parameters), between backward pass and update
    graph      whether steps are recorded and done again: as a CUDA graph on a GPU, as a tape of compiled calls on the
               CPU. True or False, or "auto": on a GPU only, so that on the CPU a `print` in a layer keeps printing

    What the layers are set to, such as the rate of a `Dropout`, counts as it was when the step was recorded: after a
    change call `forget`. The optimizer may be changed at any time; while anything but its learning rate follows a
    schedule, steps are made as they are written. `why_not` says why a step could not be recorded.

    Raises TypeError or ValueError for arguments that are of the wrong kind.
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        *,
        clip: Callable | None = None,
        graph: bool | str = "auto",
    ):
        checks.instance("model", model, Sequential)
        checks.instance("loss", loss, Loss)
        checks.instance("optimizer", optimizer, Optimizer)
        checks.function("clip", clip)
        automatic = isinstance(graph, str) and graph == "auto"
        if not automatic and not isinstance(graph, (bool, np.bool_)):
            raise TypeError(f"graph got {checks.describe(graph)}; expected True, False or 'auto'")
        self.model, self.loss, self.optimizer, self.clip = model, loss, optimizer, clip
        self.parameters = model.parameters()  # settles a model that has no backend yet
        self.backend = model.backend
        self.loss.use(self.backend)
        self.graph = not self.backend.on_host if automatic else bool(graph)
        self.demanded = self.graph and not automatic
        self.why_not: str | None = None
        self._rooms = Buffers(self.backend)
        self.forget()

    def __call__(self, x: Any, targets: Any) -> None:
        """One step on x (batch, n_in) and targets as the loss takes them.

        Raises TypeError or ValueError if they do not fit, and RuntimeError if `graph` is true and recording fails.
        """
        x = checks.matrix("x", x, self.model.dtype)
        n_out = self.model.n_out or x.shape[1]
        targets = self.loss.check_targets("targets", targets, len(x), n_out, self.model.dtype)
        heads = targets if isinstance(targets, dict) else {"": targets}
        owned = {head: self._own(f"targets {head}", part) for head, part in heads.items()}
        self.forward(self._own("x", x), owned if isinstance(targets, dict) else owned[""])
        self.update()

    def forget(self) -> None:
        """Record anew, because something has changed."""
        self._steps: dict[Any, int] = {}  # made so far, by what a recording depends on
        self._recordings: dict[Any, tuple[Callable, Callable]] = {}
        self._replay: tuple[Callable, Callable] | None = None  # for the two halves of the present step
        self._inputs: tuple[Any, ...] = ()
        self._expected: dict[str, np.ndarray] | None = None  # what this step gives, if it is the rehearsal

    # The two halves, for arrays of the backend that are known to fit -----------------------------------------------

    def forward(self, x: Any, targets: Any) -> None:
        """Forward pass and loss."""
        inputs = tuple(targets.values()) if isinstance(targets, dict) else (targets,)
        self._replay = self._expected = None
        if self.graph and self.why_not is None and not self.optimizer.schedules.keys() - {"learning_rate"}:
            key = (x.shape, *(array.shape for array in inputs), *self.optimizer.constants())
            self._practise(key, x, inputs, targets)
            self._steps[key] = self._steps.get(key, 0) + 1
        if self._replay:
            self._inputs = x, *inputs
            self._replay[0](*self._inputs)
        else:
            self._forward(x, targets)
        self.loss.count(x.shape[0])

    def update(self) -> None:
        """Backward pass, clipping and update."""
        if self._replay:
            self.optimizer.prepare(self.parameters)
            self._replay[1](*self._inputs)
            self.optimizer.steps += 1
        else:
            self._backward()
            self.optimizer.step(self.parameters)
        if self._expected is not None:
            self._compare(self._expected)

    def _forward(self, x: Any, targets: Any) -> None:
        self.loss.measure(self.model.forward(x, training=True), targets)

    def _backward(self) -> None:
        self.model.backward_parameters(self.loss.backward())
        if self.clip is not None:
            self.clip(self.parameters)

    # Recording -------------------------------------------------------------------------------------------------------

    def _practise(self, key: Any, x: Any, inputs: tuple, targets: Any) -> None:
        """The first step warms up: it compiles and allocates. The second is recorded, the third is the rehearsal."""
        made = self._steps.get(key, 0)
        if made == 1:
            names = list(targets) if isinstance(targets, dict) else None

            def forward(x: Any, *inputs: Any) -> None:
                self._forward(x, dict(zip(names, inputs, strict=True)) if names else inputs[0])

            def update(*_: Any) -> None:  # of the inputs, too: dW is made of x
                self._backward()
                self.optimizer.apply()

            with Kept(self.backend, self._arrays().values()):
                self.optimizer.prepare(self.parameters)
                try:
                    first = self.backend.record(forward, x, *inputs)
                    self._recordings[key] = first, self.backend.record(update, x, *inputs)
                except RecordingError as error:
                    self._give_up(str(error))
        elif made == 2:
            first, second = self._recordings[key]
            with Kept(self.backend, self._arrays().values()):
                self.optimizer.prepare(self.parameters)
                first(x, *inputs)
                second(x, *inputs)
                self._expected = self._results()
        elif made > 2:
            self._replay = self._recordings[key]

    def _compare(self, replayed: dict[str, np.ndarray]) -> None:
        for name, array in self._results().items():
            if array.tobytes() != replayed[name].tobytes():
                self._give_up(f"{name} comes out differently when the operations are done again")
                break

    def _give_up(self, reason: str) -> None:
        self.why_not = reason
        if self.demanded:
            raise RuntimeError(
                f"graph got True, but this step cannot be recorded: {reason}. Does a layer, the loss, clip or the "
                f"optimizer compute something without the operations of the backend?"
            )

    def _arrays(self) -> dict[str, Any]:
        """What a step changes and the next one depends on."""
        arrays = {parameter.name: parameter.value for parameter in self.parameters}
        for layer in self.model.walk():
            arrays.update({f"state {i} of {layer.label}": array for i, array in enumerate(layer.state_arrays())})
            if layer.cost is not None:
                arrays[f"penalty of {layer.label}"] = layer.cost
        return {**arrays, **self.loss.arrays(), **self.optimizer.arrays()}

    def _results(self) -> dict[str, np.ndarray]:
        arrays = self._arrays()
        arrays.update({f"gradient of {parameter.name}": parameter.gradient for parameter in self.parameters})
        return {name: self.backend.to_numpy(array) for name, array in arrays.items()}

    def _own(self, name: str, array: np.ndarray) -> Any:
        """The array in the backend's memory; on a GPU always in the same place, because a graph looks only there."""
        if self.backend.on_host:
            return self.backend.wrap(array)
        room = self._rooms.get(name, array.shape, array.dtype)
        self.backend.copy_into(room, array)
        return room
