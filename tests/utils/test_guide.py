"""What users of other libraries type from habit: each entry is an error that leads on, to what there is."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle
import re
import traceback

import numpy as np
import pytest

import minidl as dl
import minidl.sklearn
from minidl.perceptron import perceptron
from minidl.sweeps.space import read_space
from minidl.utils import guide, habits
from tests.conftest import each
from tests.layers.conftest import EXAMPLES, FEATURES

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def make():
    layers = dl.Dense(4, 3), dl.BatchNorm(3), dl.ReLU(), dl.Dense(3, 2)
    return dl.Sequential(*layers, backend="numpy", seed=0)


MODEL, DATA = make(), dl.data.Dataset(X, np.arange(6) % 2)
OBJECTS = {
    "Model": MODEL, "Layer": MODEL.layers[0], "Parameter": MODEL.parameters()[0], "Optimizer": dl.Adam(),
    "History": dl.History(), "Dataset": DATA,
    "MLP": minidl.sklearn.MLPClassifier((), epochs=1, backend="numpy").fit(X, DATA.y),
}  # fmt: skip
ROWS = [
    (table, place, name, text)
    for table in ("NAMES", "ATTRIBUTES", "ARGUMENTS")
    for place, rows in getattr(habits, table).items()
    for names, text in rows.items()
    for name in names.split(", ")
]


def rows_of(table):
    return [row[1:] for row in ROWS if row[0] == table]


def callers(place):
    """The public functions and classes whose calls an entry of ARGUMENTS is about."""
    found = [getattr(module, name) for module in (dl, dl.data, minidl.sklearn) for name in module.__all__]
    found = [one for one in found if callable(one)]
    return [one for one in found if place in [kind.__name__ for kind in getattr(one, "__mro__", [one])]]


def needed(function):
    """The arguments without a default, by name."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = inspect.signature(function).parameters.values()
    return {one.name: None for one in parameters if one.default is one.empty and one.kind in kinds}


def test_the_table_has_each_name_once():
    assert len(ROWS) > 250
    assert len({row[:3] for row in ROWS}) == len(ROWS)


@each("module, name, text", rows_of("NAMES"))
def test_a_name_of_another_library_is_not_there_and_leads_on(module, name, text):
    here = importlib.import_module(module)
    assert not hasattr(here, name)
    with pytest.raises(AttributeError, match=f"^{re.escape(f'{module} has no {name}: {text}'.replace('`', ''))}$"):
        getattr(here, name)


@each("kind, name, text", rows_of("ATTRIBUTES"))
def test_an_attribute_of_another_library_is_not_there_and_leads_on(kind, name, text):
    owner = OBJECTS[kind]
    said = f"^{re.escape(f'{type(owner).__name__} has no {name}: {text}'.replace('`', ''))}$"
    assert not hasattr(owner, name) and getattr(owner, name, "nothing") == "nothing"
    with pytest.raises(AttributeError, match=said):
        getattr(owner, name)
    if kind != "Dataset":  # which is frozen
        with pytest.raises(AttributeError, match=said):
            setattr(owner, name, None)
    assert name not in dir(owner)


@each("place, name, text", rows_of("ARGUMENTS"))
def test_an_argument_of_another_library_is_refused_and_leads_on(place, name, text):
    tried = 0
    for function in callers(place):
        arguments, parameters = needed(function), inspect.signature(function).parameters
        fault = f"needs {name}" if name in arguments else f"takes no {name}"
        args = ()
        if name == habits.TOO_MANY:
            args, arguments = (None, None, None), {}
        elif name in arguments:
            del arguments[name]
            args, arguments = (None,), dict.fromkeys(list(arguments)[1:])
        elif name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            continue  # dl.Momentum has a momentum
        else:
            arguments[name] = None
        with pytest.raises(TypeError) as caught:
            function(*args, **arguments)
        said = f"{function.__name__} {fault}: "
        assert str(caught.value).startswith(said), str(caught.value)
        tried += str(caught.value) == said + text.replace("`", "")  # a subclass may know better
    assert tried


