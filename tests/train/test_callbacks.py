import numpy as np
import pytest
import torch

from noli.ops.augment import crop_flip, cutout, mixup
from noli.ops.countermeasures import displace, sharpen_lowpass
from noli.train.callbacks import Adversarial, CropFlip, CutoutMixup, Displace, SharpenLowpass
from noli.train.fit import fit
from noli.train.recipe import Recipe
from noli.zoo import network


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


X, Y = torch.rand((6, 3, 16, 16), generator=seeded(1)), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("callback", "by_hand"),
    [
        (CropFlip(), lambda g: crop_flip(X, 2, g)),
        (SharpenLowpass(), lambda g: sharpen_lowpass(X, g)),
        (Displace(1.5), lambda g: displace(X, 1.5, g)),
    ],
)
def test_image_callbacks_apply_their_function_and_keep_labels(callback, by_hand):
    x, y = callback.prepare_batch(X, Y, seeded(4))
    assert torch.equal(x, by_hand(seeded(4)))
    assert y is Y
    assert callback.before_step(network("small", 3, size=16), X, Y, seeded()) is X


def test_cutout_mixup_blends_first_and_blanks_afterwards():
    x, y = CutoutMixup(3, 0.4).prepare_batch(X, Y, seeded(4))
    draws = seeded(4)
    mixed, soft = mixup(X, Y, 3, 0.4, draws)
    assert torch.equal(x, cutout(mixed, 4, draws))
    assert torch.equal(y, soft)
    assert torch.allclose(y.sum(1), torch.ones(6))


def test_adversarial_images_stay_close():
    out = Adversarial(4 / 255, 3).before_step(network("small", 3, size=16), X, Y, seeded())
    assert 0 < float((out - X).abs().max()) <= 4 / 255 + 1e-6


@pytest.mark.parametrize("extra", [CutoutMixup(2), Adversarial(0.02, 2), SharpenLowpass(), Displace()])
def test_every_callback_trains_on_grey_tiny_images(extra):
    x = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
    result = fit(
        network("small", 2, 1, size=8),
        x,
        np.arange(12) % 2,
        Recipe(epochs=1, batch=8, device="cpu"),
        [CropFlip(), extra],
    )
    assert np.isfinite(result.losses).all()
