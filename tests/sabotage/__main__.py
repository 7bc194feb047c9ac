"""Runs the tests against every sabotage and shows which test kills it:

    python -m tests.sabotage [NAME ...] [--jobs 2] [--list]

First the tests run on the real code: what fails there cannot tell right from wrong. Exit code 0 if all are killed, 1 if
one survives.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.sabotage.catalogue import BY_NAME, CATALOGUE, Sabotage

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 600  # seconds; a test that hangs on wrong code has noticed it too


@dataclass(frozen=True)
class Verdict:
    """What became of a sabotage: the test that failed first, or None, and how long that took."""

    sabotage: Sabotage
    killer: str | None
    seconds: float
    output: str


def run(sabotage: Sabotage) -> Verdict:
    """Run the tests that should notice, then all tests, until one fails."""
    start = time.perf_counter()
    killer, output = _first_failure(sabotage, sabotage.tests)
    if killer is None:
        killer, output = _first_failure(sabotage, ())
    return Verdict(sabotage, killer, time.perf_counter() - start, output)


def _first_failure(sabotage: Sabotage, tests: tuple[str, ...]) -> tuple[str | None, str]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "MINIDL_SABOTAGE": sabotage.name, "CI": "true"}
        if sabotage.compiled:  # compiled code of the real sources must not stand in for the sabotaged ones
            environment["NUMBA_CACHE_DIR"] = cache
        paths = [str(Path("tests", test)) for test in tests] or ["tests", "--ignore=tests/sabotage"]
        command = [sys.executable, "-m", "pytest", "-p", "tests.sabotage.plugin", "-x", "-n0", "-p", "no:cacheprovider"]
        command += ["--hypothesis-profile=sabotage"]
        try:
            result = subprocess.run(
                [*command, "-rfE", "--tb=line", *paths],
                cwd=ROOT, env=environment, timeout=TIMEOUT, check=False,
                capture_output=True, text=True, encoding="utf-8",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "a test that did not end", ""
    output = result.stdout + result.stderr
    if result.returncode == 0:
        return None, output
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    unread = "its source has changed since it was imported" in output  # then the emulator refused it, and no test did
    if result.returncode != 1 or failed is None or unread:
        raise RuntimeError(f"sabotage {sabotage.name}: pytest ended with code {result.returncode}\n{output[-3000:]}")
    return failed.group(1).removeprefix("tests/"), output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which ones (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--list", action="store_true", help="only list them")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BY_NAME))
    if unknown:
        parser.error(f"unknown sabotage: {', '.join(unknown)}")
    chosen = [BY_NAME[name] for name in options.names] or CATALOGUE
    if options.list:
        for sabotage in chosen:
            print(f"{sabotage.name:<42}{sabotage.lesson}")
        return 0

    start = time.perf_counter()
    tests = sorted({str(Path("tests", test)) for sabotage in chosen for test in sabotage.tests})
    baseline = subprocess.run([sys.executable, "-m", "pytest", "-x", *tests], cwd=ROOT, check=False)
    if baseline.returncode != 0:
        print("the tests fail on the real code; mend that first")
        return 1
    survivors = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(run, chosen):
            killed = verdict.killer is not None
            name, outcome = verdict.sabotage.name, "killed" if killed else "SURVIVED"
            print(f"{outcome:<10}{name:<42}{verdict.seconds:5.1f} s  {verdict.killer or ''}", flush=True)
            if not killed:
                survivors.append(verdict.sabotage)
    count = len(chosen) - len(survivors)
    print(f"\n{count} of {len(chosen)} killed ({count / len(chosen):.0%}) in {time.perf_counter() - start:.0f} s")
    for sabotage in survivors:
        print(f"SURVIVED  {sabotage.name}: {sabotage.lesson}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
