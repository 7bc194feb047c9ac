"""What prints goes on where nothing can be shown, and shows what can be shown."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest

import minidl as dl
from minidl.utils.output import Output, say


def limited(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "? 2 ? ?"), ("cp1252", "? 2 × ?"), ("cp932", "γ 2 × ?"), ("utf-8", "γ 2 × ?"), ("utf-16", "γ 2 × ?")],
)
def test_characters_that_an_encoding_lacks_are_replaced(monkeypatch, encoding, shown):
    monkeypatch.setattr(sys, "stdout", limited(encoding))
    say("γ 2 × \udcff")  # the last one stands for a byte of a file name that is no text
    assert sys.stdout.buffer.getvalue().decode(encoding) == f"{shown}\n"


def test_a_stream_keeps_its_own_way_of_replacing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="xmlcharrefreplace"))
    say("γ")
    assert sys.stdout.buffer.getvalue().startswith(b"&#947;")


def closed():
    stream = limited("ascii")
    stream.close()
    return stream


def without_reader():
    ours, theirs = os.pipe()
    os.close(ours)
    return open(theirs, "w", encoding="utf-8")


def gone(*number):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(*number, "gone") if number else BrokenPipeError

    return Gone()


class OfAWindow:
    """As programs with windows put in the place of the streams."""

    def write(self, text):
        text.encode("ascii")

    def flush(self):
        pass

    def close(self):
        pass


GONE = [lambda: None, OfAWindow, closed, without_reader, gone, lambda: gone(errno.EINVAL), lambda: gone(errno.EIO)]


@pytest.mark.parametrize(
    "make", GONE, ids=["None", "a window", "closed", "a pipe", "a broken pipe", "a pipe on Windows", "a terminal"]
)
def test_training_goes_on_where_nobody_reads(monkeypatch, make):
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", make())
    history = dl.fit(
        dl.Sequential(dl.Dense(2, 2), seed=0), dl.data.gaussians(20),
        loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(), epochs=2, progress=True,
    )  # fmt: skip
    assert len(history) == 2
    print("more γ", file=Output(sys.stderr), flush=True)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.close()  # as Python does at its end: nothing is left that would fail


def test_a_full_disk_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", gone(errno.ENOSPC))
    with pytest.raises(OSError, match="gone"):
        say("a report")
