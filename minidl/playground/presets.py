"""The experiments of the lectures, as settings of the playground."""

from __future__ import annotations

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """An experiment.

    Attributes:
        name: In the address of the page.
        title: In the list.
        sentence: What there is to see.
        tutorial: The number of the tutorial with the experiment in full.
        settings: The settings that are not the defaults.
        steps: For how many steps the page trains; 0 shows the network before training.
    """

    name: str
    title: str
    sentence: str
    tutorial: str
    settings: dict[str, Any]
    steps: int = 0


PRESETS: tuple[Preset, ...] = ()
