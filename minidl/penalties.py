"""Penalties on weights: what is added to the cost to keep them small or sparse.

    cost = loss + Σ (l1 |w| + l2/2 w²)          gradient: l1 sign(w) + l2 w,  with sign(0) = 0

The sum goes over weights only, never over biases, γ or β. A layer with a penalty adds it to its part of the cost in
the forward pass and to the gradient of its weights in the backward pass.
"""

from __future__ import annotations

from typing import Any

from minidl.utils import checks


class Penalty:
    """Elastic net: Σ (l1 |w| + l2/2 w²). `L1` and `L2` are the two pure forms.

    Args:
        l1: Strength of Σ |w|, at least 0.
        l2: Strength of Σ w²/2, at least 0.

    Raises:
        TypeError, ValueError: For a strength below 0, or none at all.
    """

    l1: Any = checks.Checked(checks.real, 0.0)
    l2: Any = checks.Checked(checks.real, 0.0)

    def __init__(self, l1: float, l2: float):
        self.l1 = l1
        self.l2 = l2

    def __repr__(self) -> str:
        """Return the call that builds it again; model files hold this text."""
        return f"ElasticNet(l1={self.l1!r}, l2={self.l2!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Penalty) and (self.l1, self.l2) == (other.l1, other.l2)

    def __hash__(self) -> int:
        return hash((self.l1, self.l2))


class ElasticNet(Penalty):
    """Σ (l1 |w| + l2/2 w²) (Zou & Hastie 2005)."""


class L1(Penalty):
    """strength · Σ |w|: pulls every weight to zero with the same force, so that many get there.

    Args:
        strength: At least 0.
    """

    def __init__(self, strength: float):
        super().__init__(checks.real("strength", strength, 0.0), 0.0)

    def __repr__(self) -> str:
        return f"L1(strength={self.l1!r})"


class L2(Penalty):
    """strength/2 · Σ w²: pulls each weight to zero in proportion to it. With plain SGD this is weight decay.

    Args:
        strength: At least 0.
    """

    def __init__(self, strength: float):
        super().__init__(0.0, checks.real("strength", strength, 0.0))

    def __repr__(self) -> str:
        return f"L2(strength={self.l2!r})"


PENALTIES: dict[str, type[Penalty]] = {kind.__name__: kind for kind in (L1, L2, ElasticNet)}


def get(penalty: str | Penalty) -> Penalty:
    """Return a penalty from itself or from its text, such as "L2(strength=0.001)".

    Args:
        penalty: The penalty or its text.

    Raises:
        TypeError, ValueError: For anything else.
    """
    if isinstance(penalty, Penalty):
        return penalty
    if not isinstance(penalty, str):
        got = checks.describe(penalty)
        raise TypeError(f"penalty got {got}; expected a name, such as 'L2(strength=0.001)', or minidl.L2(0.001)")
    name, parameters = checks.named_call("penalty", penalty, example="L2(strength=0.001)")
    kind = PENALTIES[checks.one_of("penalty", name, PENALTIES)]
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ValueError(f"penalty got {penalty!r}; expected, for instance, L2(strength=0.001) ({error})") from None


def text(penalty: str | Penalty | None) -> str | None:
    """Return the text of a penalty, as layers and model files keep it, or None.

    Args:
        penalty: A penalty, its text, or None.

    Raises:
        TypeError, ValueError: For anything else.
    """
    return None if penalty is None else str(get(penalty))
