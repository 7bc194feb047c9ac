"""Affine warps of images, for augmentation. Not an operation: it prepares batches for models on any backend."""

from __future__ import annotations

import math

from minidl.cpu.engine.jit import jit


@jit
def warp(images, sources, y):
    """Set y[n, c, i, j] to the value of image n, channel c, at the point that sources[n] maps (i, j, 1) to.

    Values between pixels are interpolated bilinearly; values outside the image are 0. A point on a pixel has exactly
    the value of that pixel.

    Args:
        images: Shape (rows, channels, height, width).
        sources: One matrix for each image, shape (rows, 3, 3).
        y: Result, of the shape of `images`.
    """
    rows, channels, height, width = images.shape
    for n in range(rows):
        a = sources[n]
        for i in range(height):
            for j in range(width):
                u = a[0, 0] * i + a[0, 1] * j + a[0, 2]
                v = a[1, 0] * i + a[1, 1] * j + a[1, 2]
                top, left = math.floor(u), math.floor(v)
                down, right = u - top, v - left
                for c in range(channels):
                    value = 0.0
                    for row, row_weight in ((top, 1.0 - down), (top + 1, down)):
                        for column, column_weight in ((left, 1.0 - right), (left + 1, right)):
                            if 0 <= row < height and 0 <= column < width:
                                value += row_weight * column_weight * images[n, c, row, column]
                    y[n, c, i, j] = value
