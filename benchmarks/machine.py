"""What a result is worth nothing without: the machine and the versions that it was measured with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llvmlite.binding


def describe() -> dict[str, Any]:
    """The processor, how many cores it has and this process may use, the system, and how busy it is."""
    return {
        "cpu": cpu_model(),
        "processor": llvmlite.binding.get_host_cpu_name(),  # its kind: znver5, emeraldrapids, apple-m1
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_before": load_average(),
    }


def as_json(value: Any, depth: int = 0) -> str:
    """Return `value` as JSON whose inner lists and objects stand on one line where they fit."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or (depth and len(line) <= 250):
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {as_json(inner, depth + 1)}" for key, inner in value.items()]
    else:
        parts = [as_json(inner, depth + 1) for inner in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    inside = ",".join(f"\n{' ' * (depth + 1)}{part}" for part in parts)
    return f"{first}{inside}\n{' ' * depth}{last}"


def load_average() -> float | None:
    """Programs that wanted to run in the last minute, where the system counts them."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def cpu_model() -> str:
    """The name of the processor, where the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def has_avx512() -> bool:
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))


def versions(*packages: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
