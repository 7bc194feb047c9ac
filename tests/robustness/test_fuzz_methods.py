"""Every method that a user calls and every attribute that may be set, each argument with every kind of wrong value.

`METHODS` has a valid call for each; a new public method without an entry fails. `python -m tests.robustness.fuzz` draws
several wrong values at once, for functions and methods, in processes of their own.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minidl as dl
from tests.layers.conftest import EXAMPLES, FEATURES
from tests.robustness import fuzz, hostile, test_fuzz_arguments
from tests.robustness.test_fuzz_arguments import CALLS

Call = tuple[Callable[..., Any], dict[str, Any]]

X = np.random.default_rng(0).normal(size=(4, FEATURES)).astype(np.float32)
LABELS = np.array([0, 1, 0, 1])

# Methods that only minidl calls, with what it has checked: layers among each other, the events of callbacks, files.
INNER = {
    "setup", "setup_children", "begin_forward", "begin_backward", "forward_chain", "backward_chain", "set_shape",
    "first_activation", "effective_weight", "regions", "draw", "sources", "apply", "mix", "penalize",
    "penalize_gradient", "allocate_penalty", "move_to", "set_from", "loss_at_random", "mixable", "check_targets",
    "Optimizer.check_dtype",
    "on_start", "on_step_start", "on_step_end", "on_epoch_start", "on_epoch_end", "on_end", "write", "check_snapshot",
    "rescale", "at", "Parameter.transform", "unnamed", "keep_names",
    "Layer.forward", "Layer.backward", "ReparametrizedDense.forward", "Best.start", "Best.update",
    "Callback.restore", "EarlyStopping.restore", "TrainingStep.forward", "Probe.use",
    "TrainingPass.statistics", "TrainingPass.activity", "TrainingPass.delta",
    "Loss.__call__", "Loss.use", "MultiTask.use", "Weighted.use", "Loss.count", "MultiTask.count", "Loss.show",
    "checked", "compute_unchecked",
    "Graph.add", "Graph.constant", "Graph.node", "Team.from_all", "Team.own", "Team.sum",
}  # fmt: skip


def built(name: str) -> dl.Layer:
    return EXAMPLES[name]().build("cpu")


def trained(name: str) -> tuple[dl.Layer, Any]:
    layer = built(name)
    return layer, np.array(layer.forward(X, training=True))


def model() -> dl.Sequential:
    return dl.Sequential(dl.Dense(FEATURES, 3), dl.Dropout(0.5), dl.Dense(3, 2), backend="cpu")


def with_gradients() -> list[Any]:
    made = model()
    made.backward(np.ones_like(made.forward(X, training=True)))
    return made.parameters()


def parts(parameters: list[Any]) -> list[Any]:
    return [np.array(part) for parameter in parameters for part in (parameter.value, parameter.gradient)]


def then(function: Callable[..., Any], look: Callable[[], Any]) -> Callable[..., Any]:
    """Return the function with another result: what it has done."""

    def called(**arguments: Any) -> Any:
        function(**arguments)
        return look()

    called.__wrapped__ = function  # type: ignore[attr-defined]
    called.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return called


def setting(target: Any, name: str, look: Callable[[], Any], value: Any) -> Call:
    """The assignment target.name = value, as a call."""
    return (lambda **arguments: setattr(target, name, arguments[name]) or look()), {name: value}


def made(name: str) -> Any:
    """An object of a class, from the table of valid calls."""
    kind = getattr(dl, name, None) or getattr(dl.data, name, None) or getattr(dl.callbacks, name, None)
    return hostile.call(kind or getattr(dl.schedules, name), CALLS[name]())


def forward(name: str) -> Call:
    return built(name).forward, {"x": X, "training": True}


def backward(name: str, method: str) -> Call:
    layer, y = trained(name)
    look = lambda: parts(layer.parameters())  # noqa: E731
    return then(getattr(layer, method), look) if method != "backward" else layer.backward, {"dy": np.ones_like(y)}


def loss(kind: str) -> tuple[Any, dict[str, Any]]:
    outputs = X[:, :2].copy()
    if kind == "MultiTask":
        heads = dl.Heads(a=dl.Dense(FEATURES, 2), b=dl.Dense(FEATURES, 1))
        multi = dl.MultiTask(heads, a=dl.SoftmaxCrossEntropy(), b=dl.MeanSquaredError())
        return multi, {"outputs": X[:, :3].copy(), "targets": {"a": LABELS, "b": np.ones((4, 1), np.float32)}}
    if kind == "Weighted":
        targets = {"target": LABELS, "weight": np.array([[1.0], [0.5], [0.0], [2.0]], np.float32)}
        return dl.Weighted(dl.SoftmaxCrossEntropy(), class_weight=[1, 2]), {"outputs": outputs, "targets": targets}
    made = getattr(dl, kind)()
    return made, {"outputs": outputs, "targets": LABELS if kind == "SoftmaxCrossEntropy" else np.ones_like(outputs)}


def compute(kind: str) -> Call:
    made, arguments = loss(kind)
    made.use(dl.backend.get("cpu"))
    return then(made.compute, lambda: [made.value, made.backward()]), arguments


def step(kind: str) -> Call:
    optimizer, parameters = made(kind), with_gradients()
    return then(optimizer.step, lambda: parts(parameters)), {"parameters": parameters}


def second_step(kind: str) -> Call:
    (first, arguments), optimizer = step(kind), None
    first(**arguments)
    del optimizer
    return first, arguments


def restore(kind: str) -> Call:
    call, arguments = step(kind)
    call(**arguments)
    optimizer = call.__wrapped__.__self__  # type: ignore[attr-defined]
    description, arrays = optimizer.snapshot()
    other = made(kind)
    look = lambda: [other.snapshot()]  # noqa: E731
    return then(other.restore, look), {"description": description, "arrays": arrays, **arguments}


def clip(kind: str) -> Call:
    parameters = with_gradients()
    return then(made(kind).__call__, lambda: parts(parameters)), {"parameters": parameters}


def training_step(graph: bool) -> Call:
    step = dl.TrainingStep(model(), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=graph)
    return then(step.__call__, lambda: parts(step.parameters)), {"x": X, "targets": LABELS}


def augmentation(*steps: Any, targets: Any = LABELS) -> Call:
    return dl.data.Augmentation(*steps, shape=(2, 2)).__call__, {
        "x": X, "targets": targets, "rng": np.random.default_rng(0),
    }  # fmt: skip


def restored_model() -> Call:
    made = model()
    return then(made.restore, lambda: made.snapshot()), {"snapshot": model().snapshot()}


def build() -> Call:
    layer = dl.Dense(3, 2)
    return then(layer.build, lambda: parts(layer.parameters())), {"backend": "cpu", "seed": 0, "dtype": "float32"}


def own(method: str, arguments: dict[str, Any]) -> Call:
    return getattr(built("Dense"), method), arguments


def preprocessing(kind: str, method: str) -> Call:
    step = made(kind)
    if "fit" not in method:
        step.fit(X)
    data = {"data": X if method != "inverse_transform" else step.transform(X)}
    if method == "fit":
        return then(step.fit, lambda: step.transform(X)), {**data, "allow_held_out": False}
    return getattr(step, method), {**data, "allow_held_out": False} if "fit" in method else data


def history() -> Any:
    return dl.fit(model(), dl.data.Dataset(X, LABELS), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=1,
                  progress=False)  # fmt: skip


def recorder() -> Any:
    found = dl.Recorder(X, LABELS)
    dl.fit(model(), dl.data.Dataset(X, LABELS), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=1,
           progress=False, callbacks=[found])  # fmt: skip
    return found


def inspection() -> Any:
    return dl.inspect(model(), X, LABELS)


def preflight() -> Any:
    return dl.preflight(model(), dl.data.Dataset(X, LABELS), loss=dl.SoftmaxCrossEntropy())


def range_test() -> Any:
    from minidl.training.learning_rate import RangeTest

    return RangeTest(np.array([0.1, 0.2]), np.array([1.0, 0.5]), 0.02)


def trace() -> Any:
    return dl.emulator.trace(test_fuzz_arguments.kernel, 1, 1, np.zeros(2))


def parameter(name: str, index: int) -> Call:
    parameters = with_gradients()
    target = parameters[index]
    return setting(target, name, lambda: parts(parameters), np.array(getattr(target, name)) + 1)


def hyperparameter(kind: str, name: str) -> Call:
    optimizer, parameters = made(kind), with_gradients()
    look = lambda: (optimizer.step(parameters), parts(parameters))  # noqa: E731
    return setting(optimizer, name, look, 0.5)


def attribute(name: str, attribute: str) -> Call:
    layer = built(name)
    return setting(layer, attribute, lambda: layer.forward(X, training=True), getattr(layer, attribute))


def argument(name: str, attribute: str) -> Call:
    """The assignment to an attribute that holds an argument of the constructor."""
    target = made(name)
    return setting(target, attribute, lambda: None, getattr(target, attribute))


def names(attribute: str) -> Call:
    one = model()
    setattr(one, attribute, ["a", "b", "c", "d"])
    return setting(one, attribute, lambda: one.predict(X), getattr(one, attribute))


def state(name: str) -> Call:
    layer = built("BatchNorm")
    return setting(layer, name, lambda: layer.forward(X), np.array(getattr(layer, name)) + 1)


def limit(kind: str) -> Call:
    clip, parameters = made(kind), with_gradients()
    return setting(clip, "limit", lambda: (clip(parameters), parts(parameters)), 0.5)


def of(make: Callable[[], Any], method: str, **arguments: Any) -> Callable[[], Call]:
    return lambda: (getattr(make(), method), dict(arguments))


def bound(function: Callable[..., Call], *arguments: Any) -> Callable[[], Call]:
    return lambda: function(*arguments)


# What functions and layers of the user's give back, as an argument.


def fitted(**options: Any) -> Any:
    made = model()
    data = dl.data.Dataset(X, LABELS)
    dl.fit(made, data, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=1, progress=False, **options)
    return made.snapshot()


def augmented(x: Any, targets: Any) -> Any:
    return fitted(augmentation=lambda *_: (x, targets))


def scheduled(rate: Any) -> Any:
    return dl.SGD(lambda step: rate).learning_rate


def transformed(transform: Any) -> Any:
    return dl.predict_mc(model(), X, 2, transform=lambda y: transform)


def around(block: type, y: Any, dx: Any) -> Any:
    """A model with a layer of the user's, which gives `y` forward and `dx` backward."""

    class Own(dl.Layer):
        n_in = n_out = FEATURES

        def forward(self, x: Any, training: bool = False) -> Any:
            self.begin_forward(x, training)
            return y

        def backward(self, dy: Any) -> Any:
            self.begin_backward(dy)
            return dx

    layers = {"a": Own(), "b": dl.Dense(FEATURES, FEATURES)} if block is dl.Heads else {}
    inner = block(**layers) if layers else block(Own())
    made = dl.Sequential(dl.Dense(FEATURES, FEATURES), inner, backend="cpu")
    out = np.array(made.forward(X, training=True))
    return [out, np.array(made.backward(np.ones_like(out))), parts(made.parameters())]


