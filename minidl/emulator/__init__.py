"""Run CUDA kernels on the CPU, one thread at a time, in the same process and without a GPU.

`launch(kernel, grid, block, *arguments)` takes any `@cuda.jit` kernel, rebuilds its Python function with an emulated
`cuda` module, and runs every CUDA thread as a greenlet that steps aside at a barrier or a warp exchange. What a GPU
does silently wrong is an error here: an index outside an array (negative ones too), a read of shared or local memory
that nobody has written, a barrier that some threads of the block never reach; inside `race_detector()` also two
accesses to one element that nothing orders. `trace` launches a kernel and tells what it did with memory.
"""

from minidl.emulator.errors import BarrierError, EmulatorError, OutOfBoundsError, RaceError, UninitializedReadError
from minidl.emulator.launch import launch
from minidl.emulator.races import race_detector
from minidl.emulator.tracing import Trace, trace

__all__ = [
    "BarrierError",
    "EmulatorError",
    "OutOfBoundsError",
    "RaceError",
    "Trace",
    "UninitializedReadError",
    "launch",
    "race_detector",
    "trace",
]
