"""Networks for scrambled pictures: shapes, saving, and what makes them fit for a key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from noli import zoo
from noli.zoo.adaptation import Blockwise

SIDED = ("vit", "ele-adaptnet")


def made(arch: str, side: int, channels: int = 3) -> zoo.Model:
    return zoo.network(
        arch, ("a", "b", "c"), channels, size=side, **({"side": side} if arch in SIDED else {})
    )


@pytest.mark.parametrize("arch", sorted(zoo.PATCHED))
@pytest.mark.parametrize(("side", "channels"), [(32, 3), (16, 1)])
def test_images_become_logits_and_saved_models_come_back(
    arch: str, side: int, channels: int, tmp_path: Path
) -> None:
    model = made(arch, side, channels)
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, channels), np.uint8)
    logits = model.predict(images)
    assert logits.shape == (3, 3)
    model.save(tmp_path / "m")
    assert np.array_equal(zoo.load(tmp_path / "m").predict(images), logits)


@pytest.mark.parametrize("arch", ["convmixer", "vit", "le-adaptnet"])
def test_a_permutation_inside_patches_can_be_folded_into_the_first_layer(arch: str) -> None:
    net = made(arch, 32).net.eval()
    first = net.body.embed if arch != "le-adaptnet" else net.body[0][0]
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    order = torch.from_numpy(np.random.default_rng(2).permutation(48))
    patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(2, 8, 8, 48)
    scrambled = patches[..., order].reshape(2, 8, 8, 3, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 32, 32)
    with torch.no_grad():
        before, seen = net(x), first(x)
        first.weight.copy_(first.weight.reshape(len(first.weight), -1)[:, order].reshape(first.weight.shape))
        assert torch.allclose(net(scrambled), before, atol=1e-5)
        assert not torch.allclose(first(x), seen, atol=1e-2)


def test_every_block_has_a_layer_of_its_own() -> None:
    layer = Blockwise(3, 4, 2, 5)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = layer(x)
        for place in range(4):
            mixed = torch.zeros(2, 5)
            for block in range(4):
                row, column = divmod(block, 2)
                values = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(2, 48)
                mixed += layer.places[block, place] * (values @ layer.weight[block])
            assert torch.allclose(found[:, :, place // 2, place % 2], mixed, atol=1e-5)
