"""A table of one's own on the command line: training, prediction and evaluation give what Python gives."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl import cli
from minidl.cli import commands, sources
from minidl.cli.sources import Columns
from minidl.utils import storage

NAMES = ["setosa", "virginica"]
QUICK = ["--layers", "8", "--out", "result"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dl.History, "plot", lambda self, path: None)


def write(path, header, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


@pytest.fixture
def flowers():
    """Two classes far apart, in units of very different size; written to flowers.csv, too."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = (rng.normal(size=(120, 2)) + 6 * y[:, None]) * [1000, 0.01] + [5e4, 3]
    rows = [
        [number, repr(a), repr(b), NAMES[label]]
        for number, ((a, b), label) in enumerate(zip(x.tolist(), y, strict=True))
    ]
    write("flowers.csv", ["number", "long", "wide", "kind"], rows)
    return dl.data.Dataset(x, y, feature_names=["long", "wide"], class_names=NAMES)


@pytest.fixture
def prices():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3)) * [1, 100, 0.1]
    y = (5e4 + 3e3 * x[:, :1] - 20 * x[:, 1:2]) * np.ones(1)
    write("prices.csv", ["a", "b", "c", "price"], np.hstack([x, y]).tolist())
    return dl.data.Dataset(x, y)


def train(*options):
    assert cli.main(["train", *options, *QUICK]) == 0


FLOWERS = ["--data", "flowers.csv", "--target", "kind", "--features", "long", "wide"]


def test_a_table_is_learned_with_the_deviations_of_the_training_rows(flowers, capsys):
    train(*FLOWERS)
    output = capsys.readouterr().out
    assert "flowers: 96 training, 12 validation and 12 test samples" in output
    assert "\ntest accuracy 100.00%, loss 0." in output
    rows = dl.data.split(flowers, 0.8, 0.1, 0.1, seed=0)[0].x
    _, columns = sources.load("result/model.npz", "auto")
    np.testing.assert_allclose(columns.mean, rows.mean(axis=0))
    np.testing.assert_allclose(columns.scale, rows.std(axis=0))
    assert (columns.features, columns.target, columns.classes) == (["long", "wide"], "kind", NAMES)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_draws_the_parts_and_each_is_standardized_as_the_training_part_is(seed, flowers, monkeypatch):
    given = {}
    monkeypatch.setattr(dl, "fit", lambda model, train, **options: given.update(options, train=train) or dl.History())
    train(*FLOWERS, "--seed", str(seed))
    expected = dl.data.split(flowers, 0.8, 0.1, 0.1, seed=seed)
    step = dl.data.Standardize().fit(expected[0])
    np.testing.assert_array_equal(given["train"].x, step.transform(expected[0]).x)
    np.testing.assert_array_equal(given["validation"].x, step.transform(expected[1]).x)
    np.testing.assert_array_equal(given["validation"].y, expected[1].y)


def test_predictions_are_those_of_the_model_for_columns_in_any_order(flowers, capsys):
    train(*FLOWERS)
    write("new.csv", ["wide", "id", "long"], [[repr(wide), "x", repr(long)] for long, wide in flowers.x.tolist()])
    capsys.readouterr()
    assert cli.main(["predict", "result/model.npz", "new.csv"]) == 0
    lines = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert lines[0] == ["kind", "probability"]
    assert [kind for kind, _ in lines[1:]] == [NAMES[label] for label in flowers.y]
    columns = json.loads(str(np.load("result/model.npz")["description"]))["data"]  # as docs/command_line.md says
    x = (flowers.x - columns["mean"]) / columns["scale"]
    probabilities = dl.softmax(dl.load("result/model.npz").predict(x)).max(axis=1)
    assert [probability for _, probability in lines[1:]] == [f"{each:.4f}" for each in probabilities]


def test_evaluation_compares_classes_by_name(flowers, capsys):
    """The file has one of the two classes only, which would be class 0 by itself."""
    train(*FLOWERS)
    write("new.csv", ["long", "wide", "kind"], [[*row, "virginica"] for row in flowers.x[flowers.y == 1].tolist()])
    capsys.readouterr()
    assert cli.main(["evaluate", "result/model.npz", "new.csv"]) == 0
    assert capsys.readouterr().out.startswith("60 rows\naccuracy 100.00%, loss 0.")
    write("new.csv", ["long", "wide", "kind"], [[1, 2, "rose"]])
    assert cli.main(["evaluate", "result/model.npz", "new.csv"]) == cli.WRONG
    assert "FILE: kind got 'rose'; expected one of 'setosa', 'virginica'" in capsys.readouterr().err


