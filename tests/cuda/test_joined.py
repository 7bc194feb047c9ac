"""Launches that share a kernel do what they did alone, bit for bit, and only launches that may do so are joined."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from numba import cuda

import minidl as dl
from minidl import emulator
from minidl.cuda import activations, dense, joined
from minidl.cuda.engine.launches import note_launches, noted
from minidl.cuda.reduce import column_sums_kernel
from minidl.scalar.activations import ACTIVATIONS
from scripts import step_nodes
from scripts.kernel_examples import examples
from tests.conftest import each

KERNELS = ["cuda", "emulator"]


@pytest.fixture
def kernels_backend(compiled_backend):
    if compiled_backend.name not in KERNELS:
        pytest.skip("no kernels")
    return compiled_backend


def bits(backend, arrays):
    return [backend.to_numpy(array).tobytes() for array in arrays]


def both_ways(backend, operations, arrays):
    """Return the bits of `arrays` after the operations one by one, those after a joined replay, and its launches."""
    start = [backend.to_numpy(array) for array in arrays]
    operations()
    alone = bits(backend, arrays)
    for array, values in zip(arrays, start, strict=True):
        backend.copy_into(array, values)
    with note_launches() as launches:
        operations()
    assert bits(backend, arrays) == [values.tobytes() for values in start]  # nothing has run yet
    launches = joined.joined(launches)
    for launch in launches:
        backend.operations.add.args[0](launch.kernel, launch.grid, launch.block, *launch.arguments)
    return alone, bits(backend, arrays), launches


class Layer:
    """The arrays of a dense layer behind an activation, and the operations of its passes."""

    def __init__(self, backend, dtype, rng, rows=9, n_in=37, n_out=35, name="relu", bias=True):
        def normal(*shape):
            return backend.array(rng.normal(size=shape), dtype)

        def out(*shape):
            return backend.array(np.full(shape, np.nan), dtype)

        self.operations, self.name, self.alpha = backend.operations, name, np.dtype(dtype).type(0.3)
        self.x, self.weight, self.bias = normal(rows, n_in), normal(n_in, n_out), normal(n_out) if bias else None
        self.z, self.y = out(rows, n_out), out(rows, n_out)
        self.before = normal(rows, n_in), normal(rows, n_in)  # argument and value of the activation before
        self.dy, self.da, self.dx = normal(rows, n_out), out(rows, n_in), out(rows, n_in)
        self.dweight, self.dbias = out(n_in, n_out), out(n_out)

    def forward(self):
        self.operations.dense_forward(self.x, self.weight, self.bias, self.z)
        self.operations.activation_forward(self.name, self.z, self.alpha, self.y)

    def backward(self):
        self.operations.dense_backward_weight(self.x, self.dy, self.dweight)
        self.operations.column_sums(self.dy, self.dbias)
        self.backward_input()

    def backward_input(self):
        self.operations.dense_backward_input(self.dy, self.weight, self.da)
        self.operations.activation_backward(self.name, *self.before, self.da, self.alpha, self.dx)

    def written(self):
        return [self.z, self.y, self.dweight, self.dbias, self.da, self.dx]


@each("name", ACTIVATIONS)
@each("bias", [True, False])
def test_a_product_hands_on_to_every_activation(kernels_backend, dtype, rng, name, bias):
    layer = Layer(kernels_backend, dtype, rng, name=name, bias=bias)

    def passes():
        layer.forward()
        layer.backward_input()

    alone, together, launches = both_ways(kernels_backend, passes, layer.written())
    assert len(launches) == (4 if name == "gelu" else 1 if np.dtype(dtype).itemsize == 4 else 2)
    assert together == alone


@each("variant", joined.QUICK)
@each("shape", [(1, 1, 1), (3, 129, 5), (33, 31, 131), (129, 7, 2)])
def test_the_backward_pass_of_a_layer_in_every_variant(kernels_backend, dtype, rng, variant, shape, monkeypatch):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: variant)
    layer = Layer(kernels_backend, dtype, rng, *shape)

    def passes():
        layer.forward()
        layer.backward()

    alone, together, launches = both_ways(kernels_backend, passes, layer.written())
    assert together == alone
    if np.dtype(dtype).itemsize == 4:
        assert [launch.grid[2:] for launch in launches] == [(3,), ()]  # the forward pass is independent of these


@each("count", [1, 255, 1025])
def test_every_optimizer_side_by_side(kernels_backend, dtype, rng, count):
    backend, real = kernels_backend, np.dtype(dtype).type
    groups = [[backend.array(rng.uniform(0.5, 1.5, count + i), dtype) for _ in range(4)] for i in range(2)]
    rate, correction = backend.array([0.1], dtype), backend.array([0.5, 0.25], dtype)
    operations, numbers = backend.operations, (real(0.9), real(0.99), real(1e-8), real(0.1))
    for update in (
        lambda w, g, *_: operations.sgd_update(w, g, rate),
        lambda w, g, m, _: operations.momentum_update(w, g, m, rate, numbers[0]),
        lambda w, g, m, _: operations.nesterov_update(w, g, m, rate, numbers[0]),
        lambda w, g, m, _: operations.rmsprop_update(w, g, m, rate, *numbers[1:3]),
        lambda w, g, m, v: operations.adam_update(w, g, m, v, correction, rate, *numbers),
    ):

        def both(update=update):
            for arrays in groups:
                update(*arrays)

        alone, together, launches = both_ways(backend, both, [*groups[0], *groups[1]])
        assert together == alone
        assert [launch.grid[2:] for launch in launches] == [(2,)]


@each("rows", [1, 8, 9, 300])
def test_every_loss_side_by_side(kernels_backend, dtype, rng, rows):
    backend, columns = kernels_backend, 11
    logits, outputs = backend.array(rng.normal(size=(rows, columns)), dtype), backend.zeros((rows, columns), dtype)
    labels = backend.array(rng.integers(0, columns, rows), np.int64)
    shares = backend.array(rng.dirichlet(np.ones(columns), rows), dtype)
    probabilities, row_losses, row_correct = (backend.zeros(shape, dtype) for shape in [(rows, columns), rows, rows])
    mean, totals = backend.zeros((1,), dtype), backend.zeros((2,), np.float64)
    o = backend.operations
    for forward, backward in (
        (
            lambda: o.softmax_cross_entropy_forward(logits, labels, probabilities, row_losses, row_correct),
            lambda: o.softmax_cross_entropy_backward(probabilities, labels, outputs),
        ),
        (
            lambda: o.soft_cross_entropy_forward(logits, shares, probabilities, row_losses, row_correct),
            lambda: o.soft_cross_entropy_backward(probabilities, shares, outputs),
        ),
        (
            lambda: o.binary_cross_entropy_forward(logits, shares, row_losses, row_correct),
            lambda: o.binary_cross_entropy_backward(logits, shares, outputs),
        ),
        (
            lambda: o.mean_squared_error_forward(logits, shares, row_losses, row_correct),
            lambda: o.mean_squared_error_backward(logits, shares, outputs),
        ),
    ):

        def passes(forward=forward, backward=backward):
            forward()
            o.mean_loss(row_losses, row_correct, mean, totals)
            backward()

        arrays = [probabilities, row_losses, row_correct, mean, totals, outputs]
        alone, together, launches = both_ways(backend, passes, arrays)
        assert together == alone
        assert len(launches) == 2


# What is not joined ---------------------------------------------------------------------------------------------------


@pytest.fixture
def layer(rng):
    return Layer(dl.backend.get("emulator"), np.float32, rng)


def launches_of(*operations):
    with note_launches() as launches:
        for operation in operations:
            operation()
    return joined.joined(launches)


def test_what_depends_on_another_launch_comes_after_it(layer):
    rate, weight, o = np.ones(1, np.float32), layer.weight.reshape(-1), layer.operations
    update = partial(o.sgd_update, weight, layer.dweight.reshape(-1), rate)
    assert len(launches_of(layer.backward, update)) == 2  # it reads the gradient, and writes what dx is made of
    assert len(launches_of(update, lambda: o.dense_backward_input(layer.dy, layer.weight, layer.da))) == 2
    assert len(launches_of(update, lambda: o.column_sums(layer.dy, layer.dbias))) == 1
    other = layer.dy[1:3].reshape(-1)  # a part of an array is the array
    assert len(launches_of(lambda: o.column_sums(layer.dy, layer.dbias), lambda: o.sgd_update(other, other, rate))) == 2


@each("last_columns", [np.s_[:, 33:], np.s_[::-1, :]])
def test_a_view_with_gaps_reaches_from_its_first_byte_to_its_last(layer, last_columns):
    o, rate, view = layer.operations, np.ones(1, np.float32), layer.dy[last_columns]
    for row, launches in ((layer.dy[5], 2), (layer.y[5], 1)):
        update = partial(o.sgd_update, row, row, rate)
        assert len(launches_of(lambda: o.column_sums(view, np.zeros(view.shape[1], np.float32)), update)) == launches


def test_an_activation_of_something_else_is_not_handed_on(layer):
    o, other = layer.operations, np.zeros_like(layer.z)
    product = partial(o.dense_forward, layer.x, layer.weight, layer.bias, layer.z)

    def activation(x, y):
        o.activation_forward("relu", x, layer.alpha, y)

    assert len(launches_of(product, lambda: activation(layer.z, layer.y))) == 1
    assert len(launches_of(product, lambda: activation(other, layer.y))) == 2
    assert len(launches_of(product, lambda: activation(layer.z[:4], layer.y[:4]))) == 2
    assert len(launches_of(product, lambda: activation(layer.z, layer.z))) == 2  # C itself has a value for each
    wide, into = np.zeros((9, 70), np.float32), partial(o.dense_forward, layer.x, layer.weight, layer.bias)
    for c in (wide[:, :35], wide[:, ::2]):  # what lies between the elements of C is none of them
        first = wide.reshape(-1)[: c.size]
        assert len(launches_of(partial(into, c), partial(activation, first, np.zeros_like(first)))) == 2
        assert len(launches_of(partial(into, c), partial(activation, wide, np.zeros_like(wide)))) == 2
    square = Layer(dl.backend.get("emulator"), np.float32, np.random.default_rng(0), rows=4, n_in=4, n_out=4)
    product = partial(o.dense_forward, square.x, square.weight, square.bias, square.z)
    onto = [partial(activation, square.z, target) for target in (square.y, square.x, square.weight)]
    assert [len(launches_of(product, each_onto)) for each_onto in onto] == [1, 2, 2]


def test_a_kernel_of_the_user_is_joined_with_nothing(layer):
    @cuda.jit
    def halve(x):
        i = cuda.grid(1)
        if i < x.size:
            x[i] *= 0.5

    launch = noted(emulator.launch)
    sums = partial(layer.operations.column_sums, layer.dy, layer.dbias)
    own = partial(launch, halve, (1,), (256,), np.ones(3))
    assert [found.kernel for found in launches_of(sums, own, sums)] == [column_sums_kernel, halve, column_sums_kernel]


def test_no_more_are_joined_than_fit(layer, rng):
    backend, rate = dl.backend.get("emulator"), np.ones(1, np.float32)
    weights = [np.ones(3, np.float32) for _ in range(9)]
    updates = [lambda w=w: backend.operations.sgd_update(w, w.copy(), rate) for w in weights]
    assert [launch.grid[2:] for launch in launches_of(*updates)] == [(4,), (4,), ()]
    for dtype, most in ((np.float32, 2), (np.float64, 1)):  # shared memory
        layers = [Layer(backend, dtype, rng) for _ in range(3)]
        products = [lambda n=n: n.operations.dense_backward_weight(n.x, n.dy, n.dweight) for n in layers]
        assert len(launches_of(*products)) == -(-3 // most)


@each("variant", set(dense.VARIANTS) - set(joined.QUICK))
def test_a_product_that_takes_long_is_joined_with_nothing(layer, monkeypatch, variant):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: variant)
    assert len(launches_of(layer.forward)) == 2
    assert len(launches_of(layer.backward)) == 4


def test_what_is_joined_has_the_same_number_of_threads(layer, monkeypatch):
    """Whoever adds a kernel to the table with other blocks must think of this first."""
    blocks = []
    monkeypatch.setattr(joined, "_side_by_side", lambda stage: blocks.extend(launch.block for launch in stage))
    for example in examples("float32"):
        with note_launches() as launches:
            arguments = example.arguments.values()
            getattr(dl.backend.get("emulator").operations, example.operation)(*arguments)
        joined.joined(launch for launch in launches if launch.kernel in {**joined.WRITES, **dense.PRODUCTS})
    assert {np.prod(block) for block in blocks} == {256}


# What the table says --------------------------------------------------------------------------------------------------


@each("dtype", ["float32", "float64"])
def test_every_kernel_writes_what_it_says(dtype):
    """In the emulator, with two blocks and more."""
    seen = set()

    def launch(kernel, grid, block, *arguments):
        names = kernel.py_func.__code__.co_varnames
        before = [argument.tobytes() if isinstance(argument, np.ndarray) else None for argument in arguments]
        emulator.launch(kernel, grid, block, *arguments)
        after = [argument.tobytes() if isinstance(argument, np.ndarray) else None for argument in arguments]
        changed = {name for name, old, new in zip(names, before, after, strict=False) if old != new}
        if kernel in joined.WRITES:
            assert changed == set(joined.WRITES[kernel])
            seen.add(kernel)
        elif kernel in dense.PRODUCTS:
            assert changed == {"c"}

    for example in examples(dtype, rows=70):
        if re.match("dense|column|soft|binary|mean|adam|.*_update", example.operation):
            getattr(dl.cuda, example.operation)(launch, *example.arguments.values())
    assert seen == set(joined.WRITES)


def test_every_activation_has_a_taker():
    others = {table["gelu"] for table in (activations.FORWARD, activations.BACKWARD)}
    assert set(joined.TAKERS) == {*activations.FORWARD.values(), *activations.BACKWARD.values()} - others


# Steps ----------------------------------------------------------------------------------------------------------------


def test_the_step_that_is_published_has_nine_launches():
    assert len(step_nodes.launches_of_step()) == 9
    assert len(step_nodes.launches_of_step("float64")) == 11
    assert len(step_nodes.launches_of_step(join=False)) == 22


def trained(backend, graph, look=False, steps=6):
    rng, penalized = np.random.default_rng(1), dl.Dense(9, 7, penalty=dl.L2(0.01))
    residual = dl.Residual(dl.Dense(7, 7), dl.ReLU())
    model = dl.Sequential(
        *[dl.Dense(13, 9), dl.Tanh(), dl.Dropout(0.3), penalized, dl.BatchNorm(7), dl.LeakyReLU(), residual],
        dl.Dense(7, 3),
        seed=0,
        backend=backend,
    )
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.AdamW(0.01), graph=graph)
    for _ in range(steps):
        x, labels = rng.normal(size=(5, 13)).astype(np.float32), rng.integers(0, 3, 5)
        if look:
            step.forward(model.backend.wrap(x), model.backend.wrap(labels))
            step.update()
        else:
            step(x, labels)
    assert step.why_not is None
    return step, [array.tobytes() for array in step._results().values()]


@each("look", [False, True])
def test_joined_steps_train_as_they_are_written(look):
    _, expected = trained("emulator", graph=False)
    step, found = trained("emulator", graph=True, look=look)
    assert found == expected
    assert [len(graphs) for graphs in step._graphs.values()] == [2 if look else 1]
    assert step._join


def test_a_step_that_joining_changes_is_captured_as_it_is_written(monkeypatch):
    """A compiler may round otherwise in a kernel that does more."""
    made = []

    def rounds_otherwise(launches):
        made.append(joined.joined(launches))
        kernels = [launch.kernel for launch in made[-1]]
        wrong = next(
            i for i, kernel in enumerate(kernels) if getattr(kernel, "py_func", None).__name__ == "side_by_side"
        )
        return [*made[-1][:wrong], *made[-1][wrong + 1 :]]

    _, expected = trained("emulator", graph=False, steps=8)
    monkeypatch.setattr(dl.backend, "joined", rounds_otherwise)
    step, found = trained("emulator", graph=True, steps=8)
    assert found == expected
    assert len(made) == 1 and not step._join
    ((graph,),) = step._graphs.values()
    assert len(graph) > len(made[0])


@each("second", [(7, False), (4, True)])
def test_what_joining_changes_in_one_graph_is_captured_as_it_is_written_in_all(monkeypatch, second):
    """Steps of two sizes, or with and without a look at the loss, have been captured before the first is verified."""

    def rounds_otherwise(launches):
        made = joined.joined(launches)
        wrong = next(i for i, launch in enumerate(made) if launch.kernel.py_func.__name__ == "side_by_side")
        return [*made[:wrong], *made[wrong + 1 :]]

    monkeypatch.setattr(dl.backend, "joined", rounds_otherwise)
    results = []
    for graph in (False, True):
        rng = np.random.default_rng(0)
        model = dl.Sequential(dl.Dense(5, 4), dl.Dense(4, 3), seed=0, backend="emulator")
        step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(0.01), graph=graph)
        for rows, look in [(4, False), second] * 7:
            step.forward(rng.normal(size=(rows, 5)).astype(np.float32), rng.integers(0, 3, rows), look)
            step.update()
        results.append([array.tobytes() for array in step._results().values()])
    assert results[0] == results[1]
    assert step.why_not is None and not step._join and len(step._graphs) == 2


def test_a_replay_takes_other_inputs_in_place_of_those_in_joined_launches(rng):
    backend = dl.backend.get("emulator")
    layer = Layer(backend, np.float32, rng)
    other = Layer(backend, np.float32, rng)

    def passes(x, dy):
        layer.x, layer.dy = x, dy
        layer.forward()
        layer.backward()

    replay = backend.capture(passes, layer.x, layer.dy)
    replay(other.x, other.dy)
    found = bits(backend, layer.written())
    passes(other.x, other.dy)
    assert found == bits(backend, layer.written())


def test_a_thread_that_does_nothing_else_replays(kernels_backend, rng):
    """On a GPU a thread has no context before its first array or launch."""
    layer = Layer(kernels_backend, np.float32, rng)
    layer.forward()
    expected = bits(kernels_backend, [layer.y])
    replay = kernels_backend.capture(layer.forward)
    kernels_backend.copy_into(layer.y, np.zeros(layer.y.shape, np.float32))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(replay).result()
    assert bits(kernels_backend, [layer.y]) == expected


def test_threads_note_their_own_launches(layer):
    with note_launches() as launches, ThreadPoolExecutor(1) as pool:
        pool.submit(layer.forward).result()
        assert not launches and np.isfinite(layer.y).all()
        layer.backward()
    assert len(launches) == 4 and np.isnan(layer.dx).all()