NAMESPACE = {
    "dl": dl, "minidl": minidl, "np": np,
    "model": MODEL, "layers": MODEL.layers, "layer": MODEL.layers[0], "train": DATA, "test": DATA,
    "data": DATA, "dataset": DATA, "validation": DATA, "parameter": OBJECTS["Parameter"], "optimizer": dl.Adam(),
    "batch_norm": MODEL.layers[1], "array": np.zeros((4, 3), np.float32), "loss": dl.SoftmaxCrossEntropy(),
    "x": X, "y": DATA.y, "labels": DATA.y, "history": {"loss": [1.0], "validation_loss": [1.0]}, "path": "model.npz",
    "weight": np.ones(len(X), np.float32), "features": 4, "n_in": 4, "n_out": 2, "seed": 0, "Layer": dl.Layer,
    "True": True, "state": {}, "classifier": OBJECTS["MLP"],
}  # fmt: skip


def check_code(code):
    """Names exist, and calls fit the signatures of what they call."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            function = eval(ast.unparse(node.func), NAMESPACE)
            positional = [None for argument in node.args if not isinstance(argument, ast.Starred)]
            try:
                signature = inspect.signature(function)
            except ValueError:  # NumPy 2.2, the last for Python 3.10, does not tell those of its compiled functions
                continue
            signature.bind(*positional, **{keyword.arg: None for keyword in node.keywords})
        elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load):
            eval(ast.unparse(node), NAMESPACE)
        elif isinstance(node, ast.ImportFrom):
            exec(ast.unparse(node), {})
        elif isinstance(node, ast.Attribute):
            assert hasattr(eval(ast.unparse(node.value), NAMESPACE), node.attr)


@each("table, place, name, text", ROWS)
def test_advice_is_code_that_is_right(table, place, name, text):
    about_fit = "argument of `dl.fit`" in text
    for code in re.findall("`([^`]+)`", text):
        if re.match(r"\w+=", code):  # arguments of the function that it is about
            call = ast.parse(f"f({code})").body[0].value
            for keyword in call.keywords:
                check_code(ast.unparse(keyword.value))
                owners = [dl.fit] if about_fit else callers(place)
                assert any(keyword.arg in inspect.signature(owner).parameters for owner in owners), code
        else:
            check_code(code)


def test_wrong_advice_would_be_found():
    for code in (
        "dl.Linear(3)",
        "dl.Dense(3)",
        "dl.Adam(lr=1)",
        "model.fit(x)",
        "layer.wait",
        "parameter.grad = array",
        "from minidl import MLPClassifier",
    ):
        with pytest.raises((AttributeError, TypeError, AssertionError, ImportError)):
            check_code(code)


@each("word, right", habits.CHOICES.items())
def test_a_word_for_a_choice_leads_to_the_right_one(word, right):
    tries = (
        lambda: dl.Dense(3, 2).build(backend=word),
        lambda: dl.Dense(3, 2).build("numpy", dtype=word),
        lambda: dl.Dense(3, 2, init=word),
        lambda: dl.EarlyStopping(word),
        lambda: perceptron([2, 2, 2], activation=word),
        lambda: read_space({word: 1.0}),
    )
    said = []
    for attempt in tries:
        with pytest.raises(ValueError) as caught:
            attempt()
        said.append(str(caught.value))
    assert any(text.endswith(f"; did you mean {right!r}?") for text in said), said


@each("word, right", habits.OBJECTS.items())
def test_a_word_for_an_object_leads_to_the_object(word, right):
    made = eval(right, {"dl": dl})
    argument, kind = ("loss", "Loss") if isinstance(made, dl.Loss) else ("optimizer", "Optimizer")
    arguments = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(), argument: word}
    said = f"{argument} got {word!r}; expected a minidl.{kind}; did you mean {right}?"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        dl.fit(make(), DATA, progress=False, **arguments)


# What does not change -------------------------------------------------------------------------------------------------


def test_a_model_is_called_as_its_forward_pass():
    model = make()
    np.testing.assert_array_equal(model(X), model.forward(X).copy())
    y = model(X, training=True)
    model.backward(np.ones_like(y))
    layer = dl.Dropout(0.5).build("numpy")
    np.testing.assert_array_equal(layer(X), X)


@pytest.mark.parametrize("name", ["Linaer", "_repr_svg_", "_ipython_display_", "__array__", "__wrapped__"])
def test_other_names_are_errors_as_ever(name):
    for owner in (dl, dl.data, *OBJECTS.values(), dl.SoftmaxCrossEntropy()):
        assert not hasattr(owner, name)
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(owner, name)


def test_copies_and_pickles_are_what_they_were():
    for owner in (*OBJECTS.values(), dl.EarlyStopping(), dl.LeakyReLU(0.2), dl.ReLU(), dl.SoftmaxCrossEntropy()):
        for other in (copy.copy(owner), copy.deepcopy(owner), pickle.loads(pickle.dumps(owner))):
            assert type(other) is type(owner) and repr(other) == repr(owner)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dl.Dense(3, 2, width=4), "unexpected keyword argument 'width'"),
        (lambda: dl.Dense(), "missing 2 required positional arguments: 'n_in' and 'n_out'"),
        (lambda: dl.ReLU(3), r"ReLU\(\) takes no arguments"),
        (lambda: dl.ReLU(slope=3), r"ReLU\(\) takes no arguments"),
        (lambda: dl.data.Dataset(X), "missing 1 required positional argument: 'y'"),
        (lambda: dl.fit(make(), DATA, speed=3), "unexpected keyword argument 'speed'"),
    ],
)
def test_other_arguments_are_errors_as_ever(call, message):
    if "speed" in message:
        call = lambda: dl.fit(make(), DATA, loss=dl.MeanSquaredError(), optimizer=dl.SGD(), speed=3)  # noqa: E731
    with pytest.raises(TypeError, match=message):
        call()


def test_an_error_inside_a_constructor_shows_no_frame_of_the_guide():
    with pytest.raises(TypeError) as caught:
        dl.Dense("x", 3)
    assert guide.__file__ not in [frame.filename for frame in traceback.extract_tb(caught.tb)]


class Mine(dl.Layer):
    """A layer of a user's, who has names of his own."""

    grade = "a"

    def __init__(self, units):
        self.units = self.weights = units

    def train(self):
        return self.units + self.weights


