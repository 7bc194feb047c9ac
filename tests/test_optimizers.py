"""Optimizers: each rule, step by step, against the formula in NumPy; what decays; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl

STEPS = 20


# The rules again, in NumPy: (weight, gradient, state, step from 1, decays) → new weight. `state` is a dict.


def sgd(w, g, s, t, decays):
    return w - 0.1 * g


def momentum(w, g, s, t, decays):
    s["v"] = 0.8 * s.get("v", 0) + g
    return w - 0.05 * s["v"]


def nesterov(w, g, s, t, decays):
    s["v"] = 0.8 * s.get("v", 0) + g
    return w - 0.05 * (g + 0.8 * s["v"])


def rmsprop(w, g, s, t, decays):
    s["s"] = 0.7 * s.get("s", 0) + 0.3 * g**2
    return w - 0.02 * g / (np.sqrt(s["s"]) + 1e-4)


def adam(w, g, s, t, decays, weight_decay=0.0):
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["v"] = 0.95 * s.get("v", 0) + 0.05 * g**2
    direction = s["m"] / (1 - 0.8**t) / (np.sqrt(s["v"] / (1 - 0.95**t)) + 1e-4)
    return w - 0.03 * (direction + (weight_decay * w if decays else 0))


def adamw(w, g, s, t, decays):
    return adam(w, g, s, t, decays, weight_decay=0.5)


RULES = {
    "SGD": (lambda: dl.SGD(0.1), sgd),
    "Momentum": (lambda: dl.Momentum(0.05, momentum=0.8), momentum),
    "Nesterov": (lambda: dl.Nesterov(0.05, momentum=0.8), nesterov),
    "RMSProp": (lambda: dl.RMSProp(0.02, decay=0.7, epsilon=1e-4), rmsprop),
    "Adam": (lambda: dl.Adam(0.03, beta1=0.8, beta2=0.95, epsilon=1e-4), adam),
    "AdamW": (lambda: dl.AdamW(0.03, beta1=0.8, beta2=0.95, epsilon=1e-4, weight_decay=0.5), adamw),
}
KINDS = [dl.SGD, dl.Momentum, dl.Nesterov, dl.RMSProp, dl.Adam, dl.AdamW]


@pytest.mark.parametrize("name", RULES)
def test_twenty_steps_of_a_regression_follow_the_rule(name, any_backend, dtype, rng):
    new, rule = RULES[name]
    optimizer, loss = new(), dl.MeanSquaredError()
    model = dl.Sequential(dl.Dense(3, 2), backend=any_backend.name, seed=0, dtype=str(dtype))
    any_backend.copy_into(model.parameters()[1].value, np.array([0.5, -0.5], dtype))
    weight, bias = (any_backend.to_numpy(p.value).astype(float) for p in model.parameters())
    loss.use(any_backend)
    states = {}, {}
    for t in range(1, STEPS + 1):
        x, targets = rng.normal(size=(5, 3)).astype(dtype), rng.normal(size=(5, 2)).astype(dtype)
        loss.forward(model.forward(x, training=True), targets)
        model.backward_parameters(loss.backward())
        optimizer.step(model.parameters())

        dy = 2 * (x.astype(float) @ weight + bias - targets) / 10
        weight, bias = (
            rule(weight, x.T.astype(float) @ dy, states[0], t, True),
            rule(bias, dy.sum(axis=0), states[1], t, False),
        )
        tolerance = 2e-5 if dtype == np.float32 else 1e-12
        for parameter, expected in zip(model.parameters(), (weight, bias), strict=True):
            found = any_backend.to_numpy(parameter.value)
            np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=f"{parameter.name}, step {t}")


@pytest.mark.parametrize("name", RULES)
def test_torch_takes_the_same_steps(name, rng):
    torch = pytest.importorskip("torch")
    theirs = {
        "SGD": lambda p: torch.optim.SGD(p, 0.1),
        "Momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.8),
        "Nesterov": lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True),
        "RMSProp": lambda p: torch.optim.RMSprop(p, 0.02, alpha=0.7, eps=1e-4),
        "Adam": lambda p: torch.optim.Adam(p, 0.03, betas=(0.8, 0.95), eps=1e-4),
        "AdamW": lambda p: torch.optim.AdamW(p, 0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.5),
    }[name]
    (weight,) = dl.Sequential(dl.Dense(3, 2, bias=False), backend="cpu", dtype="float64").parameters()
    tensor = torch.tensor(weight.value.copy(), requires_grad=True)
    mine, other = RULES[name][0](), theirs([tensor])
    for _ in range(STEPS):
        weight.gradient[...] = rng.normal(size=(3, 2))
        tensor.grad = torch.tensor(weight.gradient.copy())
        mine.step([weight])
        other.step()
        np.testing.assert_allclose(weight.value, tensor.detach().numpy(), rtol=1e-12)


def model_with_gradients(value, gradient, backend="cpu"):
    """Dense, BatchNorm, Dense without bias: all values and gradients are set to the same number."""
    model = dl.Sequential(dl.Dense(2, 3), dl.BatchNorm(3), dl.Dense(3, 2, bias=False), backend=backend, dtype="float64")
    for parameter in model.parameters():
        model.backend.copy_into(parameter.value, np.full(parameter.shape, value))
        model.backend.copy_into(parameter.gradient, np.full(parameter.shape, gradient))
    return model


def test_weight_decay_pulls_at_weights_and_never_at_biases_gamma_or_beta(any_backend):
    model = model_with_gradients(value=2.0, gradient=0.0, backend=any_backend.name)
    dl.AdamW(0.1, weight_decay=0.5).step(model.parameters())
    for parameter in model.parameters():
        expected = 2.0 * (1 - 0.1 * 0.5) if parameter.name.endswith("weight") else 2.0
        np.testing.assert_allclose(any_backend.to_numpy(parameter.value), expected, rtol=1e-15, err_msg=parameter.name)


@pytest.mark.parametrize("kind", KINDS[:5], ids=lambda kind: kind.__name__)
def test_without_gradient_nothing_else_moves_a_weight(kind):
    model = model_with_gradients(value=2.0, gradient=0.0)
    dl_optimizer = kind()
    for _ in range(3):
        dl_optimizer.step(model.parameters())
    for parameter in model.parameters():
        np.testing.assert_array_equal(parameter.value, 2.0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_new_learning_rate_takes_effect_with_the_next_step(kind, any_backend):
    model = model_with_gradients(value=2.0, gradient=0.5, backend=any_backend.name)
    optimizer = kind(0.1)
    optimizer.step(model.parameters())
    before = [any_backend.to_numpy(parameter.value) for parameter in model.parameters()]
    optimizer.learning_rate = 1e-30
    optimizer.step(model.parameters())
    after = [any_backend.to_numpy(parameter.value) for parameter in model.parameters()]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    optimizer.learning_rate = 0.2
    optimizer.step(model.parameters())
    assert all((any_backend.to_numpy(p.value) < b).all() for p, b in zip(model.parameters(), before, strict=True))
    assert optimizer.learning_rate == 0.2


def test_a_new_learning_rate_keeps_all_its_digits(any_backend):
    model, optimizer = model_with_gradients(value=2.0, gradient=0.5, backend=any_backend.name), dl.SGD(0.5)
    optimizer.step(model.parameters())
    optimizer.learning_rate = 0.1
    optimizer.step(model.parameters())
    found = any_backend.to_numpy(model.parameters()[0].value)
    np.testing.assert_allclose(found, 2.0 - 0.5 * 0.5 - 0.1 * 0.5, rtol=1e-15)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    for gradient in (1e-3, 1.0, 1e3):
        model = model_with_gradients(value=2.0, gradient=gradient)
        dl.Adam(0.1).step(model.parameters())
        np.testing.assert_allclose(model.parameters()[0].value, 1.9, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_step_leaves_the_gradient_alone(kind):
    model = model_with_gradients(value=2.0, gradient=0.5)
    kind().step(model.parameters())
    for parameter in model.parameters():
        np.testing.assert_array_equal(parameter.gradient, 0.5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_optimizer_belongs_to_one_model(kind):
    optimizer, mine, other = kind(), model_with_gradients(1.0, 1.0), model_with_gradients(1.0, 1.0)
    optimizer.step(mine.parameters())
    before = [parameter.value.copy() for parameter in mine.parameters()]
    for wrong in (other.parameters(), mine.parameters()[:-1], mine.parameters()[::-1], []):
        with pytest.raises(
            ValueError, match=rf"^parameters got another list than before; {kind.__name__}\(.*\) already"
        ):
            optimizer.step(wrong)
    for parameter, old in zip(mine.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, old)
    optimizer.step(mine.parameters())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_after_a_step_no_column_is_longer_than_max_norm(kind, any_backend, dtype, rng):
    """Against the same steps without it: long columns are scaled down to the limit, short ones keep their bits."""
    limit = 1.0
    columns = np.array([0.1, 0.5, 1.5, 3.0])  # lengths, far enough from the limit that a step moves none across
    start = rng.normal(size=(6, 4))
    start *= columns / np.linalg.norm(start, axis=0)
    found = []
    for max_norm in (limit, None):
        layer, optimizer = dl.Dense(6, 4, max_norm=max_norm).build(any_backend.name, 0, str(dtype)), kind(0.01)
        gradients = np.random.default_rng(1)
        any_backend.copy_into(layer.weight.value, start.astype(dtype))
        any_backend.copy_into(layer.bias.value, np.full(4, 5.0, dtype))
        for parameter in layer.parameters():
            any_backend.copy_into(parameter.gradient, gradients.normal(size=parameter.shape).astype(dtype))
        optimizer.step(layer.parameters())
        found.append([any_backend.to_numpy(p.value) for p in layer.parameters()])
    (weight, bias), (free, free_bias) = found
    lengths = np.linalg.norm(weight.astype(float), axis=0)
    assert (lengths <= limit * (1 + 4 * np.finfo(dtype).eps)).all()
    np.testing.assert_array_equal(weight[:, :2], free[:, :2])
    np.testing.assert_allclose(
        weight[:, 2:], free[:, 2:] / np.linalg.norm(free[:, 2:], axis=0), rtol=10 * np.finfo(dtype).eps
    )
    np.testing.assert_array_equal(bias, free_bias)


def test_max_norm_holds_for_the_layers_that_have_it_and_through_training(rng):
    layers = dl.DropConnect(5, 8, 0.2, max_norm=0.6), dl.Tanh(), dl.NoisyDense(8, 8, 0.1, max_norm=0.7), dl.Dense(8, 3)
    model = dl.Sequential(*layers, backend="cpu", dtype="float64")
    loss, optimizer = dl.MeanSquaredError(), dl.Momentum(0.02)
    x, targets = rng.normal(size=(20, 5)), 10 * rng.normal(size=(20, 3))
    for _ in range(30):
        loss.forward(model.forward(x, training=True), targets)
        model.backward_parameters(loss.backward())
        optimizer.step(model.parameters())
    longest = [np.linalg.norm(p.value, axis=0).max() for p in model.parameters() if p.name.endswith("weight")]
    assert longest[:2] == [pytest.approx(0.6, rel=1e-14), pytest.approx(0.7, rel=1e-14)]
    assert longest[2] > 1


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="^parameters got an empty list; expected those of a model with weights$"):
        dl.SGD().step([])


BAD = [
    (dl.SGD, {"learning_rate": 0}, ValueError, "^learning_rate got 0; expected a finite number, greater than 0$"),
    (dl.SGD, {"learning_rate": -0.1}, ValueError, "^learning_rate got -0.1; expected .* greater than 0$"),
    (dl.Adam, {"learning_rate": math.nan}, ValueError, "^learning_rate got nan; expected .* greater than 0$"),
    (dl.AdamW, {"learning_rate": math.inf}, ValueError, "^learning_rate got inf; expected .* greater than 0$"),
    (dl.SGD, {"learning_rate": "0.1"}, TypeError, "^learning_rate got '0.1'; expected .* greater than 0$"),
    (dl.SGD, {"learning_rate": True}, TypeError, "^learning_rate got True; expected .* greater than 0$"),
    (dl.Momentum, {"momentum": 1.0}, ValueError, "^momentum got 1; expected .* at least 0 and less than 1$"),
    (dl.Nesterov, {"momentum": -0.1}, ValueError, "^momentum got -0.1; expected .* at least 0 and less than 1$"),
    (dl.RMSProp, {"decay": 1}, ValueError, "^decay got 1; expected .* at least 0 and less than 1$"),
    (dl.RMSProp, {"epsilon": 0}, ValueError, "^epsilon got 0; expected .* greater than 0$"),
    (dl.Adam, {"beta1": 1.0}, ValueError, "^beta1 got 1; expected .* at least 0 and less than 1$"),
    (dl.Adam, {"beta2": -1.0}, ValueError, "^beta2 got -1; expected .* at least 0 and less than 1$"),
    (dl.Adam, {"epsilon": -1e-8}, ValueError, "^epsilon got -1e-08; expected .* greater than 0$"),
    (dl.AdamW, {"weight_decay": -0.01}, ValueError, "^weight_decay got -0.01; expected .* at least 0$"),
    (dl.AdamW, {"weight_decay": None}, TypeError, "^weight_decay got None; expected .* at least 0$"),
]


@pytest.mark.parametrize(("kind", "arguments", "error", "message"), BAD)
def test_bad_hyperparameters_are_refused(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(**arguments)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_bad_learning_rate_is_refused_between_two_steps(rate):
    optimizer = dl.SGD(0.1)
    with pytest.raises(ValueError, match="^learning_rate got .*; expected a finite number, greater than 0$"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.1


@pytest.mark.parametrize("name", RULES)
def test_repr_builds_the_optimizer_again(name):
    optimizer = RULES[name][0]()
    again = eval(repr(optimizer), dict(vars(dl)))
    assert type(again) is type(optimizer)
    assert repr(again) == repr(optimizer)


def test_repr_shows_every_hyperparameter():
    assert repr(dl.SGD(0.5)) == "SGD(learning_rate=0.5)"
    assert repr(dl.Adam()) == "Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08)"
    assert repr(dl.AdamW(weight_decay=0.1)).endswith("epsilon=1e-08, weight_decay=0.1)")
