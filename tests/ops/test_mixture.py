"""A thief who undoes filters and noise together: against dense least squares, and by what he gains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.filters import filter_batch
from noli.ops.leak import exposure_free_psnr, leak_attack
from noli.ops.mixture import _cells, _solved, estimate_mixture
from noli.ops.residual import subtract_residual


def smooth(n, side=16, channels=3, seed=0, margin=40):
    """Images with some structure, away from black and white."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(margin, 255 - margin, (n, 4, 4, channels))
    grown = coarse.repeat(-(-side // 4), 1).repeat(-(-side // 4), 2)[:, :side, :side]
    return np.clip(grown + rng.normal(0, 8, grown.shape), 0, 255).astype(np.uint8)


def slow(x, y, usable, k, border, cells):
    """The same problem with one column per tap and one per cell, written out pixel by pixel."""
    pad, size = k // 2, x.shape[1:3]
    free = int(cells.max()) + 1

    def inside(at):
        if border == "reflect":
            at = [abs(v) if v < n else 2 * n - 2 - v for v, n in zip(at, size, strict=True)]
        return at if all(0 <= v < n for v, n in zip(at, size, strict=True)) else None

    rows, wanted = [], []
    for p, i, j, c in np.argwhere(usable):
        row = np.zeros(k * k + free)
        for a, b in np.ndindex(k, k):
            at = inside((i + a - pad, j + b - pad))
            row[a * k + b] = 0 if at is None else x[p, at[0], at[1], c]
        if free:
            row[k * k + cells[i, j, c]] = 1
        rows.append(row)
        wanted.append(y[p, i, j, c])
    found, *_ = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)
    return found[: k * k].reshape(k, k), found[k * k :]


@pytest.mark.parametrize("border", ["zero", "reflect"])
@pytest.mark.parametrize("which", range(4), ids=["nothing", "grid 4", "grid 8", "pixels"])
@pytest.mark.parametrize(("height", "width", "channels"), [(9, 8, 3), (8, 11, 1)])
def test_taps_and_offsets_equal_those_of_the_dense_problem(border, which, height, width, channels):
    rng = np.random.default_rng(which)
    x, y = rng.uniform(0.2, 0.8, (2, 2, height, width, channels))
    usable = rng.random(x.shape) < 0.95
    cells = _cells(2, height, width, channels)[which]
    found = _solved(x, y, usable, 3, border, cells)
    taps, offset = slow(x, y, usable, 3, border, cells)
    np.testing.assert_allclose(found.kernel, taps / taps.sum(), rtol=1e-3, atol=1e-4)
    if which == 0:
        assert found.offset is None
        return
    seen = np.zeros(len(offset), bool)
    seen[np.broadcast_to(cells, usable.shape)[usable]] = True
    place = seen[cells]  # where nothing was seen, nothing is known
    np.testing.assert_allclose(found.offset[place], offset[cells][place], rtol=1e-3, atol=1e-3)


def protected(x, seed=0, kernel=None, offset=None):
    y = x.astype(np.float32) / 255
    if kernel is not None:
        kernels = np.repeat(kernel[None].astype(np.float32), len(x), 0)
        y = filter_batch(y.transpose(0, 3, 1, 2), kernels, "zero").transpose(0, 2, 3, 1)
    if offset is not None:
        y = y + offset
    return np.clip(np.rint(y * 255), 0, 255).astype(np.uint8)


KERNEL = np.array([[0, 0.1, 0], [0.3, 0.3, 0.1], [0, 0.2, 0]])


def test_one_pair_gives_away_a_filter_under_blocks_of_colour_and_two_give_away_any_noise():
    x, rng = smooth(12, side=32), np.random.default_rng(1)
    blocks = rng.uniform(-0.04, 0.04, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
    speckle = rng.uniform(-0.04, 0.04, (32, 32, 3))
    labels = np.zeros(12, np.int64)
    for offset, pairs in ((blocks, 1), (speckle, 4)):
        y = protected(x, kernel=KERNEL, offset=offset)
        found = estimate_mixture(list(zip(x[:pairs], y[:pairs], strict=True)))
        assert found.kernel.shape == (3, 3)
        np.testing.assert_allclose(found.kernel, KERNEL / KERNEL.sum(), atol=0.03)
        np.testing.assert_allclose(found.offset, offset, atol=0.02)
        restored = leak_attack(x, y, labels, pairs, estimate_mixture).restored
        gain = exposure_free_psnr(x[4:], restored[4:]) - exposure_free_psnr(x[4:], y[4:])
        alone = [leak_attack(x, y, labels, pairs).restored, subtract_residual(x, y, labels, pairs)]
        best = max(float(exposure_free_psnr(x[4:], images[4:]).mean()) for images in alone)
        assert gain.mean() > 8
        assert exposure_free_psnr(x[4:], restored[4:]).mean() > best + 4


def test_noise_alone_needs_no_filter_and_a_filter_alone_no_offset():
    x = smooth(6, side=32)
    noise = np.random.default_rng(2).uniform(-0.03, 0.03, (4, 4, 1)).repeat(8, 0).repeat(8, 1)
    found = estimate_mixture([(x[0], protected(x, offset=noise)[0])])
    assert found.kernel.shape == (1, 1)
    np.testing.assert_allclose(found.offset, np.broadcast_to(noise, (32, 32, 3)), atol=0.02)
    found = estimate_mixture([(x[0], protected(x, kernel=KERNEL)[0])])
    assert found.offset is None
    np.testing.assert_allclose(found.kernel, KERNEL / KERNEL.sum(), atol=0.02)


@given(
    n=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.sampled_from([1, 3]),
    flat=st.sampled_from([None, 0, 128, 255]),
)
@settings(max_examples=40, deadline=None)
def test_any_size_and_flat_or_clipped_images_give_a_finite_estimate(n, height, width, channels, flat):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, n, height, width, channels), np.uint8)
    if flat is not None:
        y = np.full_like(y, flat)
    found = estimate_mixture(list(zip(x, y, strict=True)))
    assert np.isfinite(found.kernel).all()
    assert found.offset is None or np.isfinite(found.offset).all()
