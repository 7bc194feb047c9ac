"""Runs that ranks share: the same bits for any number of them. Threads stand in for the processes of MPI."""

from __future__ import annotations

import gc
import sys
from functools import partial

import greenlet
import numpy as np
import pytest

import minidl as dl
from minidl.training import team as teams
from minidl.training.callbacks import Callback, Log
from tests.conftest import each
from tests.ranks import Rank, Threads, bits, data, everything, plain


class Alternates(dl.Layer):
    """Passes x and -x on in turn."""

    def allocate(self):
        self.negative = self.state("negative", np.zeros(1), np.bool_)

    def forward(self, x, training=False):
        self.sign = self.dtype.type(-1 if self.negative[0] else 1)
        if training:
            self.negative[...] = ~self.negative
        return self.sign * self.begin_forward(x, training)

    def backward(self, dy):
        return self.sign * self.begin_backward(dy)[1]


class Seen(dl.Layer):
    """Passes x on; counts rows and passes, and keeps a mean that moves."""

    def allocate(self):
        self.rows = self.state("rows", np.zeros(1), np.int64)
        self.passes = self.state("passes", np.zeros(1), np.uint32)
        self.moving = self.state("moving", np.zeros(1))

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        if training:
            self.rows += len(x)
            self.passes += np.uint32(1)
            self.moving *= 0.9
            self.moving += 0.1 * x.mean()
        return x

    def backward(self, dy):
        return self.begin_backward(dy)[1]


def train(comm, parts=8, make=everything, train=None, sync=False, **options):
    """The results of a run as one rank has them; without `comm`, of a run without a team."""
    model, optimizer = make(), dl.Adam(0.02)
    settings = {"loss": dl.SoftmaxCrossEntropy(), "epochs": 2, "batch_size": 16, "progress": False, **options}
    for name in ("callbacks", "optimizer"):
        if callable(settings.get(name)):
            settings[name] = settings[name]()
    team = None if comm is None else dl.parallel.over(comm, parts, sync_batch_norm=sync)
    settings.setdefault("optimizer", optimizer)
    history = dl.fit(model, train or data(50), team=team, **settings)
    return bits(model, history, settings["optimizer"])


def on_ranks(ranks, program=train, **options):
    return Threads(ranks).run(lambda comm: program(comm, **options))


def normalized(backend="cpu", dtype="float64", **options):
    """Without noise, so that a team's steps are those of one process up to rounding."""
    return dl.Sequential(
        dl.Dense(4, 6, penalty=dl.L2(1e-2)), dl.BatchNorm(6), dl.Tanh(),
        dl.Residual(dl.Dense(6, 6), dl.BatchNorm(6, decay=0.7), dl.SiLU()), dl.Dense(6, 3),
        backend=backend, seed=0, dtype=dtype, **options,
    )  # fmt: skip


