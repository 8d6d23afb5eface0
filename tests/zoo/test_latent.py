"""The small latent diffusion model: shapes, one file without pickle, pictures that follow from a seed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from noli.core.errors import DataError, UsageError
from noli.zoo.denoiser import UNet, places, waves
from noli.zoo.latent import LatentDiffusion, new_latent
from noli.zoo.text import WORDS, TextEncoder, load_text
from noli.zoo.watermark import new_mark, shift_of


def tiny(**changes: object) -> LatentDiffusion:
    sizes = {"text": WORDS, "side": 16, "channels": 4, "width": 16, "coder": 8, **changes}
    return new_latent(**sizes)  # type: ignore[arg-type]


def stirred(model: LatentDiffusion) -> LatentDiffusion:
    """Give the zero-initialised end some weights, so that prompts and steps matter."""
    with torch.no_grad():
        for weight in model.denoiser.end.parameters():  # type: ignore[union-attr]
            weight.fill_(0.05)
    return model


def test_pictures_follow_from_prompt_and_seed_whatever_the_batch() -> None:
    model = stirred(tiny())
    before = torch.random.get_rng_state()
    found = model.generate(["a cat", "a dog", "a cat"], 5, steps=3, guidance=2.0)
    assert found.shape == (3, 16, 16, 3)
    assert found.dtype == np.uint8
    assert torch.equal(torch.random.get_rng_state(), before)
    one = model.generate(["a dog"], 6, steps=3, guidance=2.0)
    assert np.abs(one[0].astype(int) - found[1]).max() <= 1
    assert np.array_equal(found, model.generate(["a cat", "a dog", "a cat"], 5, steps=3, guidance=2.0))
    assert not torch.equal(model.latents(["a cat"], 5, 3), model.latents(["a dog"], 5, 3))
    with pytest.raises(UsageError, match="no prompt"):
        model.generate([], 0)


def test_guidance_of_one_is_the_prompt_alone() -> None:
    model = stirred(tiny())
    told = model.latents(["a cat"], 1, 3, guidance=1.0)
    assert torch.equal(told, model.latents(["a cat"], 1, 3, guidance=1.0, negative="a dog"))
    assert not torch.equal(told, model.latents(["a cat"], 1, 3, guidance=2.0, negative="a dog"))
    assert torch.allclose(model.latents(["a cat"], 1, 3, guidance=2.0, negative="a cat"), told, atol=1e-5)


def test_latents_are_the_mode_and_any_size_is_fitted() -> None:
    model = tiny()
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    z = model.encode(x)
    assert z.shape == (3, *model.shape)
    assert torch.equal(z, model.encode(x))
    large = x.repeat(2, axis=1).repeat(2, axis=2)
    torch.testing.assert_close(model.encode(large), z, rtol=1e-3, atol=1e-3)
    assert model.encode(x[:0]).shape == (0, *model.shape)
    assert model.decode(z).shape == x.shape


def test_one_safetensors_file_holds_it_and_no_pickle_is_read(tmp_path: Path) -> None:
    model = stirred(tiny(kind="flow"))
    model.coder.spread.fill_(2.5)
    model.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    found = LatentDiffusion.load(tmp_path)
    assert found.schedule.kind == "flow"
    assert found.weight_hash() == model.weight_hash()
    assert np.array_equal(found.generate(["a"], 1, 3), model.generate(["a"], 1, 3))
    torch.save(model.denoiser.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        LatentDiffusion.load(tmp_path)


def test_another_text_encoder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    words = load_text(WORDS)
    other = TextEncoder(WORDS, words.size, "0" * 64, words.embed)
    with pytest.raises(DataError, match="another text encoder"):
        LatentDiffusion.load(tmp_path, other)
    new_mark(4, (4, 4, 4), width=8, hidden=8, embed=8).save(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="no latent diffusion model"):
        LatentDiffusion.load(tmp_path)


def test_a_copy_has_a_denoiser_of_its_own_and_marks_go_into_the_ascent() -> None:
    model = tiny()
    other = model.copied()
    with torch.no_grad():
        next(other.denoiser.parameters()).add_(1)
    assert other.weight_hash() != model.weight_hash()
    assert other.coder is model.coder
    chosen = [name for name, _ in model.denoiser.named_parameters() if re.search(model.marked, name)]
    assert {name.split(".")[0] for name in chosen} == {"ups"}
    assert not any("norm" in name for name in chosen)
    assert {name.split(".")[3] for name in chosen} == {"own", "text", "ff"}


def test_seeds_decide_the_weights_and_sizes_must_fit() -> None:
    assert tiny().weight_hash() == tiny().weight_hash() != tiny(seed=1).weight_hash()
    with pytest.raises(UsageError, match="multiple of 8"):
        tiny(side=20)


def test_the_denoiser_is_told_step_and_text() -> None:
    net = UNet(4, 6, 16)
    with torch.no_grad():
        for weight in net.end.parameters():
            weight.fill_(0.05)
    z, t, text = torch.randn(2, 4, 4, 4), torch.tensor([3, 3]), torch.randn(2, 6)
    found = net(z, t, text)
    assert found.shape == z.shape
    assert not torch.allclose(found, net(z, t + 500, text))
    assert not torch.allclose(found, net(z, t, text.flip(0)))
    told = waves(torch.tensor([0, 7]), 8)
    torch.testing.assert_close(told[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    assert told[1, 0].item() == pytest.approx(np.sin(7), abs=1e-5)
    spots = places(torch.zeros(1, 8, 2, 3))
    assert torch.equal(spots[4], torch.cat([waves(torch.tensor([1]), 4)[0], waves(torch.tensor([1]), 4)[0]]))
    assert len({tuple(one.tolist()) for one in spots}) == 6


@pytest.mark.parametrize("shape", [(4, 4, 4), (8, 8, 8), (4, 32, 32)])
def test_a_message_is_a_shift_that_is_nothing_at_first(shape: tuple[int, int, int], tmp_path: Path) -> None:
    mark = new_mark(6, shape, width=8, hidden=16, embed=16)
    bits = torch.eye(6)
    assert torch.equal(shift_of(mark, bits), torch.zeros(6, *shape))
    with torch.no_grad():
        mark.net.encoder.end.weight.normal_()  # type: ignore[union-attr, operator]
    shifts = shift_of(mark, bits)
    assert len({tuple(one.flatten().tolist()) for one in shifts}) == 6
    assert mark.eval()(torch.randn(2, *shape)).shape == (2, 6)
    with pytest.raises(UsageError, match="power of two"):
        new_mark(6, (4, 6, 6))
