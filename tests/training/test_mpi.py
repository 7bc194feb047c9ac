"""Runs of several processes under mpiexec, more than there are cores, perhaps.

`python -m tests.training.test_mpi` writes the table of docs/parallel.md.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import minidl as dl
from tests.ranks import Threads
from tests.training import ranks_program

pytest.importorskip("mpi4py", reason="ranks need the extra mpi")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="ranks need mpiexec, which comes with the extra mpi")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "parallel.md"
RANKS = (1, 2, 4)


def mpiexec(ranks, *arguments, cwd=ROOT, timeout=300):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MINIDL_NUM_THREADS": "1"}
    command = [MPIEXEC, "-n", str(ranks), sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd)


def program(ranks, what, folder, **options):
    return mpiexec(ranks, "-m", "mpi4py", ranks_program.__file__, what, str(folder), **options)


def results_of(folder):
    """What runs with 4, 2 and 1 ranks give, by the number of ranks; the first one leaves checkpoints to the others."""
    found = {}
    for ranks in reversed(RANKS):
        done = program(ranks, "train", folder)
        assert done.returncode == 0, done.stderr
        found[ranks] = json.loads((folder / f"{ranks}.json").read_text())
    return found


def test_1_2_and_4_processes_give_the_same_bits_and_resume_one_another(tmp_path):
    found = results_of(tmp_path)
    for ranks in RANKS:
        assert found[ranks]["whole"] == found[4]["whole"], ranks
        assert found[ranks]["captured"] == found[4]["whole"], ranks
        assert found[ranks]["synchronized"] == found[4]["synchronized"] != found[4]["whole"], ranks
        assert found[ranks]["resumed"] == found[4]["whole"], ranks
    # Ctrl-C on rank 1, in the second step of the third epoch.
    assert [found[ranks]["interrupted"] for ranks in RANKS] == [[False, 4], [True, 2], [True, 2]]


def test_a_killed_rank_ends_the_program_and_leaves_a_whole_checkpoint(tmp_path):
    done = program(2, "kill", tmp_path)
    assert done.returncode != 0
    assert re.search("BAD TERMINATION.*signal:? 9", done.stdout + done.stderr, re.S | re.I)
    assert dl.load(tmp_path / "last.ckpt").epochs_trained == 2

    def go_on(comm, **options):
        return ranks_program.train(dl.parallel.over(comm), **options)[0]

    resumed = Threads(3).run(functools.partial(go_on, resume=tmp_path / "last.ckpt"))
    assert resumed == 3 * Threads(1).run(go_on)


def test_an_exception_on_one_rank_ends_all_with_its_traceback(tmp_path):
    done = program(2, "fail", tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("LookupError: rank 1 has lost its way") == 1


def test_an_exit_of_one_rank_ends_all(tmp_path):
    done = program(2, "exit", tmp_path, timeout=100)
    assert done.returncode == 1
    assert "rank 1 has left the training by sys.exit, so all ranks end" in done.stdout


def test_the_command_line(tmp_path):
    options = ["-m", "minidl", "train", "--parts", "4", "--epochs", "1", "--layers", "8", "--batch-size", "512"]
    options += ["--sync-batch-norm"]
    done = mpiexec(2, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   1") == done.stdout.count("test accuracy") == 1
    assert sorted(path.name for path in tmp_path.glob("runs/digits-1/*")) == [
        "curves.png",
        "history.jsonl",
        "model.npz",
    ]
    done = mpiexec(2, *options, "--out", "runs/digits-1", cwd=tmp_path)  # refused by rank 0, for which rank 1 waits
    assert done.returncode == 2
    assert "--out: " in done.stderr and "there already" in done.stderr


def test_ranks_without_parts_are_refused(tmp_path):
    done = mpiexec(2, "-m", "minidl", "train", "--epochs", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "minidl: error: --parts got nothing, so each of 2 ranks would train a model of its own" in done.stderr
    assert not list(tmp_path.iterdir())
    done = mpiexec(1, "-m", "minidl", "train", "--epochs", "1", "--layers", "8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_page_shows_equal_hashes():
    rows = re.findall(r"^\| ([a-zA-Z ,]+) \| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert [row[0] for row in rows] == ["weights", "running estimates, counters", "moments of Adam", "history"]
    assert all(row[1] == row[2] == row[3] for row in rows)


def table(found):
    """The first digits of the hashes, in Markdown."""
    lines = ["| SHA-256 of | 1 rank | 2 ranks | 4 ranks |", "|---|---|---|---|"]
    for of in found[4]["whole"]:
        digits = (f"`{found[ranks]['whole'][of][:16]}`" for ranks in RANKS)
        lines.append(f"| {of} | {' | '.join(digits)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = table(results_of(Path(folder)))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"\| SHA-256 of .*?\n(?!\|)", text + "\n", page, flags=re.S), encoding="utf-8")