def test_numbers_are_predicted_in_their_own_units(prices, capsys):
    train("--data", "prices.csv", "--target", "price", "--no-batch-norm", "--dropout", "0", "--epochs", "60")
    assert "(root mean square, in units of price; " in capsys.readouterr().out
    assert cli.main(["predict", "result/model.npz", "prices.csv"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    errors = np.array(lines, float) - prices.y[:, 0]
    assert header == "price" and np.sqrt(np.square(errors).mean()) < 0.2 * prices.y.std()
    assert cli.main(["evaluate", "result/model.npz", "prices.csv"]) == 0
    mean = dl.data.split(prices, 0.8, 0.1, 0.1, seed=0)[0].y.mean()  # the best constant is that of the training rows
    root, constant = (np.sqrt(np.square(error).mean()) for error in (errors, prices.y - mean))
    said = f"error {root:.4g} (root mean square, in units of price; {constant:.4g} for a constant)"
    assert said in capsys.readouterr().out


def test_arrays_of_ones_own(flowers, capsys):
    np.savez("own.npz", x=flowers.x, y=flowers.y)
    train("--data", "own.npz")
    assert cli.main(["evaluate", "result/model.npz", "own.npz"]) == 0
    np.savez("new.npz", x=flowers.x[:3])
    capsys.readouterr()
    assert cli.main(["predict", "result/model.npz", "new.npz"]) == 0
    assert [line[:2] for line in capsys.readouterr().out.splitlines()] == ["y,", "0,", "1,", "0,"]


def test_the_columns_of_arrays_are_found_by_name(flowers, capsys):
    """Of an .npz with names as of a table: in any order, and among others."""
    named = {"x": flowers.x, "kind": flowers.y, "feature_names": flowers.feature_names, "class_names": NAMES}
    np.savez("own.npz", **named)
    wide, long = flowers.x[:, 1], flowers.x[:, 0]
    mixed = {**named, "x": np.stack([wide, np.zeros(120), long], axis=1), "feature_names": ["wide", "zero", "long"]}
    np.savez("mixed.npz", **mixed)
    np.savez("less.npz", **{**named, "feature_names": ["wide", "high"]})
    for data in (["own.npz", "--target", "kind"], FLOWERS[1:]):
        train("--data", *data, "--overwrite")
        said = []
        for file in ("own.npz", "mixed.npz"):
            capsys.readouterr()
            assert cli.main(["predict", "result/model.npz", file]) == 0
            assert cli.main(["evaluate", "result/model.npz", file]) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1] and "accuracy 100.00%" in said[0]
        for command in ("predict", "evaluate"):
            assert cli.main([command, "result/model.npz", "less.npz"]) == cli.WRONG
            assert "FILE has no column 'long'; it has 'wide', 'high'" in capsys.readouterr().err


def test_the_instruments_compare_the_names_of_the_model(flowers, capsys):
    train(*FLOWERS)
    turned = [*FLOWERS[:4], "--features", "wide", "long", "--model", "result/model.npz"]
    for command in ("inspect", "preflight"):
        assert cli.main([command, *turned]) == cli.WRONG
        message = "--data.feature_names got ('wide', 'long'); expected ('long', 'wide'), those of the data"
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("labels", [("0", "1", "2"), ("p", "q", "r")])
def test_the_instruments_take_data_without_the_last_class(capsys, labels):
    for name, classes in (("all.csv", 3), ("two.csv", 2)):
        write(name, ["long", "wide", "kind"], [[i / 7, i % 5, labels[i % classes]] for i in range(60)])
    train("--data", "all.csv", "--target", "kind")
    for command in ("inspect", "preflight"):
        given = ["--data", "two.csv", "--target", "kind", "--model", "result/model.npz"]
        assert cli.main([command, *given]) != cli.WRONG, capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ["a"]},
        {"classes": 3},
        {"features": ["a", "a"]},
        {"features": [1, 2]},
        {"mean": [0.0]},
        {"mean": [math.nan, 0.0]},
        {"scale": [0.0, 1.0]},
        {"scale": "ab"},
        {"target": 3},
        {"target_mean": [[0.0]]},
        {"target_scale": -1.0},
        {"other": 1},
    ],
)
def test_a_file_whose_columns_do_not_fit_its_model_is_refused(flowers, capsys, wrong):
    train(*FLOWERS)
    _, description, arrays = storage.read("result/model.npz", storage.MODEL)
    described = {**description, "data": {**description["data"], **wrong}}
    storage.write(Path("wrong.npz"), storage.MODEL, described, arrays)
    for command in (["predict", "wrong.npz", "flowers.csv"], ["export", "wrong.npz", "--to", "wrong.onnx"]):
        capsys.readouterr()
        assert cli.main(command) == cli.WRONG
        said, error = capsys.readouterr()
        assert not said and "wrong.npz does not describe the columns of its model (" in error


