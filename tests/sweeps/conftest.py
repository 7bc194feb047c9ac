"""A sweep that is interrupted, for its tests in Python and on the command line."""

from __future__ import annotations

from minidl.sweeps import workers


def interrupt_second_trial(monkeypatch):
    """Let the second training run from now on end as by Ctrl-C."""
    fit, calls = workers.fit, []

    def interrupted(*arguments, **options):
        calls.append(options)
        history = fit(*arguments, **options)
        history.interrupted = len(calls) == 2
        return history

    monkeypatch.setattr(workers, "fit", interrupted)
