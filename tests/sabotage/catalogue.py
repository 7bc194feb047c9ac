"""Wrong implementations, each one small change of the real code, with what a teacher would say about it.

`old` must occur exactly once in the file (`tests/sabotage/test_sabotage.py` checks it), so that a change of the code
cannot quietly disarm its sabotage. `tests` are the tests that should notice; the runner goes through them until one
fails, and through all tests if none does.
"""

from __future__ import annotations

import runpy
from dataclasses import astuple, dataclass
from pathlib import Path

# Run, not imported: nothing of minidl may be imported before a sabotage is in its place.
WRONG = runpy.run_path(str(Path(__file__).parents[2] / "minidl" / "exercises" / "wrong.py"))


@dataclass(frozen=True)
class Sabotage(WRONG["Change"]):
    """One wrong implementation."""

    tests: tuple[str, ...]  # below tests/: files, or file::test

    @property
    def compiled(self) -> bool:
        """Whether compiled CPU code contains the change, so that the cache of compiled code must not be used."""
        return self.file.startswith(("scalar/", "cpu/"))


WEIGHTS = "properties/test_weights.py"
TESTS_OF = {  # initializers, where not those of their weights alone
    "he-factor-1": (f"{WEIGHTS}::test_weights_follow_their_distribution[he_normal]",),
    "dropout-adjusted-inverse": (WEIGHTS, "properties/test_depth.py"),
    "auto-glorot-for-relu": ("properties/test_depth.py",),
    "gain-from-mean": ("properties/test_activations.py",),
}

