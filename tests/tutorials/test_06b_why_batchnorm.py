"""The tutorial on the reasons for batch norm: the shift, decoupled layers, the flow of gradients, γ and β."""

from __future__ import annotations


def test_figures_are_written(figures):
    assert figures == ["shift", "valves"]


def test_batch_norm_stops_the_shift(names):
    moved = names["moved"]
    assert all(found.shape == (5, 12) for found in moved.values())
    assert (moved["without"][:, 0] > 0.5).all() and (moved["without"] > 0.05).all()
    assert (moved["batch norm"] < 0.1).all()
    assert set(names["best"].values()) == {2.0}  # inside the grid


def test_a_shift_put_back_does_not_take_the_gain_away(names):
    moved, loss = names["moved"], names["late_loss"]
    assert moved["shaken"][:, 6:].mean() > moved["without"][:, 6:].mean()
    assert loss["batch norm"].mean() < loss["shaken"].mean() < 0.93 * loss["without"].mean()


def test_layers_are_decoupled(names):
    effect = names["effect"]
    without, normalized = effect["+ 0.05", False], effect["+ 0.05", True]  # (seeds, layers)
    assert (without > 1.5 * normalized).all() and (without.mean(axis=0) > 2.5 * normalized.mean(axis=0)).all()
    assert (effect["doubled", False] > 0.9).all() and (effect["doubled", True] < 0.01).all()


def test_gradients_flow_behind_saturating_activations(names):
    flow = names["flow"]
    assert flow["Sigmoid", "lecun_normal", False, 20] < 1e-9 and flow["Sigmoid", "auto", False, 20] < 0.01
    assert flow["Tanh", "normal(std=1.0)", False, 20] > 1e4
    for activation, init in (("Sigmoid", "lecun_normal"), ("Sigmoid", "auto"), ("Tanh", "normal(std=1.0)")):
        for depth in (4, 20):
            assert 0.5 < flow[activation, init, True, depth] < 10


def test_behind_relus_it_lets_gradients_grow(names):
    flow = names["flow"]
    assert 1 < flow["ReLU", "he_normal", False, 20] < 15 and flow["ReLU", "he_normal", True, 20] > 40


def test_normalized_inputs_leave_a_sigmoid_nearly_linear(names):
    straight, valves = names["straight"], names["valves"]
    assert straight["Sigmoid", 1] > 0.98 > straight["Tanh", 1] > 0.9
    assert straight["Sigmoid", 3] < 0.9 and straight["Tanh", 3] < 0.8
    assert abs(straight["ReLU", 1] - straight["ReLU", 3]) < 1e-6
    gamma = valves["Sigmoid"][:, 0]
    assert (gamma[:, 3].mean(axis=1) > 1.2).all() and (abs(gamma[:, :3].mean(axis=2) - 1) < 0.1).all()


def test_half_of_what_is_normalized_is_lost_in_a_relu(names):
    for seed in range(3):
        model = names["network"](True, seed, names["dl"].ReLU)
        for z in names["into_activations"](model, names["digits"].x[:500]):
            assert 0.4 < (z <= 0).mean() < 0.6
        norm = model.layers[1]
        norm.beta.value[...] = 1.0  # what a valve is for
        assert (names["into_activations"](model, names["digits"].x[:500])[0] <= 0).mean() < 0.3