def test_a_layer_of_the_users_may_have_any_names():
    layer = Mine(units=3)
    layer.units += 1
    assert layer.train() == 7 and pickle.loads(pickle.dumps(layer)).units == 4
    with pytest.raises(AttributeError, match="^Mine has no kernel: layer.weight$"):
        _ = layer.kernel
    assert {"units", "train", "grade", "forward"} <= set(dir(layer))
    assert "begin_forward" not in dir(layer)


# Tab completion -------------------------------------------------------------------------------------------------------


def public(owner):
    return {name for name in dir(owner) if not name.startswith("_")}


def test_completion_of_the_package_shows_its_public_names():
    assert public(dl) == set(dl.__all__)
    assert public(dl.data) == set(dl.data.__all__)
    assert public(dl.export) == set(dl.export.__all__) - {"NODES", "Graph"}  # of those who write layers


def test_completion_of_a_model_shows_what_users_need():
    assert public(make()) == {
        "backend", "backward", "build", "children", "class_names", "dtype", "epochs_trained", "feature_names",
        "forward", "layers", "lock", "n_in", "n_out", "name", "parameters", "penalty", "penalty_cost", "predict",
        "restore", "save", "snapshot", "summary", "walk",
    }  # fmt: skip
    assert public(dl.Adam()) == {
        "beta1", "beta2", "epsilon", "learning_rate", "new", "restore", "schedules", "snapshot", "step", "steps",
    }  # fmt: skip


@each("name", EXAMPLES)
def test_completion_of_a_layer_shows_what_there_is_and_nothing_internal(name):
    layer = EXAMPLES[name]().build("numpy")
    layer(X[:, :1].repeat(FEATURES, 1))
    shown = public(layer)
    assert {"forward", "backward", "parameters", "n_in", *layer._parameters} <= shown
    everybody = set(f"{guide.SHOWN['Layer']} {guide.SHOWN['Model']}".split())
    assert shown <= everybody | set(inspect.signature(type(layer)).parameters) | {*layer._parameters, *layer._state}
    for one in shown:
        getattr(layer, one)
