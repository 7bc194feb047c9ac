"""One model, several threads: each gets the answers that it gets alone."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minidl as dl
from minidl.training import callbacks

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


def same(x, targets, rng):
    return x, targets


ASKED = {
    "predict": lambda model, rows: model.predict(data(rows).x),
    "evaluate": lambda model, rows: dl.evaluate(model, data(rows), loss=dl.SoftmaxCrossEntropy()),
    "predict_mc": lambda model, rows: dl.predict_mc(model, data(rows).x, samples=3).std,
    "predict_augmented": lambda model, rows: dl.predict_augmented(model, data(rows).x, same, samples=3).mean,
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


class At(dl.Callback):
    """Does something at the end of the second epoch."""

    def __init__(self, act):
        self.act = act

    def on_epoch_end(self, run):
        if run.epoch == 3:
            self.act()


def stopping(folder):
    return dl.EarlyStopping("loss", patience=1)


def best_so_far(folder):
    return dl.Checkpoint(folder / "best.npz", best="loss")


def log(folder):
    return callbacks.Log(folder / "log.csv")


def schedule(folder):
    return callbacks.Schedule(dl.Dropout(0.5), "rate", dl.schedules.Exponential(0.5, 0.9))


def recorder(folder):
    return dl.Recorder(data(9).x, every=4)


STATEFUL = pytest.mark.parametrize("make", [stopping, best_so_far, log, schedule, recorder])


def small(seed):
    return dl.Sequential(dl.Dense(5, 3), seed=seed, backend="cpu")


def train_with(seed, *used):
    model = small(seed)
    dl.fit(
        model, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.3), callbacks=used, epochs=4,
        batch_size=8, progress=False,
    )  # fmt: skip
    return model.predict(data().x).tobytes()


def remembered(callback):
    if isinstance(callback, dl.Recorder):
        return callback.steps, str([record.inspection for record in callback.records])
    best = getattr(callback, "best", None)
    return best and (best.epoch, best.value)


@STATEFUL
def test_a_callback_serves_one_fit_at_a_time(tmp_path, make):
    single = make(tmp_path)
    alone = train_with(0, single, At(lambda: None))
    shared, refused, untouched = make(tmp_path), [], small(1)

    def second_fit():
        try:
            dl.fit(
                untouched, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.3), callbacks=[shared],
                progress=False,
            )  # fmt: skip
        except ValueError as error:
            refused.append(str(error))

    def in_another_thread():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(second_fit).result()

    assert train_with(0, shared, At(in_another_thread)) == alone
    assert len(refused) == 1
    assert refused[0].startswith(f"callbacks got {type(shared).__name__}(")
    assert ", which serves another fit that has not ended; expected " in refused[0]
    assert untouched.predict(data().x).tobytes() == small(1).predict(data().x).tobytes()
    assert untouched.epochs_trained == 0
    assert remembered(shared) == remembered(single)


@STATEFUL
@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt])
def test_a_callback_may_serve_one_fit_after_another(tmp_path, make, ending):
    def end():
        if ending is not None:
            raise ending

    single, shared = make(tmp_path), make(tmp_path)
    expected = train_with(1, single)
    try:
        train_with(0, shared, At(end))
    except (RuntimeError, KeyboardInterrupt) as error:
        assert type(error) is ending
    assert train_with(1, shared) == expected
    assert remembered(shared) == remembered(single)


def test_fits_that_run_side_by_side_are_as_alone_or_refused():
    alone = [train_with(seed, stopping(None)) for seed in range(THREADS)]
    for _ in range(5):
        shared = stopping(None)

        def fit(seed, shared=shared):
            try:
                return train_with(seed, shared)
            except ValueError as error:
                assert "which serves another fit" in str(error)
                return None

        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(fit, range(THREADS)))
        assert any(found)
        assert all(mine in (None, single) for mine, single in zip(found, alone, strict=True))


def test_a_recorder_forgets_a_step_that_an_exception_ended(tmp_path):
    class Fails(dl.Callback):
        follows_steps = True

        def on_step_end(self, run):
            if run.step == 1:
                raise RuntimeError("on purpose")

    path = tmp_path / "run.npz"
    train_with(0, dl.Checkpoint(path, every=1))
    recorder = dl.Recorder(data(9).x, every=30)
    with pytest.raises(RuntimeError, match="on purpose"):
        train_with(0, Fails(), recorder)
    model = small(0)
    dl.fit(
        model, data(), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.3), callbacks=[recorder], epochs=5,
        batch_size=8, progress=False, resume=path,
    )  # fmt: skip
    assert recorder.steps == []
