"""Sweeps: many training runs in search of good hyperparameters, with Optuna, in one process or several.

They need the package of the extra `sweep`: `pip install 'minidl[sweep]'`.
"""

from minidl.sweeps.result import Sweep, Trial
from minidl.sweeps.search import sweep
from minidl.sweeps.space import SPACE

__all__ = ["SPACE", "Sweep", "Trial", "sweep"]
