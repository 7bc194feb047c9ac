"""One model, several threads: each gets the answers that it gets alone."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minidl as dl

THREADS, TURNS = 4, 30


@pytest.fixture(autouse=True)
def threads_change_places_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def network(**options):
    return dl.Sequential(
        dl.Dense(5, 8), dl.BatchNorm(8), dl.ReLU(), dl.Dropout(0.5), dl.Sequential(dl.Dense(8, 3)), seed=1, **options
    )


def data(rows=40):
    rng = np.random.default_rng(rows)
    return dl.data.Dataset(rng.normal(size=(rows, 5)).astype(np.float32), rng.integers(0, 3, rows))


def train(model):
    dl.fit(
        model, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-2), epochs=2, batch_size=7, progress=False,
    )  # fmt: skip
    return model


def bits(value):
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return str(value)


ASKED = {
    "predict": lambda model, rows: model.predict(data(rows).x),
    "evaluate": lambda model, rows: dl.evaluate(model, data(rows), loss=dl.SoftmaxCrossEntropy()),
    "predict_mc": lambda model, rows: dl.predict_mc(model, data(rows).x, samples=3).std,
    "inspect": lambda model, rows: dl.inspect(model, *data(rows)[:rows], loss=dl.SoftmaxCrossEntropy()),
}


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("names", [*([name] for name in ASKED), list(ASKED)], ids="-".join)
def test_threads_that_ask_one_model_get_what_they_get_alone(names, built):
    def model():
        return network(backend="cpu") if built else network()

    questions = [(names[i % len(names)], 3 + 7 * (i % THREADS)) for i in range(THREADS * TURNS)]
    alone = {question: bits(ASKED[question[0]](model(), question[1])) for question in set(questions)}
    shared = model()
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda question: bits(ASKED[question[0]](shared, question[1])), questions))
    assert [alone[question] for question in questions] == answers


@pytest.mark.parametrize("graph", [False, True])
def test_a_fit_is_the_same_while_others_ask(graph):
    alone = train(network(backend="cpu"))
    model, done, failed = network(backend="cpu"), threading.Event(), []

    def ask():
        while not done.is_set():
            try:
                assert np.isfinite(model.predict(data(9).x)).all()
                dl.inspect(model, data(11).x)
            except Exception as error:
                failed.append(error)

    others = [threading.Thread(target=ask) for _ in range(2)]
    for other in others:
        other.start()
    try:
        dl.fit(
            model, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-2), epochs=2, batch_size=7,
            progress=False, graph=graph,
        )  # fmt: skip
    finally:
        done.set()
        for other in others:
            other.join()
    assert not failed
    assert bits(model.predict(data().x)) == bits(alone.predict(data().x))


def test_threads_may_share_a_loss_and_a_limit_on_gradients():
    def fit(seed, loss, clip):
        model = dl.Sequential(dl.Dense(5, 16), dl.ReLU(), dl.Dense(16, 3), seed=seed, backend="cpu")
        history = dl.fit(
            model, data(), validation=data(60), loss=loss, optimizer=dl.SGD(0.1), clip=clip, epochs=3, batch_size=8,
            progress=False,
        )  # fmt: skip
        return history["loss"], history["validation_loss"], model.predict(data().x).tobytes()

    alone = [fit(seed, dl.SoftmaxCrossEntropy(), dl.ClipNorm(0.05)) for seed in range(THREADS)]
    loss, clip = dl.SoftmaxCrossEntropy(), dl.ClipNorm(0.05)
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(lambda seed: fit(seed, loss, clip), range(THREADS))) == alone
    models = [dl.Sequential(dl.Dense(5, 3), seed=seed, backend="cpu") for seed in range(THREADS)]
    expected = [dl.evaluate(model, data(), loss=dl.SoftmaxCrossEntropy()) for model in models]
    for _ in range(TURNS):
        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(lambda model: dl.evaluate(model, data(), loss=loss), models)) == expected


def test_a_loss_shows_what_the_last_run_measured():
    loss, model = dl.SoftmaxCrossEntropy(), network()
    history = dl.fit(model, data(), loss=loss, optimizer=dl.SGD(0.1), epochs=1, batch_size=8, progress=False)
    assert loss.mean_so_far()[0] == history["loss"][0]
    assert loss.mean_so_far() != dl.evaluate(model, data(), loss=loss) == loss.mean_so_far()
