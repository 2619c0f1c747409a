"""Streams: a function of seed and name, different for every name, the same for ever."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.seeding import derive_seed, numpy_generator, torch_generator

quick = settings(deadline=None, max_examples=30)

NAMES = st.lists(st.one_of(st.integers(), st.text(st.characters(codec="utf-8"))), max_size=3)


@quick
@given(st.integers(), NAMES)
def test_seeds_have_63_bits_and_depend_on_the_arguments_alone(seed, names):
    derived = derive_seed(seed, *names)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, *names)


def test_seeds_never_change():
    # SHA-256 of "0" and "7/server/fedisca": results of earlier versions depend on them.
    assert derive_seed(0) == 0x5FECEB66FFC86F38 >> 1
    assert derive_seed(7, "server", "fedisca") == 0x213F9B04EDA00729 >> 1


def test_streams_differ_by_seed_name_and_order():
    streams = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", "b"), (0, "b", "a"), (0, 1)]
    assert len({derive_seed(*stream) for stream in streams}) == len(streams)


@pytest.mark.parametrize("generator", [torch_generator, numpy_generator])
def test_a_stream_starts_again_with_each_generator(generator):
    def numbers(*stream):
        source = generator(*stream)
        if isinstance(source, torch.Generator):
            return torch.randn(4, generator=source).tolist()
        return source.normal(size=4).tolist()

    assert numbers(3, "site") == numbers(3, "site")
    assert numbers(3, "site") != numbers(3, "server")
    assert numbers(3, "site") != numbers(4, "site")


def test_nothing_is_seeded_globally():
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch_generator(0, "a")
    numpy_generator(0, "a")
    assert torch.get_rng_state().equal(before)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
