"""The bar that shows how far an epoch is."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from numba.core.event import Event, Listener, install_listener
from tqdm import tqdm

from minidl.utils.notebook import in_notebook
from minidl.utils.output import Output


class Progress:
    """Bars of tqdm, one for each epoch: on stderr where that is a terminal, below the cell in a notebook, else nowhere.

    A notebook with ipywidgets shows a widget, and one without text. Neither is left in a notebook that is saved.

    Args:
        shown: Whether to show anything.
    """

    def __init__(self, shown: bool):
        self.shown = shown
        self._place: Any = None  # where the widgets of all epochs stand, one after the other

    @contextlib.contextmanager
    def bar(self, name: str, steps: int) -> Iterator[Any]:
        """Show a bar while the block runs."""
        with self._bar(name, steps) as bar, contextlib.ExitStack() as stack:
            if not bar.disable:
                stack.enter_context(install_listener("numba:compile", _Compiling(bar)))
            yield bar

    @contextlib.contextmanager
    def _bar(self, name: str, steps: int) -> Iterator[Any]:
        options = {"total": steps, "desc": name, "leave": False}
        if not (self.shown and in_notebook()):
            hide = None if self.shown else True  # None: only where it is a terminal
            # A bar that is wider than the terminal leaves a line each time that it is drawn.
            with tqdm(**options, disable=hide, file=Output(sys.stderr), dynamic_ncols=True) as bar:
                yield bar
        elif (widget := _widget()) is None:  # among the lines of the epochs, which take its place
            with tqdm(**options, file=Output(sys.stdout)) as bar:
                yield bar
        else:
            with widget(**options, display=False) as bar:
                self._show(bar.container)
                try:
                    yield bar
                finally:
                    self._show(None)

    def _show(self, widget: Any) -> None:
        # A widget that is closed cannot be shown when the notebook is opened again: nothing takes its place.
        if self._place is None:
            self._place = sys.modules["IPython"].display.display(widget, display_id=True)
        elif widget is None:
            self._place.update({"text/plain": ""}, raw=True)
        else:
            self._place.update(widget)


class _Compiling(Listener):
    """Says beside a bar why it stands still: a first step compiles for seconds."""

    def __init__(self, bar: Any):
        self.bar, self.count, self.open = bar, 0, 0

    def on_start(self, event: Event) -> None:
        self.count, self.open = self.count + 1, self.open + 1
        self.bar.set_postfix_str(f"compiling, once: {self.count} functions")

    def on_end(self, event: Event) -> None:
        self.open = max(self.open - 1, 0)  # of those that call one another; another thread may end what it began before
        if not self.open:
            self.bar.set_postfix_str("")


def _widget() -> Any:
    """Return tqdm's class for notebooks, where there is ipywidgets to draw it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is none, or that the class is experimental
        from tqdm.autonotebook import tqdm as found
    return None if found is tqdm else found
