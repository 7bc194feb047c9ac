"""minidl's networks as estimators of scikit-learn: for its pipelines, searches, scores and learning curves.

    from minidl.sklearn import MLPClassifier

    network = make_pipeline(StandardScaler(), MLPClassifier((64, 64), epochs=50, random_state=0))
    search = GridSearchCV(network, {"mlpclassifier__dropout": [0.0, 0.2, 0.5]}, n_jobs=2).fit(X, y)

Only this module needs scikit-learn; `import minidl` does without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"minidl.sklearn needs scikit-learn: run pip install 'minidl[sklearn]' ({error})") from error

import minidl as dl
from minidl.perceptron import OPTIMIZERS, perceptron
from minidl.utils import checks
from minidl.utils.guide import Guided

__all__ = ["MLPClassifier", "MLPRegressor"]

DTYPES = (np.float64, np.float32)  # a network has that of X; other numbers become float64
LARGEST_BATCH = 200  # of "auto", as in scikit-learn


def relative(weights: np.ndarray) -> np.ndarray:
    """Return weights as shares of the largest, whose sums neither overflow nor lose digits near 0."""
    return weights / (weights.max() or 1.0)


@dataclass(eq=False, repr=False)
class MLP(Guided, BaseEstimator):
    """What the two estimators share: arguments, which `fit` checks, and training."""

    hidden_layer_sizes: Sequence[int] = (100,)
    activation: str = "relu"
    _: KW_ONLY
    init: str | dl.initializers.Initializer = "auto"
    batch_norm: bool = False
    dropout: float = 0.0
    alpha: float = 0.0
    optimizer: str = "adam"
    learning_rate: float | dl.schedules.Schedule = 1e-3
    batch_size: int | str = "auto"
    epochs: int = 200
    validation_fraction: float = 0.0
    patience: int = 10
    random_state: int | np.random.RandomState | None = None
    backend: str = "auto"

    def _checked(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forget an earlier `fit`; return the arguments as arrays; set `n_features_in_` and `feature_names_in_`."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        fraction = checks.real("validation_fraction", self.validation_fraction, 0.0, below=1.0)
        fewest = 2 if checks.boolean("batch_norm", self.batch_norm) or fraction else 1
        X, y = validate_data(self, X, y, dtype=DTYPES, ensure_min_samples=fewest, **options)
        return X, y, relative(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))

    def _train(self, x: np.ndarray, targets: np.ndarray, weight: np.ndarray, n_out: int, loss: dl.Loss) -> Any:
        """Set what a fitted estimator has. A mean weight of 1 makes a row of weight 2 one that comes twice."""

        def dataset(rows: np.ndarray) -> dl.data.Dataset:
            weights = relative(weight[rows, None])
            return dl.data.Dataset(x[rows], {"target": targets[rows], "weight": weights / weights.mean()})

        optimizer = self._optimizer()
        random_state = self.random_state
        if not isinstance(random_state, np.random.RandomState):
            random_state = checks.optional("random_state", random_state, checks.integer, 0, 2**32 - 1)
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        model = self._network(x.shape[1], n_out, seed=seed, dtype=str(x.dtype))
        stopping = dl.EarlyStopping("validation_loss", self.patience)
        rows, validation, callbacks = np.flatnonzero(weight), None, []
        if not rows.size:
            raise ValueError("sample_weight times class_weight got only zeros; expected at least one weight above 0")
        if self.validation_fraction:
            count = math.ceil(self.validation_fraction * rows.size)
            if count == rows.size:
                got = f"validation_fraction got {self.validation_fraction}"
                raise ValueError(f"{got}, which leaves none of {count} rows to train on; expected a smaller one")
            numbers = dl.data.Dataset(rows[:, None].astype(float), targets[rows])
            parts = dl.data.split(numbers, rows.size - count, count, seed=seed)  # of classes, the same share of each
            rows, held_out = (part.x[:, 0].astype(int) for part in parts)
            validation, callbacks = dataset(held_out), [stopping]
        if len(rows) < model.smallest_batch:
            got = f"batch_norm got True where validation_fraction and weights leave {len(rows)} row to train on"
            raise ValueError(f"{got}; expected at least {model.smallest_batch}")
        self.history_ = dl.fit(
            model, dataset(rows), validation=validation, loss=dl.Weighted(loss), optimizer=optimizer,
            epochs=self.epochs, batch_size=self._batch_size(len(rows), model.smallest_batch),
            callbacks=callbacks, progress=False,
        )  # fmt: skip
        self.model_, self.loss_curve_ = model, self.history_["loss"]
        if self.history_.interrupted:
            raise KeyboardInterrupt  # which ends a search, too
        return self

    def _optimizer(self) -> dl.Optimizer:
        given: Any = self.optimizer
        if isinstance(given, dl.Optimizer):
            name = next((name for name, kind in OPTIMIZERS.items() if type(given) is kind), "adam")
            rate = given.schedules.get("learning_rate", given.learning_rate)
            expected = f'optimizer="{name}", learning_rate={rate!r}'
            raise ValueError(f"optimizer got {checks.describe(given)}; expected its name: {expected}")
        return OPTIMIZERS[checks.one_of("optimizer", given, OPTIMIZERS)](self.learning_rate)

    def _network(self, n_in: int, n_out: int, **options: Any) -> dl.Sequential:
        example = f", such as ({self.hidden_layer_sizes},)" if isinstance(self.hidden_layer_sizes, Integral) else ""
        sizes = checks.listed("hidden_layer_sizes", self.hidden_layer_sizes, f"sizes{example}")
        hidden = [checks.size("hidden_layer_sizes", size) for size in sizes]
        alpha = checks.real("alpha", self.alpha, 0.0)
        return perceptron(
            [n_in, *hidden, n_out], activation=self.activation, init=self.init, batch_norm=self.batch_norm,
            dropout=self.dropout, penalty=dl.L2(alpha) if alpha else None, backend=self.backend, **options,
        )  # fmt: skip

    def _batch_size(self, rows: int, smallest: int) -> int:
        """Return a size that leaves a last batch of at least `smallest` rows, or that which the user chose."""
        if not isinstance(self.batch_size, str):
            return self.batch_size
        checks.one_of("batch_size", self.batch_size, ["auto"])
        size = min(rows, LARGEST_BATCH)
        while 0 < rows % size < smallest:
            size += 1
        return size

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        return self.model_.predict(validate_data(self, X, reset=False, dtype=DTYPES))


@dataclass(eq=False, repr=False, kw_only=True)
class MLPClassifier(ClassifierMixin, MLP):
    """A multilayer perceptron that learns classes, with the softmax cross-entropy.

    Where X is float32, so is the network; everything else is float64. Arguments are checked in `fit`.

    Args:
        hidden_layer_sizes: Units of each hidden layer; () for none, which is logistic regression.
        activation: Behind each hidden layer: "relu", "tanh", "gelu" and the like, each the name of a layer of minidl.
        init: How weights start: a name from `minidl.initializers`, an initializer, or "auto", as in `minidl.Dense`.
        batch_norm: Whether there is a `minidl.BatchNorm` in front of each activation.
        dropout: Rate of a `minidl.Dropout` behind each activation; 0 for none.
        alpha: Strength of the penalty alpha/2 Σ w² on the weights. (scikit-learn divides it by the number of rows.)
        optimizer: "sgd", "momentum", "nesterov", "rmsprop", "adam" or "adamw".
        learning_rate: Of the optimizer: a number, or one of `minidl.schedules`.
        batch_size: Rows for each step; "auto" is 200, or all rows where there are fewer. Then an epoch is one step,
            and learning takes more epochs, a larger learning rate or a smaller batch_size.
        epochs: Passes over the rows.
        validation_fraction: Share of the rows, the same of each class, that are held out. Training stops early, with
            the best weights, when the loss on them has not improved for some epochs; with 0 it does not.
        patience: How many epochs that are.
        random_state: Determines initial weights, order of the rows, dropout and held-out rows; None draws anew.
        backend: "numpy", "cpu", "cuda", "emulator" or "auto" (cuda where there is a GPU, else cpu).
        class_weight: Weights {class: weight} of the rows of each class, by which their `sample_weight` is multiplied;
            "balanced" gives all classes the same in total.

    Attributes:
        classes_: The classes, sorted.
        model_: The trained `minidl.Sequential`, whose outputs are logits.
        history_: The `minidl.History` of the training.
        loss_curve_: The mean loss of each epoch, without the penalty.
        n_features_in_: Number of columns of X.
        feature_names_in_: Their names, if X has names.
    """

    class_weight: str | dict[Any, float] | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:
        """Train a new network; what an earlier fit has learned is dropped first, even if this one fails.

        Ctrl-C ends the training after a step, and with it what called `fit`; `model_` keeps what it has learned.

        Args:
            X: Numbers, shape (rows, features).
            y: A class for each row: numbers, strings, ...
            sample_weight: A weight of at least 0 for each row, shape (rows,); None for 1. Only how they compare counts:
                a row of weight 2 is one that comes twice.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: For wrong arguments, of the constructor, too, before the first step.
            DivergenceError: When the loss or a weight becomes NaN or infinite.
        """
        X, y, weight = self._checked(X, y, sample_weight)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            of_class = np.bincount(labels, weight)
            weight = weight / np.where(of_class, of_class, 1.0)[labels]
        elif self.class_weight is not None:
            if not isinstance(self.class_weight, dict):
                got = f"class_weight got {checks.describe(self.class_weight)}"
                raise ValueError(f'{got}; expected a dict {{class: weight}}, or "balanced"')
            of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            weight = weight * relative(np.array([checks.real("class_weight", each, 0.0) for each in of_class]))[labels]
        return self._train(X, labels, weight, len(self.classes_), dl.SoftmaxCrossEntropy())

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for the rows of X, in the order of `classes_`, shape (rows, classes)."""
        return dl.softmax(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of X, shape (rows,)."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]


@dataclass(eq=False, repr=False, kw_only=True)
class MLPRegressor(MultiOutputMixin, RegressorMixin, MLP):
    """A multilayer perceptron that learns one or several numbers for each row, with the mean squared error.

    Targets are taken as they are: numbers far from 0 and 1 want scikit-learn's `TransformedTargetRegressor` around it.
    Where X is float32, so is the network; everything else is float64. Arguments are checked in `fit`.

    Args:
        hidden_layer_sizes: Units of each hidden layer; () for none, which is linear regression.
        activation: Behind each hidden layer: "relu", "tanh", "gelu" and the like, each the name of a layer of minidl.
        init: How weights start: a name from `minidl.initializers`, an initializer, or "auto", as in `minidl.Dense`.
        batch_norm: Whether there is a `minidl.BatchNorm` in front of each activation.
        dropout: Rate of a `minidl.Dropout` behind each activation; 0 for none.
        alpha: Strength of the penalty alpha/2 Σ w² on the weights. (scikit-learn divides it by the number of rows.)
        optimizer: "sgd", "momentum", "nesterov", "rmsprop", "adam" or "adamw".
        learning_rate: Of the optimizer: a number, or one of `minidl.schedules`.
        batch_size: Rows for each step; "auto" is 200, or all rows where there are fewer.
        epochs: Passes over the rows.
        validation_fraction: Share of the rows that are held out to stop early by, as in `MLPClassifier`; 0 for none.
        patience: Epochs without improvement of the loss on them after which training stops.
        random_state: Determines initial weights, order of the rows, dropout and held-out rows; None draws anew.
        backend: "numpy", "cpu", "cuda", "emulator" or "auto" (cuda where there is a GPU, else cpu).

    Attributes:
        model_: The trained `minidl.Sequential`.
        history_: The `minidl.History` of the training.
        loss_curve_: The mean loss of each epoch, without the penalty.
        n_features_in_: Number of columns of X.
        feature_names_in_: Their names, if X has names.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train a new network, as `MLPClassifier.fit` does.

        Args:
            X: Numbers, shape (rows, features).
            y: Numbers, shape (rows,) or (rows, outputs).
            sample_weight: A weight of at least 0 for each row, shape (rows,); None for 1.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: For wrong arguments, of the constructor, too, before the first step.
        """
        X, y, weight = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        y = checks.reals("y", y.reshape(len(y), -1), X.dtype)
        return self._train(X, y, weight, y.shape[1], dl.MeanSquaredError())

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers for each row of X, shape (rows,) or (rows, outputs)."""
        outputs = self._outputs(X)
        return outputs if outputs.shape[1] > 1 else outputs[:, 0]
