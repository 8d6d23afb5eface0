import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from noli.ops.augment import crop_flip, cutmix, cutout, mixup, symmetric_beta, windowed


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=5, c=3, h=9, w=7, seed=1):
    return torch.rand(n, c, h, w, generator=seeded(seed))


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 4),
    c=st.sampled_from([1, 3]),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    pad=st.integers(0, 4),
)
def test_crop_flip_equals_cutting_one_image_at_a_time(n, c, h, w, pad):
    x = batch(n, c, h, w)
    fast = crop_flip(x, pad, seeded(3)).numpy()
    draws = seeded(3)
    top = torch.randint(0, 2 * pad + 1, (n,), generator=draws)
    left = torch.randint(0, 2 * pad + 1, (n,), generator=draws)
    mirrored = torch.rand(n, generator=draws) < 0.5
    for i in range(n):
        grown = np.pad(x[i].numpy(), ((0, 0), (pad, pad), (pad, pad)))
        cut = grown[:, top[i] : top[i] + h, left[i] : left[i] + w]
        assert np.array_equal(fast[i], cut[:, :, ::-1] if mirrored[i] else cut)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_window_maps_its_ends_to_black_and_white(channels):
    x = batch(40, channels)
    out, draws = windowed(x, seeded(2)).numpy(), torch.rand((2, 40), generator=seeded(2)).numpy() * 0.25
    for i in range(40):
        low, high = draws[0, i], 1 - draws[1, i]
        assert np.allclose(out[i], np.interp(x[i].numpy(), [low, high], [0, 1]), atol=1e-6)


def test_crop_flip_stays_channels_last_and_leaves_its_input_alone():
    x = batch().contiguous(memory_format=torch.channels_last)
    before = x.clone()
    out = crop_flip(x, 2, seeded())
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)


def test_cutout_blanks_exactly_one_square_per_image():
    x = batch(6, 3, 9, 7)
    fast = cutout(x, 4, seeded(5))
    draws = seeded(5)
    top = torch.randint(0, 9, (6, 1), generator=draws) - 2
    left = torch.randint(0, 7, (6, 1), generator=draws) - 2
    for i in range(6):
        for r in range(9):
            for c in range(7):
                hole = top[i, 0] <= r < top[i, 0] + 4 and left[i, 0] <= c < left[i, 0] + 4
                expected = torch.full((3,), 0.5) if hole else x[i, :, r, c]
                assert torch.equal(fast[i, :, r, c], expected)


def test_mixup_equals_the_formula_one_image_at_a_time():
    x, y = batch(6), torch.tensor([0, 1, 2, 0, 1, 2])
    mixed, soft = mixup(x, y, 3, 0.4, seeded(7))
    draws = seeded(7)
    other = torch.randperm(6, generator=draws)
    weight = symmetric_beta(6, 0.4, draws)
    for i in range(6):
        w, j = float(weight[i]), int(other[i])
        assert np.allclose(mixed[i], w * x[i] + (1 - w) * x[j], atol=1e-6)
        expected = np.zeros(3)
        expected[y[i]] += w
        expected[y[j]] += 1 - w
        assert np.allclose(soft[i], expected, atol=1e-6)


def test_mixup_accepts_soft_labels():
    soft = torch.full((4, 3), 1 / 3)
    _, out = mixup(batch(4), soft, 3, 1.0, seeded())
    assert torch.allclose(out, soft)


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0])
def test_symmetric_beta_has_the_right_distribution(alpha):
    drawn = symmetric_beta(4000, alpha, seeded(11))
    assert drawn.shape == (4000,)
    assert stats.kstest(drawn.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_same_generator_same_result_and_no_global_randomness():
    state = torch.random.get_rng_state()
    x, y = batch(), torch.arange(5)
    assert torch.equal(crop_flip(x, 2, seeded(1)), crop_flip(x, 2, seeded(1)))
    assert not torch.equal(crop_flip(x, 2, seeded(1)), crop_flip(x, 2, seeded(2)))
    cutout(x, 3, seeded())
    mixup(x, y, 5, 0.4, seeded())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("h", "w", "c", "probability"), [(9, 7, 3, 0.5), (4, 5, 1, 1.0), (1, 1, 3, 1.0)])
def test_cutmix_equals_pasting_one_pixel_at_a_time(h, w, c, probability):
    x, y = batch(8, c, h, w), torch.arange(8) % 3
    mixed, soft = cutmix(x, y, 3, seeded(7), probability)
    draws = seeded(7)
    other = torch.randperm(8, generator=draws)
    area, used, row, column = torch.rand(4, 8, generator=draws).double().numpy()
    for i in range(8):
        side, covered, expected = area[i] ** 0.5 if used[i] < probability else 0, 0, x[i].clone()
        for r in range(h):
            for s in range(w):
                if abs(r + 0.5 - row[i] * h) < side * h / 2 and abs(s + 0.5 - column[i] * w) < side * w / 2:
                    expected[:, r, s], covered = x[other[i], :, r, s], covered + 1
        assert torch.equal(mixed[i], expected)
        labels = np.zeros(3)
        labels[y[i]] += 1 - covered / (h * w)
        labels[y[other[i]]] += covered / (h * w)
        assert np.allclose(soft[i], labels, atol=1e-6)


def test_cutmix_accepts_soft_labels_and_can_do_nothing():
    x, soft = batch(4), torch.full((4, 3), 1 / 3)
    same, labels = cutmix(x, soft, 3, seeded(), 0.0)
    assert torch.equal(same, x)
    assert torch.allclose(labels, soft)
