"""Mathematics on one number, written once.

The functions here are plain Python. Numba compiles them for the loops of `minidl.cpu` and the kernels of `minidl.cuda`,
the emulator runs them as they stand, and `arrays.vectorized` runs them on whole NumPy arrays. Constants are
`np.float32` values that are exact in binary (0, 1, 0.5, ...): they leave float32 arithmetic in float32 and widen
without error beside a float64. A bare Python literal would silently turn a float32 kernel into a float64 one.
"""
