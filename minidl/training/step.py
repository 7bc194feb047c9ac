"""One training step, and the same step replayed without its Python.

The first step of each batch size runs as it is written: forward pass, loss, backward pass, update. The second is
captured: from then on its operations are replayed, and nothing else. Before the replay is trusted it is verified: the
third step is made both ways, and every bit of the results must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minidl.backend.buffers import Buffers
from minidl.backend.capture import CaptureError
from minidl.backend.snapshot import Snapshot
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.utils import checks
from minidl.utils.reprs import CopiedWhole

CAPTURE, VERIFICATION = 2, 3  # numbers of the steps with a batch size; the first only warms up


class TrainingStep(CopiedWhole):
    """Forward pass, loss, backward pass and update for one model, loss and optimizer.

        step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(1e-3), graph=True)
        for x, labels in batches:
            step(x, labels)
        print(step.loss.value)

    What the layers are set to, such as the rate of a `Dropout`, counts as it was when the step was captured: after a
    change call `forget`. The optimizer may be changed at any time; while anything but its learning rate follows a
    schedule, steps are made as they are written.

    Args:
        model: A `Sequential`.
        loss: What is made small; penalties of the model are added to it.
        optimizer: How gradients become steps.
        clip: A `minidl.ClipNorm` or `minidl.ClipValue`, or any f(parameters), between backward pass and update.
        graph: Whether steps are captured and replayed: as a CUDA graph on a GPU, as a list of compiled calls on the
            CPU. True or False, or "auto": on a GPU only, so that on the CPU a `print` in a layer keeps printing.

    Attributes:
        why_not: Why a step could not be captured, or None.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If `graph` is true and the backend of the model captures no steps.
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        *,
        clip: Callable[..., Any] | None = None,
        graph: bool | str = "auto",
    ):
        checks.instance("model", model, Sequential)
        checks.instance("loss", loss, Loss)
        checks.instance("optimizer", optimizer, Optimizer)
        if clip is not None:
            checks.function("clip", clip)
        automatic = isinstance(graph, str) and graph == "auto"
        if not automatic and not isinstance(graph, (bool, np.bool_)):
            raise TypeError(f"graph got {checks.describe(graph)}; expected True, False or 'auto'")
        self.model, self.loss, self.optimizer, self.clip = model, loss, optimizer, clip
        with model.lock:  # which gives a model without one its backend
            self.parameters = model.parameters()
        self.backend = model.backend
        self.loss.use(self.backend)
        optimizer.check_dtype(model.dtype)
        self.graph = not self.backend.on_host if automatic else bool(graph)
        self._graph_required = self.graph and not automatic
        if self._graph_required and not self.backend.can_capture:
            raise ValueError(f"graph got True; expected 'auto' or False on {self.backend!r}, which captures no step")
        self.why_not: str | None = None
        self._buffers = Buffers(self.backend)
        self._join = self.backend.can_join  # until that changes a bit
        self._replay: list[Callable[..., None]] = []  # the graphs of the present step
        self._inputs: tuple[Any, ...] = ()
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickled step consists of: all but the graphs, which a copy captures anew."""
        blank = object.__new__(type(self))
        blank.forget()
        return {**vars(self), **vars(blank), "_replay": [], "_inputs": ()}

    def __call__(self, x: Any, targets: Any) -> None:
        """Make one step.

        Args:
            x: Inputs, shape (batch, n_in).
            targets: Targets as the loss takes them.

        Raises:
            TypeError, ValueError: If they do not fit the model and the loss.
            RuntimeError: If `graph` is true and the step cannot be captured.
        """
        x = checks.matrix("x", x, self.model.dtype)
        n_out = self.model.n_out or x.shape[1]
        targets = self.loss.check_targets("targets", targets, len(x), n_out, self.model.dtype)
        heads = targets if isinstance(targets, dict) else {"": targets}
        with self.model.lock:
            owned = {head: self._buffers.load(f"targets {head}", part) for head, part in heads.items()}
            self.forward(self._buffers.load("x", x), owned if isinstance(targets, dict) else owned[""], look=False)
            self.update()

    def forget(self) -> None:
        """Capture anew from the next step on, because something has changed."""
        self._steps: dict[Any, int] = {}  # made so far, by what a graph depends on: on a GPU the arrays, too
        self._graphs: dict[Any, list[Callable[..., None]]] = {}  # of forward and of update, or one of both
        self._key: Any = None  # of the present step, as in `_steps`; None if it does not count
        self._expected: dict[str, np.ndarray] | None = None  # results of the replay, in the step that verifies it

    # Forward and update, for arrays of the backend that are known to fit ---------------------------------------------

    def forward(self, x: Any, targets: Any, look: bool = True) -> None:
        """Make the forward pass and measure the loss. Nothing is checked or copied, which is what a call does.

        Args:
            x: Inputs, shape (batch, n_in), as an array of the backend in the model's dtype.
            targets: Targets as the loss takes them, checked, as arrays of the backend.
            look: Whether the caller looks at the loss before it calls `update`. If not, a captured step is one graph,
                which `update` replays.
        """
        heads, inputs = inputs_of(x, targets)
        forward = partial(self._forward, heads)
        self._begin(inputs, *([forward, self._update] if look else [partial(self._whole, heads)]))
        if not self._replay:
            forward(*self._inputs)
        elif look:
            self._replay[0](*self._inputs)
        self.loss.count(x.shape[0])

    def update(self) -> None:
        """Make the backward pass, clip, and update the parameters."""
        if self._replay:
            self.optimizer.prepare(self.parameters)
            self._replay[-1](*self._inputs)
            self.optimizer.steps += 1
        else:
            self._backward()
            self.optimizer.step(self.parameters)
        self._end()

    def _forward(self, heads: list[str] | None, x: Any, *targets: Any) -> None:
        by_head = dict(zip(heads, targets, strict=True)) if heads else targets[0]
        self.loss.compute_unchecked(self.model.forward(x, training=True), by_head)

    def _backward(self) -> None:
        self.model.backward_parameters(self.loss.backward())
        if self.clip is not None:
            self.clip(self.parameters)

    def _update(self, *_: Any) -> None:  # takes the inputs too: dW is made of x
        self._backward()
        self.optimizer.apply()

    def _whole(self, heads: list[str] | None, x: Any, *targets: Any) -> None:
        self._forward(heads, x, *targets)
        self._update()

    # Capture ---------------------------------------------------------------------------------------------------------

    def _begin(self, inputs: tuple[Any, ...], *pieces: Callable[..., None]) -> None:
        """Begin a step of `pieces`, functions of `inputs`: capture the second, verify the third, replay those after."""
        self._inputs, self._key, self._replay, self._expected = inputs, None, [], None
        if not self.graph or self.why_not is not None or self.optimizer.schedules.keys() - {"learning_rate"}:
            return
        arrays = ((array.shape, self.backend.on_host or id(array)) for array in inputs)
        key = self._key = (len(pieces), *arrays, *self.optimizer.constants())
        if (number := self._steps.get(key, 0) + 1) == CAPTURE:
            self._capture(key, pieces)
        elif number == VERIFICATION:
            self._expected = self._try_replay(self._graphs[key])
        elif number > VERIFICATION:
            self._replay = self._graphs[key]

    def _end(self) -> None:
        """End the step; one that an exception ended does not count."""
        if self._expected is not None:
            self._verify(self._expected)
        if self._key is not None:
            self._steps[self._key] = self._steps.get(self._key, 0) + 1

    def _capture(self, key: Any, pieces: Sequence[Callable[..., None]]) -> None:
        """Capture each piece, without moving anything: the step itself is then made as it is written."""
        with Snapshot(self.backend, self._arrays().values()):
            self.optimizer.prepare(self.parameters)
            try:
                self._graphs[key] = [self.backend.capture(piece, *self._inputs, join=self._join) for piece in pieces]
            except CaptureError as error:
                self._give_up(str(error))

    def _try_replay(self, graphs: list[Callable[..., None]]) -> dict[str, np.ndarray]:
        """Replay the step, return its results, and undo it."""
        with Snapshot(self.backend, self._arrays().values()):
            self.optimizer.prepare(self.parameters)
            for graph in graphs:
                graph(*self._inputs)
            return self._results()

    def _verify(self, replayed: dict[str, np.ndarray]) -> None:
        """Compare the results of the replay with those of the step that was made as it is written."""
        for name, array in self._results().items():
            if array.tobytes() != replayed[name].tobytes():
                if not self._join:
                    self._give_up(f"{name} comes out differently when the operations are done again")
                # A compiler may round otherwise in a kernel that does more: capture anew, and do not join.
                self._join = False
                self.forget()
                break

    def _give_up(self, reason: str) -> None:
        self.why_not = reason
        if self._graph_required:
            raise RuntimeError(
                f"graph got True, but this step cannot be captured: {reason}. Does a layer, the loss, clip or the "
                f"optimizer compute something without the operations of the backend?"
            )

    def _arrays(self) -> dict[str, Any]:
        """Return everything that a step changes and the next one depends on."""
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


def inputs_of(x: Any, targets: Any) -> tuple[list[str] | None, tuple[Any, ...]]:
    """Return the heads, if there are several, and all inputs of a step in one order, whatever that of a dict is."""
    if not isinstance(targets, dict):
        return None, (x, targets)
    heads = sorted(targets)
    return heads, (x, *(targets[head] for head in heads))
