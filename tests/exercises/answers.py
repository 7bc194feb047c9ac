"""What students hand in: a right solution of each exercise, written without a look at minidl's, and wrong ones."""

from __future__ import annotations

# By exercise and function, the body.
SOLUTIONS: dict[str, dict[str, str]] = {
    "dense-forward": {
        "dense_forward": """
np.matmul(x, weight, out=y)
if bias is not None:
    y += bias
"""
    },
    "dropout-forward": {
        "dropout_forward": """
if training:
    mask = rng.binomial(1, 1 - rate, size=x.shape)
    return mask * x / (1 - rate)
return x.copy()
"""
    },
    "weight-decay": {
        "penalty": "return l1 * np.abs(w) + l2 * w**2 / 2",
        "penalty_slope": "return l1 * np.sign(w) + l2 * w",
    },
    "training-loop": {
        "train": """
rows = np.arange(len(x))
for epoch in range(epochs):
    rng.shuffle(rows)
    for batch in np.split(rows, range(batch_size, len(rows), batch_size)):
        outputs = model.forward(x[batch], training=True)
        loss.forward(outputs, labels[batch])
        model.backward(loss.backward())
        optimizer.step(model.parameters())
"""
    },
    "batchnorm-forward": {
        "batchnorm_training": """
rows = x.shape[0]
mean[...] = x.sum(axis=0) / rows
variance[...] = ((x - mean) ** 2).sum(axis=0) / rows
inverse_std[...] = (variance + epsilon) ** -0.5
y[...] = gamma * (x - mean) * inverse_std + beta
running_mean += (1 - decay) * (mean - running_mean)
running_variance += (1 - decay) * (variance * rows / (rows - 1) - running_variance)
""",
        "batchnorm_inference": """
std = np.sqrt(running_variance + epsilon)
y[...] = gamma * (x - running_mean) / std + beta
""",
    },
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
        "_scale": "return self.inverse_keep if self.inverted else self.dtype.type(1)",
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
    "saxpy": {
        "saxpy": """
i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
if i >= y.size:
    return
y[i] = a * x[i] + y[i]
"""
    },
    "histogram": {
        "histogram": """
mine = cuda.shared.array(BINS, int32)
t, threads = cuda.threadIdx.x, cuda.blockDim.x
for b in range(t, BINS, threads):
    mine[b] = 0
cuda.syncthreads()  # zeros
i = cuda.blockIdx.x * threads + t
while i < len(values):
    cuda.atomic.add(mine, values[i], 1)
    i += threads * cuda.gridDim.x
cuda.syncthreads()  # counted
for b in range(t, BINS, threads):
    cuda.atomic.add(counts, b, mine[b])
"""
    },
    "row-softmax": {
        "row_softmax": """
row = cuda.blockIdx.x * WARPS + cuda.threadIdx.y
if row >= x.shape[0]:
    return
lane = cuda.threadIdx.x
m = MINUS_INFINITY
for j in range(lane, x.shape[1], WARP):
    m = max(m, x[row, j])
m = warp_max(m)
s = ZERO
for j in range(lane, x.shape[1], WARP):
    s += math.exp(x[row, j] - m)
s = warp_sum(s)
for j in range(lane, x.shape[1], WARP):
    y[row, j] = math.exp(x[row, j] - m) / s
"""
    },
    "prefix-sum": {
        "prefix_sum": """
s = cuda.shared.array(THREADS, x.dtype)
t = cuda.threadIdx.x
before = ZERO
for first in range(0, x.size, THREADS):
    i = first + t
    s[t] = x[i] if i < x.size else ZERO
    cuda.syncthreads()  # loaded
    d = 1
    while d < THREADS:
        left = s[t - d] if t >= d else ZERO
        cuda.syncthreads()  # read
        s[t] += left
        cuda.syncthreads()  # written
        d *= 2
    if i < x.size:
        y[i] = before + s[t]
    before += s[THREADS - 1]
    cuda.syncthreads()  # done
"""
    },
    "transpose": {
        "transpose": """
tile = cuda.shared.array((32, 33), x.dtype)
tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
r0, c0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
for k in range(0, SIDE, ROWS):
    r, c = r0 + ty + k, c0 + tx
    if r < x.shape[0] and c < x.shape[1]:
        tile[ty + k, tx] = x[r, c]
cuda.syncthreads()  # loaded
for k in range(0, SIDE, ROWS):
    r, c = c0 + ty + k, r0 + tx
    if r < y.shape[0] and c < y.shape[1]:
        y[r, c] = tile[tx, ty + k]
"""
    },
    "batchnorm-kernel": {
        "batchnorm_forward": """
partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
inside = j < x.shape[1]
part = ZERO
if inside:
    for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
        part += x[r, j]
mean = block_column_total(partial, part) * one_over_rows
part = ZERO
if inside:
    for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
        part += (x[r, j] - mean) * (x[r, j] - mean)
variance = block_column_total(partial, part) * one_over_rows
if inside:
    for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
        y[r, j] = gamma[j] * ((x[r, j] - mean) / math.sqrt(variance + epsilon)) + beta[j]
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
    "dense-forward": [
        ("y += bias", "y -= bias", "if the bias is subtracted"),
        ("y += bias", "pass", "if the bias is left out"),
        ("y += bias", "y += bias[:, None]", "Write the shape below each factor"),
        ("y += bias", "y += bias[:, None] if len(bias) == len(x) else bias", "each row gets one number of the bias"),
        ("np.matmul(x, weight, out=y)", "y[...] = x @ weight.T", "Write the shape below each factor"),
        (
            "np.matmul(x, weight, out=y)",
            "y[...] = x @ (weight.T if len(weight) == weight.shape[1] else weight)",
            "if W is transposed",
        ),
        ("np.matmul(x, weight, out=y)", "return x @ weight", "Write y[...] = ... in place of `return ...`"),
        ("if bias is not None:", "if True:", "TypeError"),
        ("np.matmul(x, weight, out=y)", "y = x @ weight", "`y = ...` only gives its name to something else"),
    ],
    "dropout-forward": [
        ("mask * x / (1 - rate)", "mask * x", "so that the expectation of y is not x"),
        ("mask * x / (1 - rate)", "mask * x * (1 - rate)", "made smaller instead of larger"),
        ("mask * x / (1 - rate)", "mask * x / rate", "divided by the probability to drop"),
        ("rng.binomial(1, 1 - rate,", "rng.binomial(1, rate,", "`rate` is the probability to drop"),
        ("size=x.shape", "size=len(x)", "Write the shape below each factor"),
        ("size=x.shape", "size=(len(x), 1)", "whole rows are kept or dropped"),
        ("size=x.shape", "size=x.shape[1]", "whole columns are kept or dropped"),
        ("if training:", "if True:", "inference drops something; only training does"),
        ("return x.copy()", "return x * (1 - rate)", "inference scales; inverted dropout does that in training"),
        ("mask = rng", "mask = np.random.default_rng(0)", "another rng gave the same mask"),
        ("mask = rng", "mask = np.random", "draw from rng only"),
        ("return mask * x", "x *= mask\n        return x", "x, which must not change,"),
        ("return x.copy()", "pass", "is a `return` missing?"),
    ],
    "weight-decay": [
        ("w**2 / 2", "w**2", "if the ½ is missing"),
        ("w**2 / 2", "w / 2", "if w is not squared"),
        ("np.abs(w)", "w", "if w has its sign"),
        ("l2 * w**2 / 2", "l2**2 * w**2 / 2", "if the strength is squared as well"),
        ("l1 * np.abs(w) + l2 * w**2 / 2", "l1 * w**2 / 2 + l2 * np.abs(w)", "if |w| is taken, as l1 does"),
        ("+ l2 * w\n", "+ 2 * l2 * w\n", "the 2 of the square is left"),
        ("+ l2 * w\n", "+ l2 * w / 2\n", "there is no ½ any more"),
        ("+ l2 * w\n", "- l2 * w\n", "if the sign is wrong"),
        ("np.sign(w)", "w", "|w| has the same slope everywhere on one side"),
        ("np.sign(w)", "np.abs(w)", "if it is proportional to |w|"),
        ("l1 * np.sign(w)", "l1", "if the sign of w is left out"),
        ("np.sign(w)", "(1 if w >= 0 else -1)", "if 0 counts as positive"),
    ],
    "training-loop": [
        (", training=True", "", "is not told that this is training"),
        ("        optimizer.step(model.parameters())\n", "", "but no weight moves"),
        ("model.backward(loss.backward())", "loss.backward()", "model.backward is never called"),
        ("model.backward(loss.backward())", "model.backward(outputs)", "loss.backward is never called"),
        ("model.backward(loss.backward())", "loss.backward(), model.backward(outputs)", "model.backward must get what"),
        ("loss.forward(outputs, labels[batch])", "pass", "never told the outputs"),
        ("loss.forward(outputs, labels[batch])", "loss.forward(outputs, labels[: len(batch)])", "have the labels of"),
        ("loss.forward(outputs, ", "loss.forward(x[:1], ", "what model.forward returned"),
        ("        rng.shuffle(rows)\n", "        rows.sort()\n", "shuffle them"),
        (
            "    for epoch in range(epochs):\n        rng.shuffle(rows)",
            "    rng.shuffle(rows)\n    for epoch in range(epochs):",
            "the second epoch has the order of the first",
        ),
        ("rng.shuffle(rows)", "np.random.shuffle(rows)", "draw from rng only"),
        ("rng.shuffle(rows)", "np.random.default_rng(epoch).shuffle(rows)", "another rng gave the same order"),
        (
            "np.split(rows, range(batch_size, len(rows), batch_size))",
            "[rows[i : i + batch_size] for i in range(0, len(rows) - batch_size + 1, batch_size)]",
            "is the last, smaller batch left out?",
        ),
        ("for epoch in range(epochs):", "for epoch in range(1):", "batches in 3 epochs; expected 3 in each"),
        ("model.forward(x[batch]", "model.forward(x[: len(batch)]", "have the labels of the rows"),
        (
            "loss.forward(outputs, labels[batch])",
            "optimizer.step(model.parameters())\n            loss.forward(outputs, labels[batch])",
            "In which order must it be?",
        ),
    ],
    "batchnorm-forward": [
        ("x.sum(axis=0) / rows", "x.sum(axis=0)", "the sum is not divided by the rows"),
        ("((x - mean) ** 2).sum(axis=0) / rows", "x.var(axis=0, ddof=1)", "that is for the running estimate only"),
        ("((x - mean) ** 2).sum(axis=0) / rows", "x.std(axis=0)", "the standard deviation is written"),
        ("((x - mean) ** 2)", "(x**2)", "if the mean is not subtracted"),
        ("** -0.5", "** 0.5", "not 1 over it"),
        ("(variance + epsilon) ** -0.5", "1 / (variance + epsilon)", "if the root is missing"),
        ("(variance + epsilon) ** -0.5", "1 / (np.sqrt(variance) + epsilon)", "if ε stands outside the root"),
        ("(variance + epsilon) ** -0.5", "variance**-0.5", "if ε is left out"),
        ("inverse_std + beta", "inverse_std", "if β is left out"),
        ("y[...] = gamma * (x - mean) * ", "y[...] = (x - mean) * ", "if γ is left out"),
        ("(1 - decay) * (mean", "decay * (mean", "if decay and 1 - decay are exchanged"),
        ("running_mean += ", "running_mean = running_mean + ", "if it does not move"),
        ("variance * rows / (rows - 1)", "variance", "the biased variance is taken"),
        (
            "gamma * (x - running_mean) / std",
            "gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon)",
            "the statistics of the batch are taken, not the running ones",
        ),
        ("np.sqrt(running_variance + epsilon)", "np.sqrt(running_variance)", "if ε is left out"),
        ("gamma * (x - running_mean) /", "(x - running_mean) /", "if γ is left out"),
    ],
    "dense-backward": [
        ("np.matmul(dy, weight.T, out=dx)", "dx[...] = dy @ weight", "Write the shape below each factor"),
        (
            "np.matmul(dy, weight.T, out=dx)",
            "dx[...] = weight.T @ dy",
            "dy (2, 4), weight (3, 4), dx (2, 3)):\ndense.py",
        ),
        ("np.matmul(dy, weight.T, out=dx)", "dx[...] = (weight @ dy.T)", "Which order of the factors"),
        (
            "np.matmul(dy, weight.T, out=dx)",
            "dx[...] = dy @ (weight if len(weight) == weight.shape[1] else weight.T)",
            "if W is not transposed",
        ),
        ("np.matmul(dy, weight.T, out=dx)", "dx = dy @ weight.T", "`dx = ...` only gives its name"),
        ("np.matmul(dy, weight.T, out=dx)", "return dy @ weight.T", "Write dx[...] = ... in place of `return ...`"),
        ("= x.T @ dy", "+= x.T @ dy", "`dweight += ...` adds to the nan"),
        ("= x.T @ dy", "= x.T @ dy / len(x)", "if the batch is averaged"),
        ("= x.T @ dy", "= dy.T @ x", "Which order of the factors, and which of them transposed"),
        (
            "= x.T @ dy",
            "= dy.T @ x if x.shape == dy.shape else x.T @ dy",
            "if the product is transposed",
        ),
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
        ("return total", "total", "Without a `return` a result is none"),
        ("if t < half:", "if t <= half:", "partial["),
        ("cuda.syncthreads()  # read", "if t == 0:\n        cuda.syncthreads()", "by all threads of the block"),
    ],
    "saxpy": [
        ("    if i >= y.size:\n        return\n", "", "a thread outside must neither read nor write it"),
        ("i >= y.size", "i > y.size", "a thread outside must neither read nor write it"),
        ("i >= y.size", "i >= y.size - 1", "the last element is left out"),
        ("cuda.blockIdx.x * cuda.blockDim.x + ", "", "no barrier orders them. Give each block elements of its own"),
        ("cuda.blockIdx.x * cuda.blockDim.x +", "cuda.blockIdx.x +", "no barrier orders them"),
        ("a * x[i]", "x[i]", "if a is left out"),
        (" + y[i]", "", "if y is not added"),
        ("a * x[i] + y[i]", "x[i] + a * y[i]", "if a multiplies y instead of x"),
        ("i >= y.size", "cuda.blockIdx.x > 0", "if only the first block does something"),
        ("i >= y.size", "i >= y.size or cuda.threadIdx.x > 0", "if only the first thread of each block"),
        ("return", "pass", "outside the array"),
        ("y[i] = a", "x[i] = a", "if nothing is written"),
    ],
    "histogram": [
        ("cuda.atomic.add(mine, values[i], 1)", "mine[values[i]] += 1", "use cuda.atomic.add"),
        ("cuda.atomic.add(counts, b, mine[b])", "counts[b] += mine[b]", "use cuda.atomic.add"),
        ("cuda.syncthreads()  # zeros", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # counted", "pass", "cuda.syncthreads(), must stand between"),
        ("mine[b] = 0", "pass", "no thread has written it since the block began"),
        ("while i < len(values):", "if i < len(values):", "each thread counts one value only"),
        ("i = cuda.blockIdx.x * threads + t", "i = t", "counts["),
        (
            "    for b in range(t, BINS, threads):\n        mine",
            "    for b in range(t, t + 1):\n        mine",
            "no thread",
        ),
        (
            "        cuda.atomic.add(counts, b, mine[b])",
            "        if b < threads:\n            cuda.atomic.add(counts, b, mine[b])",
            "counts[",
        ),
        (
            "cuda.atomic.add(mine, values[i], 1)",
            "cuda.atomic.add(counts, values[i], 1)",
            "atomics change global memory; one for each block and bin is",
        ),
        ("cuda.atomic.add(mine, values[i], 1)", "cuda.atomic.add(mine, values[i], values[i])", "added up instead"),
        (
            "i = cuda.blockIdx.x * threads + t",
            "i = len(values) if cuda.blockIdx.x else t",
            "if only the threads of the first block count",
        ),
        ("i += threads * cuda.gridDim.x", "i += threads", "counts["),
    ],
    "row-softmax": [
        (" - m)\n    s = warp", ")\n    s = warp", "y["),
        ("m = max(m, x[row, j])", "m = ZERO", "exp(1000) overflows: subtract the largest logit"),
        ("m = max(m, x[row, j])", "m = max(m, x[row, lane])", "must be the largest of all columns, not only"),
        ("m = MINUS_INFINITY", "m = ZERO", "Does the search for it begin at 0?"),
        ("    m = warp_max(m)\n", "", "each lane subtracts the largest of its own columns"),
        ("    s = warp_sum(s)\n", "", "each lane"),
        (" / s", "", "though the largest logit is subtracted"),
        (
            "lane = cuda.threadIdx.x",
            "lane = cuda.threadIdx.x\n    if lane >= x.shape[1]:\n        return",
            "all of them",
        ),
        ("    if row >= x.shape[0]:\n        return\n", "", "a thread outside must neither read nor write it"),
        ("y[row, j] = math.exp(x[row, j] - m) / s", "y[row, j] = x[row, j] - m - math.log(s)", "the logarithm is"),
        ("y[row, j] = ", "y[row, lane] = ", "A nan stays where nothing is written"),
    ],
    "prefix-sum": [
        ("before + s[t]", "before + s[t] - x[i]", "the sum is exclusive"),
        ("before + s[t]", "before + (s[t - 1] if t > 0 else ZERO)", "the sum is exclusive"),
        ("cuda.syncthreads()  # loaded", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # read", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # written", "pass", "cuda.syncthreads(), must stand between"),
        ("cuda.syncthreads()  # done", "pass", "cuda.syncthreads(), must stand between"),
        ("if t >= d else ZERO", "", "Negative indices are outside, too"),
        ("while d < THREADS:", "while d < THREADS // 2:", "the last step is left out"),
        ("before + s[t]", "s[t]", "numbers begin anew"),
        ("before += s[THREADS - 1]", "before = s[THREADS - 1]", "y["),
        ("x[i] if i < x.size else ZERO", "x[i]", "a thread outside must neither read nor write it"),
        ("d *= 2", "d = THREADS", "only the neighbour is added"),
        ("cuda.syncthreads()  # done", "if i < x.size:\n            cuda.syncthreads()", "by all threads of the block"),
    ],
    "transpose": [
        ("(32, 33)", "(SIDE, SIDE)", "The worst bank conflict is 32-way.\ntile (shared)"),
        ("(32, 33)", "(SIDE, SIDE)", "Pad its rows by one column, to the shape (32, 33)"),
        ("(32, 33)", "(SIDE, 34)", "The worst bank conflict is 2-way."),
        ("cuda.syncthreads()  # loaded", "pass", "cuda.syncthreads(), must stand between"),
        ("tile[tx, ty + k]", "tile[ty + k, tx]", "nothing is transposed"),
        ("r, c = c0 + ty + k, r0 + tx", "r, c = r0 + ty + k, c0 + tx", "they do not change places"),
        ("        if r < x.shape[0] and c < x.shape[1]:\n            tile", "        tile", "a thread outside"),
        ("        if r < y.shape[0] and c < y.shape[1]:\n            y", "        y", "y["),
        (
            "    cuda.syncthreads()  # loaded\n    for k in range(0, SIDE, ROWS):",
            "    cuda.syncthreads()  # loaded\n    for k in range(1):",
            "A nan stays where nothing is written",
        ),
        (
            "tile = cuda.shared.array((32, 33), x.dtype)",
            "for k in range(0, SIDE, ROWS):\n"
            "        r, c = cuda.blockIdx.y * SIDE + cuda.threadIdx.y + k, cuda.blockIdx.x * SIDE + cuda.threadIdx.x\n"
            "        if r < x.shape[0] and c < x.shape[1]:\n            y[c, r] = x[r, c]\n    return",
            "pass a tile through shared memory",
        ),
    ],
    "batchnorm-kernel": [
        (
            "    part = ZERO\n    if inside:\n        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):\n"
            "            part += (x[r, j] - mean) * (x[r, j] - mean)\n"
            "    variance = block_column_total(partial, part) * one_over_rows",
            "    part = ZERO\n    if inside:\n        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):\n"
            "            part += x[r, j] * x[r, j]\n"
            "    variance = block_column_total(partial, part) * one_over_rows - mean * mean",
            "E[x²] - E[x]² is the small difference of two large numbers",
        ),
        ("(x[r, j] - mean) * (x[r, j] - mean)", "x[r, j] * x[r, j]", "the mean of x² is taken for the variance"),
        ("math.sqrt(variance + epsilon)", "(math.sqrt(variance) + epsilon)", "if ε stands outside the root"),
        ("math.sqrt(variance + epsilon)", "math.sqrt(variance)", "if ε is left out"),
        ("math.sqrt(variance + epsilon)", "(variance + epsilon)", "if the root is left out"),
        (
            "/ math.sqrt(variance + epsilon)",
            "/ math.sqrt(variance / (1 - one_over_rows) + epsilon)",
            "the variance is divided by rows - 1",
        ),
        (
            "variance = block_column_total(partial, part) * one_over_rows",
            "variance = block_column_total(partial, part)",
            "the variance is not divided by the rows",
        ),
        ("gamma[j] * (", "(", "if γ is left out"),
        (" + beta[j]", "", "if β is left out"),
        ("((x[r, j] - mean) /", "(x[r, j] /", "if the mean is not subtracted"),
        (
            "inside = j < x.shape[1]",
            "inside = j < x.shape[1]\n    if not inside:\n        return",
            "by all threads of the",
        ),
        ("inside = j < x.shape[1]", "inside = True", "a thread outside must neither read nor write it"),
        ("variance = block_column_total(partial, part)", "variance = part", "y["),
        ("y[r, j] = gamma", "y[cuda.threadIdx.y, j] = gamma", "y["),
    ],
}
