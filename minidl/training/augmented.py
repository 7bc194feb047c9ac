"""What an augmentation gives back, checked: it may be a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.utils import checks


def checked_augmentation(
    augmentation: Callable[..., Any], rng: np.random.Generator, loss: Any, n_out: int | None
) -> Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]:
    """Return a function of (x, targets) that applies `augmentation`, and raises where the results are no such batch."""

    def augment(x: np.ndarray, targets: Any) -> tuple[np.ndarray, Any]:
        images, made = checks.augmented(augmentation(x, targets, rng), x.dtype)
        rows, columns = images.shape
        if not isinstance(targets, dict):
            return images, _check_targets(made, targets, rows, n_out or columns)
        made, widths = checks.keys("the targets of augmentation", made, targets), loss.widths
        checked = {
            part: _check_targets(made[part], before, rows, widths[part], loss.lowest_label)
            for part, before in targets.items()
        }
        for part in getattr(loss, "nonnegative", ()):
            if (least := checked[part].min()) < 0:
                raise ValueError(
                    f"the targets of augmentation got {checks.exact(least)} in {part!r}; expected numbers of at least 0"
                )
        return images, checked

    return augment


def _check_targets(targets: Any, before: np.ndarray, rows: int, n_out: int, lowest: int = 0) -> np.ndarray:
    """Return targets made of `before`, which the loss has checked; no operation sees a bad label."""
    argument = "the targets of augmentation"
    if before.dtype.kind in "iu":
        return checks.labels(argument, targets, rows, n_out, lowest)
    targets = checks.finite(argument, checks.matrix(argument, targets, before.dtype))
    if targets.shape != (expected := (rows, *before.shape[1:])):
        raise ValueError(f"{argument} got shape {targets.shape}; expected {expected}")
    return targets
