"""History: the epochs of a run as text, as columns, as JSON lines and as a picture."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest

import minidl as dl
from minidl.training.history import Epoch


def history_of(epochs=3, accuracy=True, validation=True):
    history = dl.History()
    for i in range(1, epochs + 1):
        history.epochs.append(
            Epoch(
                epoch=i,
                loss=1 / i,
                accuracy=1 - 0.5 / i if accuracy else None,
                validation_loss=1.25 / i if validation else None,
                validation_accuracy=0.875 if accuracy and validation else None,
                learning_rate=0.1,
                seconds=2.5,
            )
        )
    return history


def test_it_prints_one_line_for_each_epoch():
    assert str(history_of(2)) == (
        "epoch   1   loss 1.0000   accuracy 50.00%   validation loss 1.2500   validation accuracy 87.50%   2.50 s\n"
        "epoch   2   loss 0.5000   accuracy 75.00%   validation loss 0.6250   validation accuracy 87.50%   2.50 s"
    )


def test_it_prints_only_what_there_is():
    assert str(history_of(1, accuracy=False)) == "epoch   1   loss 1.0000   validation loss 1.2500   2.50 s"
    assert str(history_of(1, validation=False)) == "epoch   1   loss 1.0000   accuracy 50.00%   2.50 s"
    assert str(dl.History()) == "no epoch was finished"
    nothing = "epoch   1   loss 0.0000   accuracy 0.00%   validation loss 0.0000   validation accuracy 0.00%   0.00 s"
    assert str(Epoch(1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0)) == nothing, "zero is a number, not a missing one"


def test_its_columns_are_lists():
    history = history_of(2)
    assert history["epoch"] == [1, 2]
    assert history["loss"] == [1.0, 0.5]
    assert history["accuracy"] == [0.5, 0.75]
    assert history["validation_loss"] == [1.25, 0.625]
    assert history["validation_accuracy"] == [0.875, 0.875]
    assert history["learning_rate"] == [0.1, 0.1]
    assert history["seconds"] == [2.5, 2.5]
    assert dl.History()["loss"] == []


def test_an_unknown_column_is_refused_with_the_ones_there_are():
    with pytest.raises(KeyError, match="column got 'acc'; expected one of 'epoch', 'loss', 'accuracy', 'valid"):
        history_of()["acc"]


def test_it_has_a_length_and_can_be_iterated():
    history = history_of(3)
    assert len(history) == 3
    assert [epoch.loss for epoch in history] == history["loss"]
    assert repr(history) == f"<History: 3 epochs, the last: {history.epochs[-1]}>"
    assert history.interrupted is False


# JSON lines


def test_json_lines_give_back_every_number(tmp_path):
    history = history_of(3, accuracy=False)
    history.save(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Epoch(**json.loads(line)) for line in lines] == history.epochs


def test_an_empty_history_is_an_empty_file(tmp_path):
    dl.History().save(str(tmp_path / "history.jsonl"))
    assert (tmp_path / "history.jsonl").read_bytes() == b""


def test_json_lines_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "history.jsonl"
    path.write_text("old", encoding="utf-8")
    broken = history_of(3)
    object.__setattr__(broken.epochs[2], "loss", {1, 2})  # json refuses it, after two lines are written
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


# Pictures


def ink(picture):
    """The share of pixels that are not white."""
    return np.mean(picture[..., :3].min(axis=-1) < 0.95)


@pytest.mark.parametrize("accuracy", [True, False])
@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("epochs", [1, 5])
def test_plot_draws_a_png(tmp_path, accuracy, validation, epochs):
    history_of(epochs, accuracy, validation).plot(tmp_path / "curves.png")
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    height, width, _ = picture.shape
    assert height > 300 and width > (600 if accuracy else 300) and (width > 2 * height) == accuracy
    assert 0.01 < ink(picture) < 0.5


def test_plot_draws_validation_beside_training(tmp_path):
    pictures = []
    for validation in (True, False):
        history_of(5, validation=validation).plot(tmp_path / "curves.png")
        pictures.append(matplotlib.image.imread(tmp_path / "curves.png"))
    assert ink(pictures[0]) > 1.02 * ink(pictures[1])


@pytest.mark.parametrize(
    ("name", "start", "inside"),
    [("curves.pdf", b"%PDF-", b"%%EOF"), ("curves.svg", b"<?xml", b"</svg>"), ("curves.PNG", b"\x89PNG", b"IEND")],
)
def test_the_suffix_chooses_the_format(tmp_path, name, start, inside):
    history_of().plot(str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start) and inside in content[-100:]


@pytest.mark.parametrize("name", ["curves.pgn", "curves", "curves.npz"])
def test_an_unknown_suffix_is_refused_and_leaves_no_file(tmp_path, name):
    suffix = name.partition(".")[2]
    with pytest.raises(ValueError, match=f"^the suffix of path got '{suffix}'; expected one of .*'png'"):
        history_of().plot(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_history_is_not_drawn(tmp_path):
    with pytest.raises(ValueError, match="^the history is empty: no epoch was finished, so there is nothing to draw$"):
        dl.History().plot(tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def fail(figure, file, **options):
        file.write(b"half a picture")
        raise OSError("disk full")

    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        history_of().plot(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_plot_needs_no_display_and_leaves_pyplot_alone(tmp_path):
    import subprocess
    import sys

    program = (
        "import sys, minidl as dl; from minidl.training.history import Epoch; h = dl.History();"
        "h.epochs.append(Epoch(1, 1.0, 0.5, None, None, 0.1, 1.0)); h.plot('curves.png');"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    )
    assert (result.stdout.strip(), result.stderr) == ("False", "")
