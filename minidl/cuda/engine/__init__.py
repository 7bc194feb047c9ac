"""The CUDA runtime, and instructions that Numba has no Python for."""
