"""Preprocessing: centre, scale, rotate or whiten the inputs, with statistics of the training data.

    standardize = dl.data.Standardize()
    train = standardize.fit_transform(train)
    test = standardize.transform(test)  # with the mean and the deviation of the training rows

Every step is fitted once, on training rows only: a mean that has seen the test rows tells the network about them, and
the test no longer measures what it should. All of it is computed in float64; the result has the dtype of the data.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from minidl.data.dataset import Dataset, check_names, valid_names
from minidl.utils import checks, storage
from minidl.utils.reprs import Configurable

NO_VARIANCE = 1e-13  # as a share of the largest
LARGEST = 1e150  # with squares whose sums float64 holds

Data = TypeVar("Data", Dataset, np.ndarray)
Step = TypeVar("Step", bound="Preprocessing")


class Preprocessing(Configurable):
    """A map of the inputs with statistics that `fit` computes from training data and keeps.

    A subclass defines `_fit`, `_transform` and perhaps `_inverse`, on float64 arrays of shape (rows, features), and
    lists the arrays that `_fit` sets in `statistics`.

    Attributes:
        statistics: Names of the arrays that `fit` computes.
        rows: Rows of the data that it was fitted on; None before.
        features: Features of these data.
        feature_names: Their names, if a Dataset had some.

    Raises:
        TypeError, ValueError: For an argument out of its range, and for data that do not fit.
    """

    statistics: tuple[str, ...] = ()
    rows: int | None = None
    features: int
    feature_names: tuple[str, ...] | None = None

    def fit(self: Step, data: Dataset | np.ndarray, allow_held_out: bool = False) -> Step:
        """Compute the statistics from `data`.

        Args:
            data: A Dataset, or an array of floats, shape (rows, features).
            allow_held_out: Whether a Dataset that is held out may be used.

        Returns:
            The step itself.

        Raises:
            RuntimeError: If the step is already fitted.
            TypeError, ValueError: For data of a wrong form, or a Dataset that is held out.
        """
        self._refuse_second_fit()
        checks.boolean("allow_held_out", allow_held_out)
        if isinstance(data, Dataset) and data.held_out and not allow_held_out:
            raise ValueError(
                f"data got {data!r}; expected training rows, because statistics of held-out rows spoil what these "
                "rows are to measure: fit on the training set and transform both, or pass allow_held_out=True"
            )
        x = _inputs(data).astype(np.float64)
        if np.abs(x).max() > LARGEST:
            raise ValueError(f"data got numbers up to {np.abs(x).max():g}; expected at most {LARGEST:g}: rescale them")
        self._fit(x)
        self.rows, self.features = x.shape
        self.feature_names = data.feature_names if isinstance(data, Dataset) else None
        return self

    def transform(self, data: Data) -> Data:
        """Return the data after this step.

        Args:
            data: A Dataset, or an array of floats, shape (rows, features).

        Returns:
            A Dataset with a new x, or an array, in the dtype of the data. Feature names are dropped if the columns are
            no longer those features.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If `fit` saw another number of features, or others by name.
        """
        features = self._expected_features()
        if isinstance(data, Dataset):
            check_names("data.feature_names", data.feature_names, self.feature_names, "`fit`")
        return self._apply(self._transform, data, features)

    def fit_transform(self, data: Data, allow_held_out: bool = False) -> Data:
        """Fit the step to `data`, and return the data after it: `fit(data, allow_held_out)`, then `transform`."""
        return self.fit(data, allow_held_out).transform(data)

    def inverse_transform(self, data: Data) -> Data:
        """Return the data before this step.

        Args:
            data: The result of `transform`. Components that the step left out are taken as 0.

        Returns:
            A Dataset or an array, as for `transform`.
        """
        return self._apply(self._inverse, data, self._features_after())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the step and its statistics to the npz file `path`; `load_preprocessing` reads it."""
        self._expected_features()
        steps, arrays = [], {}
        for i, step in enumerate(self._steps()):
            described = {"name": type(step).__name__, "arguments": step.get_config()}
            steps.append({**described, "rows": step.rows, "features": step.features})
            arrays.update({f"{i}.{name}": getattr(step, name) for name in step.statistics})
        description: dict[str, Any] = {"chain": isinstance(self, Chain), "steps": steps}
        storage.write(path, storage.PREPROCESSING, {**description, "feature_names": self.feature_names}, arrays)

    def _apply(self, function: Any, data: Any, features: int) -> Any:
        x = _inputs(data)
        if x.shape[1] != features:
            raise ValueError(f"data got {x.shape[1]} features; expected {features}, as {self!r} was fitted")
        result = checks.finite("data", checks.matrix("data", function(x.astype(np.float64)), x.dtype))
        if not isinstance(data, Dataset):
            return result
        return replace(data, x=result, feature_names=data.feature_names if self._keeps_features() else None)

    def _expected_features(self) -> int:
        if self.rows is None:
            raise RuntimeError(f"{self!r} is not fitted yet; call fit with the training data first")
        return self.features

    def _features_after(self) -> int:
        return self._transform(np.zeros((1, self._expected_features()))).shape[1]

    def _refuse_second_fit(self) -> None:
        if self.rows is not None:
            raise RuntimeError(f"{self!r} is already fitted on {self.rows} rows; make a new one")

    def _keeps_features(self) -> bool:
        """Return whether column i is still feature i."""
        return True

    def _steps(self) -> tuple[Preprocessing, ...]:
        return (self,)

    def _fit(self, x: np.ndarray) -> None:
        raise NotImplementedError

    def _transform(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} has no inverse")


