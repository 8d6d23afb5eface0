"""Matching sets of codes with pictures: against brute force, and on random networks with planted orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from crops import crops
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from noli.core.errors import DataError
from noli.core.images import to_float
from noli.ops.decipher.rematch import assigned, boosted, fitted, nearness, rate, taught
from noli.ops.decipher.tokens import ordered, reduced, standard, statistics, summary
from noli.ops.randomcodes import random_coder
from noli.testing import KEYS

SIDE, PATCH, COUNT = 32, 4, 200
PLACES = (SIDE // PATCH) ** 2


def secret(images: np.ndarray, number: int, width: int, depth: int) -> np.ndarray:
    """Codes in order, ``[N, P, D]``; depth -1: one linear layer."""
    stream = KEYS[number].stream("test/rematch", f"{width}/{depth}")
    shown = torch.from_numpy(np.ascontiguousarray(to_float(images)))
    if depth < 0:
        patches = torch.nn.functional.unfold(shown * 2 - 1, PATCH, stride=PATCH).transpose(1, 2).numpy()
        weight = stream.uniform(patches.shape[2] * width, -1, 1).reshape(patches.shape[2], width)
        return patches @ weight.astype(np.float32)
    net = random_coder(stream, side=SIDE, channels=3, patch=PATCH, width=width, depth=depth)
    with torch.no_grad():
        return np.stack([net.codes(one).numpy() for one in shown])


def mixed(codes: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    orders = np.stack([draw.permutation(codes.shape[1]) for _ in codes])
    return np.take_along_axis(codes, orders[:, :, None], axis=1), orders


def share(scores: np.ndarray) -> float:
    return float((assigned(scores).codes == np.arange(len(scores))).mean())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_assignment_is_the_best_of_all(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=(count, count))
    rows = np.arange(count)
    best = max(permutations(range(count)), key=lambda order: scores[rows, list(order)].sum())
    match = assigned(scores)
    assert match.codes.tolist() == list(best)
    for row in rows:
        others = np.delete(scores[row], best[row])
        gap = scores[row, best[row]] - others.max() if count > 1 else 0
        assert match.sure[row] == pytest.approx(gap, abs=1e-5)
    with pytest.raises(DataError, match="As many"):
        assigned(np.zeros((2, 3)))


@given(st.integers(1, 60), st.data())
def test_the_interval_is_where_either_tail_is_a_fortieth(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    found = rate(right, count)
    assert found.low <= found.share == right / count <= found.high
    assert found.chance == 1 / count
    above = binom.sf(right - 1, count, found.low) if right else 0.025
    below = binom.cdf(right, count, found.high) if right < count else 0.025
    assert above == pytest.approx(0.025, abs=1e-6)
    assert below == pytest.approx(0.025, abs=1e-6)


def test_no_share_of_nothing() -> None:
    for right, count in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(DataError, match="needs pictures"):
            rate(right, count)
    with pytest.raises(DataError, match="sets of codes"):
        reduced(np.zeros((0, 2, 3)))


def test_main_directions_keep_distances_and_the_order_says_nothing() -> None:
    codes = np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
    small = reduced(codes)
    assert small.shape == (5, 7, 6)
    for one, other in ((codes, small), (codes[0], small[0])):
        flat = [x.reshape(-1, 6) for x in (one, other)]
        assert np.allclose(nearness(flat[0], flat[0]), nearness(flat[1], flat[1]), atol=1e-4)
    assert reduced(codes, 2).shape == (5, 7, 2)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0].astype(np.float32)
    assert np.allclose(statistics(mixed(codes)[0] @ turned), statistics(codes), atol=1e-2)


def test_nearness_pair_by_pair() -> None:
    one, other = (np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (4, 6))
    slow = [[-((a - b) ** 2).sum() for b in other] for a in one]
    assert np.allclose(nearness(one, other), slow, atol=1e-5)


def test_summaries_are_the_main_components() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2, 4)).astype(np.float32)
    flat = values.reshape(9, -1) - values.reshape(9, -1).mean(0)
    left = np.linalg.svd(flat, full_matrices=False)[0][:, :3]
    found = summary(values, 3)
    assert found.shape == (9, 3)
    assert np.allclose(np.abs(found), np.abs(left) * 3, atol=1e-4)
    assert np.allclose(standard(found).std(axis=0), 1, atol=1e-4)
    # Nothing that varies is nothing that can be told.
    assert summary(np.zeros((4, 2), np.float32), 3).shape[0] == 4


def test_places_give_the_order_away() -> None:
    codes, orders = mixed(secret(crops(40, SIDE), 0, 64, 4))
    found = ordered(reduced(codes))
    # Which place of the picture each group is: the same in all pictures, or the order was not found.
    places = np.take_along_axis(orders, found, axis=1)
    assert all(sorted(row) == list(range(PLACES)) for row in places.tolist())
    most = [np.bincount(places[:, column], minlength=PLACES).max() / 40 for column in range(PLACES)]
    assert np.mean(most) > 0.9


# The bars of the challenge: a linear encoder is matched to more than 99 %; above 20 % privacy is "bad".
def test_a_linear_encoder_is_matched_to_the_last_picture_but_one() -> None:
    images = crops(COUNT, SIDE)
    theirs, mine = reduced(mixed(secret(images, 0, 256, -1))[0]), reduced(secret(images, 1, 256, -1))
    start = assigned(nearness(statistics(mine), statistics(theirs)))
    # Such codes have no places; their mean does not depend on the order.
    found = boosted(mine.mean(axis=1), theirs.mean(axis=1), start)
    assert float((found.codes == np.arange(COUNT)).mean()) > 0.99


def test_neuracrypt_of_reduced_width_is_matched_by_boosting() -> None:
    images = crops(COUNT, SIDE)
    theirs, mine = reduced(mixed(secret(images, 0, 256, 4))[0]), reduced(secret(images, 1, 256, 4))
    theirs = np.take_along_axis(theirs, ordered(theirs)[:, :, None], axis=1)
    start = assigned(nearness(*(statistics(x - x.mean(0)) for x in (mine, theirs))))
    begun = float((start.codes == np.arange(COUNT)).mean())
    found = float((boosted(mine, theirs, start).codes == np.arange(COUNT)).mean())
    assert found > max(0.2, begun)
    assert rate(round(found * COUNT), COUNT).low > 1 / COUNT


def test_pairs_teach_the_rest() -> None:
    images = crops(COUNT, SIDE)
    theirs, mine = reduced(secret(images, 0, 256, 4)), reduced(secret(images, 1, 256, 4))
    known = np.arange(100)
    by_distance = fitted(mine, theirs, known, known)[100:, 100:]
    by_squares = taught(summary(mine, 40), summary(theirs, 40), known, known)[100:, 100:]
    assert share(by_distance) > 0.2
    assert share(by_squares) > 0.2


def test_what_has_nothing_in_common_is_matched_by_chance_only() -> None:
    draw = np.random.default_rng(0)
    theirs, mine = (draw.normal(size=(60, 10, 8)).astype(np.float32) for _ in range(2))
    start = assigned(nearness(statistics(mine), statistics(theirs)))
    found = boosted(mine, theirs, start)
    assert sorted(found.codes.tolist()) == list(range(60))
    assert rate(int((found.codes == np.arange(60)).sum()), 60).low < 1 / 60
