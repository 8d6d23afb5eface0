"""Boxes against slow, obvious versions: overlap by counting pixels, suppression and precision by loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.boxes import OVERLAPS, Marked, average_precision, mean_precision, overlap, suppressed


def drawn(rng: np.random.Generator, count: int, side: int = 24) -> np.ndarray:
    """Boxes with whole sides, empty ones among them."""
    corner = rng.integers(0, side, (count, 2))
    return np.concatenate([corner, corner + rng.integers(0, side // 2, (count, 2))], 1).astype(float)


def pixels(box: np.ndarray) -> set[tuple[int, int]]:
    left, top, right, bottom = map(int, box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


def slow_overlap(a: np.ndarray, b: np.ndarray) -> float:
    one, other = pixels(a), pixels(b)
    return len(one & other) / len(one | other) if one | other else 0.0


def slow_precision(found: list[Marked], true: list[Marked], classes: int, least: float) -> float:
    """Precision at every length of the list, best precision at this recall or a higher one, by definition."""
    areas = []
    for label in range(classes):
        truths = [
            (i, j) for i, one in enumerate(true) for j in range(len(one.boxes)) if one.labels[j] == label
        ]
        rows = [(float(one.scores[j]), i, j) for i, one in enumerate(found) for j in range(len(one.boxes))
                if one.labels[j] == label]  # fmt: skip
        rows.sort(key=lambda row: -row[0])
        taken: set[tuple[int, int]] = set()
        hits: list[bool] = []
        for _, i, j in rows:
            best, where = -1.0, None
            for at, k in truths:
                shared = slow_overlap(found[i].boxes[j], true[at].boxes[k]) if at == i else -1.0
                if at == i and (at, k) not in taken and shared > best:
                    best, where = shared, (at, k)
            hits.append(best >= least)
            if hits[-1] and where is not None:
                taken.add(where)
        if not truths:
            continue
        points = [(sum(hits[:n]) / len(truths), sum(hits[:n]) / n) for n in range(1, len(hits) + 1)]
        steps = sorted({recall for recall, _ in points if recall > 0})
        area, last = 0.0, 0.0
        for recall in steps:
            area += (recall - last) * max(p for r, p in points if r >= recall)
            last = recall
        areas.append(area)
    return float(np.mean(areas)) if areas else math.nan


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_overlap_counts_pixels(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = drawn(rng, n), drawn(rng, m)
    expected = np.array([[slow_overlap(one, other) for other in b] for one in a]).reshape(n, m)
    np.testing.assert_allclose(overlap(a, b), expected, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
@settings(deadline=None, max_examples=60)
def test_of_two_that_overlap_the_surer_stays(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, labels = drawn(rng, n), rng.integers(0, 2, n)
    scores = rng.integers(0, 4, n) / 4  # many ties
    kept: list[int] = []
    for place in sorted(range(n), key=lambda i: -scores[i]):
        same = [other for other in kept if labels[other] == labels[place]]
        if all(slow_overlap(boxes[place], boxes[other]) <= 0.5 for other in same):
            kept.append(place)
    assert suppressed(boxes, scores, labels).tolist() == kept
    for limit in (0, 1, 3):
        assert suppressed(boxes, scores, labels, limit=limit).tolist() == kept[:limit]


def marks(rng: np.random.Generator, pictures: int, classes: int) -> tuple[list[Marked], list[Marked]]:
    """True boxes, and findings some of which are those moved by a pixel or two, with ties."""
    found, true = [], []
    for _ in range(pictures):
        truth = drawn(rng, int(rng.integers(0, 6)))
        near = truth[rng.random(len(truth)) < 0.8] + rng.integers(-1, 2, (1, 4))
        boxes = np.concatenate([near, near, drawn(rng, int(rng.integers(0, 4)))])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        boxes = np.maximum(boxes, 0)
        scores = rng.integers(0, 5, len(boxes)) / 5
        found.append(Marked(boxes, rng.integers(0, classes, len(boxes)), scores))
        true.append(Marked(truth, rng.integers(0, classes, len(truth))))
    return found, true


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_precision_is_that_of_the_definition(seed: int, pictures: int, classes: int) -> None:
    found, true = marks(np.random.default_rng(seed), pictures, classes)
    expected = [slow_precision(found, true, classes, least) for least in OVERLAPS]
    got = mean_precision(found, true, classes)
    np.testing.assert_allclose([got.at_half, got.coco], [expected[0], np.mean(expected)], atol=1e-12)


def one(*boxes: tuple[float, ...], scores: Any = ()) -> Marked:
    return Marked(np.array(boxes, float).reshape(-1, 4), np.zeros(len(boxes), int), np.array(scores, float))


def test_cases_that_are_known() -> None:
    box, far = (0, 0, 10, 10), (20, 20, 30, 30)
    assert mean_precision([one(box, scores=[0.3])], [one(box)], 1).coco == 1
    # A double is wrong, whatever its overlap.
    twice = mean_precision([one(box, box, scores=[0.9, 0.8])], [one(box)], 1)
    assert twice.at_half == 1
    # The wrong one first: precision 1/2 at full recall.
    assert mean_precision([one(far, box, scores=[0.9, 0.8])], [one(box)], 1).at_half == 0.5
    # A crowd: two true boxes that overlap are found by two boxes, not by one twice.
    crowd = [(0, 0, 10, 10), (2, 0, 12, 10)]
    assert mean_precision([one(*crowd, scores=[0.9, 0.8])], [one(*crowd)], 1).coco == 1
    assert mean_precision([one(box, scores=[0.5])], [one((0, 0, 10, 20))], 1).at_half == 1  # exactly a half
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx((1 + 2 / 3) / 4)


def test_nothing_found_and_nothing_there() -> None:
    assert mean_precision([one()], [one((0, 0, 5, 5))], 1).at_half == 0
    assert math.isnan(mean_precision([one((0, 0, 5, 5), scores=[1])], [one()], 1).at_half)
    assert math.isnan(mean_precision([], [], 2).coco)
    half = mean_precision([one((0, 0, 5, 5), scores=[1])], [one((0, 0, 5, 5))], 2)
    assert half.at_half == 1  # a class without true boxes does not count
    assert math.isnan(half.of_class[1])
    assert suppressed(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)).tolist() == []
