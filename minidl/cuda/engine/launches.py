"""Launches that are noted instead of made: what a captured step does, before any of it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from minidl.utils.block_local import Block, BlockLocal


class Launch(NamedTuple):
    """A kernel, how many blocks run it, how many threads a block has, and its arguments."""

    kernel: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]


_notes = BlockLocal()  # the launches that this thread has noted


def note_launches() -> Block:
    """Return a block in which this thread makes no launches but appends them to a list, the value of the block."""
    return _notes.set([])


def noting() -> bool:
    """Return whether this thread notes its launches."""
    return _notes.value is not None and _notes.get() is not None


def noted(launch: Callable[..., None]) -> Callable[..., None]:
    """Return a launcher that notes launches in a block of `note_launches`, and makes them with `launch` elsewhere."""

    @functools.wraps(launch)
    def run(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        if _notes.value is not None and (notes := _notes.get()) is not None:
            notes.append(Launch(kernel, grid, block, arguments))
        else:
            launch(kernel, grid, block, *arguments)

    return run
