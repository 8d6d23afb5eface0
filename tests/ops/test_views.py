import numpy as np
import pytest
import torch

from noli.ops.countermeasures import grayscale
from noli.ops.views import grey, random_view, recolour, window


def images(count: int, channels: int = 3, side: int = 9) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(count))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 7, 5), (5, 3, 9, 9)])
def test_shape_and_range_are_kept(shape: tuple[int, ...]) -> None:
    view = random_view(torch.rand(shape, generator=generator()), generator(1))
    assert view.shape == shape
    assert view.numel() == 0 or (view.min() >= 0 and view.max() <= 1)


def test_every_picture_gets_its_own_view_and_the_generator_decides() -> None:
    same = images(1).repeat(4, 1, 1, 1)
    view = random_view(same, generator(3))
    assert not torch.equal(view[0], view[1])
    assert torch.equal(view, random_view(same, generator(3)))
    assert not torch.equal(view, random_view(same, generator(4)))


def test_a_window_shows_only_what_lies_in_it() -> None:
    """A ramp stays a ramp: its slope is the window's share of the side, its sign the mirroring."""
    ramp = torch.linspace(0, 1, 33).expand(200, 1, 33, 33).contiguous()
    row = window(ramp, generator(5))[:, 0, 16, 8:25]
    slope = (row[:, -1] - row[:, 0]) / 0.5
    assert torch.allclose(row.diff(dim=1), slope[:, None] / 32, atol=1e-4)  # straight
    assert slope.abs().min() >= 0.49
    assert slope.abs().max() <= 1.01
    assert 60 < int((slope < 0).sum()) < 140


def test_colours_against_one_picture_at_a_time() -> None:
    x = images(6)
    draws = torch.rand((4, 6, 1, 1, 1), generator=generator(7)).flatten(1)
    expected = []
    for number in range(6):
        brightness, contrast, saturation = (1 + 0.4 * (2 * float(draws[row, number]) - 1) for row in range(3))
        one = np.clip(x[number].numpy() * brightness, 0, 1)
        luma = 0.299 * one[0] + 0.587 * one[1] + 0.114 * one[2]
        one = np.clip(luma.mean() + contrast * (one - luma.mean()), 0, 1)
        luma = 0.299 * one[0] + 0.587 * one[1] + 0.114 * one[2]
        if float(draws[3, number]) < 0.2:
            saturation = 0.0
        expected.append(np.clip(luma + saturation * (one - luma), 0, 1))
    np.testing.assert_allclose(recolour(x, generator(7)).numpy(), np.stack(expected), atol=1e-5)


def test_some_views_have_no_colour() -> None:
    spread = recolour(images(300, side=2), generator()).std(1).amax((1, 2))
    assert 30 < int((spread < 1e-6).sum()) < 90


def test_grey_is_the_luma_of_the_grey_countermeasure() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    ours = grey(torch.from_numpy(stored).permute(0, 3, 1, 2).float())[:, 0]
    np.testing.assert_allclose(ours.numpy(), grayscale(stored)[..., 0], atol=0.51)
