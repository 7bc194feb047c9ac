"""The exercises: the functions whose bodies are cut out, and the text that students read.

If a solution moves to another file of minidl, only `module` and `cut` change here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Score(NamedTuple):
    """What a launch costs, by the emulator's trace.

    Attributes:
        sectors: Sectors of 32 bytes that move between global memory and the threads.
        ideal_sectors: Sectors for the same accesses if those of each warp were side by side.
        conflict: The worst bank conflict; 1 is none, 0 stands for a kernel without shared memory.
        operations: Floating-point operations.
    """

    sectors: int
    ideal_sectors: int
    conflict: int
    operations: int


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        name: Its name on the command line.
        title: The task in a few words.
        level: How hard it is: 1 is a line or two, 2 needs a plan, 3 needs paper and pencil.
        points: Number of clauses that the check has, a point each.
        module: The module with minidl's own solution.
        cut: Functions of that module whose bodies are removed, such as "adam" or "Dropout.forward", and the docstrings
            that students read there: shapes and meaning, but no formula. Of a class only the docstring changes.
        statement: The task.
        hints: Help for those who are stuck.
        formulas: The answer in a line or a few, which is shown once the exercise is solved.
        given: Names of the module that the student gets in addition to those that the cut text needs.
        imports: Import lines that the student gets in addition to the module's own.
        best: The score of minidl's own kernel, the best that is known.
    """

    name: str
    title: str
    level: int
    points: int
    module: str
    cut: dict[str, str]
    statement: str
    hints: tuple[str, ...]
    formulas: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    best: Score | None = None

    @property
    def file(self) -> str:
        """The name of the student's file, the same as that of the module."""
        return f"{self.module.rpartition('.')[2]}.py"

    @property
    def functions(self) -> list[str]:
        """The names of the functions to write, without their class."""
        return [name.rpartition(".")[2] for name in self.cut if not name[0].isupper() or "." in name]


NUMPY = ("import numpy as np",)
KERNELS = "minidl.exercises.kernels"
CHECKED = """
The check runs the kernel in minidl's emulator; no GPU is needed. An index outside an array, a race between threads and
a barrier that some threads do not reach are errors there. When all is right, it shows what your kernel costs beside the
best that is known: sectors of global memory, bank conflicts and floating-point operations.
"""
ARRAYS = """
The arrays of results are there already, as everywhere in minidl: write into them (`dx[...] = ...`) and return nothing.
NumPy or plain loops are both fine; your functions are not compiled here.
"""

