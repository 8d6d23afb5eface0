import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.leak import leaked_of, rows_of_groups
from noli.ops.residual import best_restoration, leaked_rows, subtract_residual


def smooth(n, side=12, seed=0):
    generator = np.random.default_rng(seed)
    return np.clip(
        generator.normal(128, 25, (n, 1, 1, 3)) + generator.normal(0, 8, (n, side, side, 3)), 30, 220
    )


@given(st.lists(st.integers(2, 30), min_size=1, max_size=6), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_pairs_are_spread_evenly_and_never_exceed_what_was_promised(counts, total):
    labels = np.repeat(np.arange(len(counts)), counts)
    groups, pairs = leaked_rows(labels, total)
    leaked = [leaked_of(rows, pairs) for rows in rows_of_groups(groups)]
    assert all(1 <= len(rows) <= max(1, (groups == groups[rows[0]]).sum() // 2) for rows in leaked)
    assert sum(map(len, leaked)) <= total
    if total < len(counts):
        assert len(np.unique(groups)) == 1
    else:
        assert np.array_equal(groups, labels)
        assert [len(rows) for rows in leaked] == [
            max(1, min(total // len(counts), count // 2)) for count in counts
        ]


def test_fewer_pairs_than_classes_come_from_several_classes():
    labels = np.repeat(np.arange(20), 30)  # as class folders are listed
    groups, pairs = leaked_rows(labels, 10)
    (rows,) = rows_of_groups(groups)
    assert np.array_equal(np.sort(rows), np.arange(600))
    assert len(set(labels[rows[:pairs]])) >= 5
    for rows, group in zip(rows_of_groups(labels), range(20), strict=True):
        assert np.array_equal(rows, np.flatnonzero(labels == group))


@pytest.mark.parametrize(("channels", "pairs"), [(3, 1), (1, 3)])
def test_subtraction_equals_one_value_at_a_time(channels, pairs):
    generator = np.random.default_rng(3)
    clean, protected = generator.integers(0, 256, (2, 12, 3, 5, channels), np.uint8)
    groups = np.arange(12) % 2
    fast = subtract_residual(clean, protected, groups, pairs)
    for i, r, c, k in np.ndindex(protected.shape):
        leaked = [j for j in range(12) if groups[j] == groups[i]][:pairs]
        change = sum(int(protected[j, r, c, k]) - int(clean[j, r, c, k]) for j in leaked) / pairs
        assert abs(fast[i, r, c, k] - min(max(protected[i, r, c, k] - change, 0), 255)) <= 0.51


def test_class_wise_noise_is_gone_after_one_pair_per_class():
    clean, labels = smooth(20).astype(np.uint8), np.arange(20) % 2
    noise = np.random.default_rng(1).integers(-8, 9, (2, 12, 12, 3))
    protected = (clean + noise[labels]).astype(np.uint8)
    restored = subtract_residual(clean, protected, labels, 1)
    assert np.array_equal(restored, clean)
    name, leak = best_restoration(clean, protected, labels, 1, {"residual": restored, "none": protected})
    assert name == "residual"
    assert leak.gain > 20
    assert leak.restored is restored


def test_what_makes_things_worse_is_not_used():
    clean, labels = smooth(12).astype(np.uint8), np.zeros(12, np.int64)
    protected = (clean + np.random.default_rng(1).integers(-8, 9, clean.shape)).astype(np.uint8)
    worse = np.full_like(protected, 128)
    name, leak = best_restoration(clean, protected, labels, 2, {"worse": worse})
    assert (name, leak.gain) == ("", 0.0)
    assert leak.restored is protected
    # Nobody can choose where every image was leaked.
    assert best_restoration(clean, protected, np.arange(12), 1, {"worse": clean})[0] == ""
