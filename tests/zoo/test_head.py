import numpy as np
import pytest
import torch

from noli import zoo
from noli.train.fit import fit
from noli.train.recipe import Recipe
from noli.zoo.encoders import PACKAGED, load_encoder
from noli.zoo.head import with_head

NAMES = ("one", "other", "third")
SHORT = Recipe(epochs=1, batch=8, bf16="off", device="cpu")


def images(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_keeps_weights_and_statistics_while_the_head_learns(frozen: bool) -> None:
    encoder = zoo.network("tiny", 5, seed=1)
    before = {name: value.clone() for name, value in encoder.net.body.state_dict().items()}
    model = with_head(encoder, NAMES, seed=2, frozen=frozen)
    head = model.net.head.weight.detach().clone()
    fit(model, images(), np.arange(16) % 3, SHORT)
    after = encoder.net.body.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()) == frozen
    assert not torch.equal(model.net.head.weight, head)
    assert model.class_names == NAMES


def test_logits_are_the_head_on_the_encoders_features() -> None:
    encoder = zoo.network("tiny", 5, seed=1)
    model = with_head(encoder, NAMES, seed=2, frozen=True).eval()
    x = torch.from_numpy(images(3)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        features = encoder.eval().features(x)
        torch.testing.assert_close(model(x), features @ model.net.head.weight.T + model.net.head.bias)
        assert torch.equal(model.features(x), features)
    again = with_head(encoder, NAMES, seed=2, frozen=True)
    assert torch.equal(model.net.head.weight, again.net.head.weight)


def test_a_packaged_encoder_is_fine_tuned_on_grey_pictures_too() -> None:
    state = torch.random.get_rng_state()
    model = with_head(load_encoder(PACKAGED, side=32), NAMES, seed=0, frozen=False)
    assert torch.equal(state, torch.random.get_rng_state())
    hashed = model.weight_hash()
    fit(model, images(4)[..., :1], np.arange(4) % 3, SHORT)
    assert model.weight_hash() != hashed
    assert model.predict(images(2)[..., :1]).shape == (2, 3)
