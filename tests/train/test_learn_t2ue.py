"""What T2UE learns: a space of pictures and captions, and noise that moves pictures to their captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noli.core.errors import RunError
from noli.ops.augment import crop_flip
from noli.train.contrastive import info_nce
from noli.train.fit import fit
from noli.train.options import GeneratorConfig
from noli.train.recipe import Recipe
from noli.train.t2ue import Captioning, learn_generator, learn_joint
from noli.zoo import network
from noli.zoo.imagine import imagine, new_generator
from noli.zoo.joint import Joint
from noli.zoo.text import WORDS, load_text

COLOURS = {"red": (180, 70, 70), "green": (70, 170, 80), "blue": (70, 80, 180)}
CAPTIONS = [f"a {name} wall" for name in COLOURS]


def walls(n: int, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    y = np.arange(n) % 3
    x = np.array(list(COLOURS.values()))[y][:, None, None] + rng.integers(-60, 61, (n, side, side, 3))
    return x.clip(0, 255).astype(np.uint8), y


def working(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255


def test_loss_against_its_parts() -> None:
    joint = Joint(network("tiny", 64, size=16))
    texts = load_text(WORDS)(CAPTIONS)
    x, y = working(walls(6)[0]), torch.tensor([0, 1, 2, 0, 1, 2])
    noise = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for shift in (0, 2):
        told = Captioning(joint, texts, 5, 0.25, shift)
        told_of, same = told.prepare_batch(x, y, torch.Generator().manual_seed(1))
        found = told(noise, same)
        generator = torch.Generator().manual_seed(1)
        z = torch.randn(6, 5, generator=generator)
        assert torch.equal(told_of[..., 0, 0], torch.cat([texts[y], z], 1))
        noisy = (x + 0.25 * noise).clamp(0, 1)
        if shift:
            noisy = crop_flip(noisy, shift, generator)
        with torch.no_grad():
            pictures = F.normalize(joint.image(noisy), dim=1)
        torch.testing.assert_close(found, info_nce(pictures, texts[y], y))


# The tests look at the models from the CPU, also where there is a GPU.
CPU: dict[str, Any] = {"device": "cpu"}


@pytest.fixture(scope="module")
def joint() -> Joint:
    x, y = walls(96)
    return learn_joint(
        x, y, load_text(WORDS)(CAPTIONS), "tiny", Recipe(**CPU, epochs=6, batch=32, bf16="off")
    )


def nearest(joint: Joint, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return (joint(working(x)) @ joint.texts(load_text(WORDS)(CAPTIONS)).T).argmax(1).numpy()


def test_a_small_image_text_model_finds_the_captions_of_new_pictures(joint: Joint) -> None:
    x, y = walls(60)
    assert np.mean(nearest(joint, x) == y) >= 0.9


def greys(n: int) -> np.ndarray:
    shades = np.random.default_rng(n).integers(60, 180, (n, 16, 16, 1))
    return shades.repeat(3, axis=3).astype(np.uint8)


def test_noise_moves_any_picture_to_its_caption(joint: Joint) -> None:
    text, eps = load_text(WORDS), 48 / 255
    generator = new_generator(text, side=16, eps=eps)
    told = Captioning(joint, text(CAPTIONS), generator.arch_args["z"], eps, 1)
    recipe = Recipe(**CPU, epochs=25, batch=32, optimiser="adam", lr=2e-3, bf16="off")
    losses = fit(generator, greys(96), np.arange(96) % 3, recipe, [told], told).losses
    assert losses[-1] < losses[0] - 0.3
    # Another model, trained from another start, sees the caption of the noise, too.
    x, y = walls(96)
    judge = learn_joint(x, y, text(CAPTIONS), "tiny", Recipe(**CPU, epochs=6, batch=32, seed=9), seed=9)
    z = np.random.default_rng(0).normal(size=(30, 64)).astype(np.float32)
    aim = np.arange(30) % 3
    noise = imagine(generator, [CAPTIONS[row] for row in aim], z).astype(np.float32) * 48 / 127
    seen = nearest(judge, (greys(30) + noise).clip(0, 255).astype(np.uint8))
    assert np.mean(seen == aim) >= 0.7


def test_a_generator_knows_how_it_was_trained() -> None:
    x, y = walls(24)
    cfg = GeneratorConfig(text=WORDS, surrogate="tiny", side=16, eps=4 / 255, epochs=2, batch=12)
    generator, reached = learn_generator(x, [CAPTIONS[row] for row in y], cfg)
    said: list[tuple[int, int, str]] = []
    again, _ = learn_generator(x, [CAPTIONS[row] for row in y], cfg, lambda *call: said.append(call))
    assert said == [(step, 4, "train") for step in range(1, 5)]
    other, _ = learn_generator(x, [CAPTIONS[row] for row in y], cfg.model_copy(update={"seed": 1}))
    assert again.weight_hash() == generator.weight_hash() != other.weight_hash()
    assert (reached["captions"], reached["pictures"], reached["steps"]) == (3, 24, 4)
    facts = generator.arch_args
    assert (facts["text"], facts["side"], facts["eps"]) == (WORDS, 16, 4 / 255)
    with pytest.raises(RunError, match="before the first pass"):
        learn_generator(x, [CAPTIONS[row] for row in y], cfg.model_copy(update={"time": 1e-9}))
    assert facts["text_digest"] == load_text(WORDS).digest