OPTIONS = {
    "cpu": {"make": everything, "validation": data(9, seed=1), "clip": dl.ClipNorm(0.05)},
    "numpy": {"make": lambda: everything("numpy"), "clip": dl.ClipValue(0.01)},
    "emulator": {"make": lambda: plain("emulator", dtype="float32"), "epochs": 1, "train": data(9)},
    "float64": {"make": lambda: everything(dtype="float64")},
    "fewer rows than parts": {"train": data(16 + 5)},
    "uneven parts": {"parts": 7, "batch_size": 17},
    "ghost batches of two rows": {"batch_size": 9},
    "own state": {"make": lambda: dl.Sequential(Seen(), dl.Dense(4, 3), seed=0, backend="cpu")},
    "own switch": {"make": lambda: dl.Sequential(Alternates(), dl.Dense(4, 3), seed=0, backend="cpu")},
    "augmentation": {"augmentation": lambda x, targets, rng: (x + rng.normal(size=x.shape).astype(x.dtype), targets)},
    "weighted": {"make": plain, "loss": dl.Weighted(dl.SoftmaxCrossEntropy(), class_weight=[1, 2, 0.5])},
    "many validation batches": {"make": plain, "validation": data(3000, seed=1), "epochs": 1},
    "captured": {"graph": True, "clip": dl.ClipNorm(0.05), "validation": data(9, seed=1), "epochs": 3},
    "captured in the emulator": {
        "make": lambda: plain("emulator", dtype="float32"),
        "graph": np.True_,
        "train": data(21),
        "parts": 4,
        "epochs": 1,
    },
    "synchronized batch norm": {"sync": True, "clip": dl.ClipNorm(0.05), "validation": data(9, seed=1)},
    "synchronized batch norm, by NumPy": {"sync": True, "make": lambda: normalized("numpy", dtype="float32")},
    "synchronized batch norm, in the emulator": {
        "sync": True,
        "make": lambda: normalized("emulator", dtype="float32"),
        "train": data(19),
        "parts": 4,
        "epochs": 1,
    },
    "captured, with a schedule": {"graph": True, "optimizer": lambda: dl.SGD(dl.schedules.Cosine(0.1, 9)), "epochs": 4},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_any_number_of_ranks_gives_the_same_bits(name):
    options = {"parts": 8, **OPTIONS[name]}
    (expected,) = on_ranks(1, **options)
    for ranks in (2, 3, 4):
        assert all(found == expected for found in on_ranks(ranks, **options))


UP_TO_ROUNDING = [name for name in OPTIONS if name == "many validation batches" or "synchronized" in name]


@each("name", OPTIONS.keys() - UP_TO_ROUNDING)
def test_one_part_gives_the_bits_of_a_run_without_a_team(name):
    options = {**OPTIONS[name], "parts": 1}
    (found,) = on_ranks(1, **options)
    assert found == train(None, **options)


CAPTURED = [name for name in OPTIONS if "graph" in OPTIONS[name]]


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_passes_and_updates_give_the_bits_of_those_as_written(name):
    options = {"parts": 8, **OPTIONS[name]}
    assert on_ranks(2, **options) == on_ranks(2, **{**options, "graph": False})


def test_the_heads_may_come_in_another_order():
    """A step that is replayed has the targets by their place."""

    def weights(comm, graph):
        every = data(48)
        heads = dl.Heads(left=dl.Dense(4, 3), right=dl.Dense(4, 3))
        loss = dl.MultiTask(heads, left=dl.SoftmaxCrossEntropy(), right=dl.SoftmaxCrossEntropy())
        model = dl.Sequential(heads, backend="cpu", seed=0)
        step = teams.TeamStep(dl.parallel.over(comm, 2), model, loss, dl.SGD(0.1), graph=graph)
        loss.restart()
        for order in (["right", "left"], ["left", "right"]):
            for start in range(0, 48, 8):
                x, labels = (array[start : start + 8] for array in (every.x, every.y))
                targets = {"left": labels, "right": 2 - labels}
                step.forward(x, {head: targets[head] for head in order})
                step.update()
        return [parameter.value.tobytes() for parameter in model.parameters()]

    (written,), (replayed,) = (on_ranks(1, weights, graph=graph) for graph in (False, True))
    assert replayed == written


def test_several_heads_are_captured_too():
    (expected, _), (found, _) = (Threads(2).run(partial(several_tasks, graph=graph)) for graph in (False, True))
    assert found == expected


@each("ranks", [1, 3])
def test_no_layer_is_asked_once_passes_of_a_size_are_captured(ranks):
    """50 rows in batches of 16 and 2: seven parts of 2 and 3 rows, and two of 1."""

    def program(comm, graph):
        model, rows = plain(), []
        forward = model.forward

        def watched(x, training=False):
            rows.append(len(x))
            return forward(x, training)

        model.forward = watched
        train(comm, parts=7, make=lambda: model, graph=graph)
        return rows[1:]  # the first pass only makes arrays

    written = Threads(ranks).run(partial(program, graph=False))
    captured = Threads(ranks).run(partial(program, graph=True))
    assert sum(map(len, written)) == 2 * (3 * 7 + 2)
    for asked in captured:  # the first warms up, the second is captured and made, the third made to be compared with
        assert asked.count(2) == 4 and asked.count(3) in (0, 4)


def test_as_on_a_gpu_a_graph_is_replayed_on_the_arrays_that_it_was_captured_with(monkeypatch):
    options, replayed = {"clip": dl.ClipNorm(0.05), "train": data(48)}, []
    expected, kind = on_ranks(2, **options), type(dl.backend.get("cpu"))
    capture = kind.capture

    def strict(backend, function, *inputs, join=True):
        graph = capture(backend, function, *inputs)

        def replay(*others):
            assert all(other is given for other, given in zip(others, inputs, strict=True))
            replayed.append(len(others))
            graph(*others)

        return replay

    monkeypatch.setattr(kind, "on_host", False)
    monkeypatch.setattr(kind, "capture", strict)
    assert on_ranks(2, **options) == expected
    assert {0, 2} == set(replayed)  # updates; passes of x and targets


def test_what_is_more_than_operations_is_told_on_every_rank():
    def program(comm):
        with pytest.raises(RuntimeError, match="^graph got True, but this step cannot be captured: "):
            train(comm, make=OPTIONS["own state"]["make"], graph=True)

    Threads(2).run(program)


def test_the_parts_matter():
    assert on_ranks(1, parts=8) != on_ranks(1, parts=4)


def several_tasks(comm, parts=8, sync=False, **options):
    """The results of a run with three heads and labels that are unknown."""
    rng = np.random.default_rng(0)
    targets = {"kind": rng.integers(-1, 3, 45), "sign": rng.integers(-1, 2, 45), "value": rng.normal(size=(45, 1))}
    rows = dl.data.Dataset(rng.normal(size=(45, 4)).astype(np.float32), targets)
    heads = dl.Heads(kind=dl.Dense(6, 3), sign=dl.Dense(6, 2), value=dl.Dense(6, 1))
    losses = {"kind": dl.SoftmaxCrossEntropy(), "sign": dl.SoftmaxCrossEntropy(), "value": dl.MeanSquaredError()}
    loss, optimizer = dl.MultiTask(heads, weights={"kind": 0.5}, **losses), dl.Adam(0.02)
    model = dl.Sequential(dl.Dense(4, 6), dl.Tanh(), heads, seed=0, backend="cpu")
    team = None if comm is None else dl.parallel.over(comm, parts, sync_batch_norm=sync)
    history = dl.fit(
        model, rows, validation=rows, loss=loss, optimizer=optimizer, epochs=2, batch_size=16, progress=False,
        team=team, **options,
    )  # fmt: skip
    return {**bits(model, history, optimizer), "heads": repr(loss.by_head())}


def test_several_tasks_with_labels_that_are_unknown():
    (expected,) = on_ranks(1, several_tasks)
    assert all(found == expected for ranks in (2, 3) for found in on_ranks(ranks, several_tasks))
    assert on_ranks(1, several_tasks, parts=1) == [several_tasks(None)]
    assert on_ranks(2, several_tasks, sync=True)[0] == expected  # without a batch norm to synchronize


def test_without_noise_a_step_is_that_of_the_whole_batch():
    """The gradient, with penalties once and the limit on its norm; losses and penalties: up to rounding."""

    def program(comm):
        model = plain()
        history = dl.fit(
            model, data(45), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.5), epochs=3, batch_size=20,
            clip=dl.ClipNorm(0.05), progress=False, team=comm and dl.parallel.over(comm, 7),
        )  # fmt: skip
        return model.snapshot(), history

    (expected, history), ((found, shared),) = program(None), Threads(1).run(program)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-14)
    for column in ("loss", "accuracy", "penalty"):
        np.testing.assert_allclose(shared[column], history[column], rtol=1e-12)
    assert history["penalty"][0] > 0.01


