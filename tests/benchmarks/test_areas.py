import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from areas import auc_difference, macro_auc


def slow_auc(scores, labels):
    """The definition: the share of pairs in the right order, ties half, per class; then the mean."""
    areas = []
    for label in sorted(set(labels)):
        own = [row[label] for row, y in zip(scores, labels, strict=True) if y == label]
        rest = [row[label] for row, y in zip(scores, labels, strict=True) if y != label]
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in own for b in rest]
        areas.append(sum(wins) / len(wins))
    return sum(areas) / len(areas)


@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=25).filter(lambda found: len(set(found)) > 1),
    levels=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_area_counts_pairs_and_halves_ties(labels, levels, seed):
    scores = np.random.default_rng(seed).integers(levels, size=(len(labels), 4)).astype(np.float32)
    assert macro_auc(scores, np.array(labels)) == pytest.approx(slow_auc(scores, labels), abs=1e-12)


def test_area_known_values_and_refusal():
    labels = np.array([0, 0, 1, 2])
    perfect = np.eye(3)[labels]
    assert macro_auc(perfect, labels) == 1.0
    assert macro_auc(-perfect, labels) == 0.0
    assert macro_auc(np.zeros((4, 3)), labels) == 0.5
    with pytest.raises(ValueError, match="two classes"):
        macro_auc(perfect[:2], labels[:2])


def noisy_scores(generator, labels, noise):
    return np.eye(3)[labels] + noise * generator.normal(size=(len(labels), 3))


def test_difference_of_areas_is_paired_and_signed():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], (60, 40, 7))
    good = noisy_scores(generator, labels, 0.7)
    bad = noisy_scores(generator, labels, 3.0)
    # Scored twice in the same way, nothing moves in any resample: the items are the same ones.
    assert auc_difference(good, 2 * good - 1, labels, draws=50) == (0.0, 0.0, 0.0)
    moved, low, high = auc_difference(good, bad, labels, draws=300)
    assert moved == pytest.approx(slow_auc(bad, labels) - slow_auc(good, labels))
    assert low < moved < high < 0
    back = auc_difference(bad, good, labels, draws=300)
    assert back == pytest.approx((-moved, -high, -low))


def test_the_interval_of_a_difference_follows_the_exact_distribution():
    generator, labels = np.random.default_rng(1), np.array([0, 0, 1, 1, 1])
    first, second = generator.normal(size=(5, 2)), generator.normal(size=(5, 2))
    # Every way to draw two items of the one class and three of the other, all equally likely.
    drawn = itertools.product(itertools.product((0, 1), repeat=2), itertools.product((2, 3, 4), repeat=3))
    rows = [np.array([*own, *other]) for own, other in drawn]
    exact = [slow_auc(second[r], labels[r]) - slow_auc(first[r], labels[r]) for r in rows]
    _, low, high = auc_difference(first, second, labels, confidence=0.5, draws=2000)
    assert np.mean(np.array(exact) < low - 1e-9) <= 0.28
    assert np.mean(np.array(exact) <= low + 1e-9) >= 0.22
    assert np.mean(np.array(exact) < high - 1e-9) <= 0.78
    assert np.mean(np.array(exact) <= high + 1e-9) >= 0.72
