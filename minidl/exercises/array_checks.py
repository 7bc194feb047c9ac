"""Checks of the exercises that write into arrays, and of dropout.

A check is a generator that yields the name of each step before doing it. The steps lead from the simple to the whole:
first values that can be computed by hand, then a layer with the student's code, under the gradient check and the
contract of all layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import cpu, layers, losses
from minidl.diagnostics.contract import check_layer
from minidl.diagnostics.gradients import check_gradients
from minidl.exercises.student import Student, in_place_of
from minidl.layers.base import Layer
from minidl.statistics import bounds


def _numbers(seed: int, *shape: int) -> np.ndarray:
    """Draw numbers with two decimals, for computing by hand."""
    return np.random.default_rng(seed).normal(size=shape).round(2)


# batch, n_in, n_out: no two alike at first, so that factors in a wrong order do not fit
SHAPES = [(2, 3, 4), (3, 3, 3), (1, 1, 1), (1, 2, 3), (7, 5, 11), (13, 1, 4)]


def dense_forward(student: Student) -> Iterator[str]:
    """Check the forward pass of a dense layer."""
    for what, with_bias in (("y without a bias, for six shapes", False), ("y with a bias, for six shapes", True)):
        yield what
        for batch, n_in, n_out in SHAPES:
            x, weight, bias = _numbers(0, batch, n_in), _numbers(1, n_in, n_out), _numbers(2, n_out)
            arguments = {"x": x, "weight": weight, "bias": bias if with_bias else None, "y": (batch, n_out)}
            y = student.fill("dense_forward", arguments)["y"]
            mistakes = {"W is transposed": x @ weight.T + with_bias * bias} if n_in == n_out else {}
            if with_bias:
                mistakes |= {"the bias is left out": x @ weight, "the bias is subtracted": x @ weight - bias}
            if with_bias and batch == n_out:
                mistakes["each row gets one number of the bias, not each column"] = x @ weight + bias[:, None]
            student.expect("y", y, x @ weight + with_bias * bias, mistakes)

    yield "a Dense layer with your function, against differences"
    student.calls("minidl.Dense with your function")
    with in_place_of(cpu, dense_forward=student.dense_forward):
        check_layer(layers.Dense(4, 6), raises=True)


def dense_backward_input(student: Student) -> Iterator[str]:
    """Check ∂L/∂x of a dense layer."""
    yield "dx, for six shapes"
    for batch, n_in, n_out in SHAPES:
        dy, weight = _numbers(0, batch, n_out), _numbers(1, n_in, n_out)
        dx = student.fill("dense_backward_input", {"dy": dy, "weight": weight, "dx": (batch, n_in)})["dx"]
        mistakes = {"W is not transposed": dy @ weight} if n_in == n_out else {}
        student.expect("dx", dx, dy @ weight.T, mistakes)


def dense_backward_weight(student: Student) -> Iterator[str]:
    """Check ∂L/∂W of a dense layer."""
    yield "dW, for six shapes"
    for batch, n_in, n_out in SHAPES:
        x, dy = _numbers(2, batch, n_in), _numbers(3, batch, n_out)
        dweight = student.fill("dense_backward_weight", {"x": x, "dy": dy, "dweight": (n_in, n_out)})["dweight"]
        mistakes = {"the batch is averaged; the 1/batch is in dy already, so sum": x.T @ dy / batch}
        if n_in == n_out == batch:
            mistakes["x is not transposed"] = x @ dy
        if n_in == n_out:
            mistakes["the product is transposed"] = dy.T @ x
        student.expect("dweight", dweight, x.T @ dy, mistakes)


def column_sums(student: Student) -> Iterator[str]:
    """Check the sums over the columns, ∂L/∂b of a dense layer."""
    yield "the column sums, for six shapes"
    for batch, _, n_out in sorted(SHAPES, key=lambda shape: shape[0] != shape[2]):  # the wrong axis fits a square
        dy = _numbers(4, batch, n_out)
        sums = student.fill("column_sums", {"x": dy, "sums": (n_out,)})["sums"]
        mistakes = {
            "the rows are averaged instead of summed": dy.mean(axis=0),
            "the first row is left out": dy[1:].sum(axis=0),
            "the last row is left out": dy[:-1].sum(axis=0),
        }
        if batch == n_out:
            mistakes["the columns are summed up instead of the rows"] = dy.sum(axis=1)
        student.expect("sums", sums, dy.sum(axis=0), mistakes)


def dense_layer(student: Student) -> Iterator[str]:
    """Check a layer whose backward pass is the student's."""
    yield "a Dense layer with your functions, against differences"
    functions = {
        name: getattr(student, name) for name in ("dense_backward_input", "dense_backward_weight", "column_sums")
    }
    student.calls("minidl.Dense with your functions")
    with in_place_of(cpu, **functions):
        check_layer(layers.Dense(4, 6), raises=True)


