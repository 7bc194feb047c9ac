"""What a sweep shows while it runs: on a terminal a table that is drawn anew, elsewhere a row for each trial."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from minidl.sweeps.result import COLUMNS, Trial, best_first, shown, sides
from minidl.sweeps.space import Choices, Domain, read_space
from minidl.sweeps.study import Study
from minidl.utils.output import Output, say
from minidl.utils.tables import aligned


def display(study: Study, visible: bool) -> Rows:
    """Return what shows the finished trials, whoever finished them, each time that it is called."""
    moves_cursor = os.name != "nt" and os.environ.get("TERM", "dumb") != "dumb"
    return (LiveTable if visible and moves_cursor and Output(sys.stdout).isatty() else Rows)(study, visible)


class Rows:
    """Prints a row for each trial."""

    waits = False  # and the user sees that: other processes have all trials that are left

    def __init__(self, study: Study, visible: bool):
        self.study, self.visible, self.known = study, visible, {each.number for each in study.results()}
        domains, _ = read_space(study.plan.space)
        self.head = [*COLUMNS, *domains]
        self.widest = [str(study.plan.trials), "99.9999", "", "complete", *map(widest, domains.values())]
        if visible:
            self.start()

    def start(self) -> None:
        """Print what there is before the first trial."""
        if self.known:
            say(f"finished already: {len(self.known)} of {self.study.plan.trials}")
        say(self.lines([])[0])

    def __call__(self, waits: bool = False) -> None:
        """Show the trials that are new, and once that it waits for other processes."""
        trials = self.study.results() if self.visible else []
        new = [trial for trial in trials if trial.number not in self.known]
        self.known.update(trial.number for trial in new)
        if new:
            self.show(trials, new)
        if self.visible and waits and not self.waits:
            self.note("waiting for other processes, up to a minute for one that was killed")
        self.waits = waits

    def show(self, trials: Sequence[Trial], new: Sequence[Trial]) -> None:
        for line in self.lines(new)[1:]:
            say(line)

    def note(self, text: str) -> None:
        """Print a line below the trials."""
        say(text)

    def lines(self, trials: Sequence[Trial]) -> list[str]:
        """Return the heading and a line for each trial, of the same widths each time."""
        rows = [self.head, *(trial.row() for trial in trials), self.widest]
        return aligned(rows, sides(self.head[len(COLUMNS) :]))[:-1]


class LiveTable(Rows):
    """Draws the best trials in the place where they were drawn before; what does not fit the terminal is left out."""

    drawn = 0  # lines, above the cursor

    def start(self) -> None:
        self.show(self.study.results(), [])

    def show(self, trials: Sequence[Trial], new: Sequence[Trial]) -> None:
        status = f"{len(trials)} of {self.study.plan.trials} trials are finished"
        if new:
            status += f"; the last one is trial {new[-1].number}: {new[-1].state}, loss {new[-1].loss:.4f}"
        columns, height = shutil.get_terminal_size()
        table = self.lines(best_first(trials))[: max(height - 3, 1)]  # below are the status, a bar and the cursor
        lines = [line[: columns - 1] for line in (*table, status)]
        up = f"\x1b[{self.drawn}F\x1b[J" if self.drawn else ""  # and clear what is below
        self.drawn, self.waits = len(lines), False
        say(up + "\n".join(lines))

    def note(self, text: str) -> None:
        self.drawn += 1
        say(text[: shutil.get_terminal_size().columns - 1])


def widest(domain: Domain) -> str:
    """Return the longest text of a value."""
    if isinstance(domain, Choices):
        return max(map(shown, domain.values), key=len)
    return shown(domain.high) if domain.integer else shown(1.23e-05)