def trained(layers, parts, rows, seed=0, dtype="float64", **options):
    """A model after one step on `rows`, cut into parts."""
    model = dl.Sequential(*layers, seed=seed, backend="numpy", dtype=dtype)

    def program(comm):
        dl.fit(model, rows, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(1e-9), epochs=1, batch_size=len(rows),
               shuffle=False, progress=False, team=dl.parallel.over(comm, parts, **options))  # fmt: skip

    Threads(1).run(program)
    return model


def test_batch_norm_sees_a_part_and_its_estimates_are_means_over_the_parts():
    rows = data(11)
    norm = trained([dl.BatchNorm(4, decay=0.75), dl.Dense(4, 3)], 3, rows).layers[0]
    parts = [rows.x[start:stop].astype(float) for start, stop in ((0, 3), (3, 7), (7, 11))]
    weights = np.array([3, 4, 4]) / 11
    mean = weights @ [part.mean(axis=0) for part in parts]
    variance = weights @ [part.var(axis=0, ddof=1) for part in parts]
    np.testing.assert_allclose(norm.running_mean, 0.25 * mean, rtol=1e-12)
    np.testing.assert_allclose(norm.running_variance, 0.75 + 0.25 * variance, rtol=1e-12)


def test_synchronized_batch_norm_is_that_of_one_process():
    """Weights, and so gradients, running estimates and figures, after 12 steps in parts of 2 and 3 rows."""

    def program(comm, sync=True):
        model, optimizer = normalized(), dl.SGD(0.3)
        team = comm and dl.parallel.over(comm, 7, sync_batch_norm=sync)
        history = dl.fit(
            model, data(50), validation=data(20, seed=1), loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, epochs=3,
            batch_size=16, clip=dl.ClipNorm(0.5), progress=False, team=team,
        )  # fmt: skip
        return model.snapshot(), history

    (expected, figures), ((found, shared), *_) = program(None), Threads(3).run(program)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-12, err_msg=name)
    for column in ("loss", "accuracy", "penalty", "validation_loss"):
        np.testing.assert_allclose(shared[column], figures[column], rtol=1e-11)
    ((ghosts, _),) = Threads(1).run(partial(program, sync=False))
    assert abs(ghosts["1.gamma"] - expected["1.gamma"]).max() > 1e-3


