"""The random bits: Philox4x32-10 as compiled code, as an emulated kernel, and as plain Python."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import cuda

import minidl.emulator
from minidl.cuda.engine import device
from minidl.scalar.philox import philox
from tests.operations import reference
from tests.operations.calls import drawn

# Random123's kat_vectors for philox4x32 with 10 rounds: counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

words = st.integers(0, 2**32 - 1)


def parse(text):
    return [int(word, 16) for word in text.split()]


_compiled = numba.njit(philox)
_on_device = cuda.jit(device=True)(philox)


@numba.njit
def compiled_loop(counters, keys, result):
    for i in range(len(counters)):
        c, k = counters[i], keys[i]
        result[i, 0], result[i, 1], result[i, 2], result[i, 3] = _compiled(c[0], c[1], c[2], c[3], k[0], k[1])


@cuda.jit
def kernel(counters, keys, result):
    i = cuda.grid(1)
    if i < counters.shape[0]:
        result[i, 0], result[i, 1], result[i, 2], result[i, 3] = _on_device(
            counters[i, 0], counters[i, 1], counters[i, 2], counters[i, 3], keys[i, 0], keys[i, 1]
        )


def words_on(backend, counters, keys):
    counters, keys = (backend.array(values, np.uint32) for values in (counters, keys))
    result = backend.array(np.zeros((len(counters), 4)), np.uint32)
    if backend.name == "cpu":
        compiled_loop(counters, keys, result)
    else:
        launch = minidl.emulator.launch if backend.name == "emulator" else device.launch
        launch(kernel, (len(counters),), (2,), counters, keys, result)
    return backend.to_numpy(result).tolist()


def test_known_answers(compiled_backend):
    counters, keys, expected = ([parse(text) for text in column] for column in zip(*KNOWN_ANSWERS, strict=True))
    assert words_on(compiled_backend, counters, keys) == expected


@pytest.mark.parametrize("counter, key, expected", KNOWN_ANSWERS)
def test_known_answers_in_plain_python(counter, key, expected):
    with np.errstate(over="ignore"):  # the keys wrap around on purpose
        got = philox(*map(np.uint32, parse(counter) + parse(key)))
    assert [int(word) for word in got] == parse(expected)


@pytest.mark.parametrize("counter, key, expected", KNOWN_ANSWERS)
def test_known_answers_of_the_reference(counter, key, expected):
    assert list(reference.philox(parse(counter), parse(key))) == parse(expected)


@drawn
@given(counter=st.tuples(words, words, words, words), key=st.tuples(words, words))
def test_any_counter_and_key(compiled_backend, counter, key):
    assert words_on(compiled_backend, [counter], [key]) == [list(reference.philox(counter, key))]