class Center(Preprocessing):
    """Subtract the mean: y = x - mean.

    Args:
        per: "feature": each column has its own mean; for images this is the mean image (AlexNet, Krizhevsky et al.
            2012). "channel": all pixels of a channel share one mean (VGG, Simonyan & Zisserman 2015).
        channels: For "channel": images of one size in a row of x, one after another. With one channel the whole image
            has one mean.

    Attributes:
        mean: Means of the training rows, shape (features,).
    """

    statistics: tuple[str, ...] = ("mean",)

    per: Any = checks.Checked(checks.one_of, ("feature", "channel"))
    channels: Any = checks.Checked(checks.size)

    def __init__(self, per: str = "feature", channels: int = 1):
        self.per = per
        self.channels = channels

    def _fit(self, x: np.ndarray) -> None:
        self.mean, _ = self._mean_and_deviation(x)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        return x - self.mean

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        return y + self.mean

    def _mean_and_deviation(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation (with 1/n) of each column or channel, both of shape (features,)."""
        features = x.shape[1]
        if self.per == "channel" and features % self.channels:
            raise ValueError(f"data got {features} features; expected a multiple of channels, which is {self.channels}")
        groups = x.reshape(len(x), features if self.per == "feature" else self.channels, -1)
        first = groups[:1, :, :1]  # subtracted before summing, so that a constant has a deviation of exactly 0
        mean = first + (groups - first).mean(axis=(0, 2), keepdims=True)
        deviation = np.sqrt(np.square(groups - mean).mean(axis=(0, 2)))
        size = groups.shape[2]
        return np.repeat(mean.ravel(), size), np.repeat(deviation, size)


class Standardize(Center):
    """Give the training rows mean 0 and variance 1: y = (x - mean) / σ, σ their standard deviation (1/n).

    Args:
        per: As for `Center`.
        channels: As for `Center`.
        epsilon: A feature with σ of at most epsilon counts as constant and is only centred, so that it never
            becomes infinite.

    Attributes:
        mean: Means of the training rows, shape (features,).
        scale: The σ, or 1 for a constant feature, shape (features,).
    """

    statistics = ("mean", "scale")

    epsilon: Any = checks.Checked(checks.real, 0.0)

    def __init__(self, per: str = "feature", channels: int = 1, epsilon: float = 1e-8):
        super().__init__(per, channels)
        self.epsilon = epsilon

    def _fit(self, x: np.ndarray) -> None:
        self.mean, deviation = self._mean_and_deviation(x)
        self.scale = np.where(deviation > self.epsilon, deviation, 1.0)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        return y * self.scale + self.mean


class PCA(Preprocessing):
    """Rotate the data to their principal axes, the largest variance first: y = (x - mean) U (Hotelling 1933).

    The columns of U are orthonormal eigenvectors of the covariance (with 1/n) of the training rows. The sign of an
    eigenvector is arbitrary: here its entry of largest magnitude is positive.

    Args:
        components: Number of axes to keep; None for all, a rotation that loses nothing.

    Attributes:
        mean: Means of the training rows, shape (features,).
        axes: U, shape (features, components).
        variances: Variances of the training rows along the axes, shape (components,).
    """

    statistics = ("mean", "axes", "variances")

    def __init__(self, components: int | None = None):
        self.components = components if components is None else checks.size("components", components)

    def _fit(self, x: np.ndarray) -> None:
        rows, features = x.shape
        if self.components is not None and self.components > features:
            raise ValueError(f"data got {features} features; expected at least components, which is {self.components}")
        self.mean = x[0] + (x - x[0]).mean(axis=0)  # of a constant, exactly the constant
        centred = x - self.mean
        # One thread gives the same bits everywhere, and does not wait for another on a busy machine.
        with threadpool_limits(1, user_api="blas"):
            variances, axes = linalg.eigh(centred.T @ centred / rows)  # in rising order
        axes = axes[:, ::-1][:, : self.components]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        self.axes = axes * np.sign(largest)
        # A variance of 0 can come out as -1e-17.
        self.variances = np.maximum(variances[::-1][: self.components], 0.0)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) @ self.axes

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        return y @ self.axes.T + self.mean

    def _keeps_features(self) -> bool:
        return False


class Whiten(PCA):
    """Make features uncorrelated with variance 1: y = (x - mean) U Λ^(-1/2) for "pca", and that times Uᵀ for "zca".

    U and Λ are the axes and variances of `PCA`. The training rows then have covariance Λ / (Λ + ε) along the axes.

    Where the training rows do not vary, as along all but 9 axes of 10 rows, there is no scale to divide by: Λ^(-1/2) is
    0 there, as in a pseudo-inverse, and what another row has along such an axis is left out. A variance below 1e-13 of
    the largest counts as none, because rounding makes as much of it.

    Args:
        method: "pca" leaves the data in their principal axes; "zca" rotates them back, which changes them least, so
            that images still look like images (Bell & Sejnowski 1997; Kessy, Lewin & Strimmer 2018).
        epsilon: Added to each variance in Λ before the root, so that directions that hardly vary, mostly noise, are
            amplified by 1/√ε at most. In units of x squared, greater than 0.
        components: Number of axes to keep; None for all.
    """

    method: Any = checks.Checked(checks.one_of, ("pca", "zca"))
    epsilon: Any = checks.Checked(checks.real, above=0.0)

    def __init__(self, method: str = "pca", epsilon: float = 1e-5, components: int | None = None):
        super().__init__(components)
        self.method = method
        self.epsilon = epsilon

    def _transform(self, x: np.ndarray) -> np.ndarray:
        varies = self.variances > NO_VARIANCE * self.variances[0]
        y = super()._transform(x) * np.where(varies, 1 / np.sqrt(self.variances + self.epsilon), 0.0)
        return y @ self.axes.T if self.method == "zca" else y

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        y = y @ self.axes if self.method == "zca" else y
        return super()._inverse(y * np.sqrt(self.variances + self.epsilon))

    def _keeps_features(self) -> bool:
        return self.method == "zca"


class Chain(Preprocessing):
    """Apply steps one after another; each is fitted to the output of the steps before it.

    Args:
        *steps: The steps. A chain among them is replaced by its steps.

    Raises:
        TypeError, ValueError: For no step, one that is none, one that comes twice, or one that is fitted already.
    """

    def __init__(self, *steps: Preprocessing):
        if not steps:
            raise ValueError("steps got nothing; expected at least one step")
        for i, step in enumerate(steps):
            if not isinstance(step, Preprocessing):
                raise TypeError(f"steps got {checks.describe(step)} at position {i}; expected steps such as Center()")
        self.steps = tuple(inner for step in steps for inner in step._steps())
        if len(set(map(id, self.steps))) < len(self.steps):
            raise ValueError("steps got one of them twice; make a new step for each position")
        self._refuse_second_fit()

    def _refuse_second_fit(self) -> None:
        for step in self.steps:
            step._refuse_second_fit()

    def _steps(self) -> tuple[Preprocessing, ...]:
        return self.steps

    def _fit(self, x: np.ndarray) -> None:
        for step in self.steps:
            x = step.fit(x)._transform(x)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        for step in self.steps:
            x = step._transform(x)
        return x

    def _inverse(self, y: np.ndarray) -> np.ndarray:
        for step in reversed(self.steps):
            y = step._inverse(y)
        return y

    def _keeps_features(self) -> bool:
        return all(step._keeps_features() for step in self.steps)


STEPS: dict[str, type[Preprocessing]] = {step.__name__: step for step in (Center, Standardize, PCA, Whiten)}


def load_preprocessing(path: str | os.PathLike[str]) -> Preprocessing:
    """Return the fitted step that `save` wrote to `path`. It gives the same results, bit for bit.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is truncated, corrupt or of another kind.
    """
    _, description, arrays = storage.read(path, storage.PREPROCESSING)
    try:
        steps = [STEPS[step["name"]](**step["arguments"]) for step in description["steps"]]
        made = Chain(*steps) if description["chain"] else steps[0]
        for i, (step, described) in enumerate(zip(steps, description["steps"], strict=True)):
            for name in step.statistics:
                setattr(step, name, checks.finite(name, arrays[f"{i}.{name}"]))
            step.rows = checks.integer("rows", described["rows"])
            step.features = checks.integer("features", described["features"])
        made.rows, made.features = steps[0].rows, steps[0].features
        made.feature_names = valid_names("feature_names", description.get("feature_names"))  # none in older files
        if made.feature_names is not None and len(made.feature_names) != made.features:
            raise ValueError(f"it has {len(made.feature_names)} names of {made.features} columns")
        made._features_after()  # fails if the arrays do not fit together
    except Exception as error:  # a wrong description can make constructors and shapes fail in any way
        raise ValueError(f"{path} does not describe preprocessing that minidl can build ({error})") from error
    return made


def _inputs(data: Dataset | np.ndarray) -> np.ndarray:
    return data.x if isinstance(data, Dataset) else checks.finite("data", checks.matrix("data", data))