def own_layer(block: type) -> Call:
    return lambda **given: around(block, **given), {"y": X[::-1].copy(), "dx": X * 2}


LOSSES = ("SoftmaxCrossEntropy", "BinaryCrossEntropy", "MeanSquaredError", "MultiTask", "Weighted")
OPTIMIZERS = {
    "SGD": ["learning_rate"], "Momentum": ["momentum"], "Nesterov": ["momentum"], "RMSProp": ["decay", "epsilon"],
    "Adam": ["beta1", "beta2"], "AdamW": ["beta1", "beta2", "epsilon", "weight_decay"],
}  # fmt: skip
ARGUMENTS = [
    ("EarlyStopping", "patience"), ("EarlyStopping", "smallest_change"), ("EarlyStopping", "restore_best"),
    ("Checkpoint", "every"), ("Recorder", "every"), ("SoftmaxCrossEntropy", "label_smoothing"), ("Shift", "pixels"),
    ("Rotation", "degrees"), ("Scaling", "amount"), ("Noise", "std"), ("Cutout", "size"), ("Mixup", "alpha"),
    ("Center", "channels"), ("Standardize", "epsilon"), ("Whiten", "epsilon"), ("L1", "l1"),
]  # fmt: skip
STEPS = ("Constant", "Steps", "Exponential", "InverseTime", "Cosine", "WarmUp", "OneCycle")

