"""The training loop: `fit`, what a run is made of, and what happens around its steps."""

from minidl.training.divergence import DivergenceError
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.fit import fit
from minidl.training.run import Run

__all__ = ["DivergenceError", "Evaluation", "Run", "evaluate", "fit"]
