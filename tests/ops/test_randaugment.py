"""Operations of the random policies against one pixel at a time, and how they are drawn."""

import math

import numpy as np
import pytest
import torch

from noli.ops.randaugment import (
    OPERATIONS,
    brightness,
    contrast,
    posterize,
    rand_augment,
    rotate,
    sharpness,
    shear_x,
    shear_y,
    solarize,
    translate_x,
    translate_y,
)

SHAPES = [(4, 3, 7, 7), (3, 1, 5, 8), (2, 3, 1, 1)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(shape):
    return torch.rand(shape, generator=seeded(1))


def strengths(n):
    return torch.rand(n, generator=seeded(2)) * 2 - 1


def looked_up(image, matrix):
    """Bilinear lookup of ``matrix @ (x, y, 1)`` in [-1, 1] units, pixel centres inside, black outside."""
    _, h, w = image.shape
    out = np.zeros_like(image)
    for r in range(h):
        for c in range(w):
            u, v = matrix @ [(2 * c + 1) / w - 1, (2 * r + 1) / h - 1, 1]
            x, y = ((u + 1) * w - 1) / 2, ((v + 1) * h - 1) / 2
            x0, y0 = math.floor(x), math.floor(y)
            for i in (y0, y0 + 1):
                for j in (x0, x0 + 1):
                    if 0 <= i < h and 0 <= j < w:
                        out[:, r, c] += (1 - abs(y - i)) * (1 - abs(x - j)) * image[:, i, j]
    return out


MATRICES = {
    rotate: lambda s: [[math.cos(s * math.pi / 6), -math.sin(s * math.pi / 6), 0],
                       [math.sin(s * math.pi / 6), math.cos(s * math.pi / 6), 0]],
    shear_x: lambda s: [[1, 0.3 * s, 0], [0, 1, 0]],
    shear_y: lambda s: [[1, 0, 0], [0.3 * s, 1, 0]],
    translate_x: lambda s: [[1, 0, 0.6 * s], [0, 1, 0]],
    translate_y: lambda s: [[1, 0, 0], [0, 1, 0.6 * s]],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operation", MATRICES)
def test_geometry_equals_bilinear_lookup(operation, shape):
    x, s = pictures(shape), strengths(shape[0])
    fast = operation(x, s).numpy()
    for i in range(len(x)):
        matrix = np.array(MATRICES[operation](float(s[i])))
        assert np.allclose(fast[i], looked_up(x[i].double().numpy(), matrix), atol=1e-4)


def smoothed(image):
    _, h, w = image.shape
    p = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    out = np.empty_like(image)
    for r in range(h):
        for c in range(w):
            out[:, r, c] = (4 * image[:, r, c] + p[:, r : r + 3, c : c + 3].sum((1, 2))) / 13
    return out


TONES = {
    contrast: lambda x, s: np.clip(x.mean() + (1 + 0.9 * s) * (x - x.mean()), 0, 1),
    brightness: lambda x, s: np.clip(x * (1 + 0.9 * s), 0, 1),
    solarize: lambda x, s: np.where(x > 1 - abs(s), 1 - x, x),
    sharpness: lambda x, s: np.clip(x + 0.9 * s * (x - smoothed(x)), 0, 1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operation", TONES)
def test_tones_equal_their_formula(operation, shape):
    x, s = pictures(shape), strengths(shape[0])
    fast = operation(x, s).numpy()
    for i in range(len(x)):
        assert np.allclose(fast[i], TONES[operation](x[i].double().numpy(), float(s[i])), atol=1e-5)


def test_posterize_keeps_leading_bits():
    levels = torch.arange(256).float().view(1, 1, 16, 16) / 255
    for bits in range(5):
        out = posterize(levels, torch.tensor([bits / 4])) * 255
        expected = [(v >> bits) << bits for v in range(256)]
        assert np.allclose(out.flatten().numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_strength_zero_changes_nothing_and_the_range_holds(operation):
    x = pictures((3, 3, 6, 6))
    assert torch.allclose(operation(x, torch.zeros(3)), x, atol=1e-6)
    for s in (-1.0, 1.0):
        out = operation(x, torch.full((3,), s))
        assert out.shape == x.shape
        assert float(out.min()) >= -1e-6
        assert float(out.max()) <= 1 + 1e-6


@pytest.mark.parametrize(("count", "strength"), [(1, None), (2, 0.5), (3, 1.0)])
def test_policies_equal_one_image_at_a_time(count, strength):
    x = pictures((30, 3, 6, 6))
    fast, draws, n = rand_augment(x, seeded(5), count, strength), seeded(5), 30
    slow, used = x.clone(), set()
    for _ in range(count):
        kind = torch.randint(0, len(OPERATIONS), (n,), generator=draws)
        size = torch.rand(n, generator=draws) if strength is None else torch.full((n,), strength)
        sign = 1 - 2 * torch.randint(0, 2, (n,), generator=draws)
        for i in range(n):
            slow[i] = OPERATIONS[kind[i]](slow[i : i + 1], (size * sign)[i : i + 1])[0]
        used |= set(kind.tolist())
    assert torch.allclose(fast, slow.clamp(0, 1), atol=1e-6)
    assert used == set(range(len(OPERATIONS)))


def test_nothing_global_moves_and_empty_batches_work():
    state = torch.random.get_rng_state()
    x = pictures((2, 1, 5, 5))
    before = x.clone()
    rand_augment(x, seeded())
    assert torch.equal(x, before)
    assert rand_augment(torch.zeros(0, 3, 4, 4), seeded()).shape == (0, 3, 4, 4)
    assert torch.equal(state, torch.random.get_rng_state())
