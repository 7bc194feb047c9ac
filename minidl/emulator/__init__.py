"""Run CUDA kernels on the CPU, one thread at a time, in the same process and without a GPU.

`launch(kernel, grid, block, *arguments)` takes any `@cuda.jit` kernel, rebuilds its Python function with an emulated
`cuda` module, and runs each CUDA thread as a greenlet, which yields at a barrier or a warp exchange. Mistakes that pass
silently on a GPU are errors here: an index outside an array (negative ones too), a read of uninitialized shared or
local memory, a barrier that some threads of the block never reach; inside `race_detector()` also two unordered accesses
to one element. `trace` launches a kernel and reports its accesses to memory. Inside `active()` all of `numba.cuda` runs
here, `kernel[blocks, threads](x)` and device arrays included.
"""

from minidl.emulator.active import active
from minidl.emulator.errors import BarrierError, EmulatorError, OutOfBoundsError, RaceError, UninitializedReadError
from minidl.emulator.launch import launch
from minidl.emulator.races import race_detector
from minidl.emulator.traced_launches import tracing
from minidl.emulator.tracing import Trace, trace

__all__ = [
    "BarrierError",
    "EmulatorError",
    "OutOfBoundsError",
    "RaceError",
    "Trace",
    "UninitializedReadError",
    "active",
    "launch",
    "race_detector",
    "trace",
    "tracing",
]
