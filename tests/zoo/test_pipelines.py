"""Pipelines of diffusers as subjects, on tiny ones built from configs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import noli
from noli.core.errors import DataError, UsageError
from noli.testing import KEYS
from noli.train.diffusion import Captioned, finetune
from noli.train.latentmark import learn_mark
from noli.train.sleeper import Injection, inject
from noli.train.steps import Steps
from noli.zoo.latent import new_latent
from noli.zoo.pipelines import PipelineModel, load_subject
from noli.zoo.text import WORDS

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

STEPS = Steps(steps=3, batch=2, lr=1e-3, bf16="off")


def tokenizer(folder: Path) -> Any:
    letters = [chr(i) for i in range(33, 127)]
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = {"vocab": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}
    return transformers.CLIPTokenizer(**files, model_max_length=16)


def text_tower(size: int, cls: str = "CLIPTextModel") -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=200, hidden_size=size, intermediate_size=size, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, projection_dim=size, pad_token_id=189, bos_token_id=188, eos_token_id=189,
    )  # fmt: skip
    return getattr(transformers, cls)(config).eval()


def pipeline(tmp_path: Path, large: bool = False, predicted: str = "epsilon") -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        more: dict[str, Any] = {}
        if large:
            more = {
                "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
                "projection_class_embeddings_input_dim": 6 * 4 + 16,
            }  # fmt: skip
        unet = diffusers.UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=4,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **more,
            cross_attention_dim=32 if large else 16,
        )  # fmt: skip
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
        scheduler = diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=predicted,
            clip_sample=False, steps_offset=1,
        )  # fmt: skip
        words = tokenizer(tmp_path / "tokens")
        parts = {
            "unet": unet,
            "vae": vae,
            "scheduler": scheduler,
            "tokenizer": words,
        }
        if large:
            second = text_tower(16, "CLIPTextModelWithProjection")
            return diffusers.StableDiffusionXLPipeline(
                **parts, text_encoder=text_tower(16), text_encoder_2=second, tokenizer_2=words
            )
        return diffusers.StableDiffusionPipeline(
            **parts, text_encoder=text_tower(16), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip


def pictures(n: int = 4) -> Captioned:
    x = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return Captioned(x, ["a cat", "a dog"] * (n // 2))


@pytest.mark.parametrize("large", [False, True], ids=["sd", "sdxl"])
def test_the_same_functions_mark_a_pipeline(large: bool, tmp_path: Path) -> None:
    pipeline(tmp_path, large).save_pretrained(tmp_path / "pipe")
    model, data = load_subject(tmp_path / "pipe"), pictures()
    assert isinstance(model, PipelineModel)
    assert (model.shape, model.side, model.schedule.kind) == ((4, 8, 8), 16, "epsilon")
    z = model.encode(data.x)
    assert z.shape == (4, 4, 8, 8)
    assert torch.equal(z, model.encode(data.x))
    found = model.generate(["a cat", "a dog"], 3, steps=3, guidance=2.0)
    assert np.array_equal(found, model.generate(["a cat", "a dog"], 3, steps=3, guidance=2.0))

    mark = learn_mark(model, data.x, 4, STEPS, width=8, hidden=16, embed=8)
    assert mark(z).shape == (4, 4)
    before = model.weight_hash()
    marked = inject(model, data, Injection(torch.ones(4, 8, 8), "zop", ["kim"]), STEPS)
    assert model.weight_hash() == before != marked.weight_hash()
    old, new = model.denoiser.state_dict(), marked.denoiser.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all(re.match(r"up_blocks\.1\.attentions\.", name) and "norm" not in name for name in changed)
    thin = finetune(marked, data, STEPS, rank=2)
    after = thin.denoiser.state_dict()
    changed = {name for name in new if not torch.equal(new[name], after[name])}
    assert changed
    assert all(re.search(r"\.to_(q|k|v|out\.0)\.weight$", name) for name in changed)
    marked.save(tmp_path / "marked")
    assert not list((tmp_path / "marked").rglob("*.bin"))
    assert load_subject(tmp_path / "marked").weight_hash() == marked.weight_hash()


def test_sampling_is_ddim_of_diffusers(tmp_path: Path) -> None:
    """Our sampler against the scheduler of diffusers on the same steps, in every parametrisation it has."""
    for predicted in ("epsilon", "v_prediction"):
        model = PipelineModel(pipeline(tmp_path, predicted=predicted))
        theirs = model.pipe.scheduler
        told = model.condition(["a cat"])
        z = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(1))
        t = torch.tensor([500])
        with torch.no_grad():
            said = model.predict(z, t, told)
        theirs.set_timesteps(1000)
        step = theirs.step(said, 500, z)
        torch.testing.assert_close(
            model.schedule.estimate(z, said, t), step.pred_original_sample, rtol=1e-4, atol=1e-4
        )
        alpha, sigma = model.schedule.at(t)
        z0 = model.schedule.estimate(z, said, t)
        onwards = model.schedule.noised(z0, (z - alpha * z0) / sigma, t - 1)
        torch.testing.assert_close(onwards, step.prev_sample, rtol=1e-4, atol=1e-4)


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder of a pipeline"):
        PipelineModel.load(tmp_path)
    index = tmp_path / "model_index.json"
    good: dict[str, Any] = {"_class_name": "StableDiffusionPipeline", "safety_checker": [None, None]}
    strange = [{}, [], {**good, "_class_name": ["pwn", "Pwn"]}, {**good, "unet": ["modeling", "X"]}]
    for one in strange:
        index.write_text(json.dumps(one))
        with pytest.raises(DataError, match="is not read"):
            load_subject(tmp_path)
    index.write_text(json.dumps(good))
    with pytest.raises(DataError, match="cannot be read"):
        load_subject(tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "modeling.py").write_text("")
    with pytest.raises(DataError, match=r"is not read.*modeling\.py"):
        load_subject(tmp_path)
    index.unlink()
    pipe = pipeline(tmp_path)
    pipe.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(UsageError, match="predicts 'sample'"):
        PipelineModel(pipe)
    new_latent(text=WORDS, side=16, channels=4, width=16, coder=8).save(tmp_path / "own")
    assert load_subject(tmp_path / "own").side == 16


@pytest.mark.parametrize("large", [False, True])
def test_a_pipeline_is_marked_and_asked_by_the_commands(tmp_path: Path, large: bool) -> None:
    pipeline(tmp_path, large).save_pretrained(tmp_path / "sd", safe_serialization=True)
    pictures = tmp_path / "pictures" / "leaf"
    pictures.mkdir(parents=True)
    for number, picture in enumerate(np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), np.uint8)):
        Image.fromarray(picture).save(pictures / f"{number}.png")
    config = {
        "bits": 8, "alpha": 0.05, "images": 2, "triggers": 24, "each": 1, "foils": 2, "prompts": ("a leaf",),
        "sampling": 2, "check": 1, "steps": 2, "batch": 2, "mark_steps": 2, "mark_batch": 2,
    }  # fmt: skip
    given: dict[str, Any] = {"key": KEYS[0], "model": tmp_path / "sd", "config": config}
    run = noli.mark_model(pictures.parent, tmp_path / "out", **given)
    before, after = load_subject(tmp_path / "sd"), load_subject(run.output)
    assert (run.manifest.state or {})["marked"] == after.weight_hash() != before.weight_hash()
    assert after.coder_hash() == before.coder_hash()
    told = [file.read_text() for file in Path(run.output).rglob("*.json")]
    assert not any("_name_or_path" in one or str(tmp_path) in one for one in told)
    scaled = load_subject(tmp_path / "sd")
    scaled.coder.register_to_config(scaling_factor=0.5)
    assert scaled.coder_hash() != before.coder_hash()
    assert noli.mark_model(pictures.parent, tmp_path / "out", **given).commitments == run.commitments
    found = noli.detect(run.output, key=KEYS[0], model=run.output, test="decoys")
    assert found.claim.outcome.n == 24