@each("dtype", ["float32", "float64"])
def test_synchronized_batch_norm_knows_the_variance_beside_a_large_mean(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(1000, 3, (64, 4)).astype(np.float32)
    rows = dl.data.Dataset(x, rng.integers(0, 3, 64))
    layers = [dl.BatchNorm(4, decay=0.75), dl.Dense(4, 3)]
    norm = trained(layers, 8, rows, dtype=dtype, sync_batch_norm=True).layers[0]
    rtol = {"float32": 1e-5, "float64": 1e-10}[dtype]  # (mean/std)² times float64, and the rounded means of parts
    np.testing.assert_allclose(norm.running_mean, 0.25 * x.astype(float).mean(axis=0), rtol=rtol)
    np.testing.assert_allclose(norm.running_variance, 0.75 + 0.25 * x.astype(float).var(axis=0, ddof=1), rtol=rtol)


def test_a_callback_may_change_a_layer_between_steps_of_synchronized_batch_norm():
    class Slower(Callback):
        follows_steps = True

        def on_step_start(self, run):
            run.model.layers[1].decay = 0.5 + 0.05 * run.step

    def program(comm):
        model = normalized()
        team = comm and dl.parallel.over(comm, 4, sync_batch_norm=True)
        dl.fit(model, data(50), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=2, batch_size=16,
               callbacks=[Slower()], progress=False, team=team)  # fmt: skip
        return model.layers[1].running_mean

    np.testing.assert_allclose(Threads(1).run(program)[0], program(None), rtol=1e-10)


def test_each_part_draws_masks_of_its_own_and_counts_them():
    model = dl.Sequential(dl.Dropout(0.5), dl.Dense(4, 3), seed=0, backend="numpy")
    rows, masks = dl.data.Dataset(np.ones((8, 4), np.float32), np.zeros(8, np.int64)), []
    forward = model.layers[1].forward

    def watched(x, training=False):
        masks.append(x.copy())
        return forward(x, training)

    model.layers[1].forward = watched

    def program(comm):
        dl.fit(model, rows, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=2, batch_size=8,
               progress=False, team=dl.parallel.over(comm, 4))  # fmt: skip

    Threads(1).run(program)
    masks = masks[1:]  # the first pass only makes arrays
    assert len({mask.tobytes() for mask in masks}) == len(masks) == 8
    assert model.layers[0].step[0] == 8


def test_layers_of_the_users_own_count_rows_and_passes_and_average():
    rows = data(10)
    seen = trained([Seen(), dl.Dense(4, 3)], 3, rows).layers[0]
    assert (seen.rows[0], seen.passes[0]) == (10, 3)
    np.testing.assert_allclose(seen.moving, [0.1 * rows.x.astype(float).mean()], rtol=1e-12)


# Decisions


class Stops(Callback):
    """Tells the run of one rank to stop after the second epoch."""

    def __init__(self, rank):
        self.rank = rank

    def __repr__(self):
        return "Stops()"

    def on_epoch_end(self, run):
        if run.team.rank == self.rank and len(run.history) == 2:
            run.stop("this rank has had enough")


class Presses(Callback):
    """Presses Ctrl-C on one rank: in a step of the second epoch, or after the epoch."""

    follows_steps = True

    def __init__(self, rank, event):
        self.rank, self.event = rank, event

    def __repr__(self):
        return "Presses()"

    def press(self, run, event):
        if run.team.rank == self.rank and event == self.event and run.epoch == 2 and run.step == 5:
            run.training_step.pressed.raised = True

    def on_step_start(self, run):
        self.press(run, "in a step")

    def on_epoch_end(self, run):
        if run.team.rank == self.rank and self.event == "after an epoch" and len(run.history) == 2:
            run.training_step.pressed.raised = True


def epochs_and_steps(comm, callbacks=(), **options):
    steps = []

    class Counts(Callback):
        def on_end(self, run):
            steps.append((run.step, run.stopped, run.history.interrupted))

    dl.fit(plain(), data(50), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.02), epochs=6, batch_size=16,
           callbacks=[*(callbacks() if callable(callbacks) else callbacks), Counts()], progress=False,
           team=dl.parallel.over(comm, 4), **options)  # fmt: skip
    return steps[0]