CATALOGUE = (
    Exercise(
        "dense-forward",
        "The forward pass of a dense layer",
        1,
        3,
        "minidl.cpu.dense",
        {
            "dense_forward": "Write the outputs of a dense layer to y (batch, n_out).\n\n"
            "x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None for a layer without one."
        },
        """
Each unit j of a dense layer adds up its inputs, each times the weight W[i, j] that joins input i with unit j, and adds
its bias b[j]. Write that for a whole batch, one sample in each row of x.
"""
        + ARRAYS,
        (
            "Write down the sum for one y[r, j], with all its indices. Which product of matrices has these entries?",
            "NumPy adds a vector to every row of a matrix.",
        ),
        ("y = x W + b",),
        imports=NUMPY,
    ),
    Exercise(
        "relu-backward",
        "The slope of the ReLU",
        1,
        3,
        "minidl.scalar.activations",
        {"relu_slope": "Return the slope φ'(z) of the ReLU at one number z, where y = relu(z)."},
        """
The backward pass of an activation is dx = dy ⊙ φ'(x). minidl writes φ' for one number and lets all loops and kernels
call it. Write φ' for the ReLU: of one input z, with y = relu(z), which you may use or not. `alpha` is for the leaky
relatives; ignore it. The ReLU has no derivative at 0: we choose 0 there.
""",
        (
            "The input of an activation may be any number: try z = 0 and numbers that are very small.",
            "The slope is a factor, not a product: dy is multiplied elsewhere.",
        ),
        ("φ'(z) = 1 for z > 0, else 0",),
        given=("relu", "ONE"),
    ),
    Exercise(
        "dropout-forward",
        "Dropout in a few lines of NumPy",
        1,
        4,
        "minidl.exercises.plain",
        {
            "dropout_forward": "Return y, of the shape of x; x stays as it is.\n\n"
            "rate is the probability to drop, at least 0 and less than 1, training is True or False."
        },
        """
In training, set each element of x to 0 with probability `rate`, each for itself, and scale the others so that the
expectation of y is x (inverted dropout). At inference nothing happens: y is x. All randomness comes from `rng`, a
numpy.random.Generator.
""",
        (
            "`rng.random(shape)` draws numbers from [0, 1). With what probability is one smaller than `rate`?",
            "Kept with probability p and then multiplied by s, an element has p s times its value as expectation.",
        ),
        ("y = x ⊙ mask / (1 - rate)",),
        imports=NUMPY,
    ),
    Exercise(
        "weight-decay",
        "Weight decay and the lasso: a penalty and its slope",
        1,
        7,
        "minidl.scalar.penalties",
        {
            "penalty": "Return what one weight w costs; l1 and l2 are the strengths.",
            "penalty_slope": "Return the slope of that cost at w.",
        },
        """
The elastic net makes weights small: each weight w costs l1 times its size, as in the lasso, and l2 times half of its
square, as in weight decay. Write the cost of one weight, and its slope, which training adds to the gradient. The first
has no derivative at 0: we choose the middle of both sides there, so that a weight of 0 may rest.
""",
        (
            "The half is there for the sake of the slope.",
            "For l1, how much does the cost grow if w = 3 grows a little? And w = 0.001? And w = -3?",
        ),
        ("penalty = l1 |w| + l2/2 w²", "slope = l1 sign(w) + l2 w, with sign(0) = 0"),
        given=("ZERO", "HALF", "ONE"),
        imports=NUMPY,
    ),
    Exercise(
        "dense-backward",
        "The backward pass of a dense layer",
        1,
        4,
        "minidl.cpu.dense",
        {
            "dense_backward_input": "Write ∂L/∂x to dx (batch, n_in), from dy (batch, n_out), W (n_in, n_out).",
            "dense_backward_weight": "Write ∂L/∂W to dweight (n_in, n_out), from x (batch, n_in), dy (batch, n_out).",
            "column_sums": "Write the sum of each column of x (batch, n_out) to sums (n_out,).",
        },
        """
A dense layer computes y = x W + b for a batch x of shape (batch, n_in). Given dy = ∂L/∂y, of shape (batch, n_out),
write the three parts of its backward pass: ∂L/∂x, ∂L/∂W, and the sums over the columns of dy, which are ∂L/∂b.
"""
        + ARRAYS,
        (
            "Write down y[r, j] = Σᵢ x[r, i] W[i, j] + b[j] and differentiate by one x, one W and one b.",
            "Only one order of the factors, with only one of them transposed, has the shape of the result.",
            "L is already a mean over the batch, so dy has the 1/batch in it: sum over the rows, do not average.",
        ),
        ("dx = dy Wᵀ", "dW = xᵀ dy", "db = Σ dy over the rows"),
        imports=NUMPY,
    ),
    Exercise(
        "training-loop",
        "A training loop",
        2,
        4,
        "minidl.exercises.plain",
        {
            "train": "Train a model by mini-batches; x (rows, n_in), labels (rows,).\n\n"
            "Each epoch goes once through all rows, in a new order from rng; a batch has batch_size rows, the last may "
            "be\nsmaller."
        },
        """
Write what `fit` does, without its comforts. In each of the `epochs`, go once through all rows, in a new order, which
`rng`, a numpy.random.Generator, draws; for each batch of `batch_size` rows, make one step. You get a model, a loss and
an optimizer, and need of them, in an order that you find:

    model.forward(x, training=False)    returns the outputs for these rows
    model.backward(dy)                  computes the gradients of all weights, from ∂L/∂outputs
    model.parameters()                  returns the weights with their gradients
    loss.forward(outputs, labels)       measures the loss
    loss.backward()                     returns ∂L/∂outputs, for what was measured last
    optimizer.step(parameters)          moves the weights by their gradients
""",
        (
            "`rng.permutation(n)` is 0, 1, ..., n - 1 in a new order, and `x[rows]` are the rows of x in a list.",
            "x and labels must be shuffled alike.",
            "Dropout and batch norm do something else in training than at inference. Who tells them?",
        ),
        ("step: model.forward(training=True) → loss.forward → loss.backward → model.backward → optimizer.step",),
        imports=NUMPY,
    ),
    Exercise(
        "glorot",
        "Glorot's initialization",
        2,
        4,
        "minidl.initializers",
        {
            name: f"Draw weights of shape (fan_in, fan_out) from {law} distribution, as Glorot and Bengio (2010) do."
            for name, law in (("glorot_normal", "a normal"), ("glorot_uniform", "a uniform"))
        },
        """
Draw a float64 matrix of shape (fan_in, fan_out) with mean 0 and the variance that Glorot and Bengio chose between what
the forward pass asks for (1 / fan_in) and what the backward pass does (1 / fan_out), times gain². Once from a normal
distribution, once from a uniform one. All randomness comes from `rng`, a numpy.random.Generator.
""",
        (
            "`rng.normal` takes a standard deviation, not a variance.",
            "The uniform distribution on (-r, r) has variance r²/3.",
        ),
        ("variance = 2 gain² / (fan_in + fan_out)", "r = gain √(6 / (fan_in + fan_out))"),
        given=("math",),
    ),
    Exercise(
        "softmax-cross-entropy",
        "Softmax and cross-entropy, forward and backward",
        2,
        6,
        "minidl.cpu.losses",
        {
            "softmax_cross_entropy_forward": "Write probabilities (rows, classes), and loss and correctness (0 or 1) "
            "of each row (rows,).\n\nlogits (rows, classes), labels (rows,) from 0 to classes - 1.",
            "softmax_cross_entropy_backward": "Write the derivative of the mean loss by the logits to dlogits "
            "(rows, classes).",
        },
        """
From logits of shape (rows, classes) and one label for each row, write the probabilities softmax(z), the loss of each
row, and whether the row is right: 1 if its first largest logit is that of the label, else 0. Then the backward pass:
the derivative by the logits of the mean loss over the rows, from the probabilities of the forward pass. Logits may be
as large as 1000.
"""
        + ARRAYS,
        (
            "softmax(z) does not change when the same number is subtracted from all logits of a row.",
            "log(p) is -∞ where p has become 0: write the loss as a function of the logits, and simplify first.",
            "The mean over the batch is part of this loss, so its derivative has a 1/rows.",
        ),
        (
            "p = exp(z - max z) / Σ exp(z - max z)",
            "loss of a row = log Σ exp z - z[label]",
            "dz = (softmax(z) - onehot(label)) / rows",
        ),
        imports=("import math", *NUMPY),
    ),
    Exercise(
        "adam",
        "The update rule of Adam",
        2,
        4,
        "minidl.scalar.optimizers",
        {
            "adam": "Return the new weight, the new m and the new v.\n\n"
            "All are numbers: first and second are m and v before step t, correction1 is 1 - β₁ᵗ, correction2 is "
            "1 - β₂ᵗ,\nrate is η and weight_decay is λ."
        },
        """
Write one step of Adam for one weight w with gradient g. `first` and `second` are m and v before the step, the moving
averages of the gradient and of its square, with the factors β₁ and β₂; return the new weight, the new m and the new v,
in this order. `correction1` is 1 - β₁ᵗ and `correction2` is 1 - β₂ᵗ at step t; λ is `weight_decay`, of the decoupled
kind (AdamW): it does not pass through m and v.
""",
        (
            "m and v start at 0, so for the first steps they are too small; the corrections make up for it.",
            "Update m and v first: the step uses the new ones. But return them as they are, without the correction.",
            "ε stands beside the root, not under it.",
        ),
        (
            "m ← β₁ m + (1 - β₁) g",
            "v ← β₂ v + (1 - β₂) g²",
            "w ← w - η (m̂ / (√v̂ + ε) + λ w), with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ)",
        ),
        given=("math", "ONE"),
    ),
    Exercise(
        "batchnorm-forward",
        "The forward pass of batch normalization",
        2,
        8,
        "minidl.cpu.batchnorm",
        {
            "batchnorm_training": "Write y (rows, features), mean, variance and inverse_std = 1/σ; move the running "
            "estimates.\n\nx is (rows, features), all other arrays (features,); decay and epsilon are numbers.",
            "batchnorm_inference": "Write y (rows, features), with the running estimates; epsilon is a number.",
        },
        """
In training, batch normalization gives each feature the mean 0 and the variance 1 over the batch, then multiplies by γ
and adds β. Write y and the statistics of the batch: the mean, the variance (divided by the rows) and `inverse_std`,
which is 1/σ, with ε added to the variance under the root. Then move the running estimates, where they are: `decay` is
the weight of the old value, and the running variance is the unbiased one (divided by rows - 1). At inference, y is made
with the running estimates, so that a row does not depend on its batch.
"""
        + ARRAYS,
        (
            "`axis=0` goes along the rows.",
            "`running_mean[...] = ...` changes the array that you are given; `running_mean = ...` does not.",
            "`x.var(axis=0)` divides by the rows. By what must you multiply to divide by rows - 1 instead?",
        ),
        (
            "x̂ = (x - μ) / √(σ² + ε)",
            "y = γ x̂ + β",
            "running ← decay · running + (1 - decay) · new, with the variance times rows / (rows - 1)",
        ),
        imports=NUMPY,
    ),
    Exercise(
        "dropout",
        "Dropout, forward and backward",
        3,
        5,
        "minidl.layers.dropout",
        {
            "Dropout": "Set each element to 0 with probability `rate`; the mask is new for each training pass.\n\n"
            "With `inverted`, the expectation of y in training is x, and inference costs nothing. Without, as dropout "
            "was\nfirst published, the units learn at their full size and are scaled at inference.\n\n"
            "Args:\n    rate: Probability to drop, in [0, 1].\n    inverted: Whether the scaling happens in training.",
            "Dropout.forward": "Return y, of the shape of x, (rows, features).",
            "Dropout.backward": "Return ∂L/∂x from dy = ∂L/∂y, both of the shape of x.",
            "Dropout._scale": "Return the factor on what a training pass keeps, in the dtype of the layer.",
        },
        """
Write both passes of the layer, and the factor that both have. The tools are those of all layers:
`self.begin_forward(x, training)` checks x and returns it, `self.begin_backward(dy)` returns (x, dy),
`self.buffer("y", *x.shape)` is an array for a result. Random masks come from three more:

    self.draw(training)      moves on to a new mask and returns True if this pass drops anything
    self.mask                what the present mask is a function of
    self.ops.dropout(x, *self.mask, scale, y)    y = scale · x where the mask keeps, 0 where it drops

The factor must have the dtype of the layer: `self.dtype.type(number)`.
""",
        (
            "With `inverted`, the scaling is in training, and inference returns x; without, it is the other way round.",
            "The backward pass draws nothing: it uses the mask and the scale of the forward pass.",
            "`self.ops.copy_columns(x, 0, scale, y, 0, x.shape[1])` copies everything, and scales it.",
        ),
        (
            "inverted:  y = x ⊙ mask / (1 - rate) in training, y = x at inference",
            "classic:   y = x ⊙ mask in training, y = (1 - rate) x at inference",
            "backward:  dx = dy ⊙ mask, with the factor of the training pass",
        ),
    ),
    Exercise(
        "batchnorm-backward",
        "The backward pass of batch normalization",
        3,
        4,
        "minidl.cpu.batchnorm",
        {
            "batchnorm_backward": "Write ∂L/∂γ to dgamma, ∂L/∂β to dbeta and ∂L/∂x to dx.\n\n"
            "x, dy and dx (rows, features), all others (features,); mean and inverse_std = 1/σ are those of the batch."
        },
        """
Batch normalization computes x̂ = (x - μ)/σ and y = γ x̂ + β for each feature, with the mean μ and the standard
deviation σ of the batch. Given dy = ∂L/∂y, write ∂L/∂β, ∂L/∂γ and ∂L/∂x. You get x and dy of shape (rows, features),
and γ, μ and 1/σ (`inverse_std`) of shape (features,); ε is in σ already.
"""
        + ARRAYS,
        (
            "μ and σ are functions of every row of x, so each x acts on y by three ways.",
            "The way by μ takes the mean out of dy, the way by σ the part of dy along x̂: for each feature, dx sums to "
            "0 over the rows, and dx ⊙ x̂ nearly does, but for the ε.",
            "dβ and dγ are sums over the rows; inside dx they stand divided by the number of rows.",
        ),
        ("dβ = Σ dy", "dγ = Σ dy x̂", "dx = γ/σ (dy - (dβ + x̂ dγ) / rows)"),
        imports=NUMPY,
    ),
    Exercise(
        "saxpy",
        "a x + y, as a CUDA kernel",
        1,
        4,
        KERNELS,
        {"saxpy": "Add a x to y, two vectors of one length."},
        """
Add a x to y, with one thread for each element: a is a number, x and y are vectors of the same length. The grid has a
whole number of blocks, so that there may be more threads than elements.
"""
        + CHECKED,
        (
            "`cuda.grid(1)` is the number of the thread in the whole grid.",
            "A thread without an element must neither read nor write.",
        ),
        best=Score(sectors=36, ideal_sectors=36, conflict=0, operations=180),
    ),
    Exercise(
        "reduction",
        "A sum over the threads of a block, as a CUDA device function",
        2,
        5,
        "minidl.cuda.reduce",
        {"block_total": "Return the sum of `value` over all threads of a block, in thread 0."},
        """
Each thread of a block brings one number; return their sum in thread 0 (what the others return is up to you). `partial`
is shared memory with one element for each thread, and the number of threads is a power of two: `partial.size`. Add in a
tree: n/2 threads add two numbers each, then n/4, and so on. A kernel may call the function again at once, with the same
`partial`.

The check runs it in minidl's emulator; no GPU is needed. A read of shared memory that nobody has written, a barrier
that only some threads reach and a race between threads are errors there.
""",
        (
            "Everybody writes before anybody reads another thread's element: `cuda.syncthreads()`.",
            "`cuda.syncthreads()` must be reached by all threads of the block: never inside an `if` on the thread.",
            "At the end, nobody may overwrite `partial` for the next sum before thread 0 has read this one.",
        ),
    ),
    Exercise(
        "histogram",
        "A histogram with atomics, as a CUDA kernel",
        2,
        6,
        KERNELS,
        {"histogram": "Add to counts (BINS,) how often each of 0, 1, ..., BINS - 1 is among `values`."},
        """
Count how often each of the numbers 0 to BINS - 1 is among `values`. `counts` has BINS zeros. There are a few blocks,
and there may be more values than threads, or fewer. Let each block count in shared memory first, and add what it has to
`counts` at the end: at most one atomic in global memory for each block and bin.
"""
        + CHECKED,
        (
            "`counts[v] += 1` reads, adds and writes; `cuda.atomic.add(counts, v, 1)` does it without interruption.",
            "`range(cuda.grid(1), values.size, cuda.gridsize(1))` shares the values among all threads.",
            "Shared memory, `cuda.shared.array(BINS, int32)`, begins with anything: write zeros to it first. A block "
            "may have fewer threads than bins.",
            "A barrier must stand between the zeros and the counting, and between the counting and the end.",
        ),
        given=("BINS", "int32"),
        best=Score(sectors=40, ideal_sectors=40, conflict=1, operations=0),
    ),
    Exercise(
        "row-softmax",
        "The softmax of each row, as a CUDA kernel",
        2,
        7,
        KERNELS,
        {"row_softmax": "Write the softmax of each row of x to y, of the same shape."},
        """
Write y[r, j] = exp(x[r, j]) / Σₖ exp(x[r, k]). Logits may be as large as 1000, and as small as -1000. Blocks have
WARP × WARPS threads: threadIdx.x is the lane, and each warp has one row, of any length. `warp_sum(value)` and
`warp_max(value)` combine the values of the 32 lanes; all get the result.
"""
        + CHECKED,
        (
            "Lane l has the columns l, l + 32, l + 64, ...: the lanes of a warp are side by side.",
            "All lanes must take part in `warp_sum` and `warp_max`, those without a column, too. A warp without a row "
            "may leave as a whole.",
            "The largest logit so far begins at MINUS_INFINITY.",
            "For the best score: the largest logit and the sum need only one walk along the row. When a larger one "
            "comes, multiply the sum so far by exp(old - new).",
        ),
        given=("WARP", "WARPS", "warp_sum", "warp_max", "MINUS_INFINITY", "ZERO", "math"),
        best=Score(sectors=144, ideal_sectors=144, conflict=0, operations=4051),
    ),
    Exercise(
        "tiled-product",
        "A matrix product by tiles, as a CUDA kernel",
        3,
        4,
        "minidl.cuda.ladder.shared_tile",
        {"product": "Write the matrix product of a (rows, inner) and b (inner, columns) to c (rows, columns)."},
        """
Write the kernel of C = A B. The grid has a block of SIDE × SIDE threads for each tile of C, and each thread computes
one element: threadIdx.x and blockIdx.x count columns, threadIdx.y and blockIdx.y rows. The block walks along the inner
dimension, `a.shape[1]`, in steps of SIDE. In each step, every thread copies one element of A and one of B to shared
memory, so that the block has a tile of each; then it multiplies a row of one by a column of the other. So each element
is read from global memory SIDE times less often than if each thread read its own row and column.

`get(matrix, row, column)` is the element, or zero outside the matrix; `put(matrix, row, column, value)` writes it, or
nothing outside.

The check runs the kernel in minidl's emulator; no GPU is needed. An index outside an array, a read of shared memory
that nobody has written and a race between threads are errors there.
""",
        (
            "`cuda.shared.array((SIDE, SIDE), c.dtype)` is one array for the whole block.",
            "Between writing a tile and reading it, and between reading it and writing the next one, all threads of "
            "the block must wait for each other: `cuda.syncthreads()`.",
            "A tile may stick out of C. Threads outside have nothing to write, but they must still load and wait.",
        ),
        given=("SIDE", "get", "put", "ZERO"),
    ),
    Exercise(
        "prefix-sum",
        "A prefix sum, as a CUDA kernel",
        3,
        4,
        KERNELS,
        {"prefix_sum": "Write the sum of all numbers of x up to the i-th to y[i], with one block of THREADS threads."},
        """
Write y[i] = x[0] + x[1] + ... + x[i], for a vector of any length, with one block of THREADS threads (a power of two).
"""
        + CHECKED,
        (
            "Begin with as many numbers as threads, in shared memory. Each adds what stands 1 to its left, then what "
            "stands 2 to its left, then 4, ...: after log₂ steps everything is added.",
            "In each step, one thread reads what another one writes: use two rows of shared memory in turn, or read, "
            "wait, write, wait.",
            "Take longer vectors in parts, and carry the sum of what came before.",
            "For the best score: let each thread add up a few numbers of its own first, so that the steps have less "
            "to do. An odd number of them has no bank conflicts.",
        ),
        given=("THREADS", "ZERO"),
        best=Score(sectors=112, ideal_sectors=112, conflict=1, operations=1344),
    ),
    Exercise(
        "transpose",
        "A transpose without bank conflicts, as a CUDA kernel",
        3,
        5,
        KERNELS,
        {"transpose": "Write the transpose of x to y."},
        """
Write y = xᵀ, for a matrix of any shape. The grid has a block of SIDE × ROWS threads for each tile of SIDE × SIDE
elements: threadIdx.x and blockIdx.x count columns of x, threadIdx.y and blockIdx.y rows, and each thread has SIDE /
ROWS elements of the tile. The reads from x and the writes to y must both be side by side, so that they move no sector
in vain, and no access to shared memory may have a bank conflict.

`get(matrix, row, column)` is the element, or zero outside the matrix; `put(matrix, row, column, value)` writes it, or
nothing outside.
"""
        + CHECKED,
        (
            "Read a tile row by row into shared memory, wait, and write it row by row to its place in y.",
            "The tile that begins at (row, column) of x goes to (column, row) of y.",
            "In a tile of 32 columns, all elements of a column lie in one bank. In one of 33 they do not.",
            "Numba wants constants for the shape of a shared array: numbers, or names defined outside of the kernel.",
        ),
        given=("SIDE", "ROWS", "get", "put"),
        best=Score(sectors=512, ideal_sectors=512, conflict=1, operations=0),
    ),
    Exercise(
        "batchnorm-kernel",
        "The forward pass of batch normalization, as a CUDA kernel",
        3,
        5,
        KERNELS,
        {"batchnorm_forward": "Write x, normalized by columns, scaled by gamma and shifted by beta (columns,), to y."},
        """
Write y = γ (x - μ) / √(σ² + ε) + β, with the mean μ and the variance σ² (divided by the rows) of each column of x. A
block of COLUMNS × ROWS threads has 32 columns, and the ROWS threads of a column share its rows, of which there may be
more or fewer. `one_over_rows` is 1 / x.shape[0] in the type of x. `block_column_total(partial, value)` adds up over
threadIdx.y; all threads of a column get the sum, `partial` is shared memory of shape (ROWS, COLUMNS), and all threads
of the block must call it.
"""
        + CHECKED,
        (
            "`partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)`.",
            "A thread whose column is outside x must still call `block_column_total`: it brings ZERO.",
            "E[x²] - E[x]² loses its digits where the mean is large. Find the mean first, then the mean of (x - μ)².",
            "For the best score: Welford's update has the mean and the squares in one walk along the rows. Then "
            "Σ (x - μ)² of a column is the sum, over its threads, of squares + count · (mean - μ)².",
        ),
        given=("COLUMNS", "ROWS", "block_column_total", "ZERO", "ONE", "math"),
        best=Score(sectors=448, ideal_sectors=448, conflict=1, operations=16640),
    ),
)
EXERCISES = {exercise.name: exercise for exercise in CATALOGUE}
