"""Layers one after another: construction, the two passes of a whole model, prediction, summary."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

import minidl as dl


def make(backend="cpu", seed=0, dtype="float32"):
    return dl.Sequential(
        dl.Dense(6, 5, init="he_normal", bias=False),
        dl.BatchNorm(5),
        dl.ReLU(),
        dl.Dropout(0.3),
        dl.Sequential(dl.Dense(5, 4), dl.LeakyReLU(slope=0.1), dl.Sequential(dl.Tanh())),
        dl.Dense(4, 3),
        backend=backend,
        seed=seed,
        dtype=dtype,
    )


def draw(rng, rows=8, dtype=np.float32):
    return rng.normal(size=(rows, 6)).astype(dtype)


def weights(model):
    return [parameter.value for parameter in model.parameters()]


def leaves(model):
    """The layers of a model without the Sequentials around them."""
    return [layer for layer in model.walk() if not layer.children()]


# The two passes


def test_gradients_of_a_whole_model_match_central_differences(rng):
    model = dl.Sequential(
        dl.Dense(4, 6, init="he_normal"),
        dl.BatchNorm(6),
        *(dl.Sequential(layer(), dl.Dense(6, 6)) for layer in dl.layers.ACTIVATION_LAYERS.values()),
        dl.Dropout(0.3),
        dl.BatchNorm(6),
        dl.Dense(6, 3),
        backend="cpu",
        dtype="float64",
    )
    dl.check_gradients(model, rng.normal(size=(7, 4)), raises=True)


def test_gradients_of_a_model_in_the_emulator_match_central_differences(rng):
    layers = dl.Dense(3, 4), dl.BatchNorm(4), dl.ReLU(), dl.Dropout(0.3)
    model = dl.Sequential(*layers, backend="emulator", dtype="float64")
    dl.check_gradients(model, rng.normal(size=(5, 3)), raises=True)


def test_forward_is_one_layer_after_another(rng):
    model, x = make(), draw(rng)
    expected = x
    for layer in leaves(model):
        expected = layer.forward(expected).copy()
    np.testing.assert_array_equal(model.forward(x), expected)


def test_training_is_passed_on_to_every_layer(rng):
    model = make()
    model.forward(draw(rng), training=True)
    assert all(layer.x is not None for layer in leaves(model))
    model.forward(draw(rng), training=False)
    assert all(layer.x is None for layer in leaves(model))


@pytest.mark.parametrize(
    "first", [lambda: dl.Dense(6, 6), lambda: dl.ReLU(), lambda: dl.Sequential(dl.Tanh(), dl.Dense(6, 6))]
)
def test_backward_and_backward_parameters_give_the_same_gradients(first, rng):
    model = dl.Sequential(first(), dl.Dense(6, 4), dl.BatchNorm(4), dl.Tanh(), backend="cpu", seed=0)
    model.forward(draw(rng), training=True)
    dy = rng.normal(size=(8, 4)).astype(np.float32)
    model.backward(dy)
    expected = [parameter.gradient.copy() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.gradient[...] = np.nan
    assert model.backward_parameters(dy) is None
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.gradient, gradient, err_msg=parameter.name)


def test_backward_parameters_leaves_out_the_product_that_nobody_needs(rng, monkeypatch):
    model, x = make(), draw(rng)
    model.forward(x, training=True)
    monkeypatch.setattr(model.layers[0], "backward", None)
    model.backward_parameters(rng.normal(size=(8, 3)).astype(np.float32))


# Construction


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([dl.Dense(4, 3), dl.Dense(4, 2)], "Dense(4, 2) at position 1, which expects 4 features; Dense(4, 3) before"),
        ([dl.Dense(4, 3), dl.ReLU(), dl.Dropout(0.5), dl.BatchNorm(5)], "BatchNorm(5) at position 3, which expects 5"),
        ([dl.Sequential(dl.Dense(4, 3)), dl.Dense(2, 2)], "Dense(2, 2) at position 1, which expects 2 features; Seq"),
        ([dl.Dense(4, 3), dl.Sequential(dl.Tanh(), dl.Dense(2, 2))], "Sequential(Tanh(), Dense(2, 2)) at position 1"),
        ([dl.BatchNorm(3), dl.BatchNorm(4)], "BatchNorm(4) at position 1, which expects 4 features; BatchNorm(3) be"),
    ],
)
def test_sizes_that_do_not_chain_are_refused_at_construction(layers, message):
    with pytest.raises(ValueError, match=f"^layers got {re.escape(message)}.* gives [0-9]+$"):
        dl.Sequential(*layers)


def test_sizes_that_chain_through_layers_of_any_size_are_accepted():
    model = dl.Sequential(dl.ReLU(), dl.Sequential(dl.Dense(4, 3), dl.ReLU()), dl.Dropout(0.1), dl.BatchNorm(3))
    assert (model.n_in, model.n_out) == (4, 3)
    model = dl.Sequential(dl.ReLU(), dl.Tanh())
    assert (model.n_in, model.n_out) == (None, None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dl.Sequential(), ValueError, "^layers got nothing; expected at least one layer$"),
        (lambda: dl.Sequential([dl.ReLU()]), TypeError, r"^layers got \[ReLU\(\)\] at position 0; .*Sequential\(\*lay"),
        (lambda: dl.Sequential(dl.ReLU(), "relu"), TypeError, "^layers got 'relu' at position 1; expected layers$"),
        (
            lambda: dl.Sequential(dl.ReLU(), dl.ReLU),
            TypeError,
            r"^layers got <class .* at position 1; expected layers; did you mean ReLU\(\)\?$",
        ),
    ],
)
def test_what_is_not_a_list_of_layers_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"backend": "gpu"},
            ValueError,
            "^backend got 'gpu'; expected one of 'auto', 'numpy', 'cpu', 'cuda', 'emulator'",
        ),
        ({"backend": "emulater"}, ValueError, "did you mean 'emulator'[?]$"),
        ({"backend": ""}, ValueError, "^backend got ''"),
        (
            {"dtype": "float16"},
            ValueError,
            "^dtype got 'float16'; expected one of 'float32', 'float64'; did you mean 'float32'[?]$",
        ),
        ({"dtype": int}, ValueError, "^dtype got 'int'; expected one of 'float32', 'float64'"),
        ({"dtype": ""}, ValueError, "^dtype got ''"),
        ({"seed": -1}, ValueError, "^seed got -1; expected an integer of at least 0$"),
        ({"seed": 0.5}, TypeError, "^seed got 0.5; expected an integer of at least 0$"),
    ],
)
def test_unknown_options_are_refused_with_the_nearest_match(options, error, message):
    with pytest.raises(error, match=message):
        dl.Sequential(dl.ReLU(), **{"backend": "cpu", **options})


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_the_dtype_may_be_given_as_numpy_has_it(dtype):
    assert dl.Sequential(dl.Dense(2, 2), backend="cpu", dtype=dtype).parameters()[0].value.dtype == np.float64


def test_without_options_the_model_is_built_on_first_use():
    model = dl.Sequential(dl.Dense(2, 2))
    assert model.context is None
    model.parameters()
    assert (model.dtype, model.streams.seed) == (np.float32, 0)


def test_one_option_is_enough_to_build():
    assert dl.Sequential(dl.Dense(2, 2), seed=5).streams.seed == 5
    assert dl.Sequential(dl.Dense(2, 2), seed=0).context is not None
    assert dl.Sequential(dl.Dense(2, 2), dtype="float64").dtype == np.float64
    assert dl.Sequential(dl.Dense(2, 2), backend="emulator").backend.name == "emulator"


def test_a_layer_occurs_once():
    layer = dl.Dense(3, 3)
    with pytest.raises(ValueError, match=r"^layers got Dense\(3, 3\) twice; make a new layer for each position$"):
        dl.Sequential(layer, dl.ReLU(), layer)
    with pytest.raises(ValueError, match="already belongs to a model"):
        dl.Sequential(layer, dl.Sequential(layer), backend="cpu")


def test_a_layer_belongs_to_one_model():
    layer = dl.Dense(3, 3)
    late = dl.Sequential(layer, dl.ReLU())
    dl.Sequential(layer, backend="cpu")
    for _ in range(2):  # a model that could not be set up must not look set up the next time
        with pytest.raises(ValueError, match=r"^layer 0 Dense\(3, 3\) already belongs to a model; make a new layer"):
            late.parameters()


# Parameters


def test_parameters_are_listed_in_the_order_of_the_layers_with_their_names():
    model = make()
    assert [(p.name, p.decays) for p in model.parameters()] == [
        ("0.Dense.weight", True),
        ("1.BatchNorm.gamma", False),
        ("1.BatchNorm.beta", False),
        ("4.Sequential.0.Dense.weight", True),
        ("4.Sequential.0.Dense.bias", False),
        ("5.Dense.weight", True),
        ("5.Dense.bias", False),
    ]
    assert [p.shape for p in model.parameters()] == [(6, 5), (5,), (5,), (5, 4), (4,), (4, 3), (3,)]
    assert model.parameters()[0] is model.layers[0].weight
    assert model.layers[4].layers[2].layers[0].name == "4.Sequential.2.Sequential.0.Tanh"


def test_all_gradients_are_one_array_weights_first_each_at_a_cache_line(any_backend, rng):
    model = dl.Sequential(dl.Dense(6, 5), dl.BatchNorm(5), dl.Dense(5, 40), backend=any_backend.name)
    model.backward(np.ones_like(model.forward(draw(rng), training=True)))
    gradients, line = any_backend.to_numpy(model.gradients()), 64 // 4
    assert gradients.ndim == 1 and gradients.dtype == model.dtype
    start = 0
    parameters = model.parameters()
    for parameter in [p for p in parameters if p.decays] + [p for p in parameters if not p.decays]:
        size, gap = parameter.value.size, -parameter.value.size % line
        own = any_backend.to_numpy(parameter.gradient).reshape(-1)
        np.testing.assert_array_equal(gradients[start : start + size], own)
        assert not gradients[start + size : start + size + gap].any()
        start += size + gap
    assert start == len(gradients)
    any_backend.copy_into(model.gradients(), np.full(start, 2, model.dtype))
    assert all((any_backend.to_numpy(parameter.gradient) == 2).all() for parameter in parameters)


def test_a_model_without_parameters_or_inside_another_has_no_array_of_gradients():
    with pytest.raises(ValueError, match="has no array of all gradients, because it has no parameters"):
        dl.Sequential(dl.ReLU()).gradients()
    inner = dl.Sequential(dl.Dense(3, 2))
    dl.Sequential(inner, backend="cpu")
    with pytest.raises(ValueError, match="because it belongs to another model, as 0.Sequential: ask that one"):
        inner.gradients()


def test_the_seed_decides_all_weights():
    for a, b in zip(weights(make(seed=7)), weights(make(seed=7)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(make(seed=7))[0], weights(make(seed=8))[0])
    assert not np.array_equal(weights(make(seed=7))[3], weights(make(seed=8))[3])


def test_every_backend_starts_at_the_same_weights(any_backend, dtype):
    model = make(any_backend.name, dtype=str(dtype))
    for a, b in zip(weights(model), weights(make(dtype=str(dtype))), strict=True):
        np.testing.assert_array_equal(any_backend.to_numpy(a), b)


# Messages


def test_a_number_of_features_that_does_not_fit_names_the_layer_and_its_position():
    x = np.ones((8, 7), np.float32)
    with pytest.raises(ValueError, match=r"^x got 7 features; layer 0 Dense\(6, 5, .*\) expects 6$"):
        make().forward(x)
    with pytest.raises(ValueError, match=r"^x got 7 features; layer 0 Dense\(6, 5, .*\) expects 6$"):
        make().predict(x)
    nested = dl.Sequential(dl.ReLU(), dl.Sequential(dl.Tanh(), dl.BatchNorm(6)), backend="cpu")
    with pytest.raises(ValueError, match=r"^x got 7 features; layer 1.Sequential.1 BatchNorm\(6\) expects 6$"):
        nested.forward(x)


def test_a_training_batch_of_one_row_names_the_layer_and_changes_nothing():
    model = make()
    model.forward(np.ones((2, 6), np.float32), training=True)
    before = [array.copy() for _, array in model.arrays()]
    with pytest.raises(ValueError, match=r"of 1 row; layer 1 BatchNorm\(5\) expects at least 2: choose another batch"):
        model.forward(np.ones((1, 6), np.float32), training=True)
    for (name, array), old in zip(model.arrays(), before, strict=True):
        np.testing.assert_array_equal(array, old, err_msg=name)


def test_the_first_layer_with_an_output_that_is_not_finite_is_found(rng):
    model, x = make(), draw(rng)
    assert model.first_not_finite() is None
    model.forward(x, training=True)
    assert model.first_not_finite() is None
    model.layers[4].layers[0].bias.value[1] = np.inf
    model.forward(x, training=True)
    assert model.first_not_finite() is model.layers[4].layers[0]
    model.layers[1].beta.value[0] = np.nan
    model.forward(x, training=True)
    assert model.first_not_finite() is model.layers[1]
    assert model.first_not_finite().label == "1 BatchNorm(5)"


def test_only_the_last_forward_pass_counts(rng):
    model = make()
    model.forward(np.full((8, 6), np.nan, np.float32))
    assert model.first_not_finite() is model.layers[0]
    model.forward(draw(rng, 3))  # the buffers still hold the other five rows
    assert model.first_not_finite() is None
    assert len(model.outputs) == len(model.layers)


# What a model can do


def test_predict_returns_a_numpy_copy(any_backend, rng):
    model, x = make(any_backend.name), draw(rng)
    first = model.predict(x)
    kept = first.copy()
    assert type(first) is np.ndarray and (first.dtype, first.shape) == (np.float32, (8, 3))
    model.predict(draw(rng))
    np.testing.assert_array_equal(first, kept)


def test_predict_does_not_hand_out_its_input():
    x = np.ones((8, 6), np.float32)
    assert not np.shares_memory(dl.Sequential(dl.Dropout(0.5), backend="cpu").predict(x), x)


def test_predict_does_not_depend_on_how_rows_are_batched(rng):
    model, x = make(dtype="float64"), draw(rng, 2500, np.float64)
    model.forward(x[:100], training=True)  # the running estimates are no longer 0 and 1
    whole = model.predict(x)
    assert len(whole) == 2500
    for rows in (slice(0, 1), slice(1000, 1100), slice(2499, 2500), slice(3, 2051)):
        np.testing.assert_allclose(model.predict(x[rows]), whole[rows], rtol=0, atol=1e-14)


def test_predict_is_inference_and_changes_nothing(rng):
    model, x = make(), draw(rng)
    before = [array.copy() for _, array in model.arrays()]
    np.testing.assert_array_equal(model.predict(x), model.predict(x))
    for (name, array), old in zip(model.arrays(), before, strict=True):
        np.testing.assert_array_equal(array, old, err_msg=name)


def test_predict_converts_and_takes_any_layout(rng):
    model, x = make(), draw(rng)
    expected = model.predict(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    for same in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], read_only, x.tolist()):
        np.testing.assert_array_equal(model.predict(same), expected)


def test_predict_takes_inputs_and_no_dataset():
    data = dl.data.Dataset(np.zeros((2, 3)), [0, 1])
    with pytest.raises(TypeError, match=r"^x got Dataset\(.*; expected its inputs alone, such as test.x$"):
        dl.Sequential(dl.Dense(3, 2), seed=0).predict(data)


def test_predict_refuses_numbers_that_are_not_finite(rng):
    x = draw(rng)
    x[5, 2] = np.nan
    x[6, 1] = np.inf
    with pytest.raises(ValueError, match=r"^x got nan at row 5, column 2 \(2 such in all\); expected finite numbers$"):
        make().predict(x)


LABELLED = dl.data.Dataset(np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 3)
LOSS = {"loss": dl.SoftmaxCrossEntropy()}
STEPS = {**LOSS, "optimizer": dl.SGD(0.1)}
REQUESTS = {
    "forward": lambda model, path: model(LABELLED.x, training=True),
    "predict": lambda model, path: model.predict(LABELLED.x),
    "parameters": lambda model, path: model.parameters(),
    "summary": lambda model, path: model.summary(),
    "snapshot": lambda model, path: model.restore(fresh().snapshot()),
    "save": lambda model, path: model.save(path / "model.npz"),
    "evaluate": lambda model, path: dl.evaluate(model, LABELLED, **LOSS),
    "fit": lambda model, path: dl.fit(model, LABELLED, **STEPS, epochs=1, progress=False),
    "TrainingStep": lambda model, path: dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.SGD(0.1)),
    "find_learning_rate": lambda model, path: dl.find_learning_rate(model, LABELLED, **STEPS, steps=10),
    "inspect": lambda model, path: dl.inspect(model, *LABELLED),
    "preflight": lambda model, path: dl.preflight(model, LABELLED, **LOSS),
    "decision_boundary": lambda model, path: dl.decision_boundary(model, LABELLED),
    "predict_mc": lambda model, path: dl.predict_mc(model, LABELLED.x, samples=2),
    "dropout_ensemble": lambda model, path: dl.dropout_ensemble(model, LABELLED.x),
    "lsuv": lambda model, path: dl.calibration.lsuv(model, LABELLED.x),
    "running_statistics": lambda model, path: dl.calibration.running_statistics(model, LABELLED.x),
    "to_torch_state": lambda model, path: dl.export.to_torch_state(model),
    "from_torch_state": lambda model, path: dl.export.from_torch_state(model, dl.export.to_torch_state(fresh())),
}


def fresh():
    return dl.Sequential(dl.Dense(2, 4), dl.BatchNorm(4), dl.ReLU(), dl.Dropout(0.5), dl.Dense(4, 3))


@pytest.mark.usefixtures("unspaced_figures")
@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS)
def test_whatever_a_model_is_asked_first_gives_it_a_backend(ask, tmp_path):
    model = fresh()
    assert model.context is None
    ask(model, tmp_path)
    assert model.backend is dl.backend.get("auto") and model.streams.seed == 0 and model.dtype == np.float32


def test_summary_lists_layers_outputs_parameters_and_how_weights_start():
    model = make(seed=3)
    a, b, c = (f"std {layer.initial_std:.4g}" for layer in model.walk() if isinstance(layer, dl.Dense))
    assert model.summary().splitlines() == [
        "layer                                         output      parameters  multiply-adds  weights start as",
        "-" * 117,
        f"0  Dense(6, 5, init='he_normal', bias=False)  (batch, 5)          30             30  he_normal, {a}",
        "1  BatchNorm(5)                               (batch, 5)          10",
        "2  ReLU()                                     (batch, 5)",
        "3  Dropout(0.3)                               (batch, 5)",
        "4  Sequential()                               (batch, 4)",
        f"4.0  Dense(5, 4)                              (batch, 4)          24             20  "
        f"he_normal(slope=0.1), {b}",
        "4.1  LeakyReLU(slope=0.1)                     (batch, 4)",
        "4.2  Sequential()                             (batch, 4)",
        "4.2.0  Tanh()                                 (batch, 4)",
        f"5  Dense(4, 3)                                (batch, 3)          15             12  lecun_normal, {c}",
        "-" * 117,
        "cpu, float32, seed 3                                              79             62",
    ]
    assert "(batch, ?)" in dl.Sequential(dl.ReLU(), backend="cpu").summary()


def test_summary_counts_projections_and_heads_and_what_is_inside_them():
    """Multiply-adds by hand: Dense(a, b) has a·b, for each row of x; nothing else has any."""
    model = dl.Sequential(
        dl.DropConnect(6, 5, 0.5),
        dl.Residual(dl.Dense(5, 7), dl.ReLU(), dl.CenteredDense(7, 4), dl.StochasticDepth(0.1)),
        dl.Heads(digit=dl.Sequential(dl.NoisyDense(4, 8, 0.1), dl.Tanh(), dl.Dense(8, 10)), odd=dl.Dense(4, 1)),
        backend="cpu",
    )
    block, heads = model.layers[1:]
    assert model.layers[0].multiply_adds() == 6 * 5
    assert block.multiply_adds() == 5 * 7 + 7 * 4 + 5 * 4
    assert heads.multiply_adds() == 4 * 8 + 8 * 10 + 4 * 1
    assert model.multiply_adds() == 30 + 83 + 116
    rows = [re.split("  +", line) for line in model.summary().splitlines()]
    assert {name: numbers for name, _, *numbers, start in rows[2:-2] if "std" in start} == {
        "0": ["(batch, 5)", "35", "30"],
        "1.0": ["(batch, 7)", "42", "35"],
        "1.2": ["(batch, 4)", "36", "28"],
        "1.projection": ["(batch, 4)", "20", "20"],
        "2.digit.0": ["(batch, 8)", "40", "32"],
        "2.digit.2": ["(batch, 10)", "90", "80"],
        "2.odd": ["(batch, 1)", "5", "4"],
    }
    assert [row for row in rows if len(row) == 3 and row[0] in "12"] == [
        ["1", "Residual()", "(batch, 4)"],
        ["2", "Heads", "(batch, 11)"],
    ]
    assert rows[-1] == ["cpu, float32, seed 0", "268", "229"]


def test_repr_builds_the_model_again():
    model = make(seed=3, dtype="float64")
    again = eval(repr(model), dict(vars(dl)))
    assert repr(again) == repr(model)
    for a, b in zip(weights(again), weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert repr(model).endswith(", Dense(4, 3), backend='cpu', seed=3, dtype='float64')")
    assert "backend" not in repr(model.layers[4])


def test_a_model_is_a_layer_of_another_model(rng):
    inner = dl.Sequential(dl.Dense(6, 5), dl.Tanh())
    model = dl.Sequential(inner, dl.Dense(5, 2), backend="cpu", seed=4, dtype="float64")
    assert (inner.dtype, inner.streams.seed, inner.name) == (np.float64, 4, "0.Sequential")
    flat = dl.Sequential(dl.Dense(6, 5), dl.Tanh(), dl.Dense(5, 2), backend="cpu", dtype="float64")
    for a, b in zip(flat.parameters(), model.parameters(), strict=True):
        a.value[...] = b.value
    x = draw(rng, dtype=np.float64)
    np.testing.assert_array_equal(model.predict(x), flat.predict(x))


@pytest.mark.parametrize(("value", "error"), [("x", TypeError), (None, TypeError), (1.5, TypeError), (-1, ValueError)])
def test_a_wrong_number_of_epochs_is_refused_when_it_is_assigned(value, error):
    model = make()
    assert model.epochs_trained == model.layers[4].epochs_trained == 0
    for one in (model, pickle.loads(pickle.dumps(model))):
        with pytest.raises(error, match=f"^epochs_trained got {value!r}; expected an integer of at least 0$"):
            one.epochs_trained = value
        assert one.epochs_trained == 0
        one.epochs_trained = 7
        assert one.epochs_trained == 7
