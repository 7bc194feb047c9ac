"""Writes docs/initializers.md from the tables of the code.

python docs/_generate/initializer_table.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

from minidl.initializers import INITIALIZERS
from minidl.initializers.gains import CONVENTIONAL_GAINS, gain, second_moment, slope_second_moment
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils.files import write_whole

PAGE = Path(__file__).parent.parent / "initializers.md"
HEAD = """# Initializers and gains

This page is written by `docs/_generate/initializer_table.py` from the tables in `minidl/initializers`.

Each initializer is a function of `(rng, fan_in, fan_out)` that returns an array of shape (fan_in, fan_out). With
parameters it becomes another one: `he_normal(slope=0.1)`. Its text names it: `dl.Dense(784, 256, init="he_normal")`,
`init="he_normal(slope=0.1)"`. `tests/properties` proves that the weights follow the distribution in
the last column.

`init="auto"`, the default, chooses by the activation that follows, also behind a batch norm, dropout or pool: He with
the slope of a ReLU, leaky or parametric ReLU, Glorot for tanh, 4 times Glorot for the logistic sigmoid, LeCun for the
SELU, LeCun with the computed gain for other activations, LeCun where none follows. `model.summary()` shows the choice
and the standard deviation.

| name | parameters | distribution |
|---|---|---|
"""
GAINS = """
## Gains

For z ~ N(0, 1) an activation turns the second moment 1 into E[φ(z)²]; weights with standard deviation gain/√fan_in
bring it back. `minidl.initializers.gains.gain` computes it by quadrature; beside it is what the lectures and PyTorch
use by convention.

| activation | E[φ²] | E[φ'²] | gain = 1/√E[φ²] | lectures | PyTorch |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the text of the page."""
    rows = []
    for name, initializer in INITIALIZERS.items():
        defaults = inspect.signature(initializer.function).parameters
        parameters = ", ".join(f"{p}={defaults[p].default!r}" for p in initializer.parameter_names)
        distribution = inspect.getdoc(initializer.function).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{name}` | {parameters and f'`{parameters}`'} | {distribution} |")
    gains = []
    for name in ["linear", *ACTIVATIONS]:
        computed = f"{second_moment(name):.4f} | {slope_second_moment(name):.4f} | {gain(name):.4f}"
        usual = CONVENTIONAL_GAINS.get(name, {})
        convention = " | ".join(f"{usual[source]:.4f}" if source in usual else "" for source in ("lectures", "pytorch"))
        gains.append(f"| `{name}` | {computed} | {convention} |")
    return HEAD + "\n".join(rows) + "\n" + GAINS + "\n".join(gains) + "\n"


if __name__ == "__main__":
    with write_whole(PAGE, "w") as file:
        file.write(page())