def test_what_stops_one_rank_stops_all():
    def program(comm):
        return epochs_and_steps(comm, [Stops(rank=2)])

    assert Threads(3).run(program) == [(8, "this rank has had enough", False)] * 3


@pytest.mark.parametrize(("event", "steps"), [("in a step", 6), ("after an epoch", 8)])
def test_ctrl_c_on_one_rank_ends_all_after_the_same_step(event, steps):
    def program(comm):
        return epochs_and_steps(comm, [Presses(rank=1, event=event)])

    assert Threads(3).run(program) == [(steps, None, True)] * 3


def test_early_stopping_sees_the_same_figures_everywhere():
    options = {
        "callbacks": lambda: [dl.EarlyStopping("validation_loss", patience=1)], "epochs": 30,
        "validation": data(20, seed=1), "optimizer": None,
    }  # fmt: skip

    def program(comm):
        return train(comm, **{**options, "optimizer": dl.Adam(0.3)})

    first, *others = [found for ranks in (1, 2, 4) for found in Threads(ranks).run(program)]
    assert all(found == first for found in others)
    assert 1 < len(first["history"]) < 30


class Breaks(dl.Layer):
    """Makes a NaN of a row that is all 7."""

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        return np.where((x == 7).all(axis=1, keepdims=True), np.nan, x).astype(x.dtype)

    def backward(self, dy):
        return self.begin_backward(dy)[1]


@each("sync", [False, True])
@each("row", [0, 5, 15])
def test_a_run_that_diverges_ends_on_all_ranks_which_name_the_layer(sync, row):
    x = np.ones((16, 4), np.float32)
    x[row] = 7

    def program(comm):
        model = dl.Sequential(dl.LeakyReLU(), Breaks(), dl.BatchNorm(4), dl.Dense(4, 3), seed=0, backend="cpu")
        with pytest.raises(dl.DivergenceError, match="the first layer with a non-finite output is 1 Breaks") as error:
            train(comm, make=lambda: model, train=dl.data.Dataset(x, np.zeros(16, int)), shuffle=False, sync=sync)
        assert error.value.layer is model.layers[1]
        return str(error.value)

    assert len(set(Threads(3).run(program))) == 1


