"""The estimators: scikit-learn's own checks, its searches and curves, weights, and what is minidl's about them."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import minidl as dl
from minidl.sklearn import MLPClassifier, MLPRegressor
from tests.conftest import each

DOCS = Path(dl.__file__).parent.parent / "docs"
QUICK = {"hidden_layer_sizes": (20,), "epochs": 60, "learning_rate": 0.01, "backend": "cpu"}
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NUMBERS = make_regression(80, 4, n_targets=2, random_state=0)[1] / 100
FEW = {"epochs": 2, "random_state": 0, "backend": "cpu"}

# scikit-learn's checks ------------------------------------------------------------------------------------------------

SETTINGS = {
    "classifier": MLPClassifier(**QUICK),
    "regressor": MLPRegressor(**QUICK),
    "other classifier": MLPClassifier(**QUICK, activation="tanh", init="he_normal", alpha=1e-3, optimizer="nesterov"),
    "other regressor": MLPRegressor(**{**QUICK, "hidden_layer_sizes": (20, 10)}, activation="gelu", optimizer="adamw"),
}
MIXED = {  # rows meet in batch norm, masks and what is held out, so one of weight 2 is not one that comes twice
    "mixed classifier": MLPClassifier(
        **QUICK, batch_norm=True, dropout=0.1, validation_fraction=0.2, class_weight="balanced"
    ),
    "mixed regressor": MLPRegressor(**QUICK, batch_norm=True, dropout=0.1, validation_fraction=0.2),
}
DOUBLED = "check_sample_weight_equivalence_on_dense_data"
MAY_SKIP = {  # without pandas, and without SCIPY_ARRAY_API
    "check_sample_weights_pandas_series", "check_classifier_data_not_an_array", "check_regressor_data_not_an_array",
    "check_array_api_input",
}  # fmt: skip


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [*SETTINGS, *MIXED])
def test_the_checks_of_scikit_learn_pass(name):
    expected = {DOUBLED: "as said above"} if name in MIXED else {}
    results = check_estimator({**SETTINGS, **MIXED}[name], on_skip=None, expected_failed_checks=expected)
    others = {result["check_name"] for result in results if result["status"] != "passed"}
    assert len(results) > 50 and others <= MAY_SKIP | set(expected)


# scikit-learn's tools -------------------------------------------------------------------------------------------------


def test_a_search_in_two_processes_finds_what_one_finds():
    network = make_pipeline(StandardScaler(), MLPClassifier((8,), **{**FEW, "epochs": 10}))
    grid = {"mlpclassifier__learning_rate": [1e-3, 0.1], "mlpclassifier__activation": ["relu", "tanh"]}
    one, two = (GridSearchCV(network, grid, cv=2, n_jobs=jobs, error_score="raise").fit(X, Y) for jobs in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert one.best_params_ == two.best_params_ and one.best_params_["mlpclassifier__learning_rate"] == 0.1
    assert two.score(X, Y) > 0.9


def test_scores_and_curves():
    classifier = MLPClassifier(**QUICK, random_state=0)
    assert cross_val_score(classifier, X, Y, cv=3).min() > 0.85
    rows, train_scores, scores = learning_curve(classifier, X, Y, cv=2, train_sizes=[30, 70], shuffle=True)
    assert rows.tolist() == [30, 70] and train_scores.shape == scores.shape == (2, 2)


def test_a_clone_has_the_arguments_and_nothing_learned():
    classifier = MLPClassifier((3, 4), activation="elu", learning_rate=dl.schedules.Exponential(0.1, 0.9), **FEW)
    other = clone(classifier.fit(X, Y))
    assert not hasattr(other, "model_") and repr(other) == repr(classifier)
    assert other.fit(X, Y).history_["learning_rate"] == classifier.history_["learning_rate"]


@pytest.mark.parametrize(("estimator", "y"), [(MLPClassifier(**FEW), Y[:80]), (MLPRegressor(**FEW), NUMBERS)])
def test_a_pickled_estimator_predicts_the_same(estimator, y):
    other = pickle.loads(pickle.dumps(estimator.fit(X[:80], y)))
    np.testing.assert_array_equal(other.predict(X), estimator.predict(X))


def test_tables_of_pandas_give_the_names_of_features():
    pandas = pytest.importorskip("pandas", reason="only those need pandas who have tables of it")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    classifier = MLPClassifier(**FEW).fit(table, pandas.Series(Y))
    assert classifier.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(classifier.predict(table), MLPClassifier(**FEW).fit(X, Y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[["b", "a", "c", "d"]])


# Classes and numbers --------------------------------------------------------------------------------------------------


def test_classes_may_be_strings():
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    classifier = MLPClassifier(**QUICK, random_state=0).fit(X, names)
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert classifier.score(X, names) > 0.95
    probabilities = classifier.predict_proba(X)
    np.testing.assert_array_equal(classifier.classes_[probabilities.argmax(axis=1)], classifier.predict(X))
    np.testing.assert_array_equal(probabilities, dl.softmax(classifier.model_.predict(X)))


def test_several_numbers_for_each_row():
    x, y = make_regression(200, 5, n_targets=3, noise=1.0, random_state=0)
    regressor = MLPRegressor(**{**QUICK, "epochs": 300}, random_state=0).fit(x, y / 100)
    assert regressor.predict(x).shape == (200, 3) and regressor.score(x, y / 100) > 0.95
    one = MLPRegressor(**FEW)
    np.testing.assert_array_equal(one.fit(x, y[:, 0]).predict(x), one.fit(x, y[:, :1]).predict(x))
    assert one.predict(x).shape == (200,)


def test_weights_of_classes_multiply_those_of_their_rows(rng):
    names, weight = np.array(["a", "b", "c"])[Y], rng.integers(0, 4, len(X))
    many = {"a": 1, "b": 3, "c": 1}
    by_class = MLPClassifier(class_weight={"b": 3}, **FEW).fit(X, names, weight).predict_proba(X)
    by_row = MLPClassifier(**FEW).fit(X, names, weight * [many[name] for name in names]).predict_proba(X)
    np.testing.assert_allclose(by_class, by_row, rtol=1e-12)
    assert abs(by_row - MLPClassifier(**FEW).fit(X, names, weight).predict_proba(X)).max() > 1e-3


def test_balanced_classes_weigh_the_same_however_their_rows_come(rng):
    weight = rng.integers(0, 4, len(X))
    total = np.bincount(Y, weight)
    balanced = MLPClassifier(class_weight="balanced", **FEW)
    weighted = balanced.fit(X, Y, weight).predict_proba(X)
    by_row = MLPClassifier(**FEW).fit(X, Y, weight / total[Y]).predict_proba(X)
    np.testing.assert_allclose(weighted, by_row, rtol=1e-12)
    repeated = clone(balanced).set_params(batch_size=1000).fit(X.repeat(weight, axis=0), Y.repeat(weight))
    np.testing.assert_allclose(weighted, repeated.predict_proba(X), rtol=1e-9)


def test_a_class_without_weight_stays_a_class():
    classifier = MLPClassifier(**QUICK, class_weight="balanced", random_state=0).fit(X, Y, Y != 1)
    assert classifier.classes_.tolist() == [0, 1, 2] and classifier.score(X[Y != 1], Y[Y != 1]) == 1
    assert 1 not in classifier.predict(X)


@pytest.mark.parametrize("scale", [1e308, 1e-310])
@pytest.mark.parametrize("balance", [None, "balanced", {1: 3.0}])
def test_only_how_weights_compare_counts_however_large_or_small(scale, balance):
    classifier = MLPClassifier(class_weight=balance, **FEW)
    expected = classifier.fit(X[30:], Y[30:]).predict_proba(X)
    found = classifier.fit(X[30:], Y[30:], np.full(120, scale)).predict_proba(X)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_only_how_weights_of_classes_compare_counts():
    expected = MLPClassifier(class_weight={0: 1, 1: 0.5, 2: 0.25}, **FEW).fit(X, Y).predict_proba(X)
    for scale in (1e308, 1e-310):
        weights = {0: scale, 1: scale / 2, 2: scale / 4}
        found = MLPClassifier(class_weight=weights, **FEW).fit(X, Y).predict_proba(X)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_balanced_class_may_have_tiny_weights():
    expected = MLPClassifier(class_weight="balanced", **FEW).fit(X, Y).predict_proba(X)
    tiny = MLPClassifier(class_weight="balanced", **FEW).fit(X, Y, np.where(Y == 1, 1e-310, 1.0)).predict_proba(X)
    np.testing.assert_allclose(tiny, expected, rtol=1e-9)


@pytest.mark.parametrize("estimator", [MLPClassifier(**FEW), MLPRegressor(**FEW)])
def test_a_weight_below_0_is_refused(estimator):
    with pytest.raises(ValueError, match="[Nn]egative values in .*sample_weight"):
        estimator.fit(X, Y, np.r_[-1.0, np.ones(149)])


# What is minidl's -----------------------------------------------------------------------------------------------------


def test_the_network_is_a_model_of_minidl():
    classifier = MLPClassifier(
        (6, 5), "tanh", batch_norm=True, dropout=0.2, alpha=0.01, init="he_normal", optimizer="sgd", **FEW
    ).fit(X, Y)
    layers = [type(layer).__name__ for layer in classifier.model_.layers]
    assert layers == ["Dense", "BatchNorm", "Tanh", "Dropout"] * 2 + ["Dense"]
    assert [layer.n_out for layer in classifier.model_.layers if isinstance(layer, dl.Dense)] == [6, 5, 3]
    assert classifier.model_.penalty == "L2(strength=0.01)" and classifier.model_.layers[0].init == "he_normal"
    assert len(dl.inspect(classifier.model_, X, Y).rows) == 9
    assert len(classifier.history_) == 2 and classifier.loss_curve_ == classifier.history_["loss"]
    assert classifier.history_["penalty"][0] > 0


@pytest.mark.parametrize(("given", "used"), [("float32", "float32"), ("float64", "float64"), ("int32", "float64")])
def test_the_dtype_is_that_of_x(given, used):
    x = X.astype(given)
    assert MLPClassifier(**FEW).fit(x, Y).predict_proba(x).dtype == used
    assert MLPRegressor(**FEW).fit(x, Y).predict(x).dtype == used


def test_a_seed_determines_everything():
    first, same, other = (
        MLPClassifier(dropout=0.5, batch_size=16, validation_fraction=0.2, **{**FEW, "random_state": seed}).fit(X, Y)
        for seed in (1, 1, np.random.RandomState(2))
    )
    np.testing.assert_array_equal(first.predict_proba(X), same.predict_proba(X))
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))
    assert len({MLPClassifier(epochs=1).fit(X, Y).model_.streams.seed for _ in range(3)}) > 1


def steps(rows, **options):
    """How many steps an epoch over so many rows has."""
    sizes = []
    adam = dl.Adam.prepare

    def prepare(optimizer, parameters):
        sizes.append(1)
        adam(optimizer, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dl.Adam, "prepare", prepare)
        x = np.random.default_rng(0).normal(size=(rows, 2))
        MLPClassifier((2,), epochs=1, **options).fit(x, np.arange(rows) % 2)
    return len(sizes)


def test_batches_have_200_rows_and_none_is_too_small_for_a_batch_norm():
    assert [steps(rows) for rows in (2, 200, 201, 400)] == [1, 1, 2, 2]
    assert [steps(rows, batch_norm=True) for rows in (2, 200, 201, 202, 401)] == [1, 1, 1, 2, 2]
    assert steps(200, batch_size=50) == 4 and steps(200, batch_size=50, validation_fraction=0.25) == 3


def test_training_stops_early_with_the_best_weights():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 20)), rng.integers(0, 2, 100)  # nothing to learn
    classifier = MLPClassifier((50,), validation_fraction=0.3, patience=3, learning_rate=0.01, random_state=0).fit(x, y)
    losses = classifier.history_["validation_loss"]
    assert 3 < len(losses) < 50 and int(np.argmin(losses)) == len(losses) - 4
    worse = MLPClassifier((50,), epochs=len(losses), learning_rate=0.01, random_state=0).fit(x, y)
    assert worse.history_["validation_loss"][0] is None and len(worse.history_) == len(losses)


@pytest.fixture
def given(monkeypatch):
    """What an estimator last gave to `dl.fit`."""
    fit, given = dl.fit, {}

    def note(*parts, **options):
        given.update(options, train=parts[1])
        return fit(*parts, **options)

    monkeypatch.setattr(dl, "fit", note)
    return given


def test_each_class_is_held_out_in_its_share(given, rng):
    x, y = rng.normal(size=(61, 2)), np.r_[Y[:60], 2]
    MLPClassifier(validation_fraction=0.2, **FEW).fit(x, y, np.arange(61.0))  # the first row has weight 0
    train, held_out = given["train"], given["validation"]
    assert sorted([*train.x[:, 0], *held_out.x[:, 0]]) == sorted(x[1:, 0])
    assert abs(np.bincount(held_out.y["target"], minlength=3) - 0.2 * np.array([49, 10, 1])).max() < 1
    assert [round(part.y["weight"].mean(), 12) for part in (train, held_out)] == [1, 1]


def test_the_share_held_out_is_rounded_up_and_its_rows_are_drawn_by_the_seed(given):
    drawn = []
    for seed in (0, 0, 1):
        MLPClassifier(validation_fraction=0.33, **{**FEW, "random_state": seed}).fit(X, Y)
        drawn.append(given["validation"].x.tolist())
    assert len(drawn[0]) == 50 and drawn[0] == drawn[1] and sorted(drawn[0]) != sorted(drawn[2])


def test_targets_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match="^y got inf at row 0, column 0 .150 such in all.; expected finite"):
        MLPRegressor(**FEW).fit(X.astype("float32"), np.full(150, 1e40))


@pytest.mark.parametrize(("rows", "fraction"), [(60, 0.99), (2, 0.6)])
def test_a_share_that_leaves_no_row_is_refused_by_name(rows, fraction):
    message = f"^validation_fraction got {fraction}, which leaves none of {rows} rows to train on; expected a smaller"
    for estimator in (MLPClassifier(validation_fraction=fraction), MLPRegressor(validation_fraction=fraction)):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X[:rows], Y[:rows])


@each("rows, weight", [(2, None), (3, None), (3, [1, 1, 0])])
def test_too_few_rows_for_a_batch_norm_are_refused_as_such(rows, weight):
    message = "^batch_norm got True where validation_fraction and weights leave 1 row to train on; expected at least 2$"
    for estimator in (MLPClassifier, MLPRegressor):
        with pytest.raises(ValueError, match=message):
            estimator(batch_norm=True, validation_fraction=0.5).fit(X[:rows], Y[:rows], weight)


def test_ctrl_c_ends_a_search_and_keeps_the_model(monkeypatch):
    history = dl.History()
    history.interrupted = True
    monkeypatch.setattr(dl, "fit", lambda *_, **__: history)
    classifier = MLPClassifier(**FEW)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, Y)
    assert classifier.history_ is history and classifier.predict(X).shape == (150,)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(classifier, {"dropout": [0.1, 0.2]}).fit(X, Y)


WRONG = [
    ({"hidden_layer_sizes": 100}, r"^hidden_layer_sizes got 100; expected a list of sizes, such as \(100,\)$"),
    ({"hidden_layer_sizes": 0.5}, "^hidden_layer_sizes got 0.5; expected a list of sizes$"),
    ({"hidden_layer_sizes": (10, 0)}, "^hidden_layer_sizes got 0; expected an integer of at least 1$"),
    ({"activation": "logistic"}, "^activation got 'logistic'; .*; did you mean 'sigmoid'[?]$"),
    ({"optimizer": "lbfgs"}, "^optimizer got 'lbfgs'; expected one of 'sgd', 'momentum', "),
    ({"optimizer": dl.RMSProp(1e-2)}, '; expected its name: optimizer="rmsprop", learning_rate=0.01$'),
    (
        {"optimizer": dl.Adam(dl.schedules.Cosine(0.1, steps=9))},
        r'^optimizer got Adam\(.*: optimizer="adam", learning_rate=Cosine\(start=0.1, steps=9, end=0.0\)$',
    ),
    ({"learning_rate": "adaptive"}, "^learning_rate got 'adaptive'; expected"),
    ({"alpha": -1.0}, "^alpha got -1; expected a finite number, at least 0$"),
    ({"batch_size": "full"}, "^batch_size got 'full'; expected one of 'auto'"),
    ({"batch_size": 0}, "^batch_size got 0; expected an integer of at least 1$"),
    ({"validation_fraction": 1.0}, "^validation_fraction got 1; expected a finite number, at least 0 and less than 1$"),
    ({"batch_norm": 1}, "^batch_norm got 1; expected True or False$"),
    ({"backend": "gpu"}, "^backend got 'gpu'; .*; did you mean 'cuda'[?]$"),
]


@each("arguments, message", WRONG)
def test_a_wrong_argument_is_an_error_of_fit_that_names_it(arguments, message):
    for estimator, y in ((MLPClassifier(**arguments), Y), (MLPRegressor(**arguments), X)):
        with pytest.raises((TypeError, ValueError), match=message):
            estimator.fit(X, y)
        with pytest.raises(NotFittedError):
            estimator.predict(X)


def test_a_fit_that_fails_leaves_nothing_of_an_earlier_one():
    classifier = MLPClassifier(**FEW).fit(X, Y)
    with pytest.raises(dl.DivergenceError):
        classifier.set_params(optimizer="sgd", learning_rate=1e300).fit(X[:, :2], np.array(["a", "b", "c"])[Y])
    assert not {"model_", "history_", "loss_curve_"} & set(vars(classifier))
    with pytest.raises(NotFittedError):
        classifier.predict(X[:, :2])
    with pytest.raises(ValueError, match="optimizer"):
        classifier.set_params(optimizer="lbfgs").fit(X, Y)
    with pytest.raises(NotFittedError):
        classifier.predict(X)


def test_a_second_fit_is_that_of_a_new_estimator():
    again = MLPClassifier(**FEW).fit(X[:, :2], Y == 0).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), MLPClassifier(**FEW).fit(X, Y).predict_proba(X))


@pytest.mark.parametrize("weight", ["balance", {0: -1.0}, {7: 1.0}, {0: 0, 1: 0, 2: 0}, 3])
def test_a_wrong_class_weight_is_refused_by_name(weight):
    with pytest.raises((TypeError, ValueError), match="class(_| )weight"):
        MLPClassifier(class_weight=weight, **FEW).fit(X, Y)


@pytest.mark.parametrize("weight", ["balance", [1, 2, 3]])
def test_a_class_weight_of_another_form_is_told_both_forms(weight):
    said = f'class_weight got {weight!r}; expected a dict {{class: weight}}, or "balanced"'
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        MLPClassifier(class_weight=weight, **FEW).fit(X, Y)


def test_minidl_does_without_scikit_learn_and_the_module_says_how_to_get_it():
    program = (
        "import sys, minidl; assert 'sklearn' not in sys.modules; sys.modules['sklearn'] = None; import minidl.sklearn"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert "ImportError: minidl.sklearn needs scikit-learn: run pip install 'minidl[sklearn]'" in done.stderr


@pytest.mark.parametrize("page", ["coming_from.md", "guide.md"])
def test_the_program_on_the_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (program,) = (block for block in blocks if "minidl.sklearn" in block)
    few = program.replace("(return_X_y=True)", "(return_X_y=True)\nX, y = X[:200], y[:200]")
    exec(few.replace("MLPClassifier((32,)", "MLPClassifier((32,), epochs=5"), {})
    assert "Dense" in capsys.readouterr().out
