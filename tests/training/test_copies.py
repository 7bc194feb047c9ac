"""Copies and pickles of models, optimizers and captured steps train on like the originals, bit for bit."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import minidl as dl
from tests.conftest import copies
from tests.layers.conftest import EXAMPLES, FEATURES

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.copy}
each_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


def data():
    rng = np.random.default_rng(0)
    return dl.data.Dataset(rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 3, 40))


def network(*layers, **options):
    return dl.Sequential(dl.Dense(5, FEATURES), *layers, dl.Dense(layers[-1].n_out or FEATURES, 3), seed=1, **options)


def fit(model, optimizer=None):
    optimizer = optimizer or dl.Adam(1e-2)
    dl.fit(model, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, epochs=1, batch_size=16, progress=False)
    return model


def bits(model):
    return {name: array.tobytes() for name, array in copies(model).items()}


@each_way
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_copy_of_a_model_trains_like_the_original(example, again):
    model = network(EXAMPLES[example](), backend="cpu")
    before = again(model)
    model.predict(data().x)  # which leaves attributes that a training pass sets in another way
    asked = again(model)
    fit(model)
    after, never_built = again(model), again(network(EXAMPLES[example]()))
    assert bits(fit(before)) == bits(fit(asked)) == bits(model)
    assert bits(fit(never_built)) == bits(model)
    assert bits(after) == bits(model)
    assert bits(fit(after)) == bits(fit(model))


@each_way
def test_on_every_backend(any_backend, again):
    model = network(dl.BatchNorm(FEATURES), dl.Dropout(0.5), backend=any_backend.name)
    other = again(model)
    assert other.backend is model.backend and other.layers[0].ops is model.backend.operations
    assert bits(fit(other)) == bits(fit(model))


@each_way
@pytest.mark.parametrize("optimizer", [dl.SGD, dl.Momentum, dl.Nesterov, dl.RMSProp, dl.Adam, dl.AdamW])
def test_a_copy_of_a_model_with_its_optimizer_goes_on(optimizer, again):
    model, made = network(dl.ReLU(), backend="cpu", penalty=dl.L2(0.01)), optimizer(0.01)
    fit(model, made)
    if again is WAYS["copy"]:  # of one thing; the optimizer steps a model of its own
        copied = copy.copy(made)
        before = bits(model)
        copied.step(copied._parameters)
        assert bits(model) == before and (copied.steps, made.steps) == (4, 3)
        return
    other, copied = again((model, made))
    assert bits(fit(other, copied)) == bits(fit(model, made))
    assert copied.steps == made.steps
    alone = again(made)
    with pytest.raises(ValueError, match="parameters got another list than before"):
        alone.step(model.parameters())


@each_way
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_a_copy_of_a_recorded_step_goes_on(steps, again):
    step = dl.TrainingStep(
        network(dl.Dropout(0.5), dl.BatchNorm(FEATURES)), dl.SoftmaxCrossEntropy(), dl.Adam(0.01), graph=True
    )
    x, labels = data()[:16]
    for _ in range(steps):
        step(x, labels)
    other = again(step)
    for _ in range(5):
        step(x, labels)
        other(x, labels)
    assert bits(other.model) == bits(step.model)
    assert other.loss.value == step.loss.value
    assert len(other._graphs) == 1


@each_way
def test_a_copy_forgets_the_last_pass(again):
    layer = dl.Dense(3, 2).build()
    layer.forward(np.ones((4, 3), np.float32), training=True)
    with pytest.raises(RuntimeError, match="backward needs a forward pass"):
        again(layer).backward(np.ones((4, 2), np.float32))
    layer.backward(np.ones((4, 2), np.float32))


@each_way
@pytest.mark.parametrize("init", dl.initializers.INITIALIZERS.values(), ids=str)
def test_initializers(init, again):
    assert again(init) == init
    assert again(init).function is init.function


@each_way
def test_an_initializer_with_parameters(again):
    init = dl.initializers.he_normal(slope=0.1)
    assert again(init) == init and again(init).parameters == {"slope": 0.1}


def test_an_initializer_outside_the_table_can_be_copied():
    own = dl.initializers.Initializer(lambda rng, fan_in, fan_out: np.ones((fan_in, fan_out)))
    assert copy.deepcopy(own).function is own.function


@each_way
def test_a_divergence_is_handed_over_with_what_it_says(again):
    with pytest.raises(dl.DivergenceError) as caught:
        fit(network(dl.ReLU()), dl.SGD(1e30))
    error = again(caught.value)
    assert str(error) == str(caught.value)
    assert error.layer.label == caught.value.layer.label
    assert len(error.history) == len(caught.value.history)


def test_a_pool_of_processes_takes_and_gives_models():
    models = [network(dl.BatchNorm(FEATURES), backend="cpu") for _ in range(2)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        trained = list(pool.map(fit, models))
    assert [bits(model) for model in trained] == [bits(fit(model)) for model in models]


@each_way
def test_states_of_a_copy_are_assigned_as_in_the_original(again):
    model = again(dl.Sequential(dl.Dense(3, 4), dl.BatchNorm(4), backend="cpu"))
    model.layers[1].running_mean = np.full(4, 7.0)
    assert model.snapshot()["1.running_mean"].tolist() == [7.0] * 4
    with pytest.raises(ValueError, match=r"^running_mean of 1 BatchNorm\(4\) got shape \(3,\); expected \(4,\)$"):
        model.layers[1].running_mean = np.zeros(3)


ASSIGN = """
import pickle, sys
import numpy as np
model = pickle.load(sys.stdin.buffer)  # nothing was built in this process
model.layers[1].running_mean = np.full(4, 7.0)
assert model.snapshot()["1.running_mean"].tolist() == [7.0] * 4, model.snapshot()
try:
    model.layers[1].running_mean = np.zeros(3)
except ValueError as error:
    print(error)
"""


def test_states_of_an_unpickled_model_are_assigned_as_in_the_original():
    model = dl.Sequential(dl.Dense(3, 4), dl.BatchNorm(4), backend="cpu")
    found = subprocess.run([sys.executable, "-c", ASSIGN], input=pickle.dumps(model), capture_output=True, timeout=300)
    assert found.returncode == 0, found.stderr.decode()
    assert found.stdout.decode().strip() == "running_mean of 1 BatchNorm(4) got shape (3,); expected (4,)"
