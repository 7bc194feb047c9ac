"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import minidl as dl
from minidl import cli, exercises
from minidl.cli import commands, sources
from minidl.cli.results import claimed_folder
from minidl.diagnostics.inspection import Inspection
from minidl.diagnostics.preflight import Preflight
from minidl.scalar.activations import ACTIVATIONS
from minidl.training.evaluation import Evaluation

QUICK = ["train", "--layers", "16", "--epochs", "2", "--batch-size", "128", "--data", "gaussians", "--dropout", "0"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undrawn(monkeypatch):
    """Files in the place of pictures, for tests of something else: to draw one takes longer than the rest."""
    for kind in (dl.History, Inspection, Preflight):
        monkeypatch.setattr(kind, "plot", lambda self, path: Path(path).write_text("a picture"))


def test_train_writes_a_picture_a_history_and_a_model(tmp_path, capsys):
    assert cli.main([*QUICK, "--out", "result"]) == 0
    folder = tmp_path / "result"
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "history.jsonl", "model.npz"]
    assert imread(folder / "curves.png").shape[0] > 100
    epochs = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    _, test = dl.data.gaussians(1000, seed=0), dl.data.gaussians(1000, seed=1)
    result = dl.evaluate(dl.load(folder / "model.npz"), test, loss=dl.SoftmaxCrossEntropy())
    assert f"test accuracy {result.accuracy:.2%}, loss {result.loss:.4f}" in capsys.readouterr().out


def test_the_defaults_learn_the_digits(tmp_path, capsys):
    """Fewer epochs than the default; the whole run is the first command of the README, which CI executes."""
    assert cli.main(["train", "--epochs", "4"]) == 0
    assert dl.load(tmp_path / "runs" / "digits-1" / "model.npz").n_in == 784
    accuracy = float(capsys.readouterr().out.partition("test accuracy ")[2].partition("%")[0])
    assert accuracy >= 94


def test_a_second_run_takes_the_next_folder(undrawn, tmp_path):
    assert cli.main(QUICK) == 0
    assert cli.main(QUICK) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["gaussians-1", "gaussians-2"]


def test_earlier_results_are_kept_unless_the_user_says_otherwise(undrawn, tmp_path, capsys):
    assert cli.main([*QUICK, "--out", "result"]) == 0
    before = (tmp_path / "result" / "model.npz").read_bytes()
    assert cli.main([*QUICK, "--seed", "1", "--out", "result"]) == cli.WRONG
    assert "add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "result" / "model.npz").read_bytes() == before
    assert cli.main([*QUICK, "--seed", "1", "--out", "result", "--overwrite"]) == 0
    assert (tmp_path / "result" / "model.npz").read_bytes() != before


