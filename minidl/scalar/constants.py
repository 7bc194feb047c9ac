"""Numbers that are exact in binary, as float32: see `minidl.scalar` for why."""

import numpy as np

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