def batchnorm_training(student: Student) -> Iterator[str]:
    """Check batch normalization with the statistics of the batch."""
    decay, epsilon = np.float64(0.75), np.float64(0.1)
    for name in ("mean", "variance", "inverse_std", "y", "running_mean", "running_variance"):
        yield f"{name}, for five shapes"
        for rows, features in ((2, 1), (2, 3), (5, 1), (7, 4), (31, 3)):
            x, gamma, beta = 2 + _numbers(0, rows, features), _numbers(1, features), _numbers(2, features)
            old_mean, old_variance = _numbers(3, features), 1 + _numbers(4, features) ** 2
            arguments = {
                "x": x, "gamma": gamma, "beta": beta, "running_mean": old_mean, "running_variance": old_variance,
                "decay": decay, "epsilon": epsilon, "mean": (features,), "variance": (features,),
                "inverse_std": (features,), "y": (rows, features),
            }  # fmt: skip
            got = student.fill("batchnorm_training", arguments, moves=("running_mean", "running_variance"))
            mean, variance, unbiased = x.mean(axis=0), x.var(axis=0), x.var(axis=0, ddof=1)
            centred, std = x - mean, np.sqrt(variance + epsilon)
            expected = {
                "mean": mean,
                "variance": variance,
                "inverse_std": 1 / std,
                "y": gamma * centred / std + beta,
                "running_mean": decay * old_mean + (1 - decay) * mean,
                "running_variance": decay * old_variance + (1 - decay) * unbiased,
            }
            mistakes: dict[str, dict[str, Any]] = {
                "mean": {"the sum is not divided by the rows": x.sum(axis=0)},
                "variance": {
                    "the variance is divided by rows - 1: that is for the running estimate only": unbiased,
                    "the standard deviation is written": np.sqrt(variance),
                    "ε is in the variance already": variance + epsilon,
                    "the mean is not subtracted": (x**2).mean(axis=0),
                },
                "inverse_std": {
                    "the root is missing": 1 / (variance + epsilon),
                    "ε stands outside the root": 1 / (np.sqrt(variance) + epsilon),
                    "ε is left out": 1 / np.sqrt(variance),
                    "the standard deviation is written, not 1 over it": std,
                },
                "y": {
                    "the mean is not subtracted": gamma * x / std + beta,
                    "γ is left out": centred / std + beta,
                    "β is left out": gamma * centred / std,
                    "γ and β are exchanged": beta * centred / std + gamma,
                },
                "running_mean": {
                    "decay and 1 - decay are exchanged": (1 - decay) * old_mean + decay * mean,
                    "it does not move": old_mean,
                    "the old value is forgotten": mean,
                },
                "running_variance": {
                    "the biased variance is taken; here it is the unbiased one": decay * old_variance
                    + (1 - decay) * variance,
                    "decay and 1 - decay are exchanged": (1 - decay) * old_variance + decay * unbiased,
                    "it does not move": old_variance,
                },
            }
            student.expect(name, got[name], expected[name], mistakes[name])


def batchnorm_inference(student: Student) -> Iterator[str]:
    """Check batch normalization with the running estimates, and a layer with both functions."""
    yield "inference, for four shapes"
    epsilon = np.float64(0.1)
    for rows, features in ((1, 1), (1, 3), (5, 2), (7, 4)):
        x, gamma, beta = 2 + _numbers(0, rows, features), _numbers(1, features), _numbers(2, features)
        mean, variance = _numbers(3, features), 1 + _numbers(4, features) ** 2
        arguments = {
            "x": x, "gamma": gamma, "beta": beta, "running_mean": mean, "running_variance": variance,
            "epsilon": epsilon, "y": (rows, features),
        }  # fmt: skip
        y = student.fill("batchnorm_inference", arguments)["y"]
        root = np.sqrt(variance + epsilon)
        mistakes = {
            "the statistics of the batch are taken, not the running ones": gamma
            * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta,
            "ε is left out": gamma * (x - mean) / np.sqrt(variance) + beta,
            "the root is missing": gamma * (x - mean) / (variance + epsilon) + beta,
            "γ is left out": (x - mean) / root + beta,
            "β is left out": gamma * (x - mean) / root,
        }  # fmt: skip
        student.expect("y", y, gamma * (x - mean) / root + beta, mistakes)

    yield "a BatchNorm layer with your functions, against differences"
    functions = {name: getattr(student, name) for name in ("batchnorm_training", "batchnorm_inference")}
    student.calls("minidl.BatchNorm with your functions")
    with in_place_of(cpu, **functions):
        check_layer(layers.BatchNorm(4), raises=True)