@pytest.mark.parametrize("command", ["train", "inspect", "preflight"])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_computed(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(commands, "build_model", lambda *_: pytest.fail("too late"))
    (tmp_path / "file").touch()
    assert cli.main([command, "--data", "xor", "--out", str(tmp_path / "file" / "folder")]) == cli.WRONG
    assert f"--out got {str(tmp_path / 'file' / 'folder')!r}; expected a folder that can be" in capsys.readouterr().err


def test_out_may_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert cli.main([*QUICK, "--out", "file"]) == cli.WRONG
    assert "--out got 'file'; expected a folder that can be made and written (" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


LINKS = pytest.mark.skipif(os.name != "posix", reason="elsewhere not everybody may make links")


@pytest.mark.parametrize("out", ["", "a\0b", pytest.param("n" * 300, marks=LINKS), pytest.param("loop", marks=LINKS)])
def test_out_that_can_be_no_folder_is_told_before_training(tmp_path, capsys, monkeypatch, out):
    monkeypatch.setattr(commands, "build_model", lambda *_: pytest.fail("too late"))
    if out == "loop":
        (tmp_path / "loop").symlink_to("loop")
    assert cli.main([*QUICK, "--out", out]) == cli.WRONG
    assert "--out got " in capsys.readouterr().err


def test_the_first_line_says_where_it_writes_and_that_is_there_already(undrawn, tmp_path, capsys, monkeypatch):
    def fit(*arguments, **options):
        assert capsys.readouterr().out.splitlines()[0] == f"writing to {Path('runs', 'gaussians-1')}"
        assert (tmp_path / "runs" / "gaussians-1").is_dir()
        return dl.History()

    monkeypatch.setattr(dl, "fit", fit)
    assert cli.main(QUICK) == 0


def test_commands_at_the_same_time_never_share_a_folder(tmp_path):
    together, folders = threading.Barrier(8), []

    def run():
        together.wait()
        for _ in range(20):
            with claimed_folder("digits", ["model.npz"], None, False) as folder:
                (folder / "model.npz").write_text("mine")
            folders.append(folder)

    in_threads(run)
    assert len({*folders}) == len(folders) == 160
    assert sorted(map(str, folders)) == sorted(map(str, Path("runs").iterdir()))


@pytest.mark.parametrize("out", [None, "result"])
def test_a_command_that_comes_first_at_the_last_moment(tmp_path, monkeypatch, out):
    """What the other one does in between is done here, right before the call that claims the folder."""
    mkdir, touch = Path.mkdir, Path.touch

    def mkdir_second(path, *arguments, **options):
        if path.name == "digits-1":
            os.makedirs(path, exist_ok=True)
        mkdir(path, *arguments, **options)

    def touch_second(path, *arguments, **options):
        path.write_text("of the other")
        touch(path, *arguments, **options)

    monkeypatch.setattr(Path, *(("touch", touch_second) if out else ("mkdir", mkdir_second)))
    claimed = claimed_folder("digits", ["history.jsonl", "model.npz"], out, False)
    if out:
        with pytest.raises(ValueError, match=r"--out: result.model.npz is there already; add --overwrite"), claimed:
            pass
        assert Path("result", "model.npz").read_text() == "of the other"
    else:
        with claimed as folder:
            assert folder == Path("runs", "digits-2")


def in_threads(run):
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_run_that_leaves_nothing_leaves_no_folder(undrawn, tmp_path, monkeypatch):
    def fit(*arguments, **options):
        raise ValueError("wrong")

    monkeypatch.setattr(dl, "fit", fit)
    assert cli.main([*QUICK, "--out", "result"]) == cli.main(QUICK) == cli.WRONG
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_results_that_are_to_be_replaced_stay_until_there_are_new_ones(tmp_path, monkeypatch):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "model.npz").write_text("old")
    monkeypatch.setattr(dl, "fit", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([*QUICK, "--out", "result", "--overwrite"])
    assert (tmp_path / "result" / "model.npz").read_text() == "old"


def test_the_same_seed_gives_the_same_model(undrawn, tmp_path):
    cli.main([*QUICK, "--out", "a"])
    cli.main([*QUICK, "--out", "b"])
    cli.main([*QUICK, "--out", "c", "--seed", "1"])
    arrays = [np.load(tmp_path / name / "model.npz") for name in "abc"]
    assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0].files)
    assert not np.array_equal(arrays[0]["0.weight"], arrays[2]["0.weight"])


def test_the_options_describe_the_network(undrawn, capsys):
    options = "--layers 8 4 --activation leaky_relu --init glorot_uniform --no-batch-norm --dropout 0.25"
    assert cli.main(["train", "--data", "xor", "--epochs", "1", "--dtype", "float64", *options.split()]) == 0
    summary = capsys.readouterr().out
    layers = (
        "Dense(2, 8, init='glorot_uniform')",
        "LeakyReLU()",
        "Dropout(0.25)",
        "Dense(4, 2, init='glorot_uniform')",
    )
    for layer in (*layers, "float64"):
        assert layer in summary
    assert "BatchNorm" not in summary


def test_no_hidden_layer_gives_a_linear_classifier(undrawn, capsys):
    assert cli.main(["train", "--data", "gaussians", "--epochs", "1", "--layers"]) == 0
    assert "0  Dense(2, 2)" in capsys.readouterr().out


# What reaches the library


@pytest.fixture
def given(monkeypatch):
    """The arguments that the commands give to `fit`, `inspect` and `preflight`, which do nothing with them."""
    arguments = {}

    def fit(model, train, **options):
        arguments.update(options, model=model, train=train)
        return dl.History()

    def evaluate(model, data, **options):
        arguments["test"] = data
        return Evaluation(0.5, 0.75)

    def look(model, *data, loss):
        arguments.update(model=model, data=data, loss=loss)
        raise ValueError("that is all")

    monkeypatch.setattr(dl, "fit", fit)
    monkeypatch.setattr(dl, "evaluate", evaluate)
    monkeypatch.setattr(dl, "inspect", look)
    monkeypatch.setattr(dl, "preflight", look)
    return arguments