class Fails(Breaks):
    """Fails in the second part of a step."""

    def forward(self, x, training=False):
        Fails.asked += training
        if Fails.asked == 3:  # the first pass makes arrays
            raise LookupError("no such row")
        return self.begin_forward(x, training)


def test_a_part_that_fails_leaves_none_suspended():
    Fails.asked, before = 0, suspended()
    model = dl.Sequential(dl.BatchNorm(4), Fails(), dl.BatchNorm(4), dl.Dense(4, 3), seed=0, backend="cpu")
    with pytest.raises(LookupError, match="no such row") as error:
        train(Rank(Threads(1), 0), make=lambda: model, sync=True)
    assert error.value.__traceback__ is not None  # which keeps what was called
    assert suspended() == before


def suspended():
    kinds = [each for each in gc.get_objects() if issubclass(type(each), greenlet.greenlet)]  # a proxy may be dead
    return sum(bool(each) and each.parent is not None for each in kinds)


@each("event", ["on_start", "on_step_end", "on_epoch_end", "on_end"])
@each("code", [(None, 1), (0, 1), (3, 3), (-1, 255), (256, 1), ("text", 1)])
def test_an_exit_in_a_callback_is_told_once_with_a_code_other_than_0(event, code, monkeypatch, capsys):
    class Leaves(Callback):
        follows_steps = True

        def __repr__(self):
            return "Leaves()"

    def leave(run):
        if run.team.rank == 1:
            sys.exit(code[0])

    codes = []
    monkeypatch.setattr(teams, "end_all", codes.append)
    monkeypatch.setattr(Leaves, event, staticmethod(leave))
    with pytest.raises(SystemExit):
        on_ranks(2, make=plain, callbacks=lambda: [Leaves()])
    assert codes == [code[1]]
    assert capsys.readouterr().out.count("rank 1 has left the training by sys.exit") == 1


# Files


def test_rank_0_alone_writes_and_prints(tmp_path, capsys):
    def program(comm):
        out = tmp_path / str(comm.Get_rank())
        out.mkdir()
        callbacks = [dl.Checkpoint(out / "own.ckpt"), Log(out / "own.csv")]
        train(comm, callbacks=callbacks, checkpoint=out / "c.ckpt", log=out / "l.jsonl", progress=True)
        return sorted(path.name for path in out.iterdir())

    assert Threads(3).run(program) == [["c.ckpt", "l.jsonl", "own.ckpt", "own.csv"], [], []]
    assert capsys.readouterr().out.count("epoch   1") == 1


def test_a_checkpoint_of_four_ranks_goes_on_with_any_number(tmp_path):
    path = tmp_path / "epoch-{epoch}.ckpt"
    expected = on_ranks(4, epochs=4, checkpoint=path, validation=data(20, seed=1))[0]
    for ranks in (1, 2, 3, 4):
        options = {"epochs": 4, "resume": tmp_path / "epoch-2.ckpt", "validation": data(20, seed=1)}
        for found in on_ranks(ranks, **options):
            found["history"][:2] = expected["history"][:2]  # without seconds
            assert found == expected


@each("parts", [None, 4])
def test_a_checkpoint_goes_on_with_the_same_parts_only(parts, tmp_path):
    path = tmp_path / "last.ckpt"
    on_ranks(1, checkpoint=path)
    with pytest.raises(ValueError, match=f"parts got {parts}; the checkpoint has 8"):
        train(None, resume=path) if parts is None else on_ranks(1, parts=parts, resume=path)


def test_a_checkpoint_of_synchronized_batch_norm_goes_on_with_it_only(tmp_path):
    path = tmp_path / "epoch-{epoch}.ckpt"
    (expected,) = on_ranks(1, epochs=3, sync=True, checkpoint=path)
    for found in on_ranks(3, epochs=3, sync=True, resume=tmp_path / "epoch-2.ckpt"):
        found["history"][:2] = expected["history"][:2]  # without seconds
        assert found == expected
    with pytest.raises(ValueError, match="parts got 8; the checkpoint has '8 with sync_batch_norm'"):
        on_ranks(1, epochs=3, resume=tmp_path / "epoch-2.ckpt")