def batchnorm_gradient(student: Student, name: str) -> Iterator[str]:
    """Check one of the three gradients of batch normalization."""

    def arrays(rows: int, features: int) -> tuple[dict[str, Any], np.ndarray]:
        x = _numbers(0, rows, features)
        mean, inverse_std = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + 0.1)
        inputs = {"x": x, "dy": _numbers(1, rows, features), "gamma": _numbers(2, features), "mean": mean}
        outputs = {"dgamma": (features,), "dbeta": (features,), "dx": (rows, features)}
        return {**inputs, "inverse_std": inverse_std, **outputs}, (x - mean) * inverse_std

    yield f"{name}, for five shapes"
    for shape in ((2, 1), (2, 3), (5, 1), (7, 4), (31, 3)):
        arguments, normalized = arrays(*shape)
        dy, scale = arguments["dy"], arguments["gamma"] * arguments["inverse_std"]
        dbeta, dgamma = dy.sum(axis=0), (dy * normalized).sum(axis=0)
        along, mean = normalized * dgamma / shape[0], dbeta / shape[0]
        expected = {"dbeta": dbeta, "dgamma": dgamma, "dx": scale * (dy - mean - along)}
        mistakes = {
            "dbeta": {"the rows are averaged instead of summed": mean},
            "dgamma": {
                "the rows are averaged instead of summed": dgamma / shape[0],
                "dy is multiplied by x instead of x̂": (dy * arguments["x"]).sum(axis=0),
                "x̂ is left out": dbeta,
            },
            "dx": {
                "μ and σ are taken for constants: both depend on x": scale * dy,
                "only μ is taken for a constant: the mean of dy is missing": scale * (dy - along),
                "only σ is taken for a constant: the term with x̂ dγ is missing": scale * (dy - mean),
                "dβ and x̂ dγ are not divided by the rows": scale * (dy - shape[0] * (mean + along)),
                "γ is left out": arguments["inverse_std"] * (dy - mean - along),
                "1/σ is left out": arguments["gamma"] * (dy - mean - along),
                "the signs of dβ and x̂ dγ are wrong": scale * (dy + mean + along),
            },
        }
        got = student.fill("batchnorm_backward", arguments)
        student.expect(name, got[name], expected[name], mistakes[name])


