"""
Whatever a peer sends, the promises of what reads it hold.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import CORPUS, TARGETS, corpus


def test_everyTargetHasInputs() -> None:
    """
    Each target has kept inputs, small ones.
    """
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    for name in TARGETS:
        assert corpus(name) and max(map(len, corpus(name))) <= 2000


@pytest.mark.parametrize("name", TARGETS)
def test_keptInputs(name: str) -> None:
    """
    The kept inputs break no promise.
    """
    for data in corpus(name):
        TARGETS[name](data)


@settings(deadline=None, max_examples=400)
@given(some.sampled_from(sorted(TARGETS)), some.binary(max_size=300), some.integers(0, 2**32))
def test_anything(name: str, garbage: bytes, seed: int) -> None:
    """
    Neither does anything else, nor what is close to a kept input.
    """
    chance, kept = random.Random(seed), corpus(name)
    for data in (garbage, mutated(chance.choice(kept), kept, chance)):
        TARGETS[name](data)