METHODS: dict[str, Callable[[], Call]] = {
    **{f"{name}.forward": bound(forward, name) for name in EXAMPLES},
    "Layer()": lambda: (built("Dense").__call__, {"x": X, "training": True}),
    **{f"{name}.backward": bound(backward, name, "backward") for name in EXAMPLES},
    **{f"{name}.backward_parameters": bound(backward, name, "backward_parameters") for name in EXAMPLES},
    **{f"{name}.forward of": lambda name=name: (loss(name)[0].forward, loss(name)[1]) for name in LOSSES},
    **{f"{name}.compute": bound(compute, name) for name in LOSSES},
    "what augmentation gives": lambda: (augmented, {"x": X, "targets": LABELS}),
    "what a schedule gives": lambda: (scheduled, {"rate": 0.5}),
    "what transform gives": lambda: (transformed, {"transform": X[:, :2]}),
    **{f"what a layer in {block.__name__} gives": bound(own_layer, block)
       for block in (dl.Sequential, dl.Residual, dl.Heads)},
    **{f"{name}.step": bound(step, name) for name in OPTIMIZERS},
    "Adam.step again": bound(second_step, "Adam"),
    "Adam.prepare": lambda: (made("Adam").prepare, {"parameters": with_gradients()}),
    **{f"{name}.restore": bound(restore, name) for name in ("SGD", "Adam")},
    **{f"{kind}.{name} =": bound(hyperparameter, kind, name) for kind, names in OPTIMIZERS.items() for name in names},
    **{f"{name}()": bound(clip, name) for name in ("ClipNorm", "ClipValue")},
    **{f"{name}.limit =": bound(limit, name) for name in ("ClipNorm", "ClipValue")},
    **{f"TrainingStep(graph={graph})()": bound(training_step, graph) for graph in (False, True)},
    **{f"{name}(step)": lambda name=name: (made(name).__call__, {"step": 3}) for name in STEPS},
    "Augmentation(Shift)()": lambda: augmentation(dl.data.Shift(1), dl.data.Rotation(20.0)),
    "Augmentation(Noise)()": lambda: augmentation(dl.data.Noise(0.1), dl.data.Cutout(1)),
    "Augmentation(Mixup)()": lambda: augmentation(dl.data.Mixup(1.0), targets=np.eye(4, dtype=np.float32)),
    "Augmentation(CutMix)()": lambda: augmentation(dl.data.CutMix(1.0), targets=np.eye(4, dtype=np.float32)),
    "Sequential.predict": lambda: (model().predict, {"x": X}),
    "Sequential.save": of(model, "save", path="model.npz"),
    "Sequential.restore": restored_model,
    **{f"Sequential.{name} =": bound(names, name) for name in ("feature_names", "class_names")},
    "Layer.build": build,
    "Layer.parameter": bound(own, "parameter", {"name": "own", "value": np.ones(3), "decays": True}),
    "Layer.state": bound(own, "state", {"name": "own", "value": np.ones(3), "dtype": np.dtype("f4")}),
    "Layer.buffer": bound(own, "buffer", {"name": "own", "shape": (2, 3), "dtype": np.dtype("f4")}),
    "Heads.split": lambda: (built("Heads").split, {"y": X}),
    **{f"parameters[{i}].{name} =": bound(parameter, name, i) for i in (0, 1) for name in ("value", "gradient")},
    **{f"{name}.{attribute} =": bound(argument, name, attribute) for name, attribute in ARGUMENTS},
    "Dropout.rate =": bound(attribute, "Dropout", "rate"),
    "DropConnect.rate =": bound(attribute, "DropConnect", "rate"),
    "NoisyDense.std =": bound(attribute, "NoisyDense", "std"),
    "GaussianNoise.std =": bound(attribute, "GaussianNoise", "std"),
    "BatchNorm.decay =": bound(attribute, "BatchNorm", "decay"),
    "BatchNorm.epsilon =": bound(attribute, "BatchNorm", "epsilon"),
    **{f"BatchNorm.{name} =": bound(state, name) for name in ("running_mean", "running_variance")},
    "Dataset[]": lambda: (dl.data.Dataset(X, LABELS).__getitem__, {"index": np.array([0, 2])}),
    "Dataset.batches": lambda: (then(dl.data.Dataset(X, LABELS).batches, lambda: None), {"size": 2, "seed": 0}),
    **{f"{kind}.{method}": bound(preprocessing, kind, method)
       for kind in ("Center", "Standardize", "PCA", "Whiten", "Chain")
       for method in ("fit", "transform", "fit_transform", "inverse_transform")},
    "Preprocessing.save": lambda: (dl.data.Center().fit(X).save, {"path": "step.npz"}),
    "History[]": of(history, "__getitem__", column="loss"),
    "History.save": of(history, "save", path="history.jsonl"),
    "History.plot": of(history, "plot", path="history.svg"),
    "Recorder[]": of(recorder, "__getitem__", column="std"),
    "Recorder.plot": of(recorder, "plot", path="recorder.svg"),
    "Inspection[]": of(inspection, "__getitem__", column="std"),
    "Inspection.plot": of(inspection, "plot", path="inspection.svg"),
    "Probe.inspect": lambda: (dl.diagnostics.inspection.Probe(X).inspect, {"model": model()}),
    "Probe.run": lambda: (dl.diagnostics.inspection.Probe(X).run, {"model": model()}),
    "Preflight[]": of(preflight, "__getitem__", name="first loss"),
    "Preflight.plot": of(preflight, "plot", path="preflight.svg"),
    "ConfusionMatrix.plot": of(lambda: dl.confusion_matrix([0, 1], [0, 0]), "plot", path="confusion.svg"),
    "RangeTest.plot": of(range_test, "plot", path="range.svg"),
    "Trace.count": of(trace, "count", space="global", kind="write"),
    "Trace.per_thread": of(trace, "per_thread", space="global", kind="write"),
    "Trace.plot": of(trace, "plot", path="trace.svg", block=(0, 0, 0)),
}  # fmt: skip