def test_a_team_does_not_go_on_with_the_checkpoint_of_a_run_without_one(tmp_path):
    train(None, checkpoint=tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="parts got 8; the checkpoint has None"):
        on_ranks(2, resume=tmp_path / "last.ckpt")


# Wrong input


def test_wrong_arguments():
    for team in (3, "two", [1]):
        with pytest.raises(TypeError, match="team got .*; expected one such as minidl.parallel.over"):
            dl.fit(plain(), data(9), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(), team=team)
    with pytest.raises(ValueError, match="graph got True; expected 'auto' or False on <backend numpy>"):
        on_ranks(1, graph=True, make=lambda: plain("numpy"))
    with pytest.raises(ValueError, match=r"graph got True; expected 'auto' or False beside Presses\(\)"):
        on_ranks(1, graph=np.True_, callbacks=[Presses(0, "in a step")])
    with pytest.raises(ValueError, match="graph got True; expected 'auto' or False with sync_batch_norm"):
        on_ranks(1, graph=True, sync=True)
    with pytest.raises(ValueError, match="parameters got an empty list; expected those of a model with weights"):
        on_ranks(2, make=lambda: dl.Sequential(dl.ReLU(), backend="cpu"))
    with pytest.raises(TypeError, match="progress got 'yes'"):
        on_ranks(1, progress="yes")


@each("name", ["seed", "batch_size", "train", "validation", "epochs", "backend"])
def test_ranks_that_do_not_run_the_same_program_are_refused_everywhere(name):
    def program(comm):
        rank = comm.Get_rank()
        options = {
            "seed": {"make": lambda: plain(seed=rank)},
            "batch_size": {"batch_size": 16 + rank},
            "train": {"train": data(50, seed=rank)},
            "validation": {"validation": data(50, seed=1) if rank else None},
            "epochs": {"epochs": 2 + rank},
            "backend": {"make": lambda: plain("numpy" if rank else "cpu")},
        }
        with pytest.raises(ValueError, match=f"^{name} got other values on rank 1 than on rank 0; expected one"):
            train(comm, **options[name])

    Threads(3).run(program)


def test_other_weights_are_refused():
    def program(comm):
        model = plain()
        model.parameters()[0].value[0, 0] += comm.Get_rank()
        with pytest.raises(ValueError, match="weights got other values on rank 1"):
            train(comm, make=lambda: model)

    Threads(2).run(program)


@each("epoch", [1, 2])
def test_weights_that_drift_apart_are_found_after_the_epoch_on_all_ranks(epoch):
    class Touches(Callback):
        writes = True

        def on_epoch_end(self, run):
            if run.team.rank == 2 and len(run.history) == epoch:
                run.parameters[0].value[0, 0] += 1e-9

    def program(comm):
        message = f"weights got other values on rank 2 than on rank 0; expected .* and so the same after epoch {epoch}$"
        with pytest.raises(ValueError, match=message):
            train(comm, make=plain, epochs=3, callbacks=[Touches()])

    Threads(3).run(program)


def test_ranks_that_resume_other_checkpoints_are_refused(tmp_path):
    on_ranks(1, checkpoint=tmp_path / "{epoch}.ckpt")

    def program(comm):
        with pytest.raises(ValueError, match="resume got other values on rank 1"):
            train(comm, epochs=3, resume=tmp_path / f"{1 + comm.Get_rank()}.ckpt")

    Threads(2).run(program)


@each("name", ["epochs_trained", "optimizer", "moments"])
def test_what_went_before_must_be_the_same_everywhere(name):
    def program(comm):
        model, optimizer, rank = plain(), dl.Adam(0.02), comm.Get_rank()
        settings = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": optimizer, "epochs": 1, "progress": False}
        if name == "epochs_trained":
            model.epochs_trained = rank
        else:
            begun = model.snapshot()
            earlier = data(50, seed=rank) if name == "moments" else data(50)
            dl.fit(model, earlier, batch_size=25 if rank and name == "optimizer" else 50, **settings)
            model.restore(begun)
        with pytest.raises(ValueError, match=f"^{name} got other values on rank 1"):
            dl.fit(model, data(50), team=dl.parallel.over(comm, 4), **settings)

    Threads(2).run(program)
