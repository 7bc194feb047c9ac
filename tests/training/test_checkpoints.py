"""Checkpoints: a resumed run ends with the bits of one that never stopped; a wrong file changes nothing."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict

import numpy as np
import pytest

import minidl as dl
from minidl import schedules
from minidl.optimizers import Hyperparameter
from minidl.training.callbacks import Schedule
from minidl.utils import storage
from tests.conftest import each


def data(rows=40, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return dl.data.Dataset(x, x[:, :3].argmax(axis=1))


def make(*layers, backend="cpu", seed=0, **options):
    layers = layers or (dl.Dense(6, 8), dl.BatchNorm(8), dl.Tanh(), dl.Dropout(0.3), dl.Dense(8, 3))
    return dl.Sequential(*layers, backend=backend, seed=seed, **options)


def fit(model, train=None, **options):
    defaults = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(0.02), "batch_size": 16, "progress": False}
    return dl.fit(model, data() if train is None else train, **{**defaults, **options})


def copies(model):
    return model.snapshot()


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].tobytes() == expected[name].tobytes(), name


def without_seconds(history):
    return [{**asdict(epoch), "seconds": None} for epoch in history]


def assert_resumes(path, build, epochs=6, first=3):
    """`build()` returns a new model and new options of fit. Resuming after `first` epochs must not show anywhere."""
    model, options = build()
    whole = fit(model, epochs=epochs, **options)

    before, options = build()
    fit(before, epochs=first, checkpoint=path, **options)
    after, options = build()
    resumed = fit(after, epochs=epochs, resume=path, **options)

    assert_same_arrays(copies(after), copies(model))
    assert without_seconds(resumed) == without_seconds(whole)
    assert after.epochs_trained == model.epochs_trained
    np.testing.assert_array_equal(after.predict(data().x), model.predict(data().x))
    return after, options


# The same bits


OPTIMIZERS = {
    "SGD": lambda: dl.SGD(0.1),
    "Momentum": lambda: dl.Momentum(0.05, momentum=0.8),
    "Nesterov": lambda: dl.Nesterov(0.05),
    "RMSProp": lambda: dl.RMSProp(0.01),
    "Adam": lambda: dl.Adam(0.02, beta1=0.8),
    "AdamW": lambda: dl.AdamW(0.02, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on(name, tmp_path):
    _, options = assert_resumes(tmp_path / "run.npz", lambda: (make(), {"optimizer": OPTIMIZERS[name]()}))
    assert options["optimizer"].steps == 6 * 3


LAYERS = {
    "Dropout": lambda: [dl.Dense(6, 8), dl.ReLU(), dl.Dropout(0.4), dl.Dense(8, 3)],
    "classic Dropout": lambda: [dl.Dense(6, 8), dl.ReLU(), dl.Dropout(0.4, inverted=False), dl.Dense(8, 3)],
    "DropConnect": lambda: [dl.DropConnect(6, 8, 0.3), dl.ReLU(), dl.Dense(8, 3)],
    "NoisyDense": lambda: [dl.NoisyDense(6, 8, 0.1), dl.ReLU(), dl.Dense(8, 3)],
    "GaussianNoise": lambda: [dl.GaussianNoise(0.2), dl.Dense(6, 3)],
    "StochasticDepth": lambda: [dl.Residual(dl.Dense(6, 6), dl.Tanh(), dl.StochasticDepth(0.3)), dl.Dense(6, 3)],
    "BatchNorm": lambda: [dl.Dense(6, 8), dl.BatchNorm(8), dl.ReLU(), dl.Dense(8, 3)],
    "CenteredDense": lambda: [dl.CenteredDense(6, 8), dl.ReLU(), dl.Dense(8, 3)],
    # Their arguments are tuples, which a file has as lists.
    "MaxPool": lambda: [dl.MaxPool((2, 3), 2), dl.Dense(dl.MaxPool((2, 3), 2).n_out, 3)],
    "FractionalMaxPool": lambda: [dl.FractionalMaxPool((2, 3), 1.5), dl.Dense(2, 3)],
    "max_norm and penalty": lambda: [dl.Dense(6, 8, max_norm=0.5), dl.Tanh(), dl.Dense(8, 3, penalty=dl.L2(0.1))],
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_goes_on(name, tmp_path):
    assert_resumes(tmp_path / "run.npz", lambda: (make(*LAYERS[name]()), {}))


def test_schedules_go_on(tmp_path):
    def build():
        rate = schedules.WarmUp(4, schedules.Cosine(0.1, 14))
        optimizer = dl.AdamW(rate, beta1=lambda step: 0.5 + 0.4 * step / 18, weight_decay=schedules.Constant(0.1))
        return make(), {"optimizer": optimizer}

    _, options = assert_resumes(tmp_path / "run.npz", build)
    assert options["optimizer"].learning_rate == schedules.Cosine(0.1, 14)(13)


@pytest.mark.parametrize("inverted", [True, False])
def test_a_schedule_on_a_dropout_rate_goes_on(tmp_path, inverted):
    def build():
        dropout = dl.Dropout(0.5, inverted)
        model = make(dl.Dense(6, 8), dl.ReLU(), dropout, dl.Dense(8, 3))
        return model, {"callbacks": [Schedule(dropout, "rate", schedules.Cosine(0.5, 18))]}

    path = tmp_path / "run.npz"
    assert_resumes(path, build)
    again, options = build()
    fit(again, epochs=3, resume=path, **options)  # has nothing left to do, and still the rate of the last step
    assert again.layers[2].rate == schedules.Cosine(0.5, 18)(8)


# What a callback changes on the way


class Change(dl.Callback):
    """Sets an attribute after the second epoch, and remembers nothing: the checkpoint has to."""

    def __init__(self, attribute, value):
        self.attribute, self.value = attribute, value

    def __repr__(self):
        return f"Change({self.attribute!r}, {self.value!r})"

    def on_epoch_end(self, run):
        if len(run.history) == 2:
            setattr(run.optimizer, self.attribute, self.value)


HYPERPARAMETERS = [
    (name, attribute)
    for name, optimizer in OPTIMIZERS.items()
    for attribute in dir(type(optimizer()))
    if isinstance(getattr(type(optimizer()), attribute), Hyperparameter)
]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(("name", "attribute"), HYPERPARAMETERS)
def test_a_hyperparameter_that_was_changed_stays_changed(name, attribute, graph, tmp_path):
    def build():
        return make(), {"optimizer": OPTIMIZERS[name](), "callbacks": [Change(attribute, 0.3)], "graph": graph}

    model, options = assert_resumes(tmp_path / "run.npz", build)
    assert getattr(options["optimizer"], attribute) == 0.3
    unchanged = make()
    fit(unchanged, epochs=6, optimizer=OPTIMIZERS[name]())
    with pytest.raises(AssertionError):  # the change matters
        assert_same_arrays(copies(model), copies(unchanged))


@pytest.mark.parametrize("attribute", ["learning_rate", "momentum"])
def test_a_number_in_the_place_of_a_schedule_stays_there(attribute, tmp_path):
    def build():
        start = {"learning_rate": 0.05, "momentum": 0.5, attribute: schedules.Cosine(0.5, 18)}
        return make(), {"optimizer": dl.Momentum(**start), "callbacks": [Change(attribute, 0.3)]}

    _, options = assert_resumes(tmp_path / "run.npz", build)
    assert getattr(options["optimizer"], attribute) == 0.3 and not options["optimizer"].schedules


class Replace(Change):
    """Sets a schedule, which no file can hold: it puts it back itself."""

    def restore(self, run, description, arrays):
        setattr(run.optimizer, self.attribute, self.value)


@pytest.mark.parametrize("attribute", ["learning_rate", "momentum"])
@pytest.mark.parametrize("start", [0.2, schedules.Cosine(0.5, 18)], ids=["number", "schedule"])
def test_a_schedule_that_a_callback_puts_back_goes_on(attribute, start, tmp_path):
    schedule = schedules.Exponential(0.4, 0.9)

    def build(kind=Replace):
        values = {"learning_rate": 0.05, "momentum": 0.5, attribute: start}
        return make(), {"optimizer": dl.Momentum(**values), "callbacks": [kind(attribute, schedule)]}

    path = tmp_path / "run.npz"
    _, options = assert_resumes(path, build)
    assert getattr(options["optimizer"], attribute) == schedule(17)


def test_a_schedule_that_nobody_puts_back_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    options = {"callbacks": [Change("learning_rate", schedules.Cosine(0.5, 18))]}
    fit(make(), epochs=3, checkpoint=path, **options)
    with pytest.raises(ValueError, match=r"optimizer got Adam.*; the checkpoint is of Adam with schedules .*Cosine"):
        fit(make(), epochs=6, resume=path, **options)


STOCHASTIC = {
    "Dropout": (lambda: dl.Dropout(0.5), "rate"),
    "GaussianNoise": (lambda: dl.GaussianNoise(0.5), "std"),
    "DropConnect": (lambda: dl.DropConnect(8, 8, 0.5), "rate"),
    "StochasticDepth": (lambda: dl.Residual(dl.Dense(8, 8), dl.StochasticDepth(0.5)), "rate"),
}


@pytest.mark.parametrize("name", STOCHASTIC)
def test_an_attribute_of_a_layer_that_follows_a_schedule_goes_on(name, tmp_path):
    def build():
        build_layer, attribute = STOCHASTIC[name]
        layer = build_layer()
        target = layer.layers[-1] if name == "StochasticDepth" else layer
        model = make(dl.Dense(6, 8), dl.ReLU(), layer, dl.Dense(8, 3))
        return model, {"callbacks": [Schedule(target, attribute, schedules.Cosine(0.5, 18))]}

    assert_resumes(tmp_path / "run.npz", build)


@pytest.mark.parametrize("clip", [lambda: dl.ClipNorm(0.1), lambda: dl.ClipValue(0.01)])
def test_clipping_goes_on(tmp_path, clip):
    assert_resumes(tmp_path / "run.npz", lambda: (make(), {"clip": clip()}))


def half_noise(x, targets, rng):
    return (x + rng.normal(size=x.shape) / 2).astype(x.dtype), targets


def test_augmentation_goes_on(tmp_path):
    assert_resumes(tmp_path / "run.npz", lambda: (make(), {"augmentation": half_noise}))


def test_float64_goes_on(tmp_path):
    assert_resumes(tmp_path / "run.npz", lambda: (make(dtype="float64"), {}))


def test_the_emulator_goes_on(tmp_path):
    small = data(24)

    def build():
        model = make(dl.Dense(6, 3), dl.BatchNorm(3), dl.Dropout(0.3), backend="emulator")
        return model, {"train": small, "clip": dl.ClipNorm(0.1)}

    assert_resumes(tmp_path / "run.npz", build, epochs=3, first=1)


def test_a_run_of_numpys_numbers_is_resumed_with_plain_ones(tmp_path):
    """Everything that a checkpoint keeps as text, with numbers as np.linspace or a loop over an array gives them."""

    def build(real, whole):
        noisy = dl.Dense(6, 8, init=dl.initializers.normal(std=real(0.5)), penalty=dl.L2(real(0.25)), max_norm=real(2))
        layers = noisy, dl.BatchNorm(whole(8), real(0.5)), dl.Dropout(real(0.25)), dl.Dense(whole(8), whole(3))
        steady = functools.partial(half_of, real(0.5))
        rate = schedules.WarmUp(whole(2), then=schedules.Cosine(real(0.5), whole(9), end=real(0.125)))
        options = {
            "optimizer": dl.Momentum(rate, momentum=steady),
            "loss": dl.SoftmaxCrossEntropy(real(0.125)),
            "augmentation": functools.partial(noise_of, real(0.25)),
            "clip": dl.ClipNorm(real(1)),
            "callbacks": [dl.EarlyStopping("loss", whole(4), real(0.125)), Schedule(layers[1], "decay", steady)],
            "batch_size": whole(16),
        }
        return make(*layers, seed=whole(3)), options

    kinds = [(np.float64, np.int64), (np.float32, np.int8), (np.longdouble, np.uint64), (float, int)]
    models = []
    for k, (begun, resumed) in enumerate(zip(kinds, kinds[1:] + kinds[:1], strict=True)):
        for kind, epochs, resume in ((begun, 1, None), (resumed, 3, tmp_path / f"{k}.npz")):
            model, options = build(*kind)
            fit(model, epochs=epochs, checkpoint=tmp_path / f"{k}.npz", resume=resume, **options)
        models.append(copies(model))
    for model in models[1:]:
        assert_same_arrays(model, models[0])


def half_of(number, step):
    return number / 2


def noise_of(std, x, targets, rng):
    return x + rng.normal(0, float(std), x.shape).astype(x.dtype), targets


def test_a_run_may_be_resumed_again_and_again(tmp_path):
    whole, path = make(), tmp_path / "run.npz"
    fit(whole, epochs=5)
    fit(make(), epochs=1, checkpoint=path)
    for epochs in range(2, 6):
        model = make()
        history = fit(model, epochs=epochs, checkpoint=path, resume=path)
        assert history["epoch"] == list(range(1, epochs + 1))
    assert_same_arrays(copies(model), copies(whole))


def test_a_resumed_model_knows_the_names_of_columns_and_classes(tmp_path):
    unnamed, path = data(), tmp_path / "run.npz"
    names = {"feature_names": [*"abcdef"], "class_names": ["u", "v", "w"]}
    train = dl.data.Dataset(*unnamed, **names)
    fit(make(), train, epochs=2, checkpoint=path)
    for given, epochs in ((unnamed, 2), (unnamed, 3), (train, 2)):
        model = make()
        fit(model, given, epochs=epochs, resume=path)
        assert {name: [*getattr(model, name)] for name in names} == names
    for name in names:
        model, other = make(), dl.data.Dataset(*unnamed, **{**names, name: names[name][::-1]})
        before = copies(model)
        with pytest.raises(ValueError, match=rf"train.{name} got .*; expected .*, those of the checkpoint"):
            fit(model, other, epochs=3, resume=path)
        assert_same_arrays(copies(model), before)
        assert (model.feature_names, model.class_names) == (None, None)


def test_a_run_that_was_begun_without_names_is_resumed_with_them(tmp_path):
    unnamed, path = data(), tmp_path / "run.npz"
    fit(make(), epochs=2, checkpoint=path)
    model = make()
    names = tuple("abcdef")
    fit(model, dl.data.Dataset(*unnamed, feature_names=names), epochs=2, resume=path)
    assert model.feature_names == names


# Early stopping


def overfitting(patience, **options):
    """A run whose validation loss is best early on: the targets of the validation set are noise."""
    held_out = dl.data.Dataset(data(30, seed=1).x, np.random.default_rng(5).integers(0, 3, 30))
    stopping = dl.EarlyStopping(patience=patience, **options)
    return make(), {"validation": held_out, "callbacks": [stopping], "optimizer": dl.Adam(0.05)}


@pytest.mark.parametrize("restore_best", [True, False])
@pytest.mark.parametrize("first", [1, 4, 5])
def test_early_stopping_goes_on_with_the_best_weights_of_before(tmp_path, first, restore_best):
    model, options = assert_resumes(
        tmp_path / "run.npz", lambda: overfitting(5, restore_best=restore_best), epochs=20, first=first
    )
    (stopping,) = options["callbacks"]
    assert stopping.best.epoch <= 2, "the best weights are from before the checkpoint"
    held_out = dl.evaluate(model, options["validation"], loss=dl.SoftmaxCrossEntropy())
    assert (held_out.loss == stopping.best.value) == restore_best


def test_a_run_that_early_stopping_ended_stays_ended(tmp_path, capsys):
    path = tmp_path / "run.npz"
    whole, options = overfitting(2)
    history = fit(whole, epochs=50, checkpoint=path, **options)
    assert len(history) < 50
    again, options = overfitting(2)
    resumed = fit(again, epochs=50, resume=path, **options, progress=True)
    assert without_seconds(resumed) == without_seconds(history)
    assert_same_arrays(copies(again), copies(whole))
    assert capsys.readouterr().out.startswith("stopped: the validation loss was best after epoch ")


def test_the_best_checkpoint_is_not_replaced_by_a_worse_one_after_a_resume(tmp_path):
    best, last = tmp_path / "best.npz", tmp_path / "last.npz"

    def run(epochs, **resume):
        model, options = overfitting(50)
        fit(
            model,
            epochs=epochs,
            checkpoint=last,
            **resume,
            **options | {"callbacks": [dl.Checkpoint(best, best="validation_loss")]},
        )

    run(6)
    content = best.read_bytes()
    run(8, resume=last)
    assert best.read_bytes() == content


# Nothing to do, and the model inside


def test_a_run_that_has_all_its_epochs_does_nothing(tmp_path):
    path = tmp_path / "run.npz"
    model = make()
    history = fit(model, epochs=3, checkpoint=path)
    again, optimizer = make(), dl.Adam(0.02)
    resumed = fit(again, epochs=2, resume=path, optimizer=optimizer)
    assert list(resumed) == list(history)
    assert_same_arrays(copies(again), copies(model))
    assert optimizer.steps == 9


def test_load_takes_the_model_out_of_a_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    model = make()
    fit(model, epochs=2, checkpoint=path)
    again = dl.load(path, backend="cpu")
    assert_same_arrays(copies(again), copies(model))
    assert (repr(again), again.epochs_trained) == (repr(model), 2)


def test_load_takes_the_rate_that_a_schedule_has_set(tmp_path):
    model, path = make(), tmp_path / "run.npz"
    fit(model, epochs=1, checkpoint=path, callbacks=[Schedule(model.layers[3], "rate", lambda step: step / 10)])
    assert dl.load(path, backend="cpu").layers[3].rate == 0.2


def test_resuming_needs_no_checkpoint_to_be_written_or_logs_to_be_kept(tmp_path):
    path = tmp_path / "run.npz"
    fit(make(), epochs=1, checkpoint=path, log=tmp_path / "run.csv")
    content = path.read_bytes()
    assert len(fit(make(), epochs=2, resume=path)) == 2
    assert path.read_bytes() == content


# Another run


OTHER = {
    "batch_size": (lambda: (make(), {"batch_size": 20}), "batch_size got 20; the checkpoint has 16"),
    "loss": (
        lambda: (make(), {"loss": dl.SoftmaxCrossEntropy(0.1)}),
        r"loss got 'SoftmaxCrossEntropy\(label_smoothing=0.1\)'; the checkpoint has 'SoftmaxCrossEntropy\(\)'",
    ),
    "kind of optimizer": (lambda: (make(), {"optimizer": dl.SGD(0.02)}), r"optimizer got 'SGD\(learning_rate=0.02\)'"),
    "learning rate": (lambda: (make(), {"optimizer": dl.Adam(0.03)}), r"optimizer got 'Adam\(learning_rate=0.03"),
    "schedule": (lambda: (make(), {"optimizer": dl.Adam(schedules.Constant(0.02))}), "optimizer got .*Constant"),
    "rows": (lambda: (make(), {"train": data(41)}), "train got other rows or targets"),
    "targets": (
        lambda: (make(), {"train": dl.data.Dataset(data().x, (data().y + 1) % 3)}),
        "train got other rows or targets",
    ),
    "validation": (lambda: (make(), {"validation": data(10)}), "validation got other rows or targets"),
    "seed": (lambda: (make(seed=1), {}), "seed got 1; the checkpoint has 0"),
    "dtype": (lambda: (make(dtype="float64"), {}), "dtype got 'float64'; the checkpoint has 'float32'"),
    "layers": (
        lambda: (make(dl.Dense(6, 3)), {}),
        r"model\.layers\[0\]\.n_out got 3; the checkpoint has 8\.",
    ),
    "shuffle": (lambda: (make(), {"shuffle": False}), "shuffle got False; the checkpoint has True"),
    "clip": (lambda: (make(), {"clip": dl.ClipNorm(1.0)}), r"clip got 'ClipNorm\(1.0\)'; the checkpoint has 'None'"),
    "augmentation": (lambda: (make(), {"augmentation": half_noise}), "augmentation got '<function half_noise>'"),
    "callbacks": (
        lambda: (make(), {"callbacks": [dl.EarlyStopping("loss")]}),
        r"""callbacks got \["EarlyStopping\(monitor='loss'\)"\]; the checkpoint has \[\]""",
    ),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.npz"
    fit(make(), epochs=2, checkpoint=path)
    return path


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused_by_name_and_nothing_is_changed(written, name):
    build, message = OTHER[name]
    model, options = build()
    optimizer = options.setdefault("optimizer", dl.Adam(0.02))
    before = copies(model)
    with pytest.raises(ValueError, match=rf"run.npz cannot be resumed here: {message}.* Resuming continues the same "):
        fit(model, epochs=4, resume=written, **options)
    assert_same_arrays(copies(model), before)
    assert (model.epochs_trained, optimizer.steps) == (0, 0)


def test_the_arguments_of_a_callback_count(tmp_path):
    path = tmp_path / "run.npz"
    fit(make(), epochs=1, checkpoint=path, callbacks=[dl.EarlyStopping("loss", patience=3)])
    with pytest.raises(ValueError, match=r"callbacks got .*patience=4.*; the checkpoint has .*patience=3"):
        fit(make(), epochs=2, resume=path, callbacks=[dl.EarlyStopping("loss", patience=4)])


def test_a_model_file_is_not_a_checkpoint_and_a_missing_file_is_missing(tmp_path):
    make().save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="model.npz is not a minidl checkpoint file, or it is damaged"):
        fit(make(), resume=tmp_path / "model.npz")
    with pytest.raises(FileNotFoundError, match="missing.npz"):
        fit(make(), resume=tmp_path / "missing.npz")
    with pytest.raises(TypeError, match="^resume got 0; expected the path of a file or folder$"):
        fit(make(), resume=0)  # for open() that is the standard input


CHANGES = {
    "history": [{"loss": "low"}],
    "step": -1,
    "stopped": 5,
    "epochs_trained": "many",
    "callbacks": [{}],
    "optimizer": {"optimizer": "Adam", "steps": 6, "values": {}, "schedules": {}},
}


def assert_refused(description, arrays, path, message=""):
    """The file is refused, and neither the model nor the optimizer has taken anything from it."""
    np.savez(path, description=np.array(json.dumps(description)), **arrays)
    model, optimizer = make(), dl.Adam(0.02)
    before = copies(model)
    with pytest.raises(ValueError, match=f"run.npz cannot be resumed here: {message}"):
        fit(model, epochs=4, resume=path, optimizer=optimizer)
    assert_same_arrays(copies(model), before)
    assert (model.epochs_trained, optimizer.steps) == (0, 0)


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_of_the_description_that_makes_no_sense_is_refused_and_nothing_is_changed(written, tmp_path, name):
    _, description, arrays = storage.read(written, storage.CHECKPOINT)
    assert_refused({**description, name: CHANGES[name]}, arrays, tmp_path / "run.npz")


def test_a_run_without_an_epoch_is_refused(written, tmp_path):
    """Nobody writes one: a checkpoint comes after an epoch."""
    _, description, arrays = storage.read(written, storage.CHECKPOINT)
    assert_refused({**description, "history": []}, arrays, tmp_path / "run.npz", "its history is empty")


@each("name, change", [("0.weight", lambda array: array[:-1]), ("1.running_variance", lambda array: -array)])
def test_arrays_that_are_not_those_of_the_model_are_refused_and_nothing_is_changed(written, tmp_path, name, change):
    _, description, arrays = storage.read(written, storage.CHECKPOINT)
    del description["checksum"]
    assert f"model/{name}" in arrays
    arrays[f"model/{name}"] = change(arrays[f"model/{name}"])
    assert_refused(description, arrays, tmp_path / "run.npz", rf"snapshot\['{name}'\] got ")


# Writes that fail


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["savez", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch, error, where):
    path = tmp_path / "run.npz"
    fit(make(), epochs=2, checkpoint=path)
    content = path.read_bytes()

    def fail(*arguments, **members):
        if where == "savez":
            arguments[0].write(b"half a checkpoint")
        raise error

    monkeypatch.setattr(np if where == "savez" else os, where, fail)
    with pytest.raises(type(error)):
        fit(make(), epochs=3, checkpoint=path, resume=path)
    monkeypatch.undo()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["run.npz"]
    assert len(fit(make(), epochs=3, resume=path)) == 3