def assert_same_data(found, expected):
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.y, expected.y)


EVERY_OPTION = (
    "--data xor --layers 8 4 --activation tanh --init he_uniform --dropout 0.25 --l1 0.01 --l2 0.02 --seed 3 "
    "--label-smoothing 0.1 --backend numpy --dtype float64"
)


def model_of_every_option():
    hidden = [
        (dl.Dense(n_in, n_out, init="he_uniform", bias=False), dl.BatchNorm(n_out), dl.Tanh(), dl.Dropout(0.25))
        for n_in, n_out in ((2, 8), (8, 4))
    ]
    layers = [*hidden[0], *hidden[1], dl.Dense(4, 2, init="he_uniform")]
    return dl.Sequential(*layers, backend="numpy", seed=3, dtype="float64", penalty=dl.ElasticNet(0.01, 0.02))


def test_every_option_of_train_reaches_fit(given):
    options = "--learning-rate 0.02 --epochs 7 --batch-size 33 --checkpoint new.npz --resume old.npz --optimizer sgd"
    assert cli.main(["train", *EVERY_OPTION.split(), *options.split()]) == 0
    assert repr(given["model"]) == repr(model_of_every_option())
    train, validation = dl.data.split(dl.data.xor(1000, seed=3), 0.9, 0.1, seed=3)
    assert_same_data(given["train"], train)
    assert_same_data(given["validation"], validation)
    assert repr(given["loss"]) == "SoftmaxCrossEntropy(label_smoothing=0.1)"
    assert repr(given["optimizer"]) == "SGD(learning_rate=0.02)"
    assert (given["epochs"], given["batch_size"]) == (7, 33)
    assert (given["checkpoint"], given["resume"]) == ("new.npz", "old.npz")


@pytest.mark.parametrize("command", ["inspect", "preflight"])
def test_every_option_of_the_instruments_reaches_them(command, given):
    assert cli.main([command, *EVERY_OPTION.split(), *(["--rows", "70"] * (command == "inspect"))]) == cli.WRONG
    assert repr(given["model"]) == repr(model_of_every_option())
    assert repr(given["loss"]) == "SoftmaxCrossEntropy(label_smoothing=0.1)"
    train, validation = dl.data.split(dl.data.xor(1000, seed=3), 0.9, 0.1, seed=3)
    for found, expected in zip(given["data"], train[:70] if command == "inspect" else (train, validation), strict=True):
        if command == "inspect":
            np.testing.assert_array_equal(found, expected)
        else:
            assert_same_data(found, expected)


@pytest.mark.parametrize("command", ["inspect", "preflight"])
def test_a_saved_model_runs_on_the_backend_that_was_asked_for(command, given):
    dl.Sequential(dl.Dense(2, 2), backend="cpu").save("model.npz")
    assert cli.main([command, "--data", "xor", "--model", "model.npz", "--backend", "numpy"]) == cli.WRONG
    assert given["model"].backend.name == "numpy"


@pytest.mark.parametrize("name", commands.OPTIMIZERS)
def test_every_optimizer_can_be_chosen(name, given):
    assert cli.main([*QUICK, "--optimizer", name, "--learning-rate", "0.02"]) == 0
    assert type(given["optimizer"]).__name__.lower() == name
    assert given["optimizer"].learning_rate == 0.02


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_can_be_chosen(name, given):
    assert cli.main([*QUICK, "--activation", name]) == 0
    assert type(given["model"].layers[2]).__name__ == ACTIVATIONS[name].layer


@pytest.mark.parametrize("name", ["gaussians", "circles", "xor", "spiral"])
@pytest.mark.parametrize("seed", [0, 5])
def test_every_toy_problem_has_the_seed_and_a_test_set_of_its_own(name, seed, given):
    assert cli.main([*QUICK, "--data", name, "--seed", str(seed)]) == 0
    train, validation = dl.data.split(getattr(dl.data, name)(1000, seed=seed), 0.9, 0.1, seed=seed)
    assert_same_data(given["train"], train)
    assert_same_data(given["validation"], validation)
    assert_same_data(given["test"], getattr(dl.data, name)(1000, seed=seed + 1))


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist"])
def test_every_set_of_images_can_be_chosen(name, given, monkeypatch):
    train, test = dl.data.circles(100), dl.data.xor(100)
    monkeypatch.setattr(dl.data, name, lambda: (train, test))
    assert cli.main([*QUICK, "--data", name]) == 0
    assert_same_data(dl.data.concatenate(given["train"], given["validation"]), train[order_of(train, given)])
    assert len(given["validation"]) == 10 and given["test"] is test


