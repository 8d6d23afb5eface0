"""Retrieval, identity and attributes against chance: the counts of slow loops, and what cannot be known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError
from noli.ops.decipher.leakage import (
    attribute_shares,
    attributes,
    fisher,
    ranks,
    retrieval,
    same_person,
    share_of,
)
from noli.ops.stats import wilson


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(1e-12, np.linalg.norm(a)) / max(1e-12, np.linalg.norm(b)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 10_000))
def test_ranks_are_those_of_a_slow_count(count: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(count, width))
    queries = gallery + rng.normal(size=(count, width))
    centre = gallery.mean(0)
    expected = []
    for row in range(count):
        scores = [cosine(queries[row] - centre, gallery[other] - centre) for other in range(count)]
        expected.append(sum(score >= scores[row] - 1e-9 for score in scores))
    found = ranks(queries, gallery)
    # In few dimensions cosines are often equal but for rounding.
    assert np.all(np.abs(found - expected) <= (count if width == 1 else 0))
    assert found.min() >= 1
    assert found.max() <= count


def test_the_picture_itself_is_found_and_silence_finds_nothing() -> None:
    gallery = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    assert retrieval(gallery, gallery).value == 1
    assert retrieval(gallery, gallery).chance == 0.05
    assert retrieval(np.repeat(gallery.mean(0)[None], 20, 0), gallery).value == 0
    assert retrieval(np.repeat(gallery[:1], 20, 0), gallery).value == 0.05
    assert retrieval(gallery[::-1], gallery, top=20).value == 1
    assert retrieval(gallery, gallery, top=40).chance == 1
    with pytest.raises(DataError, match="differ"):
        ranks(gallery, gallery[:3])
    with pytest.raises(DataError, match="nothing to count"):
        share_of(np.zeros(0, bool), 0.5)


def test_a_share_has_the_interval_of_wilson() -> None:
    found = share_of(np.array([True] * 3 + [False] * 7), 0.1)
    assert (found.value, found.chance, found.pictures) == (0.3, 0.1, 10)
    assert (found.low, found.high) == wilson(3, 10)


def test_the_same_person_is_not_the_same_picture() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(4), 3)
    apart = rng.normal(size=(4, 8))[people] * 5 + rng.normal(size=(12, 8)) * 0.1
    assert same_person(apart, apart, people).value == 1
    assert same_person(apart, apart, people).chance == pytest.approx(2 / 11)
    # Were a picture compared with itself, everybody would be alone and found.
    assert same_person(apart, apart, np.arange(12)).value == 0


def test_fisher_finds_by_what_new_people_differ() -> None:
    rng = np.random.default_rng(1)
    # Ten directions tell people apart; forty louder ones tell light and pose.
    axes = np.linalg.qr(rng.normal(size=(50, 50)))[0]

    def faces(people: np.ndarray) -> np.ndarray:
        own = rng.normal(size=(people.max() + 1, 10))[people]
        return np.concatenate([own, 4 * rng.normal(size=(len(people), 40))], 1) @ axes

    known, unknown = np.repeat(np.arange(30), 12), np.repeat(np.arange(10), 6)
    mean, found = fisher(faces(known), known, kept=50)
    x = faces(unknown)
    better = same_person((x - mean) @ found, (x - mean) @ found, unknown).value
    assert found.shape == (50, 29)
    assert better > same_person(x, x, unknown).value + 0.3


def test_attributes_are_what_they_are_called() -> None:
    x = np.full((2, 24, 24, 3), 100, np.uint8)
    x[1, :4, 6:18] = 250
    x[1, 6:18, 6:18, 0] = 200
    found = attributes(x)
    for name in ("light", "hair", "warmth", "contrast", "skin"):
        assert found[name][1] > found[name][0]
    assert found["background"][0] == found["background"][1]
    assert found["contrast"][0] == 0


def test_guessing_what_is_frequent_is_chance() -> None:
    rng = np.random.default_rng(2)
    public = np.repeat(rng.integers(0, 256, (50, 1, 1, 1), dtype=np.uint8), 12, 1).repeat(12, 2).repeat(3, 3)
    truth = public[:20]
    exact = attribute_shares(truth, truth, public)
    assert all(one.value == 1 for one in exact.values())
    blind = attribute_shares(np.repeat(public[:1], 20, 0), truth, public)["light"]
    assert blind.value in (pytest.approx(blind.chance), pytest.approx(1 - blind.chance))
    assert 0.5 <= blind.chance < 1
