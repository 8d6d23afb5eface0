"""The generator: text-conditional normalisation, noise from texts and random vectors only, its file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from noli.core.errors import DataError
from noli.zoo import imagine as module
from noli.zoo import network
from noli.zoo.imagine import UNTRAINED, NoiseNet, TextNorm, imagine, load_generator, new_generator
from noli.zoo.text import WORDS, load_text


def test_text_norm_against_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    norm = TextNorm(3, 5)
    h, e = torch.randn(4, 3, 2, 6, generator=generator), torch.randn(4, 5, generator=generator)
    plain = norm(h, e)
    with torch.no_grad():
        norm.affine.weight.copy_(torch.randn(6, 5, generator=generator))
        norm.affine.bias.copy_(torch.randn(6, generator=generator))
    found = norm(h, e)
    for c in range(3):
        mean, var = h[:, c].mean(), h[:, c].var(correction=0)
        normal = (h[:, c] - mean) / torch.sqrt(var + 1e-5)
        torch.testing.assert_close(plain[:, c], normal)  # identity before it has learned
        for row in range(4):
            gamma = 1 + norm.affine.weight[c] @ e[row] + norm.affine.bias[c]
            beta = norm.affine.weight[3 + c] @ e[row] + norm.affine.bias[3 + c]
            torch.testing.assert_close(found[row, c], gamma * normal[row] + beta)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_noise_has_its_side_and_range_and_depends_on_both_inputs(side: int) -> None:
    net = NoiseNet(5, 7, side)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(std=0.3, generator=generator)
        told = torch.randn(2, 12, 1, 1, generator=generator)
        noise = net.eval()(told)
        for part in (slice(0, 5), slice(5, 12)):
            other = told.clone()
            other[:, part] += 1
            assert not torch.allclose(net(other), noise)
    assert noise.shape == (2, 3, side, side)
    assert float(noise.abs().max()) <= 1


def test_equal_inputs_give_equal_noise_in_any_company(tmp_path: Path) -> None:
    model = new_generator(load_text(WORDS), side=16, seed=3)
    before = torch.random.get_rng_state()
    assert new_generator(load_text(WORDS), side=16, seed=3).weight_hash() == model.weight_hash()
    assert torch.equal(torch.random.get_rng_state(), before)
    z = np.random.default_rng(0).normal(size=(70, 64)).astype(np.float32)
    prompts = [f"number {row % 3}" for row in range(70)]
    said: list[tuple[int, int, str]] = []
    noise = imagine(model, prompts, z, lambda *call: said.append(call))
    assert (noise.dtype, noise.shape) == (np.int8, (70, 16, 16, 3))
    assert said == [(64, 70, "imagine"), (70, 70, "imagine")]
    model.save(tmp_path / "g.safetensors")
    alone = imagine(load_generator(str(tmp_path / "g.safetensors")), prompts[66:67], z[66:67])
    assert np.abs(alone[0].astype(int) - noise[66]).max() <= 1
    assert imagine(model, [], z[:0]).shape == (0, 16, 16, 3)


def test_only_generators_are_read(tmp_path: Path) -> None:
    assert load_generator(UNTRAINED).weight_hash() == load_generator(UNTRAINED).weight_hash()
    network("tiny", 3).save(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="do not fit") as caught:
        load_generator(str(tmp_path / "m.safetensors"))
    assert "not a generator" in (caught.value.why or "")
    with pytest.raises(DataError, match="cannot be read"):
        load_generator(str(tmp_path / "nothing.safetensors"))


def test_another_text_encoder_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_generator(UNTRAINED)
    monkeypatch.setattr(module, "load_text", lambda name: replace(load_text(WORDS), digest="other"))
    with pytest.raises(DataError, match="another text encoder"):
        imagine(model, ["a cat"], np.zeros((1, 64), np.float32))
