"""Calls functions and methods with hostile values for several arguments at once, and counts what is wrong:

    python -m tests.robustness.fuzz [--seed 0] [--seconds 600] [--calls N] [--only WORD ...]

The calls run in a process of their own; where it dies or hangs, that call is the reason, and another process goes on
behind it. The same seed gives the same calls. Exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
HANGS = 20  # seconds after which a call hangs
MEMORY = 8 * 2**30  # bytes of address space, where the system can limit them: more is asked for before it is checked
LEFT_OUT = ("check", "mnist", "fashion_mnist")  # start processes, or download


def targets() -> dict[str, Any]:
    """What is called, by name: a function that makes it anew, and which values each argument is spared."""
    from tests.robustness import test_fuzz_arguments as functions
    from tests.robustness import test_fuzz_methods as methods

    found = {}
    for name, function, valid in functions.ALL:
        if name not in LEFT_OUT:
            found[name] = lambda function=function, valid=valid: (function, valid())
    return {**found, **methods.METHODS}


def draw(rng: random.Random, make: Any) -> dict[str, str]:
    """Draw the label of a hostile value for one argument or for several."""
    import numpy as np

    from tests.robustness import hostile

    _, valid = make()
    names = [name for name in valid if rng.random() < 0.6] if rng.random() < 0.5 else []
    names = names or [rng.choice(list(valid))] if valid else []
    forms = [f"{form} of it" for form in hostile.FORMS]
    return {
        name: rng.choice([*hostile.VALUES, *(forms if isinstance(valid[name], np.ndarray) else [])]) for name in names
    }


def work(seed: int, start: int, only: list[str]) -> None:
    """Make calls for ever; print each before it is made, and then what is wrong."""
    from tests.robustness import hostile, test_fuzz_arguments

    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    report, sys.stdout = sys.stdout, io.StringIO()  # what the calls print goes nowhere
    chosen = {name: make for name, make in targets().items() if not only or any(word in name for word in only)}
    for number in range(start, sys.maxsize):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(list(chosen))
        labels = draw(rng, chosen[name])
        if not labels or test_fuzz_arguments.spared(name, labels):
            continue
        shown = ", ".join(f"{argument}={label}" for argument, label in labels.items())
        print(f"{number} {name}({shown})".encode("ascii", "backslashreplace").decode(), file=report, flush=True)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        values = {argument: hostile.maker(chosen[name], argument, label) for argument, label in labels.items()}
        found = hostile.problem(chosen[name], values, test_fuzz_arguments.also(labels))
        faulthandler.cancel_dump_traceback_later()
        print(repr(": ".join(found))[1:-1] if found else "ok", file=report, flush=True)


def run(seed: int, seconds: float, calls: int, only: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield each call and what is wrong with it, "ok" if nothing; stop after `seconds` or `calls`."""
    start, end, made = 0, time.monotonic() + seconds, 0
    while time.monotonic() < end and made < calls:
        command = [sys.executable, "-m", "tests.robustness.fuzz", "--work", f"{seed} {start}", "--only", *only]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
            worker = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, cwd=folder, env=environment, encoding="utf-8"
            )
            assert worker.stdout is not None
            with worker, worker.stdout:
                case = ""
                for line in map(str.strip, worker.stdout):
                    if case:
                        yield case, line
                        case, made = "", made + 1
                        if time.monotonic() > end or made >= calls:
                            worker.kill()
                            return
                    else:
                        case = line
            errors.seek(0)
            said = errors.read()
        if not case:
            raise RuntimeError(f"the worker ended: {said[-2000:]}")
        yield (
            case,
            f"hangs: {HANGS} s" if "Timeout" in said else f"crash: exit code {worker.returncode} {said[-200:]!r}",
        )
        made, start = made + 1, int(case.split()[0]) + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--calls", type=int, default=sys.maxsize)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*map(int, options.work.split()), options.only)  # type: ignore[arg-type]
    counts: collections.Counter[str] = collections.Counter()
    for case, found in run(options.seed, options.seconds, options.calls, options.only):
        counts[found.partition(":")[0]] += 1
        if found != "ok":
            print(f"{found[:300]}\n    {case}")
    print(", ".join(f"{kind}: {count}" for kind, count in counts.most_common()))
    return int(set(counts) > {"ok"})


if __name__ == "__main__":
    sys.exit(main())
