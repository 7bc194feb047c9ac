"""What students hand in: a right solution of each exercise, written without a look at minidl's, and wrong ones."""

from __future__ import annotations

# By exercise and function, the body.
SOLUTIONS: dict[str, dict[str, str]] = {
    "dense-backward": {
        "dense_backward_input": "np.matmul(dy, weight.T, out=dx)",
        "dense_backward_weight": "dweight[...] = x.T @ dy",
        "column_sums": "sums[...] = x.sum(axis=0)",
    },
    "relu-backward": {"relu_slope": "return ONE if z > ZERO else ZERO"},
    "batchnorm-backward": {
        "batchnorm_backward": """
rows = len(x)
normalized = (x - mean) * inverse_std
dbeta[...] = dy.sum(axis=0)
dgamma[...] = (dy * normalized).sum(axis=0)
dx[...] = gamma * inverse_std * (dy - dbeta / rows - normalized * dgamma / rows)
"""
    },
    "glorot": {
        "glorot_normal": "return rng.normal(0.0, gain * math.sqrt(2 / (fan_in + fan_out)), (fan_in, fan_out))",
        "glorot_uniform": """
limit = gain * math.sqrt(6 / (fan_in + fan_out))
return rng.uniform(-limit, limit, (fan_in, fan_out))
""",
    },
    "dropout": {
        "forward": """
x = self.begin_forward(x, training)
drops = self.draw(training)
if not drops and self.inverted:
    return x
y = self.buffer("y", *x.shape)
if drops:
    self.ops.dropout(x, *self.mask, self._scale(), y)
else:
    y[...] = (1 - self.rate) * x
return y
""",
        "backward": """
x, dy = self.begin_backward(dy)
dx = self.buffer("dx", *x.shape)
self.ops.dropout(dy, *self.mask, self._scale(), dx)
return dx
""",
    },
    "softmax-cross-entropy": {
        "softmax_cross_entropy_forward": """
for r in range(len(logits)):
    shifted = logits[r] - logits[r].max()
    e = np.exp(shifted)
    probabilities[r] = e / e.sum()
    row_losses[r] = np.log(e.sum()) - shifted[labels[r]]
    row_correct[r] = np.argmax(logits[r]) == labels[r]
""",
        "softmax_cross_entropy_backward": """
dlogits[...] = probabilities
for r in range(len(labels)):
    dlogits[r, labels[r]] -= 1
dlogits /= len(labels)
""",
    },
    "adam": {
        "adam": """
first = beta1 * first + (1 - beta1) * g
second = beta2 * second + (1 - beta2) * g**2
m, v = first / correction1, second / correction2
w = w - rate * (m / (math.sqrt(v) + epsilon) + weight_decay * w)
return w, first, second
"""
    },
    "tiled-product": {
        "product": """
tile_a = cuda.shared.array((SIDE, SIDE), a.dtype)
tile_b = cuda.shared.array((SIDE, SIDE), b.dtype)
i, j = cuda.threadIdx.y, cuda.threadIdx.x
row, column = cuda.blockIdx.y * SIDE + i, cuda.blockIdx.x * SIDE + j
total = ZERO
for start in range(0, a.shape[1], SIDE):
    tile_a[i, j] = get(a, row, start + j)
    tile_b[i, j] = get(b, start + i, column)
    cuda.syncthreads()  # before
    for k in range(SIDE):
        total += tile_a[i, k] * tile_b[k, j]
    cuda.syncthreads()  # after
put(c, row, column, total)
"""
    },
    "reduction": {
        "block_total": """
t = cuda.threadIdx.x
partial[t] = value
cuda.syncthreads()  # written
half = partial.size // 2
while half >= 1:
    if t < half:
        partial[t] += partial[t + half]
    cuda.syncthreads()  # added
    half //= 2
total = partial[0]
cuda.syncthreads()  # read
return total
"""
    },
}


NAIVE = """r, s = cuda.blockIdx.y * SIDE + cuda.threadIdx.y, cuda.blockIdx.x * SIDE + cuda.threadIdx.x
    if r < c.shape[0] and s < c.shape[1]:
        c[r, s] = ZERO
        for k in range(a.shape[1]):
            c[r, s] += a[r, k] * b[k, s]
    return
"""

