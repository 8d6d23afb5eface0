import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noli.ops import corrupt as module
from noli.ops.corrupt import CHANGES, corrupt, filtered, noisy, patterned, pixelated


def images(count: int, channels: int = 3, side: int = 9) -> torch.Tensor:
    x = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(count))
    return x.mul(255).round().div(255)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 7, 5), (5, 3, 9, 9)])
def test_what_comes_out_could_lie_in_a_file(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=generator())
    out = corrupt(x, generator(1))
    assert out.shape == shape
    assert torch.equal(out, corrupt(x, generator(1)))
    levels = out * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert out.numel() == 0 or (out.min() >= 0 and out.max() <= 1)


def test_about_a_sixth_of_the_pictures_stay_as_they_are() -> None:
    x = images(600, side=8)
    same = (corrupt(x, generator(2)) == x).flatten(1).all(1).float().mean()
    assert 0.12 < float(same) < 0.26  # 0.65 ** 4 = 0.18, and the weakest changes round to nothing


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_against_one_picture_at_a_time(channels: int) -> None:
    x = images(4, channels, side=7)
    draws = generator(3)
    side = module._SIDES[int(torch.randint(2, (1,), generator=draws))]
    taps = 0.3 * torch.rand(4, side * side, generator=draws)
    for image, weights, out in zip(x, taps, filtered(x, generator(3)), strict=True):
        weights[side * side // 2] = 1
        kernel = (weights / weights.sum()).view(1, 1, side, side)
        padded = F.pad(image[None], (side // 2,) * 4, mode="replicate")
        for plane, expected in zip(padded[0], out, strict=True):
            torch.testing.assert_close(F.conv2d(plane[None, None], kernel)[0, 0], expected)


def test_patterns_are_coarse_and_bounded() -> None:
    x = torch.full((50, 3, 16, 16), 0.5)
    for seed in range(6):
        change = patterned(x, generator(seed)) - x
        assert float(change.abs().max()) <= 24 / 255
        # The finest pattern has 8 cells: neighbouring pixels inside a cell never differ by the whole range.
        assert float(change.diff(dim=3).abs().mean()) < float(change.abs().mean())
        assert not torch.equal(change[0], change[1])


def test_noise_has_the_promised_strength_and_two_shapes() -> None:
    change = noisy(torch.full((400, 1, 16, 16), 0.5), generator(4)) - 0.5
    assert float(change.std((1, 2, 3)).max()) < 1.2 * 16 / 255
    two_valued = [len(np.unique(np.round(one.numpy(), 6))) == 2 for one in change]
    assert 140 < sum(two_valued) < 260


def test_few_pixels_are_replaced_whole() -> None:
    x = torch.full((200, 3, 20, 20), 0.5)
    hit = (pixelated(x, generator(5)) != x).any(1).float().mean((1, 2))
    assert 0.005 < float(hit.mean()) < 0.015
    assert float(hit.max()) < 0.05


def test_every_kind_moves_by_the_given_generator_only() -> None:
    before = torch.random.get_rng_state()
    for change in CHANGES:
        assert torch.equal(change(images(3), generator(1)), change(images(3), generator(1)))
    assert torch.equal(before, torch.random.get_rng_state())
