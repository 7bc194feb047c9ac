"""Batches: the rows in the order that was asked for, always in the same memory."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.training.batches import Batches


def data(rows, features=5):
    x = np.arange(rows * features, dtype=np.float32).reshape(rows, features)
    return x, np.arange(rows) % 3


@pytest.mark.parametrize("rows, size", [(1, 1), (10, 5), (11, 5), (7, 100), (37, 4)])
def test_all_rows_come_once_in_their_order(any_backend, rng, rows, size):
    x, labels = data(rows)
    batches = Batches(any_backend, x, labels, size)
    for _ in range(2):
        order = rng.permutation(rows)
        taken = [(any_backend.to_numpy(a), any_backend.to_numpy(b)) for a, b in batches.in_order(order)]
        assert [len(a) for a, _ in taken[:-1]] == [min(size, rows)] * (len(taken) - 1)
        np.testing.assert_array_equal(np.concatenate([a for a, _ in taken]), x[order])
        np.testing.assert_array_equal(np.concatenate([b for _, b in taken]), labels[order])


def test_whole_batches_are_the_same_arrays(any_backend):
    batches = Batches(any_backend, *data(20), 5)
    taken = list(batches.in_order(np.arange(20))) + list(batches.in_order(np.arange(20)))
    assert all(x is taken[0][0] and labels is taken[0][1] for x, labels in taken)


def test_targets_of_several_heads_keep_their_names(any_backend):
    x, labels = data(10)
    targets = {"one": labels, "other": x[:, :2].copy()}
    for i, (_, batch) in enumerate(Batches(any_backend, x, targets, 4).in_order(np.arange(10))):
        assert list(batch) == ["one", "other"]
        for name, array in batch.items():
            np.testing.assert_array_equal(any_backend.to_numpy(array), targets[name][4 * i : 4 * i + 4])


def test_data_that_do_not_fit_come_from_the_host(any_backend, monkeypatch, rng):
    monkeypatch.setattr(any_backend, "can_hold", lambda size: False)
    x, labels = data(23)
    batches, order = Batches(any_backend, x, labels, 6), rng.permutation(23)
    taken = [any_backend.to_numpy(batch) for batch, _ in batches.in_order(order)]
    np.testing.assert_array_equal(np.concatenate(taken), x[order])
    assert not batches._device_arrays


def test_augmentation_changes_copies_and_never_the_data(any_backend):
    x, labels = data(10)
    before = x.copy()

    def double(x, targets):
        x *= 2
        return x, targets

    taken = [
        any_backend.to_numpy(batch) for batch, _ in Batches(any_backend, x, labels, 4).augmented(range(10), double)
    ]
    np.testing.assert_array_equal(np.concatenate(taken), 2 * before)
    np.testing.assert_array_equal(x, before)


def test_read_only_data_are_taken_as_they_are(any_backend):
    x, labels = data(10)
    x.flags.writeable = labels.flags.writeable = False
    batch, _ = next(Batches(any_backend, x, labels, 4).in_order(np.arange(10)))
    np.testing.assert_array_equal(any_backend.to_numpy(batch), x[:4])