def order_of(train, given):
    """The rows of `train` in the order of the parts, which are found by their inputs."""
    place = {x.tobytes(): row for row, x in enumerate(train.x)}
    return np.array([place[x.tobytes()] for part in ("train", "validation") for x in given[part].x])


def test_the_test_set_is_used_once_after_training(given, monkeypatch):
    uses = []
    monkeypatch.setattr(dl, "evaluate", lambda model, data, **options: uses.append(data) or Evaluation(0.5, 0.75))
    assert cli.main(QUICK) == 0
    assert len(uses) == 1
    assert_same_data(uses[0], dl.data.gaussians(1000, seed=1))
    for part in (given["train"], given["validation"]):
        assert not {x.tobytes() for x in part.x} & {x.tobytes() for x in uses[0].x}


def test_a_rate_of_0_means_no_dropout_and_no_strength_no_penalty(given):
    assert cli.main([*QUICK, "--dropout", "0", "--no-batch-norm"]) == 0
    assert [type(layer).__name__ for layer in given["model"].layers] == ["Dense", "ReLU", "Dense"]
    assert given["model"].layers[0].bias is not None and given["model"].penalty is None


def test_the_time_limit_reaches_the_check_of_an_exercise(monkeypatch):
    seen = []
    monkeypatch.setattr(exercises, "check", lambda *arguments: seen.append(arguments) or len(seen) == 1)
    name = next(iter(exercises.EXERCISES))
    command = ["exercise", "check", name, "--folder", "here", "--timeout", "2.5"]
    assert cli.main(command) == 0 and seen == [(name, "here", 2.5)]
    assert cli.main(command) == cli.FAILED == 1