CATALOGUE = [
    # Initializers ----------------------------------------------------------------------------------------------------
    *(Sabotage(*astuple(change), TESTS_OF.get(change.name, (WEIGHTS,))) for change in WRONG["INITIALIZERS"]),
    Sabotage(
        "residual-not-zeroed", "layers/residual.py", "if self.zero_init and layer is not None:",
        "if False:",
        "Without the zero each block adds its own variance to the stream.",
        ("properties/test_depth.py",),
    ),
    Sabotage(
        "lsuv-variance-for-std", "calibration.py", "layer.rescale(1.0 / std)", "layer.rescale(1.0 / std**2)",
        "Dividing by the variance overshoots: the output then has standard deviation 1/σ.",
        ("properties/test_calibration.py",),
    ),
    Sabotage(
        "running-statistics-biased", "calibration.py", "(len(inputs) / (len(inputs) - 1))", "1.0",
        "The running variance estimates that of all data, so it is the unbiased one, as in training.",
        ("properties/test_calibration.py",),
    ),
    # Activations -----------------------------------------------------------------------------------------------------
    Sabotage(
        "leaky-slope-on-the-wrong-side", "scalar/activations.py", "return z if z > ZERO else alpha * z",
        "return alpha * z if z > ZERO else z",
        "The leak belongs to the negative side.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "leaky-slope-one-everywhere", "scalar/activations.py", "return ONE if z > ZERO else alpha\n",
        "return ONE\n",
        "The backward pass must use the slope of the side that z is on.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "tanh-slope-from-input", "scalar/activations.py", "return ONE - y * y", "return ONE - z * z",
        "1 - y² is the slope in terms of the output y = tanh(z), not of z.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "sigmoid-slope-from-input", "scalar/activations.py", "return y * (ONE - y)", "return z * (ONE - z)",
        "σ' = σ (1 - σ): of the output again.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "sigmoid-overflows", "scalar/activations.py",
        "    e = math.exp(-abs(z))\n    return (ONE if z >= ZERO else e) / (ONE + e)",
        "    e = math.exp(z)\n    return e / (ONE + e)",
        "e^z overflows at 89 in float32, and ∞/∞ is NaN.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "relu-slope-at-zero", "scalar/activations.py", "return ONE if z > ZERO else ZERO", "return ONE",
        "A unit that is off must not pass a gradient.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "relu-hides-nan", "scalar/activations.py", "return ZERO if z <= ZERO else z", "return z if z > ZERO else ZERO",
        "A NaN that becomes 0 is a bug that nobody will find.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "gelu-by-one-plus-erf", "scalar/activations.py",
        "return vanishing(z, HALF * math.erfc(times(-z, SQRT_HALF)))",
        "return vanishing(z, HALF * (ONE + math.erf(times(z, SQRT_HALF))))",
        "1 + erf cancels in the lower tail: at z = -6 nothing is left of Φ in float32.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "silu-infinity-times-zero", "scalar/activations.py",
        "return vanishing(z, (ONE if z >= ZERO else e) / (ONE + e))",
        "return z * ((ONE if z >= ZERO else e) / (ONE + e))",
        "The limit at -∞ is 0, but -∞ · 0 is NaN.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "constants-in-float32", "scalar/constants.py",
        "return x * first + (x * second + x * third)", "return x * first",
        "A float32 constant makes a float64 function right to seven digits only.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "elu-slope-without-alpha", "scalar/activations.py", "return ONE if z > ZERO else alpha * math.exp(z)",
        "return ONE if z > ZERO else math.exp(z)",
        "With the default α = 1 nobody notices.",
        ("operations/test_activations.py",),
    ),
    Sabotage(
        "prelu-learns-from-all-rows", "scalar/activations.py", "return ZERO if z > ZERO else z", "return z",
        "The slope takes part in the rows with x ≤ 0 only.",
        ("operations/test_prelu.py",),
    ),
    Sabotage(
        "prelu-slope-decays", "layers/prelu.py", "np.full(self.features, self.initial_slope))",
        "np.full(self.features, self.initial_slope), decays=True)",
        "Weight decay pulls the slope to 0 and makes a ReLU of it.",
        ("layers/test_prelu.py",),
    ),
    # Pooling ---------------------------------------------------------------------------------------------------------
    Sabotage(
        "pool-hides-nan", "scalar/pooling.py", " or (value != value and best == best)", "",
        "A NaN is larger than nothing: every comparison with it is false.",
        ("operations/test_pooling.py",),
    ),
    Sabotage(
        "pool-takes-the-last-nan", "scalar/pooling.py", "(value != value and best == best)", "value != value",
        "Two NaNs are a tie, too.",
        ("operations/test_pooling.py",),
    ),
    Sabotage(
        "pool-gives-ties-to-the-last", "scalar/pooling.py", "return value > best or", "return value >= best or",
        "Behind a ReLU ties are common, and backends must break them alike.",
        ("operations/test_pooling.py",),
    ),
    Sabotage(
        "overlapping-pools-overwrite", "cpu/pooling.py", "dx[b, winner[b, cell]] += dy", "dx[b, winner[b, cell]] = dy",
        "A pixel that wins two windows gets the sum of their gradients.",
        ("operations/test_pooling.py",),
    ),
    Sabotage(
        "pool-kernel-skips-the-last-row-of-a-region", "cuda/pooling.py", "row < row_stop[i]:", "row < row_stop[i] - 1:",
        "A pixel that does not find its region gets no gradient.",
        ("operations/test_pooling.py",),
    ),
    # exp, log and tanh of the CPU ------------------------------------------------------------------------------------
    Sabotage(
        "ln-2-in-one-part", "cpu/engine/vector_math.py", "r = (x - n * high) - n * low", "r = x - n * (high + low)",
        "ln 2 is rounded, and n times its error is an error of eˣ.",
        ("cpu/engine/test_vector_math.py",),
    ),
    Sabotage(
        "exp-ends-too-early", "cpu/engine/vector_math.py", "(one + from_one) * power * (up if x > zero else down)",
        "(one + from_one) * _scale(one, shifted)",
        "2ⁿ leaves the normal numbers before 2ⁿ eʳ has become 0 or infinite.",
        ("cpu/engine/test_vector_math.py",),
    ),
    Sabotage(
        "log1p-of-a-rounded-sum", "cpu/engine/vector_math.py",
        "f = x if k == zero else (_scale(u, shift - k) - one) + ",
        "f = (_scale(u, shift - k) - one) + zero * ",
        "1 + x has lost most digits of a small x: log(1 + x) is 0 where x is 1e-8.",
        ("cpu/engine/test_vector_math.py",),
    ),
    Sabotage(
        "vector-exp-loses-nan", "cpu/engine/vector_math.py",
        "least if x < least else greatest if x > greatest else x)  #",
        "least if not x >= least else greatest if x > greatest else x)  #",
        "A NaN that is pushed into the range of exp comes out as 0.",
        ("cpu/engine/test_vector_math.py",),
    ),
    Sabotage(
        "erfc-of-a-rounded-square", "cpu/engine/vector_math.py", "lost = _fma(size, size, -square)", "lost = zero",
        "What x² lost in rounding is up to 4e-6 where x is 9, and e^-x² is off by as much of itself.",
        ("cpu/engine/test_vector_math.py",),
    ),
    Sabotage(
        "loop-of-single-vectors", "cpu/engine/vector_loop.py", "SIDE_BY_SIDE)\n", "1)\n",
        "Each step of a formula waits for the one before, and nothing else is there to do.",
        ("cpu/engine/test_vector_math.py",),
    ),
    # Dense -----------------------------------------------------------------------------------------------------------
    Sabotage(
        "bias-forgotten", "cpu/dense.py", "product(x, weight, y, bias)", "product(x, weight, y)",
        "Without its bias a unit's boundary goes through the origin.",
        ("operations/test_dense.py",),
    ),
    Sabotage(
        "bias-gradient-as-mean", "layers/dense.py", "self.ops.column_sums(dy, self.bias.gradient)",
        "self.ops.column_sums(dy * self.dtype.type(1 / len(dy)), self.bias.gradient)",
        "The loss is a mean already; dividing by the batch again makes the bias learn too slowly.",
        ("layers/test_dense.py",),
    ),
    Sabotage(
        "weight-gradient-added-up", "layers/dense.py",
        "self.ops.dense_backward_weight(x, dy, self.weight.gradient)",
        "before = self.backend.to_numpy(self.weight.gradient)\n"
        "        self.ops.dense_backward_weight(x, dy, self.weight.gradient)\n"
        "        self.backend.copy_into(self.weight.gradient, before + self.backend.to_numpy(self.weight.gradient))",
        "Gradients are overwritten here: a second backward pass must not double them.",
        ("layers/test_base.py",),
    ),
    Sabotage(
        "product-rows-left-over-forgotten", "cpu/engine/microkernel.py", "in (tall, 4, 2, 1):", "in (tall, 4, 2):",
        "127 rows are 21 blocks of 6 and 1 more.",
        ("cpu/engine/test_product.py",),
    ),
    Sabotage(
        "a-copied-panel-of-other-columns", "cpu/engine/product.py", "_copy_panel(b, at, columns",
        "_copy_panel(b, left, columns",
        "From 64 rows on, each panel of B is copied: from its own columns.",
        ("cpu/engine/test_product.py",),
    ),
    Sabotage(
        "input-gradient-without-transpose", "cpu/dense.py", "product_with_transposed(dy, weight, dx)",
        "product(dy, weight.reshape(weight.shape[1], weight.shape[0]), dx)",
        "dx = dy Wᵀ: reshaping a matrix is not transposing it.",
        ("operations/test_dense.py",),
    ),
    Sabotage(
        "column-sums-skip-the-last-row", "cpu/dense.py",
        "min(start + BLOCK_OF_TERMS, x.shape[0])", "min(start + BLOCK_OF_TERMS, x.shape[0] - 1)",
        "An off-by-one that only a test with known sums sees.",
        ("operations/test_dense.py",),
    ),
    # Threads, captured calls and the cache of the CPU -----------------------------------------------------------------
    Sabotage(
        "assigned-value-goes-elsewhere", "backend/parameters.py",
        'self._assign("value", self._value, array)', "self._value = array",
        "The layer uses an array that no optimizer knows: nothing learns, without a word.",
        ("backend/test_parameters.py",),
    ),
    Sabotage(
        "assigned-gradient-goes-elsewhere", "backend/parameters.py",
        'self._assign("gradient", self._gradient, array)', "self._gradient = array",
        "A gradient is right wherever a check looks, and no optimizer sees it.",
        ("backend/test_parameters.py",),
    ),
    Sabotage(
        "assigned-state-goes-elsewhere", "layers/guards.py",
        "layer.backend.copy_into(own, array)", "vars(layer)[name] = array",
        "A running mean that is used, and not saved.",
        ("backend/test_parameters.py",),
    ),
    Sabotage(
        "a-copied-step-keeps-its-graphs", "training/step.py",
        '{**vars(self), **vars(blank), "_replay": [], "_inputs": ()}', "vars(self)",
        "Graphs hold the addresses of the original's arrays.",
        ("training/test_copies.py",),
    ),
    Sabotage(
        "nobody-waits-for-the-workers", "cpu/engine/work_queue.py",
        "    while load(queue, DONE) < chunks:\n        _pause()\n", "",
        "No chunk is left to take, but others are still at theirs.",
        ("cpu/engine/test_thread_pool.py",),
    ),
    Sabotage(
        "chunk-taken-without-looking-again", "cpu/engine/work_queue.py",
        "        if _exchange(queue, STATE, state, state + ONE_FROM_BELOW if from_below else state - 1):\n",
        "        store(queue, STATE, state + ONE_FROM_BELOW if from_below else state - 1)\n        if True:\n",
        "Between the look at the state and the new one somebody else may have taken the same chunk.",
        ("cpu/engine/test_thread_pool.py",),
    ),
    Sabotage(
        "workers-taken-without-looking", "cpu/engine/work_queue.py",
        "return queue != 0 and _exchange(queue, OWNED, 0, 1)", "return queue != 0",
        "Two threads of a program that give tasks to the same workers overwrite each other's.",
        ("cpu/engine/test_parallel.py",),
    ),
    Sabotage(
        "workers-never-given-back", "cpu/engine/work_queue.py",
        "chunks)\n    _give_back(queue)\n", "chunks)\n",
        "Every later loop runs on one thread: right, and slow.",
        ("cpu/engine/test_parallel.py",),
    ),
    Sabotage(
        "workers-sleep-during-a-replay", "cpu/engine/thread_pool.py",
        "if not _queue[work_queue.OWNED]:", "if True:",
        "A worker that waited for a slow thread sleeps until the end of the step: right, and slow.",
        ("cpu/engine/test_thread_pool.py",),
    ),
    Sabotage(
        "replay-forgets-where-a-view-begins", "cpu/engine/parallel.py", "argument.ctypes.data - given.ctypes.data", "0",
        "A call may have taken a part of an input, which does not begin where the input does.",
        ("cpu/engine/test_parallel.py",),
    ),
    Sabotage(
        "call-list-lets-its-arrays-go", "cpu/engine/parallel.py",
        "self._alive.append((memory, arguments))", "self._alive.append(memory)",
        "An address keeps no array alive: the memory goes to somebody else, and the replay writes there.",
        ("cpu/engine/test_parallel.py",),
    ),
    Sabotage(
        "one-call-list-for-all-threads", "utils/block_local.py",
        "class BlockLocal(threading.local):", "class BlockLocal:",
        "Two threads that capture at the same time append to each other's list.",
        ("utils/test_block_local.py", "cpu/engine/test_parallel.py", "backend/test_capture.py"),
    ),
    Sabotage(
        "threads-share-a-loss", "training/run.py", 'checks.instance("loss", loss, Loss).new()',
        'checks.instance("loss", loss, Loss)',
        "The gradients of one run are made of the outputs of another, without a word.",
        ("training/test_threads.py",),
    ),
    Sabotage(
        "half-built-model", "layers/base.py", "            forget_context(self, context)\n", "",
        "After Ctrl-C in the first call every later one would miss weights.",
        ("layers/test_base.py",),
    ),
    Sabotage(
        "unpickled-states-unguarded", "layers/guards.py",
        "operations\n            self._guarded = {name: state[name] for name in state[\"_guarded\"]}\n", "operations\n",
        "A state that is assigned to a copied or unpickled model would be used and not saved.",
        ("training/test_copies.py",),
    ),
    Sabotage(
        "sizes-may-change", "layers/guards.py", 'names = {"n_in", "n_out", "backend", "dtype"}', "names = set()",
        "A kernel reads beyond an array whose layer says that it is larger.",
        ("layers/test_base.py",),
    ),
    Sabotage(
        "a-weight-may-be-exchanged", "layers/guards.py",
        "(*layer._parameters.values(), *layer._state.values())", "layer._state.values()",
        "The layer uses the other parameter, and the optimizer trains the old one.",
        ("layers/test_base.py",),
    ),
    Sabotage(
        "a-torn-capture-goes-on", "utils/block_local.py",
        "            if frame is None:\n                self.value = self._owner = None\n", "",
        "After Ctrl-C at the wrong instruction every later allocation would be refused.",
        ("utils/test_block_local.py",),
    ),
    Sabotage(
        "one-name-for-two-functions", "cpu/engine/jit.py",
        '        function.__qualname__ += f".{fingerprint(function)[:16]}"\n', "        pass\n",
        "The linker goes by names, and takes the one for the other.",
        ("cpu/engine/test_jit.py",),
    ),
    Sabotage(
        "cache-believed-by-its-file-name", "utils/code_cache.py",
        "return data if (stamp, stored) == (self._source_stamp, key) else None", "return data",
        "Two processes that compile at the same time write two functions under one name.",
        ("utils/test_code_cache.py",),
    ),
    # The definition of the operations --------------------------------------------------------------------------------
    Sabotage(
        "definition-estimates-a-biased-variance", "operations.py", "(rows / (rows - 1) * variance)", "variance",
        "The running estimate is of the population, so it takes rows - 1 where the batch takes rows.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "definition-chooses-both-sides", "scalar/arrays.py", "[node.test, node.body, node.orelse]",
        "[node.test, node.body, node.body]",
        "A choice for each element needs the side that is not chosen, too.",
        ("scalar/test_arrays.py",),
    ),
    Sabotage(
        "rows-share-a-counter-with-their-neighbours", "scalar/arrays.py", "np.arange(-(-count // 4), dtype=np.uint32)",
        "np.arange(-(-count // 4), dtype=np.uint32) // 2",
        "Two groups of four elements with one counter are dropped together.",
        ("operations/test_dropout.py",),
    ),
    Sabotage(
        "numpy-records-nothing-and-says-nothing", "backend/__init__.py",
        "raise CaptureError(\"the backend 'numpy'", "return lambda *inputs: (\"the backend 'numpy'",
        "A step that is said to be captured and does nothing trains nothing.",
        ("operations/test_definition.py",),
    ),
    # CUDA kernels in the emulator ------------------------------------------------------------------------------------
    Sabotage(
        "missing-first-barrier", "cuda/dense.py",
        "            store_b(four_b, tile_b)\n            cuda.syncthreads()\n            if",
        "            store_b(four_b, tile_b)\n            if",
        "A thread multiplies numbers that its neighbours have not loaded yet.",
        ("operations/test_dense.py",),
    ),
    Sabotage(
        "missing-second-barrier", "cuda/dense.py",
        "column_of_a, row_of_b, sums)\n            cuda.syncthreads()\n", "column_of_a, row_of_b, sums)\n",
        "A fast thread overwrites the tile while a slow one still reads it.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "slices-added-without-the-last", "cuda/dense.py",
        "for s in range(1, slices):", "for s in range(1, slices - 1):",
        "Threads that share a sum must all be heard.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "next-step-fetched-twice", "cuda/dense.py",
        "fetch_b(b, left, k + depth)", "fetch_b(b, left, k)",
        "Right for products with one step, and for nothing else.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "whole-steps-without-their-barrier", "cuda/dense.py",
        "                cuda.syncthreads()\n                k += depth\n", "                k += depth\n",
        "The loop for whole steps needs both barriers as well; few small products ever reach it.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "whole-steps-past-the-end", "cuda/dense.py", "while k + 2 * depth <= inner:", "while k + depth <= inner:",
        "A step fetches the next one's elements, and after the last there are none.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "four-columns-that-hang-over", "cuda/dense.py", " and a.shape[1] % 4 == 0 and b.shape[1] % 4 == 0:", ":",
        "In float64 a row of six is aligned; moved inside as a whole, its last four are not the two that are wanted.",
        ("cuda/ladder/test_ladder.py::test_products_of_several_whole_steps",),
    ),
    Sabotage(
        "rows-read-past-the-last", "cuda/dense.py",
        "row = min(start + t // 2 % extent, matrix.shape[0] - 1)", "row = start + t // 2 % extent",
        "Nobody writes what becomes of a row outside, but it is somebody else's memory.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "wide-load-over-the-edge", "cuda/engine/edges.py",
        "column + 3 < matrix.shape[1]:\n        return load_four",
        "column < matrix.shape[1]:\n        return load_four",
        "The first of four elements lies inside; the last may not.",
        ("cuda/ladder/test_ladder.py::test_every_rung_is_right",),
    ),
    Sabotage(
        "3xtf32-without-a-remainder", "cuda/ladder/tensor_cores.py",
        "    sums = multiply_add_tf32(a1, b2, sums)\n", "",
        "Half of what rounding took from the factors is still missing.",
        ("cuda/ladder/test_ladder.py",),
    ),
    Sabotage(
        "tf32-cut-off-instead-of-rounded", "cuda/ladder/tensor_cores.py",
        "    a = to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])\n", "",
        "The hardware drops bits that nobody has rounded away: twice the error, and all in one direction.",
        ("cuda/ladder/test_ladder.py::test_3xtf32_is_as_accurate_as_float32_and_tf32_is_not",),
    ),
    Sabotage(
        "copies-waited-for-one-step-late", "cuda/ladder/double_buffer.py", "        wait_for_copies(1)\n",
        "        wait_for_copies(2)\n",
        "The newest group of copies belongs to the next step; the one before it is needed now.",
        ("cuda/ladder/test_ladder.py",),
    ),
    Sabotage(
        "barrier-inside-a-branch", "cuda/reduce.py",
        "partial[warp, lane] = value\n        cuda.syncthreads()\n",
        "partial[warp, lane] = value\n        if warp > 0:\n            cuda.syncthreads()\n",
        "All threads of a block must reach a barrier, or none.",
        ("operations/test_dense.py::test_column_sums",),
    ),
    Sabotage(
        "last-partial-sum-dropped", "cuda/reduce.py", "column_sums(launch, partial, total)",
        "column_sums(launch, partial[:-1], total)",
        "The last block has rows, too.",
        ("operations/test_long_sums.py",),
    ),
    Sabotage(
        "partial-sum-added-twice", "cuda/reduce.py", "min(start + height, matrix.shape[0])",
        "min(start + height + 1, matrix.shape[0])",
        "The first row of a block belongs to it alone.",
        ("operations/test_long_sums.py",),
    ),
    Sabotage(
        "rows-of-the-neighbour", "cuda/reduce.py", "r = start + i * ROWS", "r = start + i",
        "The rows of a thread are as far apart as there are threads; the next row is that of the next thread.",
        ("operations/test_long_sums.py",),
    ),
    Sabotage(
        "variance-without-that-of-the-means", "cuda/batchnorm.py",
        "math.hypot(deviations[b, j], math.sqrt(share) * (offsets[b, j] - offset))", "deviations[b, j]",
        "The variance of all rows is that inside the blocks plus that of the blocks' means.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "blocks-weigh-alike", "cuda/batchnorm.py",
        "offsets[b, j] * (float32(min(height, x.shape[0] - b * height)) * one_over_rows)",
        "offsets[b, j] * (float32(height) * one_over_rows)",
        "The last block may have fewer rows than the others, and its mean weighs less.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "squares-around-the-old-mean", "cuda/batchnorm.py", "squares += far - count * step * step", "squares += far",
        "Where the mean moves, the squares of the distances from it become smaller.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "four-numbers-wherever-they-lie", "cuda/elementwise.py", "if aligned(vector) and first + 3 <= last:",
        "if first + 3 <= last:",
        "A 128-bit access must begin at a multiple of 16 bytes, and a part of an array may begin anywhere.",
        ("operations/test_fours.py",),
    ),
    Sabotage(
        "four-numbers-past-the-end", "cuda/elementwise.py", "if aligned(vector) and first + 3 < vector.size:",
        "if aligned(vector):",
        "Of the last four elements one to three may belong to somebody else.",
        ("operations/test_fours.py",),
    ),
    Sabotage(
        "tile-edge-off-by-one", "cuda/engine/edges.py",
        "return matrix[row, column] if row < matrix.shape[0] and",
        "return matrix[row, column] if row <= matrix.shape[0] and",
        "One row past the end is somebody else's memory.",
        ("operations/test_dense.py",),
    ),
    Sabotage(
        "tile-edge-cut-short", "cuda/dense.py", "if row < c.shape[0]:", "if row < c.shape[0] - 1:",
        "The last row is never written; what was there before stays.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "inner-dimension-rounded-down", "cuda/dense.py",
        "        while k < inner:", "        while k + depth <= inner:",
        "Right for multiples of a step, and for nothing else.",
        ("cuda/ladder/test_ladder.py::test_every_way_of_the_dense_products_is_right",),
    ),
    Sabotage(
        "warp-sum-of-16-lanes", "cuda/reduce.py",
        'every lane gets the sum."""\n    shift = WARP // 2\n',
        'every lane gets the sum."""\n    shift = WARP // 4\n',
        "Five steps halve 32 lanes to one; with four, half of the row is missing.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "softmax-kernel-without-maximum", "cuda/losses.py",
        "    largest = _largest(x, lane, row)\n    total = _exp_total(x, lane, row, largest)\n",
        "    largest = ZERO\n    total = _exp_total(x, lane, row, largest)\n",
        "e^z overflows for logits that a network reaches in a bad epoch.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "kernels-skip-the-tail", "cuda/elementwise.py", "one_thread_each(-(-count // FOUR))",
        "one_thread_each(count // FOUR)",
        "Rounding down forgets the last elements when the size is no multiple of 4.",
        ("operations/test_dropout.py",),
    ),
    # Batch normalization ---------------------------------------------------------------------------------------------
    Sabotage(
        "batchnorm-unbiased-variance", "cpu/batchnorm.py",
        "        variance[j] *= one_over_rows\n", "        variance[j] *= ONE / (ONE / one_over_rows - ONE)\n",
        "To normalize, the paper divides by the batch size; only the running estimate is unbiased.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-running-biased", "cpu/batchnorm.py", "(ONE - decay) * (unbiased * variance[j])",
        "(ONE - decay) * variance[j]",
        "The running variance stands in for the population's, so it takes the unbiased one.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-running-never-updated", "cpu/batchnorm.py",
        "        running_mean[j] = decay * running_mean[j] + (ONE - decay) * mean[j]\n",
        "        running_mean[j] = running_mean[j]\n",
        "Training looks fine; inference is wrong.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-decay-reversed", "cpu/batchnorm.py",
        "running_mean[j] = decay * running_mean[j] + (ONE - decay) * mean[j]",
        "running_mean[j] = (ONE - decay) * running_mean[j] + decay * mean[j]",
        "Frameworks disagree on what momentum 0.9 means; here it is the weight of the old value.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-epsilon-outside-the-root", "cpu/batchnorm.py", "ONE / math.sqrt(variance[j] + epsilon)",
        "ONE / (math.sqrt(variance[j]) + epsilon)",
        "ε is added to the variance; outside the root it is a different number, and the gradient blows up at 0.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-one-pass-variance", "cpu/batchnorm.py",
        "                deviation = x[r, j] - mean[j]\n                block[j] += deviation * deviation\n"
        "        for j in features:\n            variance[j] += block[j]\n"
        "    for j in features:\n        variance[j] *= one_over_rows\n",
        "                block[j] += x[r, j] * x[r, j]\n"
        "        for j in features:\n            variance[j] += block[j]\n"
        "    for j in features:\n        variance[j] = variance[j] * one_over_rows - mean[j] * mean[j]\n",
        "E[x²] - E[x]² subtracts two large numbers; with mean 1000 little is left in float32.",
        ("operations/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-backward-without-variance", "cpu/batchnorm.py",
        "one_over_rows * (dbeta[j] + normalized * dgamma[j])", "one_over_rows * dbeta[j]",
        "The variance depends on x too; this is the term that is forgotten.",
        ("operations/test_batchnorm.py", "layers/test_batchnorm.py"),
    ),
    Sabotage(
        "batchnorm-backward-zero", "layers/batchnorm.py", "        return dx\n", "        return dx * 0.0\n",
        "A gradient check with a cotangent of ones would not notice: it expects zeros.",
        ("layers/test_base.py", "diagnostics/test_contract.py"),
    ),
    Sabotage(
        "batchnorm-random-gamma", "layers/batchnorm.py", 'self.parameter("gamma", np.ones(self.features))',
        'self.parameter("gamma", np.random.default_rng(0).normal(1.0, 0.02, self.features))',
        "γ starts at 1, so that the layer starts as plain normalization.",
        ("layers/test_batchnorm.py",),
    ),
    Sabotage(
        "batchnorm-batch-statistics-at-inference", "layers/batchnorm.py",
        "        if training:\n", "        if True:\n",
        "At inference a prediction must not depend on the other rows of the batch.",
        ("layers/test_batchnorm.py",),
    ),
    # Dropout ---------------------------------------------------------------------------------------------------------
    Sabotage(
        "dropout-backward-without-mask", "layers/dropout.py",
        "self.ops.dropout(dy, *self.mask, self._scale(), dx)",
        "self.ops.copy_columns(dy, 0, self._scale(), dx, 0, dx.shape[1])",
        "A dropped unit took no part in the forward pass, so it gets no gradient.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "dropout-backward-fresh-mask", "layers/dropout.py",
        "        self.ops.dropout(dy,",
        "        self.ops.advance(self.step)\n        self.ops.dropout(dy,",
        "The backward pass belongs to the mask of its forward pass.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "dropout-same-mask-every-step", "layers/stochastic.py",
        "            self.ops.advance(self.counter)\n", "            pass\n",
        "One mask for ever is a smaller network, not an ensemble.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "dropout-not-scaled", "layers/stochastic.py", "1 / (1 - self.rate) if self.rate < 1 else 0", "1",
        "Inverted dropout divides by the keep probability, so that inference needs no change.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "dropout-at-inference", "layers/stochastic.py", "drawing = training or", "drawing = True or",
        "Inference uses all units.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "dropout-scaled-at-test-time-too", "layers/dropout.py",
        "if self.inverted and not drawing:\n            return x\n",
        "if self.inverted and not drawing:\n            return x * (1 - self.rate)\n",
        "Scaling belongs to training or to test time; doing both shrinks the output twice.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "rate-in-256ths", "layers/stochastic.py", "round(self._rate * 2**32)", "round(self._rate * 2**8) << 24",
        "1/3 would become 85/256, to which the scale 1 / (1 - rate) does not fit: too little for a count to notice.",
        ("layers/test_stochastic.py",),
    ),
    Sabotage(
        "dropout-rate-as-keep-probability", "layers/stochastic.py", "round(self._rate * 2**32)",
        "round((1 - self._rate) * 2**32)",
        "`rate` is the probability to drop; with 0.5 nobody notices.",
        ("layers/test_dropout.py",),
    ),
    Sabotage(
        "one-random-stream-for-all-layers", "utils/random_streams.py", "spawn_key=tuple(name.encode())", "spawn_key=()",
        "Two dropout layers with one stream drop the same units.",
        ("utils/test_random_streams.py", "layers/test_dropout.py"),
    ),
    # Noise on weights, and penalties on them -------------------------------------------------------------------------
    Sabotage(
        "dropout-classic-not-scaled-at-test", "layers/dropout.py",
        "self.dtype.type(1 - self.rate)", "self.dtype.type(1)",
        "Units that learned with half of their inputs get all of them at test time: everything is too large.",
        ("layers/test_stochastic.py",),
    ),
    Sabotage(
        "dropconnect-backward-fresh-mask", "layers/noisy_dense.py",
        "        self.ops.dropout(self.masked.gradient,",
        "        self.ops.advance(self.step)\n        self.ops.dropout(self.masked.gradient,",
        "A weight that was dropped in the forward pass has no part in the loss, so it gets no gradient.",
        ("layers/test_stochastic.py",),
    ),
    Sabotage(
        "penalty-on-the-bias", "layers/dense.py",
        "        self.penalize_gradient(self.weight.value, self.weight.gradient, self.weight.gradient)\n",
        "        for one in filter(None, (self.weight, self.bias)):\n"
        "            self.penalize_gradient(one.value, one.gradient, one.gradient)\n",
        "A bias shifts a unit and does not make it steeper: pulling it to 0 only makes the fit worse.",
        ("test_penalties.py",),
    ),
    Sabotage(
        "l1-gradient-without-sign", "scalar/penalties.py", "signed + l2 * w", "l1 + l2 * w",
        "Without the sign every weight is pushed down, the negative ones away from 0.",
        ("test_penalties.py",),
    ),
    Sabotage(
        "activity-penalty-summed", "layers/activity_penalty.py",
        "            self.penalize(x, 1 / x.shape[0])\n", "            self.penalize(x)\n",
        "The loss is a mean over the batch; beside it a sum would ask for more zeros the larger the batch is.",
        ("layers/test_activity_penalty.py",),
    ),
    # Losses ----------------------------------------------------------------------------------------------------------
    Sabotage(
        "softmax-without-maximum", "cpu/losses.py",
        "            y[r, j] = x[r, j] - largest[r]\n", "            y[r, j] = x[r, j]\n",
        "e^z overflows for logits that a network reaches in a bad epoch.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "cross-entropy-gradient-summed", "cpu/losses.py", "        y[i] = x[i] * factor\n",
        "        y[i] = x[i]\n",
        "The loss is a mean over the batch, so the gradient is divided by the batch.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "loss-summed-over-the-batch", "cpu/losses.py", "    mean[0] = loss * one_over_rows\n", "    mean[0] = loss\n",
        "A sum makes the learning rate depend on the batch size.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "cross-entropy-of-the-wrong-class", "cpu/losses.py", "_surprise(logits[r, labels[r]], largest",
        "_surprise(logits[r, 0], largest",
        "The loss asks for the probability of the label.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "smoothing-over-the-other-classes", "losses.py",
        "self.label_smoothing / n_out", "self.label_smoothing / (n_out - 1)",
        "ε is shared by all classes, the label too; with K - 1 the targets sum to more than 1.",
        ("test_losses.py",),
    ),
    Sabotage(
        "smoothed-loss-with-the-gradient-of-the-label", "losses.py",
        "        backward(self._probabilities, targets, doutputs)\n",
        "        backward(self._probabilities, targets if hard else one_hot(targets.argmax(axis=1), outputs.shape[1],"
        " outputs.dtype), doutputs)\n",
        "The loss is that of smoothed targets, and so is its gradient: softmax minus those targets.",
        ("test_losses.py",),
    ),
    Sabotage(
        "squared-error-slope-without-2", "scalar/losses.py", "return TWO * (y - t)", "return y - t",
        "The derivative of a square has a 2; leave it out only together with a ½ in the loss.",
        ("operations/test_losses.py",),
    ),
    # Penalties, clipping, noise --------------------------------------------------------------------------------------
    Sabotage(
        "l2-penalty-without-half", "scalar/penalties.py", "(HALF * l2 * w) * w", "(l2 * w) * w",
        "The ½ belongs to the slope l2 w: without it the cost falls twice as fast as its gradient says.",
        ("operations/test_penalties.py",),
    ),
    Sabotage(
        "l1-pushes-zero-away", "scalar/penalties.py", "l1 if w > ZERO else", "l1 if w >= ZERO else",
        "With sign(0) = 1 a weight never rests at 0, and the lasso's zeros are lost.",
        ("operations/test_penalties.py",),
    ),
    Sabotage(
        "clip-loses-nan", "scalar/clipping.py", "limit if v > limit else", "limit if not v <= limit else",
        "A NaN that is clipped to the limit looks like a gradient.",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "norm-in-float32", "cpu/clipping.py", "    squares = 0.0  # a float64 on purpose",
        "    squares = np.float32(0.0)  # a float64 on purpose",
        "Late terms of a long running sum fall below its last digit.",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "squares-that-overflow", "cuda/clipping.py",
        "if not safe_to_add(squares):\n        norm", "if False:\n        norm",
        "Gradients of 1e20 would be clipped to 0, in the very case that clipping is for.",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "infinite-moments-unseen", "training/divergence.py", "[*model.arrays(), *moments.items()]", "model.arrays()",
        "Weights whose second moment is infinite stay where they are, and the loss with them.",
        ("training/test_extreme_numbers.py",),
    ),
    Sabotage(
        "epsilon-that-float32-rounds-to-0", "utils/checks.py", "        real(argument, float(number), **bounds)",
        "        real(argument, value, **bounds)",
        "In range as Python's number, and the division by 0 comes in float32.",
        ("training/test_extreme_numbers.py",),
    ),
    Sabotage(
        "shared-memory-used-again-at-once", "cuda/reduce.py",
        "    cuda.syncthreads()  # no thread may overwrite `partial` before thread 0 has read it\n", "",
        "The next sum may begin in one thread while another still reads this one: seldom, and never in a debugger.",
        ("emulator/test_kernels.py::test_no_kernel_of_minidl_races",),
    ),
    Sabotage(
        "float64-from-a-literal", "cuda/reduce.py",
        "            part = ZERO\n", "            part = 0.0\n",
        "Every number is right, and a consumer GPU adds them at a small part of its speed.",
        ("emulator/test_kernels.py::test_float32_kernels_compute_in_float32",),
    ),
    Sabotage(
        "later-rows-in-place-of-earlier-ones", "cuda/dense.py",
        "BACKWARD_WEIGHT_ADDED if start else BACKWARD_WEIGHT", "BACKWARD_WEIGHT",
        "Only batches beyond a few thousand rows show it.",
        ("operations/test_long_sums.py",),
    ),
    Sabotage(
        "a-long-batch-in-one-chain", "cpu/engine/product.py", "min(depth, BLOCK_OF_TERMS)", "depth",
        "Each addition of a small term to a large sum is rounded the same way; a million of them lose 1 %.",
        ("operations/test_long_sums.py",),
    ),
    Sabotage(
        "clipped-by-the-squared-norm", "cuda/clipping.py",
        "    norm = math.sqrt(squares) / NORM_UNIT\n    if not safe_to_add(squares):",
        "    norm = squares / NORM_UNIT\n    if not safe_to_add(squares):",
        "The direction stays, so only the length of the result gives the missing root away.",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "small-gradients-scaled-up", "cpu/clipping.py",
        "    if norm > limit / NORM_UNIT:\n        factor = limit / norm\n        for i in range(values.size)",
        "    if norm > 0.0:\n        factor = limit / norm\n        for i in range(values.size)",
        "Clipping shortens; it must not turn a small gradient into a large one.",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "max-norm-of-rows", "cpu/clipping.py", "length(weight[:, j])", "length(weight[j % weight.shape[0]])",
        "A unit's incoming weights are a column of (n_in, n_out).",
        ("operations/test_clipping.py",),
    ),
    Sabotage(
        "stride-of-one-block", "cuda/penalties.py", "value.size, cuda.gridsize(1)):", "value.size, cuda.blockDim.x):",
        "A thread must step over the whole grid, or elements count once for each block.",
        ("operations/test_penalties.py",),
    ),
    Sabotage(
        "box-muller-without-half", "scalar/noise.py", "(real(word_0) + HALF) * real(2.0**-32)",
        "real(word_0) * real(2.0**-32)",
        "The word 0 comes once in 2³², and its logarithm is infinite.",
        ("operations/test_noise.py",),
    ),
    Sabotage(
        "box-muller-in-24-bits", "scalar/noise.py",
        "math.log1p(-(real(0xFFFFFFFF - word_0) + HALF) * real(2.0**-32))",
        "math.log((real(word_0) + HALF) * real(2.0**-32))",
        "Near 1 float32 has steps of 6e-8, so the smallest radii are all 0 or 3e-4.",
        ("operations/test_noise.py",),
    ),
    Sabotage(
        "noise-variance-for-std", "cuda/noise.py", "xs[k] + std * _pick", "xs[k] + std * std * _pick",
        "std multiplies a standard normal number once.",
        ("operations/test_noise.py",),
    ),
    Sabotage(
        "rows-share-a-word", "cuda/noise.py", "_pick(r % 4, word_0", "_pick(0, word_0",
        "Four rows share a counter and have a word each; with the same word they fall together.",
        ("operations/test_noise.py",),
    ),
    Sabotage(
        "soft-targets-zero-times-infinity", "scalar/losses.py", "return ZERO if t == ZERO else t * surprise",
        "return t * surprise",
        "0 · ∞ is NaN: a class that never occurs must cost nothing, even if its probability is 0.",
        ("operations/test_losses.py",),
    ),
    Sabotage(
        "soft-targets-last-of-equals", "cpu/losses.py", "_first(targets, r, _largest(targets, r))",
        "targets.shape[1] - 1 - targets[r, ::-1].argmax()",
        "Of two equal targets the first is the answer, as of two equal logits.",
        ("operations/test_losses.py",),
    ),
    # Optimizers ------------------------------------------------------------------------------------------------------
    Sabotage(
        "gradient-ascent", "scalar/optimizers.py", "    return w - rate * g\n", "    return w + rate * g\n",
        "Downhill is against the gradient.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "momentum-with-1-minus-mu", "scalar/optimizers.py",
        "    velocity = mu * velocity + g\n    return w - rate * velocity, velocity\n",
        "    velocity = mu * velocity + (ONE - mu) * g\n    return w - rate * velocity, velocity\n",
        "An average of gradients is ten times slower than the heavy ball of the formula.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "nesterov-is-plain-momentum", "scalar/optimizers.py", "w - rate * (g + mu * velocity), velocity",
        "w - rate * velocity, velocity",
        "Nesterov looks ahead: it adds the coming step to the gradient.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "rmsprop-without-root", "scalar/optimizers.py", "rate * g / (math.sqrt(mean_square) + epsilon), mean_square",
        "rate * g / (mean_square + epsilon), mean_square",
        "It is the root of the mean square that has the unit of a gradient.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "adam-without-bias-correction", "scalar/optimizers.py",
        "first * (ONE / correction1), second * (ONE / correction2)", "first, second",
        "Both averages start at 0; without the correction the first steps are three times too long.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "adam-epsilon-inside-the-root", "scalar/optimizers.py", "(math.sqrt(v) + epsilon)",
        "math.sqrt(v + epsilon)",
        "1e-8 inside the root acts like 1e-4 outside.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "adamw-decay-in-the-gradient", "scalar/optimizers.py",
        "    first = beta1 * first + (ONE - beta1) * g\n",
        "    g = g + weight_decay * w\n    weight_decay = weight_decay * ZERO\n"
        "    first = beta1 * first + (ONE - beta1) * g\n",
        "Decoupled means: the decay does not pass through the moments.",
        ("operations/test_optimizers.py",),
    ),
    Sabotage(
        "max-norm-on-rows", "optimizers.py",
        "self._ops.max_norm(parameter.value,", "self._ops.max_norm(parameter.value.T,",
        "The weights that come into one unit are a column; a row is what one input sends out.",
        ("test_optimizers.py",),
    ),
    Sabotage(
        "weight-decay-on-biases", "optimizers.py", "weight_decay if decays else 0", "weight_decay",
        "A bias does not make a function wiggle; decaying γ and β fights batch norm.",
        ("test_optimizers.py", "layers"),
    ),
    Sabotage(
        "adam-counts-parameters-as-steps", "optimizers.py",
        "        self._advance()\n        for group in self._groups:\n",
        "        for group in self._groups:\n            self._advance()\n",
        "t counts steps of the optimizer, not updates of single parameters.",
        ("test_optimizers.py",),
    ),
    Sabotage(
        "weights-and-biases-in-one-run", "backend/parameters.py", "groups[-1][0] == decays and", "",
        "What lies side by side is updated in one call, so weights must not lie in one run with what does not decay.",
        ("backend/test_parameters.py",),
    ),
    Sabotage(
        "replay-keeps-the-first-batch", "cpu/engine/parallel.py",
        "self._patches.append((address, number, offset))", "pass",
        "A capture that learns from one batch for ever looks fast and wrong.",
        ("training/test_step.py",),
    ),
    Sabotage(
        "replay-without-verification", "training/step.py",
        "if array.tobytes() != replayed[name].tobytes():", "if False:",
        "What a layer does outside the operations is not done again, and nobody would notice.",
        ("training/test_step.py",),
    ),
    Sabotage(
        "joined-launches-are-not-verified", "training/step.py",
        "                self._join = False\n                self.forget()\n", "",
        "A compiler rounds otherwise in a larger kernel: then the bits depend on whether a step is captured.",
        ("cuda/test_joined.py::test_a_step_that_joining_changes_is_captured_as_it_is_written",),
    ),
    Sabotage(
        "other-graphs-stay-joined", "training/step.py",
        "                self.forget()\n", "                self._steps[self._key] = CAPTURE - 2\n",
        "Where one graph rounds otherwise, the next to be verified does so too, and then nothing is captured any more.",
        ("cuda/test_joined.py",),
    ),
    Sabotage(
        "a-view-without-gaps", "cuda/joined.py",
        "    return range(start + before, start + behind + array.dtype.itemsize)\n",
        "    return range(start, start + array.size * array.dtype.itemsize)\n",
        "The last columns of a matrix reach farther than their own bytes.",
        ("cuda/test_joined.py",),
    ),
    Sabotage(
        "an-update-beside-its-gradient", "cuda/joined.py", "        for array in _arrays(another.arguments)\n",
        "        for array in _written(another) or ()\n",
        "Who reads what another block is writing gets the old number or the new one, as chance will have it.",
        ("cuda/test_joined.py::test_what_depends_on_another_launch_comes_after_it",),
    ),
    Sabotage(
        "part-of-an-array-is-another-array", "cuda/joined.py",
        "    return one.start < other.stop and other.start < one.stop\n", "    return one == other\n",
        "A slice begins at another address and is the same memory.",
        ("cuda/test_joined.py::test_what_depends_on_another_launch_comes_after_it",),
    ),
    Sabotage(
        "blocks-beyond-a-grid", "cuda/joined.py",
        "        elif cuda.blockIdx.x < grids[0][0] and cuda.blockIdx.y < grids[0][1]:\n", "        else:\n",
        "The widest launch decides the grid; the others must send home the blocks that they did not ask for.",
        ("cuda/test_joined.py::test_every_loss_side_by_side",),
    ),
    Sabotage(
        "the-last-rows-beside-are-left-out", "cuda/joined.py",
        "    widest, highest = map(max, zip(*grids, strict=True))\n", "    widest, highest = grids[0]\n",
        "The grid must be as wide as the widest launch, not as the first.",
        ("cuda/test_joined.py::test_every_loss_side_by_side",),
    ),
    Sabotage(
        "replay-forgets-the-count", "training/step.py", "            self.optimizer.steps += 1\n", "            pass\n",
        "A schedule that counts no steps stays where it is.",
        ("training/test_step.py",),
    ),
    Sabotage(
        "capture-counts-as-a-step", "backend/snapshot.py", "            self.backend.copy_into(array, values)\n",
        "            pass\n",
        "The step that was captured is made again as it is written; without undoing it, it counts twice.",
        ("training/test_step.py",),
    ),
    Sabotage(
        "batch-counter-stands-still", "training/batches.py", "        self.backend.operations.advance(self._number)\n",
        "        pass\n",
        "Every step of an epoch sees the same rows.",
        ("training/test_batches.py",),
    ),
    Sabotage(
        "learning-rate-change-ignored", "optimizers.py", "if self._rate_on_device != self.learning_rate:", "if False:",
        "A schedule that does not reach the device schedules nothing.",
        ("test_optimizers.py",),
    ),
    # Layers and models -----------------------------------------------------------------------------------------------
    Sabotage(
        "backward-edits-dy", "layers/activations.py",
        '        dx = self.buffer("dx", *x.shape)\n', "        dx = dy\n",
        "dy belongs to the layer above, which may need it again.",
        ("layers/test_base.py",),
    ),
    Sabotage(
        "backward-in-forward-order", "layers/sequential.py",
        "        for layer in reversed(self.layers):\n            dy = layer.backward(dy)\n        return dy\n",
        "        for layer in self.layers:\n            dy = layer.backward(dy)\n        return dy\n",
        "The chain rule starts at the loss.",
        ("layers/test_sequential.py",),
    ),
    Sabotage(
        "first-layer-never-learns", "layers/sequential.py", "        self.layers[0].backward_parameters(dy)\n", "",
        "The loss still falls, a little.",
        ("layers/test_sequential.py", "training/test_fit.py"),
    ),
    Sabotage(
        "layer-shared-by-two-models", "layers/base.py",
        "        if self.context is not None:\n            raise ValueError(",
        "        if False:\n            raise ValueError(",
        "Two models with one layer train each other.",
        ("layers",),
    ),
    Sabotage(
        "predict-in-training-mode", "layers/model.py", "self.backend.to_numpy(self.forward(batch))",
        "self.backend.to_numpy(self.forward(batch, training=True))",
        "A prediction that changes from call to call.",
        ("layers/test_sequential.py",),
    ),
    Sabotage(
        "projection-never-learns", "layers/residual.py",
        "        if self.projection:\n            self.projection.backward_parameters(dy)\n", "",
        "The way past the block has weights of its own, also where the block is the first layer.",
        ("layers/test_residual.py",),
    ),
    Sabotage(
        "only-the-last-head-teaches", "layers/heads.py",
        "                self.ops.add(dx, part, dx)\n",
        "                self.ops.copy_columns(part, 0, self._one, dx, 0, dx.shape[1])\n",
        "What goes into several heads collects the gradients of all of them.",
        ("layers/test_heads.py",),
    ),
    Sabotage(
        "weights-only-weigh-the-loss", "weighted.py",
        'self._ops.scale_rows(targets["weight"], doutputs, doutputs)', "pass",
        "A weight scales the gradient of its row as it scales the loss.",
        ("test_weighted.py",),
    ),
    Sabotage(
        "class-weight-replaces-row-weight", "weighted.py",
        "weight * by_class[labels, None]", "by_class[labels, None]",
        "A row counts by its own weight times that of its class.",
        ("test_weighted.py",),
    ),
    Sabotage(
        "unknown-labels-teach", "multi_task.py", "self._ops.mask_rows(self._targets[name], dpart, dpart)", "pass",
        "A label that nobody knows must not pull towards the class that stands in for it.",
        ("test_multi_task.py",),
    ),
    Sabotage(
        "unknown-labels-count-as-wrong", "multi_task.py",
        "accuracy = accuracy / share if share else None", "pass",
        "An accuracy is the share of right answers among those that can be judged.",
        ("test_multi_task.py",),
    ),
    # Training and data -----------------------------------------------------------------------------------------------
    Sabotage(
        "shuffle-batch-starts-only", "training/run.py",
        ".permutation(rows)", ".permutation(rows)[0] + np.arange(rows) - rows",
        "Samples that always meet in one batch are not a random sample.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "same-order-every-epoch", "training/run.py", '.{name}.{self.model.epochs_trained}"', '.{name}"',
        "The noise of the gradient repeats itself.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "last-partial-batch-dropped", "training/batches.py", "        if rest:\n", "        if False:\n",
        "In an evaluation some samples would never be counted.",
        ("training/test_batches.py",),
    ),
    Sabotage(
        "labels-in-another-order", "training/batches.py", "gather_rows(array, order, number, batch)",
        "gather_rows(array, order if batch.ndim == 2 else np.sort(order), number, batch)",
        "x and y must be shuffled together.",
        ("training/test_batches.py",),
    ),
    Sabotage(
        "averages-ignore-the-batch-size", "losses.py", "        self._rows_so_far += rows\n",
        "        self._rows_so_far += max(rows, self._rows_so_far and self._largest)\n"
        "        self._largest = max(rows, getattr(self, '_largest', 0))\n",
        "A small last batch counts for its rows, not for a whole batch.",
        ("test_losses.py", "training/test_fit.py"),
    ),
    Sabotage(
        "evaluate-in-training-mode", "training/evaluation.py", "loss.compute_unchecked(model.forward(x), targets)",
        "loss.compute_unchecked(model.forward(x, training=True), targets)",
        "Dropout during evaluation makes every network look worse than it is.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "pixels-divided-twice", "data/mnist.py", "    x /= 255\n", "    x /= 255\n    x /= 255\n",
        "Inputs near zero look like a bad initialization.",
        ("data/test_mnist.py",),
    ),
    Sabotage(
        "classes-numbered-anew", "data/frames.py",
        "_categories(y.dtype) if class_names is None else class_names", "_categories(y.dtype)",
        "Two sets of one task must agree on which number is which class.",
        ("data/test_frames.py",),
    ),
    Sabotage(
        "missing-values-pass", "data/frames.py", "if missing.size:", "if False:",
        "A missing value is no number, and its column has a name.",
        ("data/test_frames.py",),
    ),
    Sabotage(
        "idx-in-native-byte-order", "data/idx.py", 'struct.unpack(f">{dimensions}I"', 'struct.unpack(f"<{dimensions}I"',
        "IDX is big-endian.",
        ("data/test_idx.py",),
    ),
    Sabotage(
        "xor-with-wrong-labels", "data/toy.py", "np.where(y == 0, sign, -sign)", "np.where(y == 1, sign, sign)",
        "Both classes in the same quadrants: nothing to learn.",
        ("data/test_toy.py",),
    ),
    Sabotage(
        "fitted-to-the-test-set", "data/preprocessing.py", "data.held_out and not allow_held_out", "False",
        "A mean that has seen the test rows tells the network about them.",
        ("data/test_preprocessing.py",),
    ),
    Sabotage(
        "standardize-divides-by-zero", "data/preprocessing.py", "np.where(deviation > self.epsilon, deviation, 1.0)",
        "deviation + self.epsilon",
        "A pixel that is constant in training and lit once in a test image becomes a hundred million.",
        ("data/test_preprocessing.py",),
    ),
    Sabotage(
        "whitening-where-nothing-varies", "data/preprocessing.py", "np.where(varies, ", "np.where(True, ",
        "Ten training rows span nine directions; in the others a test row comes out three hundred times too large.",
        ("data/test_preprocessing.py",),
    ),
    Sabotage(
        "pca-smallest-axes-first", "data/preprocessing.py", "axes[:, ::-1][:, : self.components]",
        "axes[:, : self.components]",
        "eigh sorts upwards: the first columns are the directions in which the data hardly vary.",
        ("data/test_preprocessing.py",),
    ),
    Sabotage(
        "zca-forgets-to-rotate-back", "data/preprocessing.py", "y @ self.axes.T if self.method", "y if self.method",
        "That is PCA whitening under another name: no image looks like itself.",
        ("data/test_preprocessing.py",),
    ),
    Sabotage(
        "test-rows-become-training-rows", "data/splitting.py", "data.held_out or i > 0", "i > 0",
        "Splitting the test set does not make any of it training data.",
        ("data/test_splitting.py",),
    ),
    Sabotage(
        "rotation-the-wrong-way", "data/augmentation.py", "= np.sin(angle)", "= -np.sin(angle)",
        "Rows count downwards, so the textbook matrix turns the image the other way.",
        ("data/test_augmentation.py",),
    ),
    Sabotage(
        "warps-in-the-wrong-order", "data/augmentation.py", "functools.reduce(np.matmul, [",
        "functools.reduce(lambda a, b: b @ a, [",
        "Where a point comes from is asked backwards: the last step first.",
        ("data/test_augmentation.py",),
    ),
    Sabotage(
        "cutmix-keeps-the-drawn-share", "data/augmentation.py", "1 - inside.mean(axis=(1, 2, 3))", "share",
        "The border cuts the box off, so fewer pixels were pasted than the target says.",
        ("data/test_augmentation.py",),
    ),
    Sabotage(
        "bad-labels-reach-the-kernel", "utils/checks.py",
        "    if wrong.any():\n        index = int(np.argmax(wrong))\n",
        "    if False:\n        index = int(np.argmax(wrong))\n",
        "A label out of range reads somebody else's memory in compiled code.",
        ("utils/test_checks.py", "robustness/test_bad_input.py"),
    ),
    # Schedules, clipping, callbacks, checkpoints ----------------------------------------------------------------------
    Sabotage(
        "steps-not-restored", "optimizers.py", "        self.steps = steps\n", "",
        "A resumed run would begin its learning-rate schedule again.",
        ("training/test_checkpoints.py",),
    ),
    Sabotage(
        "epoch-order-from-the-run", "training/run.py",
        "{name}.{self.model.epochs_trained}", "{name}.{self.epoch}",
        "A second fit would see the samples in the order of the first.",
        ("training/test_fit.py", "training/test_checkpoints.py"),
    ),
    Sabotage(
        "changed-hyperparameters-forgotten", "optimizers.py", "        self.values.update(values)\n", "",
        "What a callback has changed is part of the run: a resumed run would go back to the first value.",
        ("training/test_checkpoints.py",),
    ),
    Sabotage(
        "ctrl-c-loses-the-epoch", "training/fit.py", "if interrupted and step < steps:", "if interrupted:",
        "After its last step an epoch is whole: validation, history and checkpoint belong to it.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "nan-in-the-last-step", "training/fit.py", '    run.check_arrays("the last step")\n', "",
        "The loss of a step is that of the weights before it; after the last step nobody has looked.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "penalty-counted-while-capturing", "training/step.py",
        "            if layer.cost is not None:\n"
        '                arrays[f"penalty of {layer.label}"] = layer.cost\n',
        "",
        "To capture and to verify a step is not to make one: what it adds up must be undone.",
        ("training/test_fit.py",),
    ),
    Sabotage(
        "one-partner-for-each-row", "data/augmentation.py", "rng.permutation(len(images))",
        "np.arange(len(images))[::-1]",
        "Row i would be mixed with row n-1-i in every batch.",
        ("data/test_augmentation.py",),
    ),
    Sabotage(
        "tested-on-the-training-set", "cli/sources.py",
        "dl.data.circles(1000, seed=seed + 1)", "dl.data.circles(1000, seed=seed)",
        "A test set of the same seed is the training set.",
        ("cli/test_commands.py",),
    ),
    Sabotage(
        "standardized-by-all-rows", "cli/sources.py",
        "Columns.learned(train, ", "Columns.learned(data, ",
        "Mean and deviation would know the rows of the test.",
        ("cli/test_own_data.py",),
    ),
    Sabotage(
        "one-split-for-all-seeds", "cli/sources.py", "split(data, 0.8, 0.1, 0.1, seed=options.seed)",
        "split(data, 0.8, 0.1, 0.1, seed=0)",
        "With other weights but the same test rows, nobody sees how much a result depends on the rows.",
        ("cli/test_own_data.py",),
    ),
    Sabotage(
        "clip-norm-of-each-parameter", "training/clipping.py",
        "        for gradient in gradients:\n"
        "            backend.operations.scale_to_norm(gradient, norms, limit)\n",
        "        for i, gradient in enumerate(gradients):\n"
        "            backend.operations.scale_to_norm(gradient, norms[i : i + 1], limit)\n",
        "One factor for all keeps the direction of the step; one for each does not.",
        ("training/test_clipping.py",),
    ),
    Sabotage(
        "early-stopping-keeps-the-last-weights", "training/callbacks.py",
        "            run.model.restore(self._weights)\n",
        "            pass\n",
        "The last weights are the ones that made early stopping stop.",
        ("training/test_callbacks.py",),
    ),
    Sabotage(
        "two-workers-in-one-slot", "sweeps/study.py",
        "any(slot_of(other) == slot and other.state != TrialState.FAIL for other in before)",
        "False",
        "Two workers may see the same open slot; both would run the trial, and it would count twice.",
        ("sweeps/test_study.py",),
    ),
    Sabotage(
        "a-trial-done-again-with-other-settings", "sweeps/study.py",
        "values = lost[0].params if lost else self.plan.draw(slot)",
        "values = self.plan.draw(slot)",
        "TPE would draw anew, and the settings of a killed worker would be lost.",
        ("sweeps/test_study.py",),
    ),
    Sabotage(
        "a-worker-that-shows-no-sign-of-life", "sweeps/study.py",
        'self.trial.set_user_attr("sign", sign)',
        "pass",
        "An epoch may take longer than a minute; the others would take its worker for dead.",
        ("sweeps/test_study.py",),
    ),
    Sabotage(
        "every-worker-draws-the-same", "sweeps/study.py",
        "rng = np.random.default_rng((self.settings.seed, slot))",
        "rng = np.random.default_rng(self.settings.seed)",
        "The same seed for each trial draws the same settings again and again.",
        ("sweeps/test_study.py",),
    ),
    Sabotage(
        "cosine-off-by-one", "schedules.py",
        "        done = min(step / self.steps, 1.0)\n        return self.end",
        "        done = min((step + 1) / self.steps, 1.0)\n        return self.end",
        "The first step has the full rate; step n, the one after the last of n, has the end.",
        ("test_schedules.py",),
    ),
    Sabotage(
        "warm-up-starts-at-the-full-rate", "schedules.py", "return self.then(0) * (step + 1) / self.steps",
        "return self.then(0)",
        "The first steps, with the gradients of random weights, are the ones that should be small.",
        ("test_schedules.py",),
    ),
    Sabotage(
        "checkpoint-written-in-place", "utils/storage.py", "    with write_whole(path, argument=argument) as file:",
        '    with open(path, "wb") as file:',
        "Who dies while writing loses the old checkpoint and has no new one.",
        ("training/test_checkpoints.py", "robustness/test_kill.py"),
    ),
    Sabotage(
        "saving-replaces-a-link", "utils/files.py",
        "Path(os.path.realpath(path)) if path.is_symlink() else path", "path",
        "Who keeps models on another disk, behind a link, finds the next one on this disk.",
        ("utils/test_files.py",),
    ),
    Sabotage(
        "folders-become-files", "utils/checks.py", 'if folder and name in ("", "."):', "if False:",
        "Path drops the separator at the end, and save writes a file where a folder was meant.",
        ("utils/test_files.py",),
    ),
    Sabotage(
        "fractions-stay-fractions", "utils/reprs.py",
        "int(value) if isinstance(value, numbers.Integral) else float(value)", "value",
        "The text of an initializer is read again, and fractions.Fraction is no word of that language.",
        ("utils/test_checks.py",),
    ),
    Sabotage(
        "saving-opens-a-private-file", "utils/files.py", "stat.S_IMODE(before.st_mode)", "0o644",
        "The owner had said that nobody else may read it.",
        ("utils/test_files.py",),
    ),
    Sabotage(
        "training-ends-with-its-reader", "utils/output.py",
        "if not isinstance(error, BrokenPipeError) and error.errno not in GONE:", "if True:",
        "After `| head -1` nobody reads the lines, but somebody wants the model.",
        ("utils/test_output.py",),
    ),
    Sabotage(
        "names-read-as-formulas", "utils/figures.py",
        "text.set_parse_math(text in numbers)", "text.set_parse_math(True)",
        "A class called $5 to $10 is no formula, and one called $_$ ends every picture.",
        ("utils/test_figures.py",),
    ),
    Sabotage(
        "row-numbers-are-a-feature", "data/loading.py",
        "if not name or (features is None", "if name and (features is None",
        "pandas writes the row number into a column without a name; in a sorted file it tells the class.",
        ("data/test_loading.py",),
    ),
    Sabotage(
        "long-labels-through-float64", "data/loading.py", "np.array(labels, np.int64), None",
        "np.array(labels, np.float64).astype(np.int64), None",
        "float64 has 53 bits: neighbours among numbers of 19 digits become one class.",
        ("data/test_loading.py",),
    ),
    Sabotage(
        "log-written-at-the-end", "training/callbacks.py",
        "            self._line(file, run.history.epochs[-1])\n"
        "            file.flush()\n",
        "            if run.epoch > run.epochs:\n"
        "                for epoch in run.history:\n"
        "                    self._line(file, epoch)\n",
        "A log is read while the run goes on, or after it has died.",
        ("training/test_callbacks.py",),
    ),
    # Instruments -----------------------------------------------------------------------------------------------------
    Sabotage(
        "inspect-moves-the-dropout", "diagnostics/inspection.py",
        "            model = copy.deepcopy(model, shared)", "            pass",
        "Who measures must not touch: a drawing more, and every later mask of the run is another.",
        ("diagnostics/test_inspection.py", "diagnostics/test_recorder.py"),
    ),
    Sabotage(
        "sample-variance-over-the-units", "diagnostics/layer_statistics.py", "(unit * within)",
        "(unit * moments(y.T, unit)[3])",
        "That units differ among themselves says nothing; the question is whether samples still do.",
        ("diagnostics/test_inspection.py", "diagnostics/test_layer_statistics.py"),
    ),
    Sabotage(
        "counted-on-the-wrong-side-of-an-edge", "cpu/distribution.py", "if value < edges[i]:", "if False:",
        "The number of a bin is a rounded quotient; next to an edge it may be that of the neighbour.",
        ("diagnostics/test_layer_statistics.py",),
    ),
    Sabotage(
        "dead-for-one-sample", "diagnostics/inspection.py", "zero == len(slope)", "zero > 0",
        "A unit that is silent for one sample is a feature; silent for all, it is dead.",
        ("diagnostics/test_inspection.py",),
    ),
    Sabotage(
        "update-relative-to-the-new-weights", "diagnostics/inspection.py", "norm(after - before), norm(before)",
        "norm(after - before), norm(after)",
        "After the step that destroyed them, the weights are as large as the step.",
        ("diagnostics/test_recorder.py",),
    ),
    Sabotage(
        "neighbour-of-itself", "diagnostics/preflight.py", "    np.fill_diagonal(distances, np.inf)\n", "",
        "Every row is its own nearest neighbour, and agrees with itself.",
        ("diagnostics/test_preflight.py",),
    ),
    Sabotage(
        "nan-gradient-passes", "diagnostics/gradients.py", "math.inf if math.isnan(error) else error", "error",
        "No comparison with a NaN is true, so a NaN is never the worst entry unless somebody says so.",
        ("diagnostics/test_gradients.py",),
    ),
    Sabotage(
        "gradients-below-rounding-pass", "diagnostics/gradients.py", "VISIBLE = 1e-3", "VISIBLE = 1e9",
        "Where differences are rounding errors only, every gradient agrees with them, also a wrong one.",
        ("diagnostics/test_gradients.py",),
    ),
    Sabotage(
        "products-uncounted", "emulator/translate.py", "ARITHMETIC = (ast.Add, ast.Sub, ast.Mult,",
        "ARITHMETIC = (ast.Add, ast.Sub,",
        "A multiply-add is two operations, and half of a matrix product is products.",
        ("emulator/test_tracing.py",),
    ),
    Sabotage(
        "float32-times-literal-stays-float32", "emulator/arithmetic.py", "    number = getattr(np, kind.name)",
        '    number = np.float32 if kind.name == "float64" else getattr(np, kind.name)',
        "To Numba the literal 0.1 is a float64, and so is x[0] * 0.1 for a float32 x.",
        ("emulator/test_types.py",),
    ),
    Sabotage(
        "wide-integers-unwrapped", "emulator/translate.py", "        if bits < 63:\n            return node",
        "        if bits < 128:\n            return node",
        "Python's integers grow; an int64 of a kernel wraps around, and hash functions rely on it.",
        ("emulator/test_types.py",),
    ),
    Sabotage(
        "unified-variables-unconverted", "emulator/translate.py",
        "            stored = self._stored[node.id] - {None, kind}",
        "            stored = set()",
        "A variable that is float32 in one branch and float64 in the other is float64 after both.",
        ("emulator/test_types.py",),
    ),
    Sabotage(
        "conversions-round-twice", "emulator/arithmetic.py", "if -(2**53) <= x <= 2**53 else", "if True else",
        "An integer beyond 2^53 is rounded to float64 first, and that to float32: the result may be off by one bit.",
        ("emulator/test_types.py",),
    ),
    Sabotage(
        "stale-sources-pass", "emulator/source.py", "if _instructions(compiled) == _instructions(code) or",
        "if True or",
        "A file that was edited after its import is not the kernel that is launched.",
        ("emulator/test_source.py",),
    ),
    Sabotage(
        "types-of-an-older-global", "emulator/known.py", "return type(value).__name__, repr(value)",
        "return type(value).__name__",
        "A constant that became float64 or too large for an int64 changes the types of all that it meets.",
        ("emulator/test_known.py",),
    ),
    Sabotage(
        "types-of-an-older-device-function", "emulator/known.py",
        'return "device function", _described_function(tree, function, meanings, seen)',
        'return "device function", function.__qualname__',
        "A kernel has other types after an edit of a function that it calls, though its own text is the same.",
        ("emulator/test_known.py",),
    ),
    Sabotage(
        "pooling-grid-by-rows", "cuda/pooling.py", "one_thread_each(max(row_start.size, column_start.size))",
        "one_thread_each(row_start.size)",
        "A wide image has more regions across than down: without a thread of their own they keep the last cuts.",
        ("operations/test_pooling.py", "layers/test_pooling.py"),
    ),
    Sabotage(
        "heads-take-any-batch", "layers/heads.py", "max(head.smallest_batch for head in heads.values())", "1",
        "A batch norm in a head needs two rows; `fit` must know before the last, short batch arrives.",
        ("layers/test_heads.py",),
    ),
    Sabotage(
        "rescale-keeps-the-bias", "layers/dense.py", "self.bias.transform(scale, ", "self.bias.transform(1.0, ",
        "The output is x W + b: to halve it, halve b too.",
        ("properties/test_calibration.py",),
    ),
    Sabotage(
        "picture-of-mixed-channels", "diagnostics/data_figures.py",
        "np.moveaxis(image - image.min(), 0, -1)", "(image - image.min()).reshape(*shape[1:], 3)",
        "A row has all of red first, then green, then blue; a picture wants the three side by side at each pixel.",
        ("diagnostics/test_preflight.py",),
    ),
    Sabotage(
        "picture-upside-down", "diagnostics/data_figures.py", "    axes.invert_yaxis()\n", "",
        "The first sample is read at the top.",
        ("diagnostics/test_preflight.py",),
    ),
    Sabotage(
        "one-curve-for-two-columns", "training/curves.py", 'axes.plot(history["epoch"], history[key],',
        'axes.plot(history["epoch"], history[column],',
        "The training curve drawn twice looks like a network that generalizes perfectly.",
        ("training/test_curves.py",),
    ),
    Sabotage(
        "right-points-marked-wrong", "diagnostics/data_figures.py", "wrong = data.x[said != data.y]",
        "wrong = data.x[said == data.y]",
        "A circle is around each point that the model takes for another class.",
        ("diagnostics/test_data_figures.py",),
    ),
    Sabotage(
        "classes-named-by-their-place", "diagnostics/data_figures.py", "[_name(data, label) for label in labels])\n",
        "[_name(data, i) for i in range(len(labels))])\n",
        "Where a class has no rows, those behind it keep their names.",
        ("diagnostics/test_data_figures.py",),
    ),
    Sabotage(
        "recording-drawn-backwards", "diagnostics/layer_figures.py",
        "for histogram in histograms], axis=1)", "for histogram in histograms[::-1]], axis=1)",
        "The first record is at the left.",
        ("diagnostics/test_layer_figures.py",),
    ),
    Sabotage(
        "dead-called-saturated", "diagnostics/layer_figures.py",
        '"saturated": row.saturated, "dead": row.dead,', '"saturated": row.dead, "dead": row.saturated,',
        "A saturated unit still lets a little gradient through, a dead one nothing.",
        ("diagnostics/test_layer_figures.py",),
    ),
    Sabotage(
        "confusion-read-the-other-way", "diagnostics/confusion_figure.py", "axes.text(column, row,",
        "axes.text(row, column,",
        "Rows are true classes, as beside the matrix; the colours would say another thing than the numbers.",
        ("diagnostics/test_confusion.py",),
    ),
    Sabotage(
        "deep-blocks-in-other-warps", "emulator/tracing.py", "(thread.z * size.y + thread.y) * size.x + thread.x",
        "(thread.z * size.x + thread.y) * size.x + thread.x",
        "Threads are numbered along x, then y, then z, and 32 in a row are a warp.",
        ("emulator/test_tracing.py",),
    ),
    Sabotage(
        "atomic-dec-above-the-limit", "emulator/atomics.py", "old - 1 if 0 < old <= limit else limit",
        "old - 1 if 0 < old else limit",
        "Above its limit the counter of atomic.dec starts again at the limit.",
        ("emulator/test_atomics.py",),
    ),
    Sabotage(
        "trained-gradients-unchecked", "diagnostics/gradients.py",
        'found.append(self.compare(array._replace(name=f"{array.name}, trained"), other))', "pass",
        "What `fit` calls on the first layer is judged by nobody.",
        ("diagnostics/test_gradients_at_the_edge.py",),
    ),
    Sabotage(
        "loss-excuses-gradients", "diagnostics/gradients.py", "ROUNDINGS = 10.0", "ROUNDINGS = 1e7",
        "Who allows for a million times the rounding there is accepts wrong gradients.",
        ("diagnostics/test_gradients.py",),
    ),
    Sabotage(
        "inference-may-change-state", "diagnostics/contract.py", "assert all(map(np.array_equal, before, after))",
        "assert True",
        "A prediction that moves a counter gives the next training pass other masks.",
        ("diagnostics/test_contract.py",),
    ),
    Sabotage(
        "written-cells-look-read", "emulator/access_figure.py", '"read" if kinds == {"read"}',
        '"read" if "read" in kinds',
        "A race is seen in a picture only if what is read and written has a colour of its own.",
        ("emulator/test_tracing.py",),
    ),
    Sabotage(
        "cotangent-that-equals-x", "diagnostics/gradients.py", 'RandomStreams(seed).generator("check_gradients")',
        "np.random.default_rng(seed)",
        "Drawn from the seed of the caller's x, dy equals x: a gradient that sums x for dy looks right.",
        ("diagnostics/test_gradients.py::"
         "test_the_cotangent_is_not_an_input_that_somebody_drew_from_the_same_seed",),
    ),
    Sabotage(
        "solution-enters-the-table", "exercises/cutting.py", '.without_decorator("initializer")', "",
        "A solution that is run registers itself, and minidl then trains with it.",
        ("exercises/test_cutting.py", "exercises/test_checks.py"),
    ),
    Sabotage(
        "a-tuple-is-another-model", "training/checkpoints.py", "value = json.loads(json.dumps(value))", "pass",
        "JSON has no tuples, so a pooling layer's shape comes back as a list and no run with one can be resumed.",
        ("training/test_checkpoints.py",),
    ),
    Sabotage(
        "callback-of-two-runs", "training/serving.py", "if first() not in (None, claim):", "if not callback:",
        "An early stopping that two threads share gives one model the best weights of the other.",
        ("training/test_threads.py",),
    ),
    Sabotage(
        "moments-that-overflow", "utils/moments.py", "np.ldexp(1.0, np.frexp(largest)[1] - 1)", "1.0",
        "Divided by a standard deviation of infinity, all weights are 0.",
        ("utils/test_moments.py", "properties/test_calibration.py"),
    ),
    Sabotage(
        "unlisted-layers-in-lists", "layers/unlisted.py", "(list, tuple, dict)", "(tuple, dict)",
        "A list of layers is what beginners write first; nobody trains or saves those in it.",
        ("diagnostics/test_contract.py",),
    ),
    Sabotage(
        "decay-in-the-wrong-dtype", "utils/checks.py", '{"below": 1.0} if number < 1 else {}', "{}",
        "float32 makes 1 of 0.99999999, and the running estimates never move.",
        ("layers/test_batchnorm.py",),
    ),
    # The playground --------------------------------------------------------------------------------------------------
    Sabotage(
        "any-host", "playground/server.py", 'if (host := self._header("Host")) not in hosts:', "if False:",
        "A site whose name leads to this machine reads what the playground answers.",
        ("playground/test_server.py",),
    ),
    Sabotage(
        "rest-of-a-refused-request", "playground/server.py", "self.close_connection = True", "pass",
        "The body of a refused request is taken for the next request.",
        ("playground/test_server.py",),
    ),
    Sabotage(
        "program-without-clipping", "playground/network.py", 'if settings.clip else {}', "if False else {}",
        "The program beside the page gives other numbers than the page.",
        ("playground/test_playground.py",),
    ),
    Sabotage(
        "epochs-in-one-order", "playground/session.py", "self.model.epochs_trained += 1", "pass",
        "Every epoch has the rows in the order of the first one, unlike `fit`.",
        ("playground/test_playground.py",),
    ),
    Sabotage(
        "plane-upside-down", "playground/picture.py", "np.meshgrid(axis, axis[::-1])", "np.meshgrid(axis, axis)",
        "The picture is the mirror image of what the network says.",
        ("playground/test_playground.py",),
    ),
    # Ranks -----------------------------------------------------------------------------------------------------------
    Sabotage(
        "parts-share-a-mask", "training/team.py", "values + np.uint32(i)", "values",
        "Every part of a batch would drop the same units.",
        ("training/test_team.py",),
    ),
    Sabotage(
        "parts-count-alike", "training/team.py", "(own.stop - own.start) / rows", "1 / parts",
        "A row would count more in a small part than in a large one.",
        ("training/test_team.py",),
    ),
    Sabotage(
        "estimates-follow-the-rank", "training/team.py",
        "            self.backend.copy_into(array, values + np.uint32(i) if id(array) in self.draws else values)\n",
        "            if id(array) in self.draws:\n"
        "                self.backend.copy_into(array, values + np.uint32(i))\n",
        "Each part would go on from the running estimates of the one before it on the same rank.",
        ("training/test_team.py",),
    ),
    Sabotage(
        "a-capture-clips-twice", "training/team.py", ', "gradients": self.model.gradients()}', "}",
        "What the capture of an update has clipped would be clipped again by the step as it is written.",
        ("training/test_team.py",),
    ),
    Sabotage(
        "batch-norm-back-in-parts", "training/sync_batch_norm.py", "    layer.ops.add(dx, difference, dx)\n", "",
        "The gradient would take mean and variance for those of the part.",
        ("training/test_team.py",),
    ),
    Sabotage(
        "ranks-added-in-their-order", "parallel.py", "_sum_at((0, leaves), slices)", "sum(received)",
        "The sum would depend on how many ranks there are.",
        ("test_parallel.py",),
    ),
    Sabotage(
        "one-rank-stops-alone", "training/team.py", "next(filter(None, reasons), None)", "self.stopped",
        "A rank that is told to stop would leave the others waiting.",
        ("training/test_team.py",),
    ),
]  # fmt: skip

BY_NAME = {sabotage.name: sabotage for sabotage in CATALOGUE}
