"""One training step, or one epoch, in a process that does nothing else.

    python benchmarks/fresh.py PEER                      seconds of the import and of the first step
    python benchmarks/fresh.py PEER --epoch FOLDER       the most memory that the process had, for one epoch

PEER is a module in benchmarks/peers without its "with_". FOLDER has x.npy and labels.npy; PEER may then be "nothing",
which only loads them. The answer is a line of JSON.
"""

import sys
import time

start = time.perf_counter()

import argparse  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SIZES, BATCH = (784, 256, 128, 10), 128


def first_step(peer: str) -> dict[str, float]:
    from benchmarks.peers.problem import Problem  # here and below: what a process imports is what it measures

    module = importlib.import_module(f"benchmarks.peers.with_{peer}")
    imported = time.perf_counter()
    module.Peer(Problem(SIZES, BATCH)).run(1)
    return {"import": imported - start, "first step": time.perf_counter() - imported}


def epoch(peer: str, folder: Path) -> dict[str, int]:
    import numpy as np

    from benchmarks.peers.problem import Problem

    x, labels = np.load(folder / "x.npy"), np.load(folder / "labels.npy")
    if peer != "nothing":
        importlib.import_module(f"benchmarks.peers.with_{peer}").Epochs(Problem(SIZES, BATCH), x, labels).run(1)
    return {"bytes": memory_peak()}


def memory_peak() -> int:
    """The most bytes of memory that this process has had at a time."""
    if sys.platform == "linux":  # whose getrusage counts the process that started this one as well, if it was larger
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("--epoch", type=Path)
    options = parser.parse_args()
    print(json.dumps(epoch(options.peer, options.epoch) if options.epoch else first_step(options.peer)))