def batchnorm_layer(student: Student) -> Iterator[str]:
    """Check a layer whose backward pass is the student's."""
    yield "a BatchNorm layer with your function, against differences"
    student.calls("minidl.BatchNorm with your function")
    with in_place_of(cpu, batchnorm_backward=student.batchnorm_backward):
        check_layer(layers.BatchNorm(4), raises=True)


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _logits() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield logits and labels of five shapes."""
    for rows, classes in ((1, 1), (1, 3), (5, 2), (7, 10), (2, 13)):
        yield 3 * _numbers(rows, rows, classes), np.random.default_rng(classes).integers(0, classes, rows)


def softmax_cross_entropy_forward(student: Student) -> Iterator[str]:
    """Check the forward pass of softmax and cross-entropy."""

    def forward(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        rows = len(logits)
        results = {"probabilities": logits.shape, "row_losses": (rows,), "row_correct": (rows,)}
        return student.fill("softmax_cross_entropy_forward", {"logits": logits, "labels": labels, **results})

    yield "the probabilities, for five shapes"
    for logits, labels in _logits():
        e, p = np.exp(logits), _softmax(logits)
        mistakes = {
            "the columns are normalized instead of the rows": e / e.sum(axis=0),
            "the whole batch is normalized at once": e / e.sum(),
            "nothing is divided by the sum of the row": e,
            "nothing is divided by the sum of the row, though the largest logit is subtracted": p
            / p.max(axis=1)[:, None],
        }
        student.expect("probabilities", forward(logits, labels)["probabilities"], p, mistakes)

    yield "the losses of the rows"
    for logits, labels in _logits():
        p = _softmax(logits)
        chosen = p[np.arange(len(p)), labels]
        mistakes = {
            "the minus is missing": np.log(chosen),
            "the logarithm is missing": -chosen,
            "each row has the mean loss of the batch": np.full(len(p), -np.log(chosen).mean()),
            "the losses are divided by the number of rows, which minidl does later": -np.log(chosen) / len(p),
        }
        student.expect("row_losses", forward(logits, labels)["row_losses"], -np.log(chosen), mistakes)

    yield "which rows are right, ties included"
    logits = np.array([[1.0, 3.0, 2.0], [2.0, 2.0, 1.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -0.5]])
    labels = np.array([1, 0, 1, 0, 1])
    last = {"the last of equal logits counts, not the first": [1, 0, 1, 0, 0]}
    student.expect("row_correct", forward(logits, labels)["row_correct"], [1, 1, 0, 1, 0], last)

    yield "logits as large as 1000"
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0], [-1000.0, -1000.0]])
    got = forward(logits, np.array([1, 1, 0]))
    if not all(np.isfinite(result).all() for result in got.values()):
        raise student.mistake(
            f"logits {logits.tolist()}: probabilities {got['probabilities'].tolist()}, losses "
            f"{got['row_losses'].tolist()}; expected finite numbers.\n"
            f"exp(1000) overflows: subtract the largest logit of the row first. And take the loss from the logits: the "
            f"logarithm of a probability that became 0 is -∞."
        )
    student.expect("probabilities", got["probabilities"], [[1, 0], [0, 1], [0.5, 0.5]])
    student.expect("row_losses", got["row_losses"], [1000, 0, np.log(2)])


def softmax_cross_entropy_backward(student: Student) -> Iterator[str]:
    """Check the backward pass of softmax and cross-entropy."""
    yield "the backward pass, for five shapes"
    for logits, labels in _logits():
        p = _softmax(logits)
        hot = np.eye(p.shape[1])[labels]
        inputs: dict[str, Any] = {"probabilities": p, "labels": labels, "dlogits": p.shape}
        mistakes = {
            "nothing is divided by the number of rows": p - hot,
            "it is divided by the number of all entries instead of the rows": (p - hot) / p.size,
            "it is divided by the number of classes instead of the rows": (p - hot) / p.shape[1],
            "the sign is wrong": (hot - p) / len(p),
            "the 1 of the label is not subtracted": p / len(p),
        }
        dlogits = student.fill("softmax_cross_entropy_backward", inputs)["dlogits"]
        student.expect("dlogits", dlogits, (p - hot) / len(p), mistakes)


def softmax_cross_entropy(student: Student) -> Iterator[str]:
    """Check a model with both passes of softmax and cross-entropy."""
    yield "a model with your loss, against differences"
    names = ("softmax_cross_entropy_forward", "softmax_cross_entropy_backward")
    student.calls("minidl.SoftmaxCrossEntropy with your functions")
    with in_place_of(cpu, **{name: getattr(student, name) for name in names}):
        x, labels = 3 * _numbers(7, 7, 4), np.arange(7)
        check_gradients(layers.Dense(4, 3), x, losses.SoftmaxCrossEntropy(), labels % 3, raises=True)


def relu_backward(student: Student) -> Iterator[str]:
    """Check the slope of the ReLU."""

    def slopes(z: np.ndarray) -> Any:
        student.calls(f"relu_slope for z = {', '.join(f'{number:g}' for number in z)}")
        return [student.relu_slope(number, max(number, 0.0), 0.0) for number in z]

    yield "the slope on both sides of 0"
    z = np.array([-1e30, -2.5, -0.5, -1e-30, 1e-30, 0.5, 2.5, 1e30])
    mistakes = {
        "the value is returned instead of the slope": np.maximum(z, 0),
        "the sides are exchanged": np.where(z < 0, 1, 0),
        "the sign is returned": np.sign(z),
        "the side is not asked for": np.ones_like(z),
    }
    student.expect("the slope", slopes(z), np.where(z > 0, 1, 0), mistakes)

    yield "the slope at 0"
    student.expect("the slope", slopes(np.array([0.0])), [0], {"0 counts as positive (>= instead of >)": [1]})

    yield "an activation layer with your slope, against differences"
    student.calls("a ReLU layer with your slope")

    class ReLU(Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            x = self.begin_forward(x, training)
            return np.maximum(x, 0, out=self.buffer("y", *x.shape))

        def backward(self, dy: Any) -> Any:
            x, dy = self.begin_backward(dy)
            slope = [student.relu_slope(z, max(z, 0.0), 0.0) for z in x.flat]
            return np.multiply(dy, np.reshape(slope, x.shape), out=self.buffer("dx", *x.shape))

        def branches(self) -> list[np.ndarray]:
            return [self.x > 0]

    check_layer(ReLU(), raises=True)


def dropout(student: Student) -> Iterator[str]:
    """Check both passes of dropout."""
    rows, features = 61, 67

    def layer(rate: float, inverted: bool) -> Any:
        return student.Dropout(rate, inverted).build("cpu", 0, "float64")

    def run(layer: Any, training: bool) -> tuple[np.ndarray, np.ndarray]:
        x = _numbers(0, rows, features) + 10  # no zeros, so that a zero shows what was dropped
        student.calls(f"Dropout(0.2, inverted={layer.inverted}).forward(x, training={training})")
        before = x.copy()
        y = layer.forward(x, training)
        student.expect("x, which must not change,", x, before)
        return x, y.copy() if isinstance(y, np.ndarray) else y

    both = [(True, 1.0, 1.25), (False, 0.8, 1.0)]  # inverted, scale at inference, scale in training

    yield "inference"
    for inverted, at_inference, in_training in both:
        x, y = run(layer(0.2, inverted), training=False)
        mistakes = {"a classic layer does not scale at inference": x}
        if inverted:
            mistakes = {"inference scales; an inverted layer does that in training": x * 0.8}
        mistakes["inference drops something; only training does"] = x * np.not_equal(y, 0) * in_training
        student.expect("y", y, x * at_inference, mistakes)

    yield "what is kept in training is scaled"
    for inverted, _, in_training in both:
        x, y = run(layer(0.2, inverted), training=True)
        student.expect("the shape of y", np.shape(y), x.shape)
        kept = np.not_equal(y, 0)
        mistakes = {
            "the kept values are not divided by 1 - rate": x * kept,
            "the kept values are multiplied by 1 - rate instead of divided": x * kept * 0.8,
            "the kept values are divided by rate instead of 1 - rate": x * kept / 0.2,
            "a classic layer scales in training too": x * kept / 0.8,
        }
        student.expect("y", y, x * kept * in_training, mistakes)

    yield "how many are dropped, and a new mask for each pass"
    dropping = layer(0.2, True)
    x, y = run(dropping, training=True)
    kept, allowed = int(np.count_nonzero(y)), bounds.binomial(y.size, 0.8)
    if kept not in allowed:
        raise student.mistake(
            f"{kept} of {y.size} values are kept; expected {allowed.low:.0f} to {allowed.high:.0f}. "
            f"`rate` is the probability to drop."
        )
    again = run(dropping, training=True)[1]
    if np.array_equal(np.not_equal(y, 0), np.not_equal(again, 0)):
        raise student.mistake("a second training pass has the same mask; call self.draw(training) in each.")

    yield "the backward pass has the mask and the scale of the forward pass"
    for inverted, _, in_training in both:
        dropping = layer(0.2, inverted)
        x, y = run(dropping, training=True)
        dy, kept = _numbers(3, rows, features) + 10, np.not_equal(y, 0)
        student.calls(f"Dropout(0.2, inverted={inverted}).backward(dy)")
        dx = dropping.backward(dy.copy())
        mistakes = {
            "dy passes where the forward pass dropped": dy * in_training,
            "dy passes unchanged": dy,
            "dx has the mask but not the scale": dy * kept,
            "dx is scaled though the layer did not scale in training": dy * kept * 1.25,
        }
        if np.shape(dx) == dy.shape and not np.array_equal(np.not_equal(dx, 0), kept) and np.any(np.equal(dx, 0)):
            raise student.mistake("dx has another mask than y; draw in the forward pass only.")
        student.expect("dx", dx, dy * kept * in_training, mistakes)

    yield "the whole layer, against differences and the contract of all layers"
    for inverted in (True, False):
        student.calls(f"Dropout(0.25, inverted={inverted})")
        check_layer(student.Dropout(0.25, inverted), raises=True)
