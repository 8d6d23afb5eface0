"""Trees against RFC 6962 written out level by level, for every size up to 40."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.proof.merkle import leaf_hash, path, root, root_from


def by_levels(leaves: list[bytes]) -> bytes:
    """The same tree bottom-up: pair neighbours, carry a last odd node up unchanged."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = leaves
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\x01" + b"".join(p)).digest() if len(p) == 2 else p[0] for p in pairs]
    return level[0]


def leaves(n: int) -> list[bytes]:
    return [leaf_hash(bytes([i])) for i in range(n)]


@pytest.mark.parametrize("n", range(41))
def test_roots_and_paths(n):
    made = leaves(n)
    assert root(made) == by_levels(made)
    for i in range(n):
        assert root_from(made[i], i, n, path(made, i)) == root(made)


@given(st.integers(2, 30), st.data())
def test_nothing_else_leads_to_the_root(n, data):
    made = leaves(n)
    i, other = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
    good = path(made, i)
    if other != i:
        assert root_from(made[i], other, n, good) != root(made)
        assert root_from(made[other], i, n, good) != root(made)
    place = data.draw(st.integers(0, len(good) - 1))
    bad = list(good)
    bad[place] = hashlib.sha256(bad[place]).digest()
    assert root_from(made[i], i, n, bad) != root(made)
    assert root_from(made[i], i, n, good[:-1]) != root(made)
    assert root_from(made[i], i, n, (*good, good[0])) != root(made)


def test_places_outside_of_the_tree():
    with pytest.raises(ValueError, match="no leaf 3 of 3"):
        path(leaves(3), 3)
    assert root_from(leaves(1)[0], 1, 1, ()) is None
    assert root_from(leaves(1)[0], 0, 2, ()) is None


def test_the_known_root_of_the_empty_leaf():
    """RFC 6962 test vectors: the hash of an empty leaf, and the empty tree."""
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