def test_several_outputs_are_numbered(prices, capsys):
    np.savez("own.npz", x=prices.x, y=np.hstack([prices.y, -prices.y]))
    train("--data", "own.npz", "--epochs", "1")
    capsys.readouterr()
    assert cli.main(["predict", "result/model.npz", "own.npz"]) == 0
    assert capsys.readouterr().out.startswith("y_0,y_1\n")


def test_a_model_of_the_built_in_data_takes_their_columns(capsys):
    assert cli.main(["train", "--data", "xor", "--epochs", "1", *QUICK]) == 0
    test = dl.data.xor(1000, seed=1)
    np.savez("test.npz", x=test.x, y=test.y)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("test "))
    assert cli.main(["evaluate", "result/model.npz", "test.npz"]) == 0
    assert capsys.readouterr().out == f"1,000 rows\n{line.removeprefix('test ')}\n"


def test_the_instruments_take_a_table_too(flowers, monkeypatch):
    for kind in ("Inspection", "Preflight"):
        monkeypatch.setattr(f"minidl.diagnostics.{kind.lower()}.{kind}.plot", lambda self, path: path.touch())
    assert cli.main(["inspect", *FLOWERS, "--layers", "8"]) == 0
    assert cli.main(["preflight", *FLOWERS, "--layers", "8", "--dropout", "0"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "flowers.csv"], "--target got nothing; expected the name of the column of flowers.csv to predict"),
        (["--data", "flowers.csv", "--target", "kin"], "--target got 'kin'; expected one of 'number', 'long', "),
        ([*FLOWERS[:4], "--features", "log"], "--features got 'log'; expected one of"),
        ([*FLOWERS, "--delimiter", ";;"], "--delimiter got ';;'; expected one character"),
        ([*FLOWERS, "--delimiter", ";"], "--data: flowers.csv has one column, 'number,long,wide,kind', with delimiter"),
        (
            ["--data", "flowers.csv", "--target", "long", "--features", "kind"],
            "--data: flowers.csv has 120 entries not",
        ),
        (
            ["--data", "none.csv", "--target", "kind"],
            "--data got 'none.csv'; expected a file that can be read (No such",
        ),
        (["--data", "none.npz"], "--data got 'none.npz'; expected a file that can be read (No such"),
        (["--data", "flowers.npz", "--target", "z"], "--target got 'z'; expected one of 'x', 'y'"),
        (
            ["--data", "flowers.npz", "--task", "regression"],
            "--task got 'regression'; expected it for a .csv file only",
        ),
        (["--data", "few.csv", "--target", "y"], "--data: few.csv has 3 rows; expected 10 or more, to split them"),
        (
            ["--data", "years.csv", "--target", "y"],
            "--target: the largest label is 1,999, which makes 2,000 classes of ",
        ),
        (["--data", "xor", "--target", "y"], "--target got 'y'; expected --data FILE beside it, not xor"),
        (
            ["--data", "years.csv", "--target", "y", "--task", "regression", "--label-smoothing", "0.1"],
            "--label-smoothing got 0.1; expected 0 for targets that are no classes",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_option(flowers, capsys, tmp_path, options, message):
    np.savez("flowers.npz", x=flowers.x, y=flowers.y)
    write("few.csv", ["a", "y"], [[1, 0], [2, 1], [3, 0]])
    write("years.csv", ["a", "y"], [[k, 1980 + k] for k in range(20)])
    assert cli.main(["train", *options, *QUICK]) == cli.WRONG
    assert f"minidl: error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "result").exists()


def test_a_file_that_does_not_fit_the_model(flowers, prices, capsys):
    train(*FLOWERS)
    dl.Sequential(dl.Dense(2, 2)).save("plain.npz")
    np.savez("three.npz", x=prices.x, y=prices.y)
    np.savez("numbers.npz", x=flowers.x, kind=flowers.x)
    for arguments, message in {
        "predict result/model.npz prices.csv": "FILE has no column 'long'; it has 'a', 'b', 'c', 'price'",
        "predict result/model.npz three.npz": "FILE has 3 features; the model expects 2",
        "predict result/model.npz none.npz": "FILE got 'none.npz'; expected a file that can be read (No such file",
        "predict none.npz flowers.csv": "MODEL got 'none.npz'; expected a file that can be read (No such file",
        "predict flowers.csv flowers.csv": "flowers.csv is not a minidl model file, or it is damaged",
        "predict plain.npz flowers.csv": "MODEL got 'plain.npz', which does not say what its inputs and outputs are",
        "evaluate result/model.npz three.npz": "FILE has no column 'kind'; it has 'x', 'y'",
        "evaluate result/model.npz numbers.npz": "FILE: the targets of numbers.npz are float64; the model expects",
    }.items():
        capsys.readouterr()
        assert cli.main(arguments.split()) == cli.WRONG
        assert f"minidl: error: {message}" in capsys.readouterr().err


def test_few_rows_get_small_batches_and_many_epochs():
    def schedule(rows, *options):
        chosen = cli.parser().parse_args(["train", *options])
        settings = commands.settings_of(chosen).for_rows(rows)
        return settings.epochs, settings.batch_size

    assert schedule(9000) == (12, 128)
    assert schedule(120) == (34, 8)  # 15 steps each
    assert schedule(1000) == (25, 50)
    assert schedule(97, "--epochs", "3")[1] == 9  # 12 batches of 8 would leave one row
    assert schedule(97, "--batch-size", "8", "--epochs", "3") == (3, 8)


def test_a_constant_column_is_only_centred():
    data = dl.data.Dataset(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 1]), class_names=["a", "b"])
    columns = Columns.learned(data, "y")
    assert columns.standardized(data).x.tolist() == [[-1, 0], [1, 0]]
    numbers = replace(data, y=np.array([[10.0], [30.0]]), class_names=None)
    columns = Columns.learned(numbers, "y")
    assert columns.standardized(numbers).y.tolist() == [[-1], [1]]
    assert columns.values(np.array([[-1.0], [1.0]])).tolist() == numbers.y.tolist()


