"""The tests of the installed Numba for CUDA, on the emulator and on Numba's own simulator.

    python scripts/numba_cuda_tests.py [test_atomics test_sm ...] [--limit 180] [--jobs 1] [--out ...]

Each file of `numba.cuda.tests` (cudapy and doc_examples) runs twice in a process of its own: with the pytest plugin
(`--cuda-emulator`), and with NUMBA_ENABLE_CUDASIM=1. A test that fails because the emulator says that it lacks
something, or because it asks for Numba's compiler for GPUs or for the driver, counts as refused. Times are of the tests
that pass on both.

Writes OUT.json and OUT.md; with names of files only these, into what OUT.json already holds. `--show` prints the first
line of each failure. The tests are those that Numba ships: pytest cannot import those of the package numba-cuda, whose
folder has another place than its name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

from benchmarks import machine
from minidl.utils.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("cudapy", "doc_examples")
SIDES = ("emulator", "simulator")
OUTCOMES = ("passed", "failed", "refused", "skipped")
COMPILER = ("cudadrv.error.NvvmError", "cudadrv.error.NvvmSupportError", "it compiles nothing")
REFUSALS = (
    *COMPILER,
    "the emulator does not know",
    "which the emulator does not",
    "the emulator shares no",
    "the emulator's device",
)


def test_files() -> list[str]:
    """The modules, such as "cudapy.test_atomics"."""
    spec = find_spec("numba.cuda.tests")
    assert spec is not None and spec.submodule_search_locations
    (place,) = map(Path, spec.submodule_search_locations)
    if "numba_cuda" in place.parts:
        raise SystemExit("numba-cuda is installed, whose tests pytest cannot import; use an environment without it")
    return [f"{folder}.{path.stem}" for folder in FOLDERS for path in sorted((place / folder).glob("test_*.py"))]


def run(name: str, side: str, limit: float) -> dict[str, Any]:
    """What became of each test of a file: {"tests": {test: [outcome, seconds, message]}, "problem": ...}."""
    endless: dict[str, list[Any]] = {}
    while True:
        found, hanging = run_without(name, side, limit, list(endless))
        if hanging is None or hanging in endless or len(endless) == 3:
            return {**found, "tests": {**found["tests"], **endless}}
        endless[hanging] = ["failed", limit, f"stopped after {limit:.0f} s"]


def run_without(name: str, side: str, limit: float, left_out: list[str]) -> tuple[dict[str, Any], str | None]:
    """The same without some tests, and the test that was running when the time was over."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    options = ["-p", "pytest_cuda_emulator", "--cuda-emulator"]
    if side == "simulator":
        environment["NUMBA_ENABLE_CUDASIM"], options = "1", []
    if left_out:
        options += ["-k", " and ".join(f"not {test.rpartition('.')[2]}" for test in left_out)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            "-W",
            "ignore",
        ]
        command += [*options, "--pyargs", f"numba.cuda.tests.{name}"]
        with open(Path(folder, "output.txt"), "w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            output.seek(0)
            text = output.read()
        if report.exists():
            return {"tests": dict(map(outcome, ElementTree.parse(report).iter("testcase"))), "problem": None}, None
        started = re.findall(r"::(\w+)::(\w+) *$", text)  # no outcome follows
        problem = f"ended with {process.returncode}: {text[-300:]}"
        return {"tests": {}, "problem": problem}, ".".join(started[-1]) if started else None


def outcome(case: ElementTree.Element) -> tuple[str, list[Any]]:
    """The name of a test and what became of it."""
    name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
    found, message = "passed", ""
    for child in case:
        if child.tag in ("failure", "error"):
            text = f"{child.get('message') or ''}\n{child.text or ''}"
            found = "refused" if any(refusal in text for refusal in REFUSALS) else "failed"
            message = next((line for line in text.splitlines() if any(r in line for r in REFUSALS)), "")
            message = _without_paths((message or text).strip().splitlines()[0])[:300]
        elif child.tag == "skipped":
            found, message = "skipped", (child.get("message") or "")[:300]
    return name, [found, float(case.get("time") or 0), message]


def _without_paths(message: str) -> str:
    """Leave out where this machine keeps Python and its packages."""
    return message.replace(sysconfig.get_path("purelib"), "site-packages").replace(sys.executable, "python")


def summary(sides: dict[str, Any]) -> dict[str, Any]:
    """Counts of outcomes and seconds of each side of a file, or of all."""
    both = [
        name
        for name, (found, *_) in sides["emulator"]["tests"].items()
        if found == "passed" == sides["simulator"]["tests"].get(name, [""])[0]
    ]
    counts = {side: Counter(found for found, *_ in sides[side]["tests"].values()) for side in SIDES}
    return {
        side: {
            **{found: counts[side][found] for found in OUTCOMES},
            "seconds": round(sum(sides[side]["tests"][name][1] for name in both), 3),
            "problem": sides[side]["problem"],
        }
        for side in SIDES
    } | {"passed_by_both": len(both)}


def markdown(result: dict[str, Any]) -> str:
    """The table for readers."""
    rows = ["| file | passed | failed | refused | skipped | s | passed | failed | skipped | s |", "|---" * 10 + "|"]
    total: Counter[str] = Counter()
    for name, sides in result["files"].items():
        ours, theirs = (sides["summary"][side] for side in SIDES)
        for side in SIDES:
            total.update({f"{side} {key}": sides["summary"][side][key] for key in (*OUTCOMES, "seconds")})
        total["both"] += sides["summary"]["passed_by_both"]
        cells = [ours[key] for key in (*OUTCOMES, "seconds")] + [theirs[k] for k in OUTCOMES if k != "refused"]
        if ours["problem"]:
            cells[0] = ours["problem"].splitlines()[0][:40]
        if theirs["problem"]:
            cells[5] = theirs["problem"].splitlines()[0][:40]
        rows.append(f"| {name} | " + " | ".join(map(str, [*cells, theirs["seconds"]])) + " |")
    lost = [
        f"- {name}, {test}: {sides['emulator']['tests'].get(test, ['', 0, sides['emulator']['problem']])[2]}"
        for name, sides in result["files"].items()
        for test, (found, *_) in sides["simulator"]["tests"].items()
        if found == "passed" and sides["emulator"]["tests"].get(test, [""])[0] != "passed"
    ]
    reasons = Counter(
        message
        for sides in result["files"].values()
        for found, _, message in sides["emulator"]["tests"].values()
        if found == "refused"
    )
    compiler = sum(n for reason, n in reasons.items() if any(part in reason for part in COMPILER))
    missing = [
        name
        for name in test_files()
        if any(
            result["files"].get(name, {side: {"problem": "not run"}})[side]["problem"] == "not run" for side in SIDES
        )
    ]
    ours, theirs = ({key: round(total[f"{side} {key}"], 1) for key in (*OUTCOMES, "seconds")} for side in SIDES)
    return "\n".join(
        [
            "# Numba's own tests for CUDA, on the emulator and on Numba's simulator",
            "",
            f"The emulator passes **{ours['passed']}** tests, fails {ours['failed']}, refuses {ours['refused']} with a "
            f"reason and skips {ours['skipped']}. The simulator passes **{theirs['passed']}**, fails "
            f"{theirs['failed']} and skips {theirs['skipped']}. The {total['both']} that both pass take "
            f"{ours['seconds']} s (most of it for inferring types) and {theirs['seconds']} s.",
            "",
            f"Of those refused, {compiler} need Numba's compiler for GPUs: they ask for PTX (NvvmError, as the libnvvm "
            "of this machine, if there is one, does not know the architectures of this Numba) or look at what was "
            f"compiled. {ours['refused'] - compiler} ask for something else that the emulator lacks.",
            "",
            f"Not run on both sides: {', '.join(missing) or 'none'}. The disk cache's tests and the child processes of "
            "test_print want the compiler or the option in another process; test_laplace and test_matmul take small "
            "arrays only where they see the simulator. Where the emulator says that memory is read before it was "
            "written, it is so.",
            "",
            "The first five numbers are the emulator's, the others the simulator's.",
            "",
            *rows,
            "",
            "## Passed by the simulator only",
            "",
            *(lost or ["None."]),
            "",
            "## Refused",
            "",
            *(f"- {n} × {reason}" for reason, n in reasons.most_common()),
            "",
            ", ".join(f"{name} {number}" for name, number in result["versions"].items()) + f"; {result['date']}.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run Numba's tests for CUDA on the emulator and on its simulator.")
    parser.add_argument("names", nargs="*", help="parts of names of files; all by default")
    parser.add_argument("--limit", type=float, default=180, help="seconds for a file")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", choices=SIDES, help="keep the results of the other one")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/numba_cuda_tests", help="without suffix")
    options = parser.parse_args(arguments)
    path = options.out.with_suffix(".json")
    names = test_files()
    chosen = [name for name in names if not options.names or any(part in name for part in options.names)]
    sides = [options.only] if options.only else SIDES
    old = json.loads(path.read_text(encoding="utf-8"))["files"] if path.exists() else {}
    files: dict[str, Any] = {name: old[name] for name in names if name in old}
    start = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, found in zip(
            chosen, pool.map(lambda n: {side: run(n, side, options.limit) for side in sides}, chosen), strict=True
        ):
            both = {**{side: {"tests": {}, "problem": "not run"} for side in SIDES}, **files.get(name, {}), **found}
            files[name] = {**both, "summary": summary(both)}
            print(f"{time.perf_counter() - start:5.0f} s  {name}: " + describe(files[name]["summary"]), flush=True)
            for test, (what, _, message) in both["emulator"]["tests"].items() if options.show else ():
                if what in ("failed", "refused"):
                    print(f"    {what} {test}: {message}", flush=True)
            result = {
                "date": date.today().isoformat(),
                "versions": machine.versions("minidl", "numba", "numba-cuda", "numpy"),
                "files": {name: files[name] for name in names if name in files},
            }
            with write_whole(path, "w") as file:
                file.write(machine.as_json(result) + "\n")
            with write_whole(options.out.with_suffix(".md"), "w") as file:
                file.write(markdown(result))
    return 0


def describe(found: dict[str, Any]) -> str:
    """One line about a file."""
    return "; ".join(
        f"{side} "
        + (found[side]["problem"] or ", ".join(f"{found[side][key]} {key}" for key in OUTCOMES if found[side][key]))
        for side in SIDES
    )


if __name__ == "__main__":
    sys.exit(main())
