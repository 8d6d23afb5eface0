"""The style-based generator: its convolution is the slow one of the paper, and a file holds all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.errors import DataError, UsageError
from noli.core.model import Model
from noli.zoo import network
from noli.zoo.style import (
    ModulatedConv,
    StyleGenerator,
    inverter,
    load_generator,
    save_generator,
    style_generator,
)


def slowly(layer: ModulatedConv, x: Tensor, w: Tensor) -> Tensor:
    """Every picture has weights of its own: scaled, then brought back to unit norm (equations 1 to 3)."""
    out = []
    for picture, style in zip(x, w, strict=True):
        scale = layer.scale(style)
        weight = torch.empty_like(layer.weight)
        for j in range(len(weight)):
            own = torch.stack([scale[i] * layer.weight[j, i] for i in range(len(scale))])
            weight[j] = own / (own.square().sum() + 1e-8).sqrt() if layer.demodulate else own
        out.append(F.conv2d(picture[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(out)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("count", "inputs", "outputs", "size", "kernel"), [
    (3, 5, 4, (7, 3), 3), (1, 1, 3, (1, 1), 1), (2, 3, 2, (4, 5), 5)])  # fmt: skip
def test_modulation_is_that_of_weights_of_every_picture(
    count: int, inputs: int, outputs: int, size: tuple[int, int], kernel: int, demodulate: bool
) -> None:
    draws = torch.Generator().manual_seed(count)
    layer = ModulatedConv(inputs, outputs, 6, kernel, demodulate=demodulate)
    x = torch.randn(count, inputs, *size, generator=draws)
    w = torch.randn(count, 6, generator=draws)
    with torch.no_grad():
        found, wanted = layer(x, w), slowly(layer, x, w)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        assert layer(x[:0], w[:0]).shape == (0, outputs, *size)


def test_demodulated_features_keep_their_spread_whatever_the_style() -> None:
    layer, x = ModulatedConv(16, 16, 4), torch.randn(4, 16, 24, 24)
    with torch.no_grad():
        layer.scale.bias.mul_(50)
        spread = layer(x, torch.zeros(4, 4))[:, :, 2:-2, 2:-2].std()
    assert 0.8 < float(spread) < 1.25


@pytest.mark.parametrize("side", [16, 32, 64])
def test_pictures_have_their_side_and_one_style_is_as_many_as_layers(side: int) -> None:
    generator = style_generator(side=side, latent=8, style=12, width=16)
    w = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one = generator.synthesis(w)
        assert one.shape == (2, 3, side, side)
        assert torch.equal(one, generator.synthesis(w[:, None].repeat(1, generator.layers, 1)))
        assert inverter(generator)(one).shape == (2, 8)
        other = w[:, None].repeat(1, generator.layers, 1)
        other[:, -1] += 1
        assert not torch.equal(one, generator.synthesis(other))
    assert generator.synthesis(w[:0]).shape == (0, 3, side, side)


def test_seeds_decide_weights_noise_and_samples() -> None:
    before = torch.random.get_rng_state()
    sizes = {"side": 16, "latent": 8, "style": 12, "width": 16}
    generator, same, other = (style_generator(seed, **sizes) for seed in (0, 0, 1))
    with torch.no_grad():
        assert torch.equal(generator.sample(3, 5), same.sample(3, 5))
        assert not torch.equal(generator.sample(3, 5), other.sample(3, 5))
        for layer in generator.stages[1]:  # type: ignore[attr-defined]
            layer.strength.fill_(1.0)
        w = torch.zeros(2, 12)
        noisy = [generator.synthesis(w, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_file_holds_it_and_other_files_are_refused(tmp_path: Path) -> None:
    generator = style_generator(3, side=16, latent=8, style=12, width=16, depth=3)
    generator.mean.fill_(0.5)
    generator.style_mean.fill_(0.25)
    save_generator(generator, tmp_path / "g.safetensors")
    found = load_generator(tmp_path / "g.safetensors")
    assert Model(found).weight_hash() == Model(generator).weight_hash()
    with torch.no_grad():
        assert torch.equal(found.sample(2, 0), generator.sample(2, 0))
    network("tiny", 2).save(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no style-based generator"):
        load_generator(tmp_path / "other.safetensors")
    torch.save(generator.state_dict(), tmp_path / "pickle.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        load_generator(tmp_path / "pickle.safetensors")
    with pytest.raises(UsageError, match="20 pixels"):
        StyleGenerator(side=20)