# By exercise: a piece of the right solution, what stands there instead, and a part of what the student should be told.
MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "dense-backward": [
        ("np.matmul(dy, weight.T, out=dx)", "dx[...] = dy @ weight", "if W is not transposed"),
        ("np.matmul(dy, weight.T, out=dx)", "dx = dy @ weight.T", "`dx = ...` only gives its name"),
        ("np.matmul(dy, weight.T, out=dx)", "return dy @ weight.T", "Write into the array, as in dx["),
        ("= x.T @ dy", "+= x.T @ dy", "`dweight += ...` adds to the nan"),
        ("= x.T @ dy", "= x.T @ dy / len(x)", "if the batch is averaged"),
        ("= x.T @ dy", "= dy.T @ x", "if the product is transposed: dyᵀ x"),
        ("x.sum(axis=0)", "x.mean(axis=0)", "if the rows are averaged instead of summed"),
        ("x.sum(axis=0)", "x[1:].sum(axis=0)", "if the first row is left out"),
        ("x.sum(axis=0)", "x.sum(axis=1)", "if the columns are summed up instead of the rows"),
        ("sums[...] = x.sum(axis=0)", "x[0] += x[1:].sum(axis=0)", "x has changed, but it is an input"),
    ],
    "relu-backward": [
        ("z > ZERO", "z >= ZERO", "if 0 counts as positive"),
        ("z > ZERO", "z < ZERO", "if the sides are exchanged"),
        ("return ONE if z > ZERO else ZERO", "return y", "the value is returned instead of the slope"),
        ("return ONE if z > ZERO else ZERO", "ONE if z > ZERO else ZERO", "nan"),
        ("return ONE if z > ZERO else ZERO", "return dy if z > ZERO else 0", "NameError: name 'dy'"),
    ],
    "batchnorm-backward": [
        (" - dbeta / rows - normalized * dgamma / rows", "", "taken for constants"),
        (" - dbeta / rows", "", "the mean of dy is missing"),
        (" - normalized * dgamma / rows", "", "the term with x̂ dγ is missing"),
        ("dbeta / rows - normalized * dgamma / rows", "dbeta - normalized * dgamma", "divided by"),
        ("= gamma * inverse_std", "= inverse_std", "if γ is left out"),
        ("= gamma * inverse_std", "= gamma", "if 1/σ is left out"),
        ("(dy * normalized)", "(dy * x)", "multiplied by x instead of x̂"),
        ("(dy * normalized)", "normalized", "dgamma[0] is"),
        ("dbeta[...] = dy.sum", "dbeta[...] = dy.mean", "averaged instead of summed"),
    ],
    "glorot": [
        ("math.sqrt(2 / (fan_in + fan_out))", "math.sqrt(1 / fan_in)", "It is 1 / fan_in, LeCun's"),
        ("math.sqrt(2 / (fan_in + fan_out))", "math.sqrt(2 / fan_in)", "It is 2 / fan_in, He's"),
        ("math.sqrt(2 / (fan_in + fan_out))", "(2 / (fan_in + fan_out))", "where the standard deviation belongs"),
        ("gain * math.sqrt(2", "math.sqrt(2", "of a gain that is left out"),
        ("math.sqrt(6", "math.sqrt(2", "of the standard deviation where the limit r belongs"),
        ("math.sqrt(6", "math.sqrt(3", "without the 2"),
        (
            "rng.uniform(-limit, limit,",
            "rng.normal(0, limit / math.sqrt(3),",
            "the uniform distribution ends at 1.73205",
        ),
        ("rng.uniform(-limit, limit,", "rng.uniform(0, 2 * limit,", "the variance is"),
        ("limit, (fan_in, fan_out)", "limit, (fan_out, fan_in)", "expected float64 (3, 5)"),
        ("return rng.normal", "import numpy\n    return numpy.random.normal", "draw from rng only"),
    ],
    "dropout": [
        ("drops = self.draw(training)", "drops = training", "a second training pass has the same mask"),
        ("drops = self.draw(training)", "drops = True", "inference drops something; only training does"),
        (
            "drops = self.draw(training)",
            "drops = self.draw(True)",
            "inference drops something; only training does",
        ),
        ("self._scale(), y", "self.dtype.type(1), y", "not divided by 1 - rate"),
        ("self._scale(), y", "self.dtype.type(1 - self.rate), y", "multiplied by 1 - rate"),
        ("self._scale(), y", "self.inverse_keep, y", "a classic layer scales in training too"),
        ("if not drops and self.inverted", "if not drops", "a classic layer does not scale at inference"),
        ("if not drops and self.inverted", "if False", "inference scales; an inverted layer"),
        ("self._scale(), dx", "self.dtype.type(1), dx", "the mask but not the scale"),
        ("self._scale(), dx", "self.inverse_keep, dx", "though the layer did not scale"),
        ("x, dy = ", "self.draw(True)\n        x, dy = ", "dx has another mask than y"),
        ("return dx", "return dy", "dy passes unchanged"),
        ('y = self.buffer("y", *x.shape)', "y = x.copy()", "a second forward pass made a new y"),
        ("return y", "y", "y is None; is a `return` missing?"),
    ],
    "softmax-cross-entropy": [
        (" - logits[r].max()", "", "subtract the largest logit"),
        ("e / e.sum()", "e", "nothing is divided by the sum of the row"),
        ("np.log(e.sum()) - ", "", "row_losses["),
        ("np.log(e.sum()) - shifted[labels[r]]", "np.log(probabilities[r, labels[r]])", "minus"),
        ("np.log(e.sum()) - shifted[labels[r]]", "-np.log(probabilities[r, labels[r]])", "-∞"),
        ("np.argmax(logits[r])", "len(e) - 1 - np.argmax(logits[r][::-1])", "the last of equal"),
        ("dlogits /= len(labels)", "", "nothing is divided by the number of rows"),
        ("dlogits /= len(labels)", "dlogits /= dlogits.size", "the number of all entries"),
        ("dlogits /= len(labels)", "dlogits /= -len(labels)", "the sign is wrong"),
        ("-= 1", "-= 0", "the 1 of the label is not subtracted"),
    ],
    "adam": [
        ("first / correction1, second / correction2", "first, second", "the bias correction is missing"),
        ("second / correction2", "second", "only m has its bias correction"),
        ("(math.sqrt(v) + epsilon)", "math.sqrt(v + epsilon)", "ε is under the root"),
        ("math.sqrt(v)", "v", "the root is missing"),
        ("w - rate", "w + rate", "the step goes uphill"),
        ("beta1 * first + (1 - beta1) * g", "(1 - beta1) * first + beta1 * g", "β₁ and 1 - β₁ are exchanged"),
        ("g**2", "g", "g is not squared"),
        ("return w, first, second", "return w, m, v", "the corrected m̂ is returned"),
        ("return w, first, second", "return w", "expected three numbers, (w, m, v)"),
        ("first = beta1", "g, weight_decay = g + weight_decay * w, 0\n    first = beta1", "as L2 does"),
        (" + weight_decay * w", "", "λ is left out"),
        ("m / (math.sqrt(v)", "g / (math.sqrt(v)", "g stands in the place of m"),
    ],
    "tiled-product": [
        (
            "tile_a = cuda.shared.array((SIDE, SIDE), a.dtype)",
            NAIVE,
            "elements are read from global memory; by tiles it is",
        ),
        ("get(a, row, start + j)", "a[row, start + j]", "outside the array"),
        ("get(b, start + i, column)", "get(b, start + j, column)", "C["),
        ("cuda.syncthreads()  # before", "pass", "A barrier, cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # after", "pass", "A barrier, cuda.syncthreads(), must stand between"),
        ("put(c, row, column, total)", "c[row, column] = total", "outside the array"),
        ("total += ", "total = ", "C["),
        ("range(0, a.shape[1], SIDE)", "range(0, a.shape[1] // SIDE * SIDE, SIDE)", "the last step is left out"),
        ("range(0, a.shape[1], SIDE)", "range(0, SIDE, SIDE)", "only the first step along the inner"),
        ("tile_b[k, j]", "tile_b[j, k]", "if B is transposed"),
        ("put(c, row, column, total)", "put(c, row - i + j, column - j + i, total)", "if C is transposed"),
        ("cuda.syncthreads()  # after", "if i == 0:\n            cuda.syncthreads()", "by all threads of the"),
    ],
    "reduction": [
        ("cuda.syncthreads()  # written", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # added", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # read", "pass", "cuda.syncthreads(), must stand between"),
        ("half >= 1", "half > 1", "`half` must come down to 1"),
        ("partial.size // 2", "partial.size // 4", "the first additions are left out"),
        ("return total", "return value", "only thread 0 counts"),
        ("return total", "total", "the sum"),
        ("if t < half:", "if t <= half:", "partial["),
        ("cuda.syncthreads()  # read", "if t == 0:\n        cuda.syncthreads()", "by all threads of the block"),
    ],
}
