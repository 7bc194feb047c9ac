"""The operations around the matrix products, by minidl, NumPy and PyTorch.

A module for each, with `prepare(operation, given)`, which returns a function of no arguments that does the operation on
the given arrays and returns its results, as arrays that NumPy can read, or None where the framework has no equivalent.
Results go into memory that was made before, as far as the framework can. minidl takes a backend besides and PyTorch a
device; results then are arrays that lie there.
"""
