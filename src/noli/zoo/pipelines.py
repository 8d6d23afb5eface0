"""Stable Diffusion and SDXL from a local folder of diffusers, as a model that a mark can go into.

Nothing is downloaded. Pictures are sampled by :func:`noli.ops.diffusion.sample`, so that the same seed gives
the same picture whatever scheduler the folder names; the schedule is that of its training.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from noli.core import foreign
from noli.core.errors import DataError, MissingPrerequisite, UsageError
from noli.core.model import seeded
from noli.ops.diffusion import Kind, from_alpha_bar
from noli.zoo.subject import Condition, LatentModel

_KINDS: dict[str, Kind] = {"epsilon": "epsilon", "v_prediction": "v"}
_CLASSES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
_PARTS = ("unet", "vae", "tokenizer", "text_encoder", "scheduler")


class PipelineModel(LatentModel):
    """A text-to-image pipeline with a U-Net in latents.

    Args:
        pipe: ``StableDiffusionPipeline`` or ``StableDiffusionXLPipeline`` (duck-typed).

    Raises:
        UsageError: No such pipeline, or one that predicts something else.
    """

    # Attention and feed-forward of the ascent without its norms (paper, spec of stage 2).
    marked = r"^up_blocks\.\d+\.attentions\.(?!.*norm)"
    limit = float("inf")

    def __init__(self, pipe: Any) -> None:
        missing = [name for name in _PARTS if getattr(pipe, name, None) is None]
        predicted = "" if missing else pipe.scheduler.config.prediction_type
        if missing or predicted not in _KINDS:
            raise UsageError(
                "This is no latent diffusion pipeline with a U-Net.",
                where=type(pipe).__name__,
                why=f"it lacks {', '.join(missing)}" if missing else f"it predicts {predicted!r}",
                fix="name the folder of Stable Diffusion 1, 2 or XL",
            )
        self.pipe, self.denoiser, self.coder = pipe, pipe.unet, pipe.vae
        self.schedule = from_alpha_bar(_KINDS[predicted], pipe.scheduler.alphas_cumprod.double())
        self.scale, self.large = float(pipe.vae.config.scaling_factor), hasattr(pipe, "text_encoder_2")
        size = int(pipe.unet.config.sample_size)
        self.shape = (int(pipe.unet.config.in_channels), size, size)
        self.side = size * 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        for part in (pipe.unet, pipe.vae):
            part.eval()

    def to_latents(self, x: Tensor) -> Tensor:
        """Return the mode of the latents, scaled."""
        out: Tensor = self.pipe.vae.encode(2 * x - 1).latent_dist.mode() * self.scale
        return out

    def to_pixels(self, z: Tensor) -> Tensor:
        """Return pictures, not clamped."""
        out: Tensor = (self.pipe.vae.decode(z / self.scale).sample + 1) / 2
        return out

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Return the text's states ``[N, L, D]``; of SDXL also the pooled text and the sizes."""
        with torch.no_grad():
            found = self.pipe.encode_prompt(
                prompt=list(prompts),
                device=self.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
        if not self.large:
            return (found[0],)
        # Size before and after, and the corner: as in training on pictures that were not cut.
        sizes = torch.tensor([self.side, self.side, 0, 0, self.side, self.side], dtype=found[0].dtype)
        return found[0], found[2], sizes.to(self.device).repeat(len(prompts), 1)

    def predict(self, z: Tensor, t: Tensor, told: Condition) -> Tensor:
        """Return the U-Net's prediction."""
        more = {"added_cond_kwargs": {"text_embeds": told[1], "time_ids": told[2]}} if self.large else {}
        out: Tensor = self.denoiser(z, t, encoder_hidden_states=told[0], **more).sample
        return out

    def copied(self) -> PipelineModel:
        """Return a model with a U-Net of its own; everything else is shared."""
        pipe = copy.copy(self.pipe)
        pipe.unet = copy.deepcopy(self.pipe.unet)
        return PipelineModel(pipe)

    def coder_hash(self) -> str:
        """Return the SHA-256 of the weights that make latents of pictures, and of the numbers beside them."""
        config = {
            name: value for name, value in dict(self.pipe.vae.config).items() if not name.startswith("_")
        }
        told = json.dumps([super().coder_hash(), self.side, config], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()

    def to(self, device: str | torch.device) -> Self:
        """Move the pipeline's networks in place."""
        self.pipe.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the pipeline into a folder, weights as safetensors."""
        self.pipe.save_pretrained(str(folder), safe_serialization=True)
        # Where the owner's own copy lies is nobody's business.
        for file in Path(folder).rglob("*.json"):
            told = json.loads(file.read_bytes())
            if isinstance(told, dict) and told.pop("_name_or_path", None) is not None:
                file.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> PipelineModel:
        """Read a pipeline from a local folder; only safetensors, no code of the folder is run.

        Raises:
            MissingPrerequisite: diffusers is not installed.
            DataError: No such folder, or none of a pipeline.
            UsageError: Another kind of pipeline.
        """
        try:
            diffusers: Any = import_module("diffusers")
        except ImportError as error:
            fix = "pip install 'noli[diffusion]' torch==2.13.0"
            raise MissingPrerequisite("Pipelines need the package diffusers.", fix=fix) from error
        _refuse_code(Path(folder))
        try:
            with seeded(0):  # it draws what it then reads
                pipe = diffusers.DiffusionPipeline.from_pretrained(
                    str(folder), local_files_only=True, use_safetensors=True
                )
        # A damaged folder is met by diffusers, transformers or safetensors, each with errors of its own.
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError("The pipeline cannot be read.", where=str(folder), why=why) from error
        return cls(pipe)


def _refuse_code(folder: Path) -> None:
    """Refuse a folder whose parts diffusers would look for anywhere but in known libraries.

    Some of its versions import files of the folder that the index names.

    Raises:
        DataError: No index, or such a one.
    """
    file, fix = folder / "model_index.json", "name a local folder of Stable Diffusion 1, 2 or XL"
    try:
        index = foreign.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            "This is no folder of a pipeline.", where=str(folder), why=str(error), fix=fix
        ) from error
    parts = index if isinstance(index, dict) else {}
    named = [
        one[0] if isinstance(one, list) and one else one for name, one in parts.items() if name[0] != "_"
    ]
    strange = [str(one) for one in named if isinstance(one, str) and one not in _LIBRARIES]
    code = [one.name for one in folder.rglob("*.py")]
    if parts.get("_class_name") not in _CLASSES or strange or code:
        why = f"it names {', '.join([str(parts.get('_class_name')), *strange, *code][:4])}"
        raise DataError("This pipeline is not read.", where=str(folder), why=why, fix=fix)


def load_subject(folder: str | Path) -> LatentModel:
    """Read a model from a folder: one of ours, or a pipeline of diffusers.

    Raises:
        DataError: Neither.
        MissingPrerequisite: A package is not installed.
    """
    from noli.zoo.latent import LatentDiffusion

    is_pipeline = (Path(folder) / "model_index.json").is_file()
    return PipelineModel.load(folder) if is_pipeline else LatentDiffusion.load(folder)