def test_evaluate_shows_the_confusion_matrix_on_request(flowers, capsys):
    train(*FLOWERS)
    capsys.readouterr()
    assert cli.main(["evaluate", "result/model.npz", "flowers.csv", "--confusion"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[2].startswith("accuracy ") and said[3].split()[3:] == ["→", *NAMES, "recall"]
    assert sum(int(cell) for row in said[4:6] for cell in row.split()[1:3]) == 120


def test_numbers_have_no_confusion_matrix(prices, capsys):
    train("--data", "prices.csv", "--target", "price")
    assert cli.main(["evaluate", "result/model.npz", "prices.csv", "--confusion"]) == cli.WRONG
    assert "--confusion: the model predicts numbers, price; expected one of classes" in capsys.readouterr().err


def test_an_exported_network_takes_the_columns_as_they_are(flowers, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="what runs the files needs the extra test")
    train(*FLOWERS)
    capsys.readouterr()
    assert cli.main(["export", "result/model.npz", "--to", "flowers.onnx"]) == 0
    assert capsys.readouterr().out == (
        "wrote flowers.onnx\nit takes float64 numbers as they are in the table, and standardizes them itself\n"
    )
    session = onnxruntime.InferenceSession("flowers.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"x": flowers.x})
    model, columns = sources.load("result/model.npz", "auto")
    np.testing.assert_allclose(logits, model.predict(columns.inputs(flowers.x)), rtol=1e-4, atol=1e-5)
    described = json.loads(session.get_modelmeta().custom_metadata_map["data"])
    assert described == {"target": "kind", "features": ["long", "wide"], "classes": NAMES}
    assert [NAMES[label] for label in logits.argmax(axis=1)] == [NAMES[label] for label in flowers.y]


def test_an_exported_network_predicts_in_the_units_of_the_targets(prices, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="what runs the files needs the extra test")
    train("--data", "prices.csv", "--target", "price")
    assert cli.main(["export", "result/model.npz", "--to", "prices.onnx"]) == 0
    capsys.readouterr()
    assert cli.main(["predict", "result/model.npz", "prices.csv"]) == 0
    expected = np.array(capsys.readouterr().out.splitlines()[1:], float)
    session = onnxruntime.InferenceSession("prices.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": prices.x})
    assert found.dtype == np.float64 and np.abs(found[:, 0] - expected).max() < 1e-5 * prices.y.std()


def test_other_files_say_how_their_inputs_are_made(flowers, capsys):
    safetensors = pytest.importorskip("safetensors", reason="safetensors files need the extra export")
    train(*FLOWERS)
    capsys.readouterr()
    assert cli.main(["export", "result/model.npz", "--to", "flowers.safetensors"]) == 0
    assert capsys.readouterr().out.startswith(
        "wrote flowers.safetensors\ninputs, and outputs that are numbers, are standardized;"
    )
    with safetensors.safe_open("flowers.safetensors", "np") as file:
        described = json.loads(file.metadata()["data"])
    assert Columns(**described) == sources.load("result/model.npz", "auto")[1]


@pytest.mark.parametrize("command", [["export", "--to", "m.safetensors"], ["predict", "flowers.csv"]])
def test_a_model_file_is_read_once(flowers, monkeypatch, command):
    if command[0] == "export":
        pytest.importorskip("safetensors", reason="safetensors files need the extra export")
    train(*FLOWERS)
    read, paths = storage.read, []
    monkeypatch.setattr(storage, "read", lambda path, *kinds, **more: paths.append(path) or read(path, *kinds, **more))
    assert cli.main([command[0], "result/model.npz", *command[1:]]) == 0
    assert paths == ["result/model.npz"]


def test_export_takes_any_model_and_writes_safetensors(capsys):
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors files need the extra export")
    model = dl.Sequential(dl.Dense(3, 2), backend="numpy", seed=0)
    model.save("model.npz")
    assert cli.main(["export", "model.npz", "--to", "model.safetensors"]) == 0
    assert capsys.readouterr().out == "wrote model.safetensors\n"
    assert (safetensors.load_file("model.safetensors")["0.weight"] == model.layers[0].weight.value).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.npz", "--to", "model.pt"], "the suffix of --to got '.pt'; expected one of '.onnx', '.safetensors'"),
        (["model.npz", "--to", "no/model.onnx"], "--to got 'no/model.onnx'; expected a file that can be written"),
        (["nothing.npz", "--to", "model.onnx"], "MODEL got 'nothing.npz'; expected a file that can be read"),
        (["table.csv", "--to", "model.onnx"], "table.csv is not a minidl model file"),
    ],
)
def test_export_refuses_by_the_name_of_the_argument(arguments, message, tmp_path, capsys):
    pytest.importorskip("onnx", reason="ONNX files need the extra export")
    dl.Sequential(dl.Dense(3, 2), backend="numpy").save("model.npz")
    write("table.csv", ["a"], [[1]])
    assert cli.main(["export", *arguments]) == cli.WRONG
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz", "table.csv"]


