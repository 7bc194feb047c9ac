"""Random streams: a pure function of seed and name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.utils.random_streams import RandomStreams


def numbers(seed, name):
    return RandomStreams(seed).generator(name).random(4).tolist()


def test_the_same_seed_and_name_give_the_same_numbers():
    assert numbers(3, "0.Dense.weight") == numbers(3, "0.Dense.weight")
    streams = RandomStreams(3)
    first = streams.generator("a").random(4).tolist()
    streams.generator("b").random(1000)
    assert streams.generator("a").random(4).tolist() == first, "other streams do not move it"


def test_another_seed_or_name_gives_other_numbers():
    names = ["", "0", "00", "0.Dense", "0.Dense.weight", "1.Dense.weight", "10.Dense.weight", "0.Dense.weights", "µ"]
    drawn = {tuple(numbers(seed, name)) for seed in (0, 1, 2**32, 2**64 + 1, 2**200) for name in names}
    assert len(drawn) == 5 * len(names)


@given(st.integers(0, 2**130), st.lists(st.text(max_size=30), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_key(seed, names):
    streams = RandomStreams(seed)
    first, second = (streams.key(name) for name in names)
    assert first.tolist() != second.tolist()


def test_a_key_is_two_words():
    key = RandomStreams(0).key("1.Dropout.mask")
    assert (key.shape, key.dtype) == ((2,), np.uint32)


def test_keys_stay_what_they_are():
    # Model files keep the seed, not the key: another key would change the masks of a training that goes on.
    assert RandomStreams(0).key("3.Dropout.mask").tolist() == [3537092625, 1902250836]
    assert RandomStreams(2**40 + 7).key("").tolist() == [238885397, 226915041]


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (0.5, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError)]
)
def test_a_seed_is_an_integer_of_at_least_zero(seed, error):
    with pytest.raises(error, match="^seed got .*; expected an integer of at least 0$"):
        RandomStreams(seed)


def test_repr_shows_the_seed():
    assert repr(RandomStreams(np.int64(5))) == "RandomStreams(seed=5)"
