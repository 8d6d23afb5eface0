import numpy as np
import pytest
import torch

from noli.core.model import Model
from noli.train.fit import fit
from noli.train.recipe import Recipe
from noli.train.universal import AddNoise, Carrier, Noise, towards
from noli.zoo import network
from noli.zoo.base import Features, Frozen

EPS = 0.1


def start(count=2, channels=3, side=9):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize("maker", ["direct", "generator"])
@pytest.mark.parametrize("shape", [(1, 3, 16), (3, 1, 9), (2, 3, 13)])
def test_noise_has_the_shape_and_the_bound(maker, shape):
    count, channels, side = shape
    noise = Noise(start(*shape), EPS, maker, width=4, seed=1)
    assert noise().shape == (count, channels, side, side)
    assert noise().abs().max() <= EPS
    trainable = [weight for weight in noise.parameters() if weight.requires_grad]
    noise().sum().backward()
    assert trainable
    assert all(weight.grad is not None for weight in trainable)


def test_the_seed_decides_the_generator():
    first, same, other = (Noise(start(), EPS, "generator", width=4, seed=seed)() for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_patterns_take_turns_on_a_batch_and_pixels_stay_in_range():
    noise = Noise(start(3, 1, 4), 0.5, "direct")
    x = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = AddNoise(noise).before_step(None, x, None, torch.Generator())
    for number in range(7):
        expected = (x[number] + noise()[number % 3]).clamp(0, 1)
        assert torch.equal(seen[number], expected)


def test_loss_is_the_divergence_from_the_centre():
    centre, features = torch.randn(5), torch.randn(4, 5)
    p = torch.softmax(centre.double(), 0).numpy()
    q = torch.softmax(features.double(), 1).numpy()
    expected = np.mean([sum(p * np.log(p / row)) for row in q])
    assert float(towards(centre)(features.double(), None)) == pytest.approx(expected, rel=1e-4)
    assert float(towards(centre)(centre[None], None)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("maker", ["direct", "generator"])
def test_training_moves_pictures_to_the_centre_and_leaves_the_encoder(maker):
    encoder = network("tiny", 4, size=8, seed=5)
    before = encoder.weight_hash()
    x = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    working = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        centre = encoder.eval().features(working[:1] * 0)[0]
    noise = Noise(start(1, 3, 8), 0.3, maker, width=4, seed=0)

    def distance():
        with torch.no_grad():
            seen = (working + noise()).clamp(0, 1)
            return float(towards(centre)(encoder.eval().features(seen), None))

    first = distance()
    carrier = Model(Carrier(noise, Frozen(Features(encoder))), mean=(0.0,), std=(1.0,))
    lr = 0.1 if maker == "direct" else 1e-3
    recipe = Recipe(epochs=30, batch=16, optimiser="adam", lr=lr, schedule="constant", device="cpu")
    fit(carrier, x, np.zeros(32, np.int64), recipe, [AddNoise(noise)], towards(centre))
    assert distance() < 0.7 * first
    assert encoder.weight_hash() == before


def test_the_carrier_shows_what_the_encoder_sees():
    encoder = network("tiny", 4, size=8, seed=5).eval()
    carrier = Carrier(Noise(start(1, 3, 8), EPS, "direct"), Frozen(Features(encoder)))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(carrier.train()(x), encoder.features(x))
