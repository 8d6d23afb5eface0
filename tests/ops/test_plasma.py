"""Plasma fields and the augmentation of UEraser against one field, one image at a time."""

import numpy as np
import pytest
import torch

from noli.ops.plasma import erase, plasma, plasma_brightness, plasma_contrast, shuffle_channels


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def enlarged(noise, h, w):
    """Bilinear enlargement whose corners stay corners."""
    rows, columns = noise.shape
    out = np.empty((h, w))
    for r in range(h):
        for c in range(w):
            y = r * (rows - 1) / (h - 1) if h > 1 else 0
            x = c * (columns - 1) / (w - 1) if w > 1 else 0
            i, j = min(int(y), max(rows - 2, 0)), min(int(x), max(columns - 2, 0))
            below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
            top = noise[i, j] * (1 - (x - j)) + noise[i, right] * (x - j)
            bottom = noise[below, j] * (1 - (x - j)) + noise[below, right] * (x - j)
            out[r, c] = top * (1 - (y - i)) + bottom * (y - i)
    return out


@pytest.mark.parametrize(("h", "w"), [(8, 8), (5, 11), (1, 6), (1, 1)])
def test_fields_are_the_sum_of_octaves(h, w):
    fast = plasma(3, h, w, seeded(4)).numpy()
    draws = seeded(4)
    roughness = 0.3 + 0.4 * torch.rand(3, 1, 1, 1, generator=draws)
    fields, cells, octave = np.zeros((3, h, w)), 1, 0
    while True:
        noise = torch.rand(3, 1, min(cells + 1, h), min(cells + 1, w), generator=draws).double().numpy()
        for i in range(3):
            fields[i] += float(roughness[i]) ** octave * enlarged(noise[i, 0], h, w)
        if cells >= max(h, w) - 1:
            break
        cells, octave = 2 * cells, octave + 1
    for i in range(3):
        spread = max(np.ptp(fields[i]), 1e-6)
        assert np.allclose(fast[i, 0], (fields[i] - fields[i].min()) / spread, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 3, 6, 9), (2, 1, 5, 5)])
def test_brightness_and_contrast_equal_their_formula(shape):
    x, n = torch.rand(shape, generator=seeded(1)), shape[0]
    draws = seeded(2)
    intensity = 0.5 + 0.5 * torch.rand(n, 1, 1, 1, generator=draws)
    field = plasma(n, *shape[2:], draws)
    bright, strong = plasma_brightness(x, seeded(2)), plasma_contrast(x, seeded(3))
    scale = plasma(n, *shape[2:], seeded(3))
    for i, c, r, s in np.ndindex(*shape):
        moved = float(x[i, c, r, s]) + float(intensity[i]) * (2 * float(field[i, 0, r, s]) - 1)
        assert abs(float(bright[i, c, r, s]) - min(max(moved, 0), 1)) < 1e-5
        scaled = 0.5 + 4 * float(scale[i, 0, r, s]) * (float(x[i, c, r, s]) - 0.5)
        assert abs(float(strong[i, c, r, s]) - min(max(scaled, 0), 1)) < 1e-5


def test_channels_are_permuted_in_the_right_share():
    x = torch.rand((400, 3, 2, 2), generator=seeded(1))
    out = shuffle_channels(x, seeded(2))
    for before, after in zip(x, out, strict=True):
        assert sorted(before[:, 0, 0].tolist()) == sorted(after[:, 0, 0].tolist())
    # One of six orders changes nothing.
    changed = float((out != x).any(3).any(2).any(1).float().mean())
    assert abs(changed - 0.5 * 5 / 6) < 0.08
    grey = x[:, :1]
    assert torch.equal(shuffle_channels(grey, seeded(2)), grey)
    assert torch.equal(shuffle_channels(x, seeded(2), 0.0), x)


@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (2, 1, 7, 3), (0, 3, 8, 8)])
def test_erase_keeps_shape_and_range_and_follows_the_generator(shape):
    state = torch.random.get_rng_state()
    x = torch.rand(shape, generator=seeded(1))
    before = x.clone()
    out = erase(x, seeded(3))
    assert out.shape == x.shape
    assert torch.equal(x, before)
    assert torch.equal(out, erase(x, seeded(3)))
    if len(x):
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1
        assert not torch.equal(out, erase(x, seeded(4)))
    assert torch.equal(state, torch.random.get_rng_state())