def methods() -> Iterator[str]:
    """The public methods with arguments, as Class.method with the class that defines it."""
    for _, value in test_fuzz_arguments.public().values():
        for base in value.__mro__ if inspect.isclass(value) and value.__module__ != "minidl.backend" else ():
            for name, member in vars(base).items():
                wanted = not name.startswith("_") or name in ("__call__", "__getitem__")
                if not (base.__module__.startswith("minidl") and wanted and inspect.isfunction(member)):
                    continue
                if len(inspect.signature(member).parameters) > 1 and not {name, f"{base.__name__}.{name}"} & INNER:
                    yield f"{base.__name__}.{name}"


def test_every_public_method_has_a_valid_call():
    called = {getattr(inspect.unwrap(make()[0]), "__qualname__", "") for make in METHODS.values()}
    assert sorted(set(methods()) - called) == []


SHARE = 8  # one in so many values is tried for an argument here; the siblings of a method have others


@pytest.mark.parametrize("name", [name for name in METHODS if ".plot" not in name or name == "RangeTest.plot"])
def test_wrong_values_are_refused_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, problems = METHODS[name], []
    function, valid = make()
    assert hostile.attempt(function, valid, [])[0] == "result"  # the table is right
    for argument, right in valid.items():
        labels = [*hostile.VALUES, *(f"{form} of it" for form in hostile.FORMS if isinstance(right, np.ndarray))]
        for label in labels[zlib.crc32(f"{name} {argument}".encode()) % SHARE :: SHARE]:
            values = {argument: hostile.maker(make, argument, label)}
            found = hostile.problem(make, values, test_fuzz_arguments.also(values))
            if found and not test_fuzz_arguments.spared(name, {argument: label}):
                problems.append(f"{argument}={label}: {': '.join(found)}")
    assert not problems, "\n".join(problems)


def test_a_short_run_of_the_long_form_finds_nothing():
    found = list(fuzz.run(seed=0, seconds=300, calls=400))
    assert len(found) == 400
    assert [case for case in found if case[1] != "ok"] == []
