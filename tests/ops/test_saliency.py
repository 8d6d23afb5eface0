"""Saliency, Otsu's threshold and the best share of pixels, against slow versions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.filters import threshold_otsu

from noli import zoo
from noli.ops.saliency import otsu, saliency, top_share


@pytest.fixture(scope="module")
def model():
    return zoo.network("tiny", 3, 3, size=16, seed=2)


def batch(n=4, channels=3, side=16):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0)), torch.arange(
        n
    ) % 3


@pytest.mark.parametrize("kind", ["gradient", "gradient-input"])
def test_gradients_equal_one_image_at_a_time(model, kind):
    x, y = batch()
    found = saliency(model, x, y, kind)
    model.eval()
    for i in range(len(x)):
        one = x[i : i + 1].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(one), y[i : i + 1]), one)
        slow = (gradient * x[i] if kind == "gradient-input" else gradient).abs().sum(1)[0]
        torch.testing.assert_close(found[i], slow, atol=1e-5, rtol=1e-3)
    assert found.min() >= 0


def test_smoothing_is_the_mean_of_what_lies_inside(model):
    x, y = batch(1)
    plain, smooth = saliency(model, x, y, "gradient")[0], saliency(model, x, y, "gradient", 1)[0]
    assert smooth[5, 5] == pytest.approx(plain[4:7, 4:7].mean().item(), rel=1e-4)
    assert smooth[0, 0] == pytest.approx(plain[:2, :2].mean().item(), rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_otsu_separates_as_scikit_image_does(seed):
    generator = np.random.default_rng(seed)
    dark, light = generator.normal(60, 15, 300), generator.normal(180, 20, 276)
    grey = np.clip(np.concatenate([dark, light]), 0, 255).astype(np.uint8).reshape(1, 24, 24)
    found = otsu(torch.from_numpy(grey / 255).float()).item() * 255
    reference = threshold_otsu(grey)
    assert np.array_equal(grey > found, grey > reference) or abs(found - reference) <= 1


def test_constant_images_have_no_foreground(model):
    x = torch.full((2, 3, 8, 8), 0.4)
    scores = saliency(model, x, torch.zeros(2, dtype=torch.long), "foreground")
    assert scores.max() == 0
    assert top_share(scores, 0.5).sum() == 0


@pytest.mark.parametrize(("background", "thing"), [(0.1, 0.8), (0.9, 0.3)], ids=["X-ray", "microscope"])
def test_foreground_is_what_the_rim_is_not(model, background, thing):
    x = torch.full((2, 1, 16, 16), background)
    x[0, :, 4:9, 5:12] = thing
    x[1, :, 0:9, 3:10] = thing  # touches the rim
    scores = saliency(model, x, torch.zeros(2, dtype=torch.long), "foreground")
    assert torch.equal(scores > 0, x[:, 0] == torch.tensor(thing))


@pytest.mark.parametrize("share", [0.01, 0.25, 1.0])
def test_the_share_is_exact_and_takes_the_highest(share):
    scores = torch.rand(3, 7, 9, generator=torch.Generator().manual_seed(1)) + 0.1
    mask = top_share(scores, share)
    assert mask.shape == (3, 1, 7, 9)
    for one, chosen in zip(scores, mask[:, 0].bool(), strict=True):
        assert chosen.sum() == max(1, int(share * 63))
        if not chosen.all():
            assert one[chosen].min() >= one[~chosen].max()


def test_only_allowed_pixels_are_marked_and_ties_follow_reading_order():
    scores = torch.ones(1, 4, 4)
    assert torch.equal(
        top_share(scores, 0.25)[0, 0].bool().nonzero(), torch.tensor([[0, i] for i in range(4)])
    )
    allowed = torch.zeros(1, 4, 4, dtype=torch.bool)
    allowed[0, 2, 1:3] = True
    assert torch.equal(top_share(scores, 0.5, allowed)[0, 0].bool(), allowed[0])
