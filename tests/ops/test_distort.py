"""Distortions against slow ones, and that gradients come through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noli.core.images import to_uint8
from noli.ops.countermeasures import jpeg
from noli.ops.distort import DISTORTIONS, blurred, compressed, distort, noisy, resized


def pictures() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_blur_against_a_loop() -> None:
    x = pictures()
    weights = np.exp(-np.array([[2, 1, 2], [1, 0, 1], [2, 1, 2]]) / 32.0)
    weights /= weights.sum()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    expected = sum(weights[i, j] * padded[:, :, i : i + 16, j : j + 16] for i in range(3) for j in range(3))
    np.testing.assert_allclose(blurred(x, generator()).numpy(), expected, atol=1e-6)


def test_jpeg_is_that_of_files_and_noise_has_its_size() -> None:
    x = pictures()
    found = to_uint8(compressed(x, generator()).numpy())
    assert np.array_equal(found, jpeg(to_uint8(x.numpy()), 50))
    large = torch.full((1, 3, 200, 200), 0.5)
    assert float((noisy(large, generator()) - large).std()) == pytest.approx(0.1, rel=0.02)
    flat = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(resized(flat, generator()), flat)
    checks = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    torch.testing.assert_close(
        resized(checks.float().expand(1, 3, 8, 8), generator()), torch.full((1, 3, 8, 8), 0.5)
    )


@pytest.mark.parametrize("name", DISTORTIONS)
def test_gradients_come_through_and_shapes_stay(name: str) -> None:
    x = pictures().requires_grad_()
    out = DISTORTIONS[name](x, generator())
    assert out.shape == x.shape
    out.sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0


def test_one_of_them_is_drawn() -> None:
    x, seen = pictures(), set()
    for seed in range(30):
        found = distort(x, torch.Generator().manual_seed(seed))
        seen |= {
            name
            for name in ("jpeg", "blur", "resize")
            if torch.equal(found, DISTORTIONS[name](x, generator()))
        }
    assert seen == {"jpeg", "blur", "resize"}
