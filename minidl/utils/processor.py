"""What the processor is like that runs this program."""

from __future__ import annotations

import platform
from pathlib import Path

ARM = platform.machine().lower() in {"aarch64", "arm64"}  # 64-bit, as Linux and as macOS calls it


def level_2_cache() -> int:
    """Return the bytes of the second cache of a core: as Linux says, elsewhere a usual number."""
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().rstrip("K\n")) << 10
    except (OSError, ValueError):
        return 2**20
