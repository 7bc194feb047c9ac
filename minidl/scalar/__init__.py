"""Floor 1: mathematics on one number, written once.

The functions here are plain Python. The CPU loops compile them with Numba for the host, the CUDA kernels
compile them for the device, and the emulator runs them as they stand. Constants are `np.float32` values that
are exact in binary (0, 1, 0.5, ...): they leave float32 arithmetic in float32 and widen without error beside
a float64. A bare Python literal would silently turn a float32 kernel into a float64 one.
"""
