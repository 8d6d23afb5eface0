import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from noli.ops.leak import leaked_of, rows_of_groups
from noli.ops.residual import leaked_rows, restoration_gains, subtract_patterns, subtract_residual


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
    gains = restoration_gains(clean, protected, labels, 1, {"residual": restored, "none": protected})
    assert gains["residual"] > 20
    assert gains["none"] == 0
    # Nobody can judge where every image was leaked.
    assert restoration_gains(clean, protected, np.arange(20), 1, {"residual": restored}) == {}


def photographs(n, side=32, seed=0):
    generator = np.random.default_rng(seed)
    whole = np.concatenate([data.astronaut(), data.coffee()[:, :512]])
    places = generator.integers(0, np.array(whole.shape[:2]) - side, (n, 2))
    return np.stack([whole[r : r + side, c : c + side] for r, c in places])


def patterned(n, kinds, seed=0):
    clean, generator = photographs(n, seed=seed), np.random.default_rng(seed + 1)
    noise = generator.integers(-8, 9, (kinds, *clean.shape[1:]))
    kind = generator.integers(0, kinds, n)
    return clean, np.clip(clean + noise[kind], 0, 255).astype(np.uint8), kind


def test_every_image_loses_the_pattern_that_an_oracle_finds():
    clean, protected, kind = patterned(60, 3)
    leaked = np.array([int(np.flatnonzero(kind == k)[n]) for k in range(3) for n in range(2)])
    fast = subtract_patterns(clean, protected, leaked)
    changes = protected[leaked].astype(float) - clean[leaked]
    means = [changes[2 * k : 2 * k + 2].mean(0) for k in range(3)]  # two leaked pairs of every kind

    def roughness(image):
        return sum((np.diff(image, axis=axis) ** 2).sum() for axis in (0, 1))

    for row in range(60):
        tried = [protected[row].astype(float), *(protected[row] - mean for mean in means)]
        best = min(tried, key=roughness)
        assert np.abs(fast[row] - np.clip(best, 0, 255)).max() <= 0.51


def test_noise_of_a_few_patterns_is_found_whatever_the_class():
    clean, protected, _ = patterned(300, 4)
    labels, rows = np.arange(300) % 10, np.arange(100)
    tried = {
        "patterns": subtract_patterns(clean, protected, rows),
        "residual": subtract_residual(clean, protected, labels, 10),
    }
    gains = restoration_gains(clean, protected, labels, 10, tried)
    assert gains["patterns"] > 10  # what was clipped stays lost
    assert gains["residual"] < 3


def test_noise_that_is_every_image_s_own_is_not_found():
    clean = photographs(120)
    noise = np.random.default_rng(1).integers(-8, 9, clean.shape)
    protected = np.clip(clean + noise, 0, 255).astype(np.uint8)
    restored = subtract_patterns(clean, protected, np.arange(40))
    # What fits no pattern stays as it is.
    assert np.mean(np.any(restored[40:] != protected[40:], axis=(1, 2, 3))) < 0.2
    assert np.abs(restored[:40].astype(int) - clean[:40]).max() <= 1
