import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noli.ops.augment import crop_flip, cutmix, cutout, mixup, windowed
from noli.ops.countermeasures import displace, recompressed, sharpen_lowpass
from noli.ops.plasma import erase
from noli.ops.randaugment import rand_augment
from noli.train.callbacks import (
    Adversarial,
    AdversarialL2,
    CropFlip,
    CutMix,
    Cutout,
    Displace,
    Mixup,
    RandAugment,
    SharpenLowpass,
    UEraser,
    Window,
)
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
        (RandAugment(), lambda g: rand_augment(X, g)),
        (Window(), lambda g: windowed(X, g)),
        (Cutout(), lambda g: cutout(X, 8, g)),
    ],
)
def test_image_callbacks_apply_their_function_and_keep_labels(callback, by_hand):
    x, y = callback.prepare_batch(X, Y, seeded(4))
    assert torch.equal(x, by_hand(seeded(4)))
    assert y is Y
    assert callback.before_step(network("small", 3, size=16), X, Y, seeded()) is X


def test_cutout_mixup_blends_first_and_blanks_afterwards():
    draws = seeded(4)
    x, y = Cutout(4).prepare_batch(*Mixup(3, 0.4).prepare_batch(X, Y, draws), draws)
    draws = seeded(4)
    mixed, soft = mixup(X, Y, 3, 0.4, draws)
    assert torch.equal(x, cutout(mixed, 4, draws))
    assert torch.equal(y, soft)
    assert torch.allclose(y.sum(1), torch.ones(6))


def test_adversarial_images_stay_close():
    out = Adversarial(4 / 255, 3).before_step(network("small", 3, size=16), X, Y, seeded())
    assert 0 < float((out - X).abs().max()) <= 4 / 255 + 1e-6


def test_cutmix_mixes_labels():
    x, y = CutMix(3).prepare_batch(X, Y, seeded(4))
    assert all(torch.equal(a, b) for a, b in zip((x, y), cutmix(X, Y, 3, seeded(4)), strict=True))


def test_l2_radii_grow_with_the_number_of_values():
    model = network("small", 3, size=16)
    for eps in (0.5, 1.0):
        change = (AdversarialL2(eps, 3).before_step(model, X, Y, seeded()) - X).flatten(1).norm(dim=1)
        # A quarter of the values of a 32 x 32 image: half the radius.
        assert 0.8 * eps / 2 < float(change.max()) <= eps / 2 + 1e-5


@pytest.mark.parametrize("soft", [False, True])
def test_ueraser_takes_the_copy_with_the_largest_loss(soft):
    model, draws = network("small", 3, size=16), seeded(6)
    y = F.one_hot(Y, 3).float() if soft else Y
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    out = UEraser(4).before_step(model, X, y, seeded(6))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    copies = [erase(X, draws) for _ in range(4)]
    model.eval()
    for i in range(6):
        with torch.no_grad():
            losses = [float(F.cross_entropy(model(copy[i : i + 1]), y[i : i + 1])) for copy in copies]
        assert torch.equal(out[i], copies[int(np.argmax(losses))][i])


def test_ueraser_recompresses_every_copy_before_it_is_distorted():
    draws = seeded(6)
    copies = [erase(recompressed(X, 10, 100, draws), draws) for _ in range(3)]
    out = UEraser(3, jpeg=True).before_step(network("small", 3, size=16), X, Y, seeded(6))
    for i in range(6):
        assert any(torch.equal(out[i], copy[i]) for copy in copies)
    assert not torch.equal(
        UEraser(1, jpeg=True).before_step(network("small", 3, size=16), X, Y, seeded(6)),
        UEraser(1).before_step(network("small", 3, size=16), X, Y, seeded(6)),
    )


def test_the_lite_variant_only_augments():
    out = UEraser(1).before_step(network("small", 3, size=16), X, Y, seeded(6))
    assert torch.equal(out, erase(X, seeded(6)))


@pytest.mark.parametrize(
    "extra",
    [Mixup(2, 0.4), Cutout(4), Adversarial(0.02, 2), SharpenLowpass(), Displace(), AdversarialL2(), CutMix(2),
     RandAugment(), Window(), UEraser(2), UEraser(2, jpeg=True)],
)  # fmt: skip
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


def test_mixup_blends_images_and_labels_alike():
    x, y = Mixup(3).prepare_batch(X, Y, seeded(3))
    by_hand = mixup(X, Y, 3, 1.0, seeded(3))
    assert torch.equal(x, by_hand[0])
    assert torch.equal(y, by_hand[1])
