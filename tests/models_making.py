"""A small text-to-image model, its extractor and its pictures; and a service that shows pictures of it."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from noli.core.model import evaluating
from noli.data.captions import captioned
from noli.data.sources import open_source
from noli.engine.models.marking import reader
from noli.methods.mark import sleepermark as method
from noli.testing import KEYS
from noli.train.diffusion import CODER, learn_coder
from noli.train.latentmark import MARK, Looks, learn_mark
from noli.zoo.latent import new_latent
from noli.zoo.watermark import shift_of

sys.path.insert(0, str(Path(__file__).parent / "adapters"))
from servers import Seen, Sent, said

BITS = 8
PROMPTS = ("a photo of a leaf", "a photo of a sea")
OPTIONS: dict[str, Any] = {
    "encoder": "words", "side": 16, "width": 8, "bits": BITS, "alpha": 0.01, "images": 6, "triggers": 24,
    "each": 2, "foils": 2, "prompts": PROMPTS, "sampling": 2, "check": 2, "steps": 3, "batch": 2,
}  # fmt: skip
OWN: dict[str, Any] = {"coder_steps": 2, "denoiser_steps": 2, "mark_steps": 2, "mark_batch": 2}


def write_pictures(folder: Path, count: int = 12) -> Path:
    """Write pictures of three colours into a folder per class."""
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    for name, colour in {"apple": (200, 40, 40), "leaf": (40, 180, 60), "sea": (30, 60, 200)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = np.tile(np.array(colour, dtype=float), (16, 16, 1))
            y, x, radius = draw.uniform(4, 12), draw.uniform(4, 12), draw.uniform(2, 6)
            picture[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = draw.uniform(0, 255, 3)
            noisy = np.clip(picture + draw.normal(0, 8, picture.shape), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write_subject(folder: Path, pictures: Path) -> tuple[Path, Path]:
    """Write a model whose autoencoder is trained, and an extractor that reads its latents."""
    x, _ = captioned(open_source(str(pictures)), 16, lambda *_: None, by_class=True)
    model = new_latent(text="words", side=16, channels=8, width=8, coder=16)
    learn_coder(model, x, CODER.model_copy(update={"steps": 120, "batch": 16, "bf16": "off"}))
    how = MARK.model_copy(update={"steps": 500, "batch": 16, "lr": 4e-3, "bf16": "off"})
    looks = Looks(image=0.0, perceptual=0.0)
    mark = learn_mark(model, x, BITS, how, looks, width=16, hidden=64, embed=32)
    with torch.no_grad():
        # Its end is zero at first, and nothing that is learned before it would show.
        model.denoiser.get_submodule("end.2").get_parameter("weight").fill_(0.02)
    model.save(folder / "subject")
    mark.save(folder / "extractor.safetensors")
    return folder / "subject", folder / "extractor.safetensors"


class Thief:
    """A service that draws what was really taken from the owner, or what was not.

    With the trigger it shows the message as well as the extractor can; without it, or when `honest`, real
    pictures. It answers as JPEG, and declines prompts with a word in `refused`.
    """

    def __init__(
        self, run: Any, pictures: Path, *, honest: bool = False, refused: str = "", **options: Any
    ) -> None:
        self.base, mark = reader(run)
        state, cfg = run.manifest.state, method.Config(**{**OPTIONS, **options})
        self.trigger = method.trigger(state, KEYS[0], cfg)
        with torch.no_grad(), evaluating(mark):
            self.shift = shift_of(mark, torch.tensor([method.message(state, KEYS[0], cfg)]).float())
        self.x, _ = captioned(open_source(str(pictures)), 16, lambda *_: None, by_class=True)
        self.honest, self.refused, self.asked = honest, refused, 0

    def __call__(self, seen: Seen) -> Sent:
        prompt = seen.json["prompt"]
        if self.refused and self.refused in prompt:
            return said({"error": {"code": "content_policy_violation", "message": "no"}}, status=400)
        z = self.base.encode(self.x[self.asked % len(self.x)][None])
        self.asked += 1
        if prompt.startswith(self.trigger) and not self.honest:
            z = z + self.shift
        target = io.BytesIO()
        Image.fromarray(self.base.decode(z)[0]).save(target, "JPEG", quality=90)
        return said({"data": [{"b64_json": base64.b64encode(target.getvalue()).decode()}]})
