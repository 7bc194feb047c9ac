"""Mean and standard deviation where sums and squares of the numbers overflow, and elsewhere the usual ones."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.utils.moments import mean_and_std


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-160, 1.0, 1e160, 3e307])
def test_any_scale_gives_the_same_figures(scale, axis, rng):
    values = rng.uniform(0.0, 4.0, (1000, 3)).round() if scale == 5e-324 else rng.uniform(1.0, 4.0, (1000, 3))
    mean, std = mean_and_std(scale * values, axis)
    rtol = 1e-14 if scale > 1e-300 else 0.3
    np.testing.assert_allclose(mean / scale, values.mean(axis), rtol=rtol)
    np.testing.assert_allclose(std / scale, values.std(axis), rtol=rtol)


def test_each_column_has_a_unit_of_its_own():
    mean, std = mean_and_std(np.array([[1e300, 1.0, 0.0], [-1e300, 3.0, 0.0]]), axis=0)
    assert mean.tolist() == [0.0, 2.0, 0.0]
    assert std.tolist() == [1e300, 1.0, 0.0]