def test_the_emulator_can_be_chosen(undrawn, capsys, monkeypatch):
    monkeypatch.setitem(sources.DATA, "xor", lambda seed: (dl.data.xor(40), dl.data.xor(20)))
    options = ["train", "--data", "xor", "--layers", "2", "--epochs", "1", "--batch-size", "20"]
    assert cli.main([*options, "--backend", "emulator"]) == 0
    assert "emulator, float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--data", "digit", "did you mean 'digits'?"),
        ("--activation", "rellu", "did you mean 'relu'?"),
        ("--init", "he_norm", "did you mean 'he_normal'?"),
        ("--data", "iris.cvs", "expected a file whose name ends in .csv or .npz"),
        ("--data", "tables/iris", "expected a file whose name ends in .csv or .npz"),
        ("--optimizer", "adan", "did you mean 'adam"),
        ("--backend", "gpu", "expected one of 'auto', 'numpy', 'cpu', 'cuda', 'emulator'"),
        ("--dropout", "1.5", "at most 1"),
        ("--dropout", "nan", "expected a finite number"),
        ("--learning-rate", "0", "greater than 0"),
        ("--learning-rate", "fast", "expected a number"),
        ("--layers", "0", "expected an integer of at least 1"),
        ("--epochs", "2.5", "expected an integer of at least 1"),
        ("--seed", "-1", "expected an integer of at least 0"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_expects(option, value, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", option, value])
    assert stop.value.code == cli.WRONG
    error = capsys.readouterr().err
    assert error.startswith(f"minidl train: error: {option} got ") and error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --optimiser sgd", "minidl train: error: there is no --optimiser here; did you mean --optimizer? ("),
        (
            "train --lr=0.1",
            "minidl train: error: there is no --lr here; did you mean --learning-rate? (see minidl train",
        ),
        ("train --zebra", "minidl train: error: there is no --zebra here (see minidl train --help)"),
        ("train digits", "minidl train: error: there is no digits here ("),
        (
            "exercise check saxpy --folders x",
            "minidl exercise check: error: there is no --folders here; did you mean --fo",
        ),
        ("trian --epochs 2", "minidl: error: COMMAND got 'trian'; expected one of 'train', 'sweep', "),
        ("it's", "minidl: error: COMMAND got \"it's\"; expected one of 'train', "),
        ("exercise strat adam", "minidl exercise: error: ACTION got 'strat'; expected one of 'list', 'start', "),
        ("exercise start saxpi", "minidl exercise start: error: NAME got 'saxpi'; expected one of"),
        ("inspect --lr 1", "minidl inspect: error: there is no --lr here ("),
    ],
)
def test_an_unknown_option_leads_to_the_nearest(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments.split())
    assert stop.value.code == cli.WRONG
    assert capsys.readouterr().err.startswith(message)


def test_missing_data_files_are_an_error_and_not_a_traceback(monkeypatch, capsys):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", "empty")
    monkeypatch.setenv("LOCALAPPDATA", "empty")
    monkeypatch.delenv("MINIDL_DATA", raising=False)
    monkeypatch.setattr("pathlib.Path.home", classmethod(lambda cls: cls("empty")))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    assert cli.main(["train", "--data", "mnist"]) == cli.WRONG
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err


def test_a_diverging_run_has_its_own_exit_code(capsys):
    # Without batch norm, steps of 1e12 overflow float32 within an epoch.
    options = ["--no-batch-norm", "--optimizer", "sgd", "--learning-rate", "1e12", "--epochs", "50"]
    assert cli.main([*QUICK, *options]) == cli.FAILED
    error = capsys.readouterr().err
    assert "the loss became" in error
    assert "the first layer with a non-finite output is 2 Dense(16, 2" in error


@pytest.mark.usefixtures("python_handles_interrupts")
def test_ctrl_c_keeps_what_was_learned(undrawn, tmp_path, monkeypatch):
    real, calls = dl.Adam.step, []

    def step(self, parameters):
        real(self, parameters)
        calls.append(1)
        if len(calls) == 10:  # in the second epoch, which has 8 steps
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(dl.Adam, "step", step)
    assert cli.main([*QUICK, "--epochs", "1000", "--out", "result"]) == cli.INTERRUPTED
    assert len(calls) == 10
    assert dl.load(tmp_path / "result" / "model.npz").predict(np.zeros((1, 2), np.float32)).shape == (1, 2)
    assert len((tmp_path / "result" / "history.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(("backend", "compiled", "told"), [("cpu", False, 1), ("cpu", True, 0), ("numpy", False, 0)])
def test_that_the_first_step_compiles_is_told_before_it(given, monkeypatch, capsys, backend, compiled, told):
    monkeypatch.setattr(commands, "is_compiled", lambda: compiled)
    assert cli.main([*QUICK, "--backend", backend]) == 0
    assert capsys.readouterr().out.count("\ncompiling for this processor, once") == told


def test_warmup_trains_with_everything_that_can_be_chosen(monkeypatch, capsys):
    seen = set()

    def fit(model, train, *, loss, optimizer, **options):
        seen.update({type(layer) for layer in model.layers}, {type(loss), (type(optimizer), str(model.dtype))})

    monkeypatch.setattr(dl, "fit", fit)
    assert cli.main(["warmup"]) == 0
    assert {
        *dl.ACTIVATION_LAYERS.values(),
        dl.BatchNorm,
        dl.Dropout,
        dl.SoftmaxCrossEntropy,
        dl.MeanSquaredError,
    } <= seen
    assert {(kind, dtype) for kind in commands.OPTIMIZERS.values() for dtype in ("float32", "float64")} <= seen
    assert "kept in " in capsys.readouterr().out
    monkeypatch.setattr(commands, "cache_path", lambda: None)
    assert cli.main(["warmup"]) == cli.WRONG
    assert "set NUMBA_CACHE_DIR" in capsys.readouterr().err


# Inspect and preflight


def test_inspect_prints_a_table_and_draws_it(tmp_path, capsys):
    options = ["--data", "spiral", "--layers", "8", "4", "--dropout", "0", "--seed", "3"]
    assert cli.main(["inspect", *options, "--rows", "100", "--out", "result"]) == 0
    layers = [
        dl.Dense(2, 8, bias=False), dl.BatchNorm(8), dl.ReLU(), dl.Dense(8, 4, bias=False), dl.BatchNorm(4), dl.ReLU(),
        dl.Dense(4, 2),
    ]  # fmt: skip
    data = dl.data.split(dl.data.spiral(1000, seed=3), 0.9, 0.1, seed=3)[0][:100]
    expected = dl.inspect(dl.Sequential(*layers, seed=3), *data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "spiral: the first 100 training samples"
    assert "\n".join(lines[1:-1]) == str(expected)
    assert lines[-1] == "wrote inspection.png to result"
    assert imread(tmp_path / "result" / "inspection.png").shape[0] > 500


def test_inspect_takes_a_saved_model(undrawn, capsys):
    assert cli.main([*QUICK, "--out", "result", "--checkpoint", "run.npz"]) == 0
    capsys.readouterr()
    data = dl.data.split(dl.data.gaussians(1000, seed=0), 0.9, 0.1)[0][:500]
    for file in ("result/model.npz", "run.npz"):
        assert cli.main(["inspect", "--data", "gaussians", "--model", file]) == 0
        assert str(dl.inspect(dl.load(file), *data)) in capsys.readouterr().out
    assert cli.main(["inspect", "--data", "digits", "--model", "run.npz"]) == cli.WRONG
    assert "x got 784 features; the model expects 2" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "preflight"])
def test_a_model_file_that_is_not_there(command, tmp_path, capsys):
    assert cli.main([command, "--data", "xor", "--model", "none.npz"]) == cli.WRONG
    assert "none.npz" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_preflight_prints_its_checks_and_draws_the_samples(tmp_path, capsys):
    assert cli.main(["preflight", "--data", "xor", "--layers", "32", "--no-batch-norm", "--dropout", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 9
    assert [path.name for path in (tmp_path / "runs" / "xor-1").iterdir()] == ["preflight.png"]
    assert lines[-1].startswith("wrote preflight.png to ")


def test_a_check_that_fails_has_its_exit_code(capsys):
    options = ["preflight", "--data", "xor", "--layers", "8", "--no-batch-norm", "--init", "zeros"]
    assert cli.main(options) == cli.FAILED == 1
    assert "failed   20 samples: loss 0.6" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "preflight"])
def test_earlier_pictures_are_kept_unless_the_user_says_otherwise(undrawn, command, tmp_path, capsys):
    options = [command, "--data", "xor", "--layers", "8", "--out", "result"]
    assert cli.main(options) == 0
    assert cli.main(options) == cli.WRONG
    assert "add --overwrite" in capsys.readouterr().err
    assert cli.main([*options, "--overwrite"]) == 0


def test_doctor_says_what_there_is_and_why_the_rest_is_not(capsys):
    assert cli.main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert f"minidl {dl.__version__}" in report
    for name, reason in dl.backend.available().items():
        assert any(line.split()[0] == name and (reason or "ready") in line for line in report.splitlines() if line)
    assert f"means {dl.backend.get('auto').name}" in report


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "minidl", "--version"], capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout == f"minidl {dl.__version__}\n"


def test_without_a_command_it_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == cli.WRONG
    assert "COMMAND" in capsys.readouterr().err


# Where the output goes


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932"])
@pytest.mark.parametrize(
    "command", ["--help", "train --help", "doctor", "exercise list", "inspect --data xor", "preflight --data xor"]
)
def test_reports_come_out_in_every_encoding(undrawn, monkeypatch, command, encoding):
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    try:
        assert cli.main(command.split()) == 0
    except SystemExit as end:  # of help
        assert not end.code
    assert len(output.buffer.getvalue().decode(encoding).splitlines()) > 5


def test_an_error_comes_out_in_every_encoding(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert cli.main(["inspect", "--model", "größe.npz"]) == cli.WRONG
    assert b"gr??e.npz" in sys.stderr.detach().getvalue()


def test_training_goes_on_and_writes_its_files_when_nobody_reads_any_more(tmp_path):
    command = [sys.executable, "-m", "minidl", *QUICK, "--out", "result"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout.readline().startswith(b"writing to result")
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    assert len(list((tmp_path / "result").iterdir())) == 3


def test_training_without_any_output(undrawn, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main([*QUICK, "--out", "result"]) == 0
    assert len(list((tmp_path / "result").iterdir())) == 3
    assert cli.main(["inspect", "--model", "missing"]) == cli.WRONG


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_report_that_cannot_be_written_is_an_error(monkeypatch, capsys):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["exercise", "list"]) == cli.WRONG
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert "No space left" in capsys.readouterr().err
