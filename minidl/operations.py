"""The operations of minidl in NumPy: the definition of each.

Layers, losses and optimizers compute with the operations of their backend and with nothing else. This file defines
them: it is the backend "numpy", slow and plain, which a debugger steps through. `minidl.cpu` has the same operations as
compiled loops and `minidl.cuda` as kernels for a GPU; the tests compare all of them with this file.

An operation writes into arrays that it is given, returns nothing and keeps no other memory. Arrays are float32 or
float64, all those of a call alike; numbers such as `alpha`, `momentum` and `limit` are scalars of the same type.
Formulas for one number, such as an activation or an update rule, stand in `scalar/`; `vectorized` applies one to each
element of its arrays, and `random_words` makes random numbers, the same for the same key and step.
"""

from __future__ import annotations

import numpy as np

from minidl.scalar import losses, optimizers, penalties
from minidl.scalar.activations import ACTIVATIONS, leaky_relu, leaky_relu_by_alpha, leaky_relu_slope
from minidl.scalar.arrays import random_words, vectorized
from minidl.scalar.clipping import NORM_UNIT, clip
from minidl.scalar.pooling import cut


class Operations:
    """Every operation of a backend, in the order in which a lecture meets them.

    Shapes: `rows` is the batch; n_in and n_out are the features before and after a layer.
    """

    # Dense layers -----------------------------------------------------------------------------------------------------

    def dense_forward(self, x, weight, bias, y) -> None:
        """y = x W + b.

        x (rows, n_in), weight (n_in, n_out), bias (n_out,) or None, y (rows, n_out).
        """
        y[...] = x @ weight if bias is None else x @ weight + bias

    def dense_backward_input(self, dy, weight, dx) -> None:
        """dx = dy Wᵀ."""
        dx[...] = dy @ weight.T

    def dense_backward_weight(self, x, dy, dweight) -> None:
        """dW = xᵀ dy."""
        dweight[...] = np.matmul(x.T, dy, dtype=np.float64)  # float32 would lose digits over a long batch

    def column_sums(self, x, sums) -> None:
        """sums[j] = Σᵣ x[r, j]: the gradient of a bias, if x is dy."""
        sums[...] = x.sum(axis=0, dtype=np.float64)

    # Activations ------------------------------------------------------------------------------------------------------

    def activation_forward(self, name, x, alpha, y) -> None:
        """y = φ(x), element by element; `name` is a key of `ACTIVATIONS`, `alpha` its parameter."""
        y[...] = vectorized(ACTIVATIONS[name].value)(x, alpha)

    def activation_backward(self, name, x, y, dy, alpha, dx) -> None:
        """dx = dy ⊙ φ'(x), with y = φ(x) from the forward pass."""
        dx[...] = dy * vectorized(ACTIVATIONS[name].slope)(x, y, alpha)

    def prelu_forward(self, x, slope, y) -> None:
        """y = x where x > 0, else slope · x, for x and y (rows, features) and slope (features,)."""
        y[...] = vectorized(leaky_relu)(x, slope)

    def prelu_backward(self, x, dy, slope, dx, dslope) -> None:
        """dx = dy where x > 0, else slope · dy;   dslope = Σ dy x over the rows with x ≤ 0."""
        dx[...] = dy * vectorized(leaky_relu_slope)(x, x, slope)
        dslope[...] = (dy * vectorized(leaky_relu_by_alpha)(x)).sum(axis=0, dtype=np.float64)

    # Dropout and noise: random numbers are a pure function of key and step --------------------------------------------

    def dropout(self, x, key, step, threshold, scale, y) -> None:
        """y = scale · x, but 0 for each element whose random word is below `threshold`.

        The word of element i is word i mod 4 of philox((i // 4, step, 0, 0), key). The backward pass is the same call
        on dy: same key and step, same mask. key (2,) and step (1,) are uint32, threshold is uint64 in [0, 2³²].
        """
        kept = random_words(x.size, key, step) >= threshold
        y[...] = np.where(kept.reshape(x.shape), x * scale, 0)

    def row_dropout(self, x, key, step, threshold, scale, y) -> None:
        """y[r] = scale · x[r], but 0 for each row whose random word is below `threshold`.

        The word of row r is word r mod 4 of philox((r // 4, step, 0, 0), key). The backward pass is the same call on
        dy. x and y (rows, columns); the other arguments as for `dropout`.
        """
        kept = random_words(len(x), key, step) >= threshold
        y[...] = np.where(kept[:, None], x * scale, 0)

    def gaussian_noise(self, x, key, step, std, y) -> None:
        """y = x + std · n, where the n are independent standard normal numbers.

        Box and Muller (1958) make two of them, √(-2 log u) · (cos 2πv, sin 2πv), of two random words: u is the first
        one plus ½, v the second, both divided by 2³². Elements i and i + 1, for even i, use words i and i + 1.
        """
        first, second = random_words(x.size + x.size % 2, key, step).reshape(-1, 2).T
        radius, angle = np.sqrt(-2 * np.log((first + 0.5) / 2**32)), 2 * np.pi * (second / 2**32)
        normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
        y[...] = x + std * normal[: x.size].reshape(x.shape).astype(x.dtype)

    def advance(self, counter) -> None:
        """counter[0] += 1, uint32: on to the next mask, or to the next batch."""
        counter += np.uint32(1)

    # Batch normalization ----------------------------------------------------------------------------------------------

    def batchnorm_training(
        self, x, gamma, beta, running_mean, running_variance, decay, epsilon, mean, variance, inverse_std, y
    ) -> None:
        """y = γ (x - mean) / √(variance + ε) + β, feature by feature, with the statistics of the batch.

        x and y (rows, features), all others (features,). Sets mean, variance (biased) and inverse_std; moves the
        running estimates by 1 - decay towards the batch mean and the unbiased batch variance.
        """
        rows = len(x)
        mean[...] = x[0] + (x - x[0]).mean(axis=0, dtype=np.float64)  # sums of x - x[0] stay small where it is large
        std = norms(x - mean) / np.sqrt(rows)
        variance[...] = std**2
        inverse_std[...] = 1 / np.hypot(std, np.sqrt(epsilon))  # finite where the variance overflows
        running_mean[...] = decay * running_mean + (1 - decay) * mean
        running_variance[...] = decay * running_variance + (1 - decay) * (rows / (rows - 1) * variance)
        y[...] = gamma * ((x - mean) * inverse_std) + beta

    def batchnorm_inference(self, x, gamma, beta, running_mean, running_variance, epsilon, y) -> None:
        """Do the same with the running estimates: a fixed affine map."""
        y[...] = gamma * ((x - running_mean) / np.sqrt(running_variance + epsilon)) + beta

    def batchnorm_backward(self, x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx) -> None:
        """dβ = Σ dy,   dγ = Σ dy x̂,   dx = γ/σ (dy - (dβ + x̂ dγ) / rows), with x̂ = (x - mean) / σ."""
        normalized = (x - mean) * inverse_std
        dbeta[...] = dy.sum(axis=0, dtype=np.float64)
        dgamma[...] = (dy * normalized).sum(axis=0, dtype=np.float64)
        dx[...] = gamma * inverse_std * (dy - (dbeta + normalized * dgamma) / len(x))

    # Losses: one number for each row, then the mean over the batch ----------------------------------------------------

    def softmax(self, x, y) -> None:
        """y[r] = exp(x[r] - max x[r]) / Σ: subtracting the maximum changes nothing and prevents overflow."""
        exponentials = np.exp(x - x.max(axis=1, keepdims=True))
        y[...] = exponentials / exponentials.sum(axis=1, keepdims=True)

    def softmax_cross_entropy_forward(self, logits, labels, probabilities, row_losses, row_correct) -> None:
        """row_losses[r] = log Σⱼ exp zⱼ - z[label],   row_correct[r] = 1 if the first largest logit is the label's.

        Where a loss is NaN, nothing is correct.

        logits and probabilities (rows, classes), labels (rows,) int64 in [0, classes).
        """
        self.softmax(logits, probabilities)
        row_losses[...] = surprise(logits)[np.arange(len(labels)), labels]
        row_correct[...] = (logits.argmax(axis=1) == labels) & ~np.isnan(row_losses)

    def softmax_cross_entropy_backward(self, probabilities, labels, dlogits) -> None:
        """dz = (softmax(z) - onehot(label)) / rows."""
        dlogits[...] = probabilities
        dlogits[np.arange(len(labels)), labels] -= 1
        dlogits /= len(labels)

    def soft_cross_entropy_forward(self, logits, targets, probabilities, row_losses, row_correct) -> None:
        """row_losses[r] = Σⱼ tⱼ (log Σₖ exp zₖ - zⱼ),   row_correct[r] = 1 if first largest logit and target coincide.

        logits, probabilities and targets (rows, classes), each row of the targets a distribution over the classes.
        """
        self.softmax(logits, probabilities)
        row_losses[...] = vectorized(losses.soft_cross_entropy)(targets, surprise(logits)).sum(axis=1)
        row_correct[...] = (logits.argmax(axis=1) == targets.argmax(axis=1)) & ~np.isnan(row_losses)

    def soft_cross_entropy_backward(self, probabilities, targets, dlogits) -> None:
        """dz = (softmax(z) - t) / rows."""
        dlogits[...] = (probabilities - targets) / len(targets)

    def binary_cross_entropy_forward(self, logits, targets, row_losses, row_correct) -> None:
        """row_losses[r] = meanⱼ of -t log σ(z) - (1-t) log(1-σ(z)),   row_correct[r] = share of z on t's side of ½.

        logits and targets (rows, columns), targets in [0, 1].
        """
        row_losses[...] = vectorized(losses.binary_cross_entropy)(logits, targets).mean(axis=1)
        row_correct[...] = vectorized(losses.same_side)(logits, targets).mean(axis=1, dtype=logits.dtype)

    def binary_cross_entropy_backward(self, logits, targets, dlogits) -> None:
        """dz = (σ(z) - t) / (rows · columns)."""
        dlogits[...] = vectorized(losses.binary_cross_entropy_slope)(logits, targets) / logits.size

    def mean_squared_error_forward(self, predictions, targets, row_losses, row_correct) -> None:
        """row_losses[r] = meanⱼ (y - t)². There is no accuracy: row_correct is set to 0."""
        row_losses[...] = ((predictions - targets) ** 2).mean(axis=1)
        row_correct[...] = 0

    def mean_squared_error_backward(self, predictions, targets, dpredictions) -> None:
        """dy = 2 (y - t) / (rows · columns)."""
        dpredictions[...] = 2 * (predictions - targets) / predictions.size

    def mean_loss(self, row_losses, row_correct, mean, totals) -> None:
        """mean[0] = mean of the row losses;   totals[0] += their sum, totals[1] += the number of correct rows.

        totals (2,) is float64: float32 cannot count beyond 16,777,216 rows.
        """
        mean[0] = row_losses.mean(dtype=np.float64)
        totals[0] += row_losses.sum(dtype=np.float64)
        totals[1] += row_correct.sum(dtype=np.float64)

    # Optimizers: arrays are flat and of one length, learning_rate is (1,) ---------------------------------------------

    def sgd_update(self, value, gradient, learning_rate) -> None:
        """w ← w - η g."""
        value[...] = optimizers.sgd(value, gradient, learning_rate[0])

    def momentum_update(self, value, gradient, velocity, learning_rate, momentum) -> None:
        """v ← μ v + g,   w ← w - η v."""
        value[...], velocity[...] = optimizers.momentum(value, gradient, velocity, learning_rate[0], momentum)

    def nesterov_update(self, value, gradient, velocity, learning_rate, momentum) -> None:
        """v ← μ v + g,   w ← w - η (g + μ v)."""
        value[...], velocity[...] = optimizers.nesterov(value, gradient, velocity, learning_rate[0], momentum)

    def rmsprop_update(self, value, gradient, mean_square, learning_rate, decay, epsilon) -> None:
        """s ← ρ s + (1-ρ) g²,   w ← w - η g / (√s + ε)."""
        rule = vectorized(optimizers.rmsprop)
        value[...], mean_square[...] = rule(value, gradient, mean_square, learning_rate[0], decay, epsilon)

    def adam_advance(self, correction, beta1, beta2) -> None:
        """correction ← (1 - β₁ᵗ, 1 - β₂ᵗ) for the next step t.

        1 - βᵗ is the moving average of a constant 1 that started at 0: the same recursion as the moments themselves,
        which neither cancels nor needs a power.
        """
        correction[0] = beta1 * correction[0] + (1 - beta1)
        correction[1] = beta2 * correction[1] + (1 - beta2)

    def adam_update(
        self, value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay
    ) -> None:
        """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   w ← w - η (m̂ / (√v̂ + ε) + λ w).

        m̂ = m / correction[0] and v̂ = v / correction[1].
        """
        value[...], first[...], second[...] = vectorized(optimizers.adam)(
            value, gradient, first, second, *correction, learning_rate[0], beta1, beta2, epsilon, weight_decay
        )

    # Penalties and limits on gradients and weights --------------------------------------------------------------------

    def penalty_cost(self, value, l1, l2, partials, cost) -> None:
        """cost[0] = Σ (l1 |w| + l2/2 w²),   cost[1] += the same.

        value of any shape, cost (2,) float64; `partials` is scratch for a GPU's partial sums (`Backend.partial_sums`).
        """
        cost[0] = vectorized(penalties.penalty)(value, l1, l2).sum(dtype=np.float64)
        cost[1] += cost[0]

    def penalty_gradient(self, value, l1, l2, gradient, result) -> None:
        """result = gradient + l1 sign(w) + l2 w, with sign(0) = 0; `gradient` and `result` may be one array."""
        result[...] = gradient + vectorized(penalties.penalty_slope)(value, l1, l2)

    def clip_values(self, values, limit) -> None:
        """Replace each of the values (n,) by the nearest number in [-limit, limit]; NaN stays NaN."""
        values[...] = vectorized(clip)(values, limit)

    def norm(self, values, partials, result) -> None:
        """result[0] = √(Σ v²) / 2¹⁶.   values (n,), result (1,), `partials` as for `penalty_cost`.

        In units of 2¹⁶ the norm of finite numbers is finite, too.
        """
        result[0] = norms(values / NORM_UNIT)

    def scale_to_norm(self, values, norms, limit) -> None:
        """values *= limit / n if n > limit, where n = 2¹⁶ √(Σ norms²) is the norm of several arrays together.

        values (n,) is one of them, norms (k,) has what `norm` says of each (Pascanu et al. 2013, algorithm 1). Values
        of a norm up to the limit stay as they are, and so does everything if n is NaN; an infinite n makes finite
        values 0.
        """
        norm = np.hypot.reduce(norms, dtype=np.float64)
        if norm > limit / NORM_UNIT:
            values[...] = values / NORM_UNIT * (limit / norm)

    def max_norm(self, weight, limit) -> None:
        """Scale each column of weight (n_in, n_out) whose Euclidean norm exceeds the limit to the limit.

        A column holds the weights of one unit (Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1).
        """
        lengths = norms(weight / NORM_UNIT)
        long = lengths > limit / NORM_UNIT
        weight[:, long] = weight[:, long] / NORM_UNIT * (limit / lengths[long])

    def centered_weight(self, v, gain, unit, norm, weight) -> None:
        """unit = (v - mean of each column) / norm, with norm the length of the centred columns; weight = gain · unit.

        v, unit and weight (n_in, n_out); gain and norm (n_out,). A column of equal entries has unit 0.
        """
        centred = v - (v[0] + (v - v[0]).mean(axis=0, dtype=np.float64)).astype(v.dtype)
        norm[...] = norms(centred)
        unit[...] = np.where(norm > 0, centred / np.where(norm > 0, norm, 1), 0)
        weight[...] = gain * unit

    def centered_weight_backward(self, dweight, unit, gain, norm, sums, dv, dgain) -> None:
        """dgain = Σ dW unit over each column;   dv = gain/norm (dW - mean of dW - unit dgain), column by column.

        `sums` (n_out,) is scratch: the column sums of dW.
        """
        sums[...] = dweight.sum(axis=0, dtype=np.float64)
        dgain[...] = (dweight * unit).sum(axis=0, dtype=np.float64)
        scale = np.where(norm > 0, gain / np.where(norm > 0, norm, 1), 0)
        dv[...] = scale * (dweight - sums / len(dweight) - unit * dgain)

    # Pooling ----------------------------------------------------------------------------------------------------------

    def max_pool_forward(self, x, height, width, row_start, row_stop, column_start, column_stop, y, winner) -> None:
        """Find the largest pixel of each region: its value goes to y, its index in the row of x to `winner` (int32).

        x (rows, channels · height · width), y and winner (rows, channels · regions down · regions across).
        Region (i, j) is image[row_start[i]:row_stop[i], column_start[j]:column_stop[j]], for int32 bounds in rising
        order. The first of equal pixels wins; a NaN wins against every number.
        """
        cell = 0
        for image in np.arange(x.shape[1]).reshape(-1, height, width):
            for top, bottom in zip(row_start, row_stop, strict=True):
                for left, right in zip(column_start, column_stop, strict=True):
                    region = image[top:bottom, left:right].reshape(-1)
                    winner[:, cell] = region[x[:, region].argmax(axis=1)]
                    cell += 1
        y[...] = np.take_along_axis(x, winner.astype(np.int64), axis=1)

    def max_pool_backward(self, dy, winner, height, width, row_start, row_stop, column_start, column_stop, dx) -> None:
        """dx = the sum of dy over the regions that a pixel won."""
        dx[...] = 0
        np.add.at(dx, (np.arange(len(dy))[:, None], winner), dy)

    def fractional_regions(self, key, step, height, width, row_start, row_stop, column_start, column_stop) -> None:
        """Cut both sides of an image at random into neighbouring regions, whose bounds go into the int32 arrays.

        Word 0 of philox((0, step, 0, 0), key) cuts the rows, word 1 the columns. key (2,) and step (1,) are uint32.
        """
        row_word, column_word = random_words(2, key, step)
        for pixels, word, start, stop in (
            (height, row_word, row_start, row_stop),
            (width, column_word, column_start, column_stop),
        ):
            cuts = cut(np.arange(len(start) + 1), pixels, len(start), word)
            start[...], stop[...] = cuts[:-1], cuts[1:]

    # Sums and copies --------------------------------------------------------------------------------------------------

    def add(self, a, b, c) -> None:
        """c = a + b, three arrays of one shape."""
        c[...] = a + b

    def copy_columns(self, source, source_start, scale, target, target_start, count) -> None:
        """target[:, target_start:target_start + count] = scale · source[:, source_start:source_start + count].

        source (rows, n) and target (rows, m); the other columns of target stay as they are.
        """
        target[:, target_start : target_start + count] = scale * source[:, source_start : source_start + count]

    def mask_rows(self, labels, x, y) -> None:
        """y[r] = x[r], but 0 where the label of row r is negative: -1 says that nobody knows it.

        labels (rows,) or (rows, k), of which column 0 counts; x and y (rows, ...) of one dtype, perhaps one array.
        """
        y[...] = x
        y[labels.reshape(len(labels), -1)[:, 0] < 0] = 0

    def scale_rows(self, weights, x, y) -> None:
        """y[r] = weights[r] · x[r], but 0 where the weight is 0; weights (rows, 1), x and y as in mask_rows."""
        weights = weights[:, 0]
        y[...] = np.multiply(weights, x.T, out=np.zeros_like(x.T), where=weights != 0).T

    def gather_rows(self, source, order, batch, rows) -> None:
        """rows[i] = source[order[batch · n + i]] for i < n = len(rows): one batch of a data set in some order.

        source (samples, ...) and rows (n, ...) of one dtype, order (samples,) int64, batch (1,) uint32 counts from 0.
        """
        start = int(batch[0]) * len(rows)
        rows[...] = source[order[start : start + len(rows)]]


NAMES = sorted(name for name in vars(Operations) if not name.startswith("_"))


def norms(x: np.ndarray) -> np.ndarray:
    """√(Σ x²) over the first axis, in float64 and without squares, which overflow or vanish long before the root."""
    return np.hypot.reduce(x.astype(np.float64), axis=0)


def surprise(logits: np.ndarray) -> np.ndarray:
    """-log softmax(z) = log Σⱼ exp(zⱼ - max z) - (z - max z), for each row of logits (rows, classes)."""
    below = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(below).sum(axis=1, keepdims=True)) - below