def test_export_replaces_a_file_only_if_told_to(tmp_path, capsys):
    pytest.importorskip("safetensors", reason="safetensors files need the extra export")
    dl.Sequential(dl.Dense(3, 2), backend="numpy").save("model.npz")
    target = tmp_path / "mine.safetensors"
    target.write_text("mine")
    command = ["export", "model.npz", "--to", target.name]
    assert cli.main(command) == cli.WRONG
    message = "--to: mine.safetensors is there already; add --overwrite to replace it"
    assert message in capsys.readouterr().err and target.read_text() == "mine"
    assert cli.main([*command, "--overwrite"]) == 0
    dl.export.load_safetensors(dl.load("model.npz", "numpy"), target)


def test_export_never_replaces_the_model_it_reads(tmp_path, capsys):
    dl.Sequential(dl.Dense(3, 2), backend="numpy").save("model.npz")
    before = (tmp_path / "model.npz").read_bytes()
    os.link("model.npz", "model.onnx")
    assert cli.main(["export", "model.npz", "--to", "model.onnx", "--overwrite"]) == cli.WRONG
    assert "--to got 'model.onnx', which is the file of the model; expected another" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").read_bytes() == before


def test_export_without_the_extra_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    dl.Sequential(dl.Dense(3, 2), backend="numpy").save("model.npz")
    assert cli.main(["export", "model.npz", "--to", "model.onnx"]) == cli.WRONG
    assert "to_onnx needs onnx, of the extra export: run pip install 'minidl[export]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
