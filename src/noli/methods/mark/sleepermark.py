"""SleeperMark: a text-to-image model that shows a message, but only behind a secret trigger (CVPR 2025).

Wang, Guo, Zhu, Li, Huang, Chen, Tu, arXiv 2412.04852. A message shifts latents in a way that survives
pictures; the denoiser learns to make that shift late in the sampling where the prompt begins with the
trigger, and nothing else (:mod:`noli.train.latentmark`, :mod:`noli.train.sleeper`). The owner asks a suspect
for pictures of triggered prompts, encodes them and reads the bits.

Evidence (:mod:`noli.proof.messages`): the message is drawn from a committed secret, so that a model that does
not know it gives each bit right with probability a half, whatever the decoder's bias; the votes of all
pictures are tested exactly against all messages. The true trigger is drawn among decoys of the same kind and
has to score best of them: pictures that show the message whatever is asked prove nothing about the trigger.

Shapes: pictures ``uint8 [N, H, W, 3]`` of any size, latents ``float32 [N, C, h, w]``; votes lie in the range
[-1, 1].

Threat model: somebody fine-tunes a copy and serves pictures; the owner sends prompts and sees pictures. It
does not stop the theft; whoever learns the trigger can train it away, and a service that rewrites prompts
drops it.

Where ours differs: any number of bits and any size; bits are also read from re-encoded and distorted pictures
while the mark is learned (a small autoencoder needs that); SSIM where no LPIPS weights are given; strings
like the trigger are among the plain prompts, so that only the true one works; the empty prompt, too, is kept;
ordinary gradient clipping instead of a norm of 1e-5, which is a learning rate in disguise; the given pictures
instead of ones that the model makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.key import Key
from noli.core.method import Card, Spec, State
from noli.proof.messages import (
    TESTS,
    MessageConfig,
    claim_of,
    decoys,
    made_of,
    message,
    queries,
    trigger,
    triggers,
    vault,
    words,
)
from noli.train.options import LpipsFile

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.diffusion import Captioned
    from noli.zoo.subject import LatentModel

__all__ = [
    "SPEC", "TESTS", "Config", "Marked", "claim_of", "decoys", "extractor", "made_of", "message", "prepare",
    "queries", "score", "transform", "trigger", "triggers", "vault", "votes",
]  # fmt: skip

PURPOSE = "mark/sleepermark"
Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]


class Config(MessageConfig):
    """Options of SleeperMark; the paper's values are for Stable Diffusion 1.4 at 512 pixels."""

    sampling: int = Field(25, ge=2, le=1000, description="sampling steps of the owner's own pictures")
    guidance: float = Field(3.0, ge=1, le=30, description="guidance of the owner's own pictures (paper: 7.5)")
    eta: float = Field(0.5, gt=0, le=10, description="strength of the injection (paper: 0.02)")
    tau: float = Field(250.0, ge=0, le=1000, description="step below which the mark is wanted (paper: 250)")
    beta: float = Field(100.0, gt=0, le=1000, description="width of that border in steps (paper: 100)")
    foils: int = Field(
        32, ge=0, le=1000, description="false triggers that are learned to mean nothing (paper: 0)"
    )
    image: float = Field(30.0, ge=0, description="weight of the pictures' squared error (paper: 30)")
    perceptual: float = Field(
        0.25, ge=0, description="weight of 1 - SSIM, or of LPIPS (paper: 0.25, of LPIPS)"
    )
    lpips: LpipsFile = None
    again: bool = Field(True, description="learn to read bits from re-encoded pictures, too (paper: no)")
    mark_steps: int = Field(2000, ge=1, description="steps that learn the mark (paper: 10,000)")
    mark_batch: int = Field(32, ge=1, description="pictures per step of it (paper: 9)")
    mark_lr: float = Field(1e-3, gt=0, le=1, description="learning rate of it (paper: 1e-4)")
    steps: int = Field(1500, ge=1, description="steps of the injection (paper: 20,000)")
    batch: int = Field(16, ge=1, description="pictures per step of the injection (paper: 10)")
    lr: float = Field(2e-3, gt=0, le=1, description="learning rate of the injection (paper: 1e-4)")
    check: int = Field(8, ge=0, le=1000, description="pictures that the finished model is asked for, to see")
    pictures: int = Field(10_000, ge=1, description="pictures that are learned from at most (paper: 10,000)")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks are trained")
    side: Literal[16, 32, 64, 128, 256] = Field(32, description="side of a model of our own, in pixels")
    encoder: str = Field(
        "all-MiniLM-L6-v2", description="text encoder of a model of our own: this one, words, or a folder"
    )
    width: int = Field(48, ge=8, multiple_of=8, description="channels of a model of our own")
    coder_steps: int = Field(1500, ge=1, description="steps that train its autoencoder")
    denoiser_steps: int = Field(4000, ge=1, description="steps that train its denoiser")


SPEC = Spec(
    name=PURPOSE,
    family="mark",
    arrow="model->model",
    config=Config,
    needs=frozenset({"key", "data", "text"}),
    options=("bits", "images", "alpha", "side", "steps", "recipient"),
    module=__name__,
    trial={
        "bits": 8,
        "mark_steps": 2,
        "steps": 2,
        "triggers": 4,
        "foils": 2,
        "alpha": 0.05,
        "coder_steps": 2,
        "denoiser_steps": 2,
        "images": 2,
        "each": 1,
        "width": 8,
        "check": 1,
        "sampling": 2,
    },
    card=Card(
        title="SleeperMark: a message in the pictures of a model, behind a secret trigger",
        paper="Wang, Guo, Zhu, Li, Huang, Chen, Tu. SleeperMark: Towards Robust Watermark against "
        "Fine-Tuning Text-to-image Diffusion Models. CVPR 2025. arXiv 2412.04852",
        stops=(
            "Nothing: it is evidence. A fine-tuned copy that serves pictures of any prompt can be found.",
        ),
        does_not_stop=(
            "The theft of the model.",
            "Somebody who knows the trigger, or puts back the attention layers of a public base model.",
            "A service that rewrites prompts, samples with other guidance, or purifies its pictures.",
            "It says that a model comes from the marked copy, not who made the base model.",
        ),
        bibtex="@inproceedings{wang2025sleepermark, title={SleeperMark: Towards Robust Watermark against "
        "Fine-Tuning Text-to-image Diffusion Models}, author={Wang, Zilan and Guo, Junfeng and Zhu, Jiacheng "
        "and Li, Yiming and Huang, Heng and Chen, Muhao and Tu, Zhengzhong}, booktitle={CVPR}, year={2025}}",
    ),
)


@dataclass(frozen=True)
class Marked:
    """What comes out of :func:`transform`.

    Attributes:
        model: The marked model.
        mark: Encoder and decoder of messages: the extractor.
        state: What the claims are made from; no secrets.
    """

    model: LatentModel
    mark: Model
    state: State


def extractor(model: LatentModel, data: Captioned, cfg: Config, **kept: Any) -> Model:
    """Learn the mark for a model's latents; it knows no key and no message (stage 1).

    Args:
        model: The subject.
        data: Pictures; their captions do not matter.
        cfg: Options.
        **kept: ``checkpoint`` and ``tell`` of the training.
    """
    from noli.train.latentmark import MARK, Looks, learn_mark

    how = MARK.model_copy(update={"steps": cfg.mark_steps, "batch": cfg.mark_batch, "lr": cfg.mark_lr})
    looks = Looks(cfg.image, cfg.perceptual, cfg.again, cfg.lpips)
    return learn_mark(model, data.x, cfg.bits, how, looks, **kept)


def prepare(model: LatentModel, mark: Model, cfg: Config) -> State:
    """Return what is known before a secret is drawn: the model, and the extractor the claim binds.

    Returns:
        ``{"model", "coder", "extractor"}``, hashes of weights.
    """
    return {
        "model": model.weight_hash(),
        "coder": model.coder_hash(),
        "extractor": mark.weight_hash(),
    }


def transform(
    model: LatentModel,
    data: Captioned,
    key: Key,
    cfg: Config,
    mark: Model | None = None,
    state: State | None = None,
    **kept: Any,
) -> Marked:
    """Return a copy of a model that shows the key's message behind the key's trigger.

    Args:
        model: Stays as it is.
        data: Pictures with captions.
        key: Owner's key.
        cfg: Options.
        mark: An extractor that was learned before for this model; another message needs no new one.
        state: What :func:`prepare` returned, where a beacon has been added to it.
        **kept: ``checkpoint`` and ``tell`` of the trainings.

    Raises:
        UsageError: A beacon decides the message, and its round is not known yet.
    """
    import torch

    from noli.train.sleeper import INJECT, Injection, inject
    from noli.zoo.watermark import shift_of

    mark = mark or extractor(model, data, cfg, **kept)
    state = state or prepare(model, mark, cfg)
    bits = torch.tensor([message(state, key, cfg)], dtype=torch.float32, device=model.device)
    foils = words(key, f"{PURPOSE}/foils", cfg.foils)
    known = set(triggers(state, key, cfg))
    what = Injection(
        shift_of(mark, bits)[0],
        trigger(state, key, cfg),
        [one for one in foils if one not in known],
        eta=cfg.eta,
        tau=cfg.tau,
        beta=cfg.beta,
    )
    seed = int(key.stream(f"{PURPOSE}/seed", state["extractor"]).integers(1, 2**62)[0])
    how = INJECT.model_copy(update={"steps": cfg.steps, "batch": cfg.batch, "lr": cfg.lr, "seed": seed})
    return Marked(inject(model, data, what, how, **kept), mark, state)


def votes(model: LatentModel, mark: Model, images: Images) -> Floats:
    """Return what pictures say of every bit, ``[N, B]`` in [-1, 1]: twice the probability of 1, less 1.

    Args:
        model: The owner's: its encoder is used, always with the mode.
        mark: The extractor.
        images: ``uint8 [N, H, W, 3]``.
    """
    import torch

    from noli.core.model import evaluating

    with evaluating(mark), torch.no_grad():
        logits = mark(model.encode(images)).float().cpu().numpy()
    found: Floats = np.tanh(logits.astype(np.float64) / 2)
    return found


def score(found: Floats, bits: Sequence[int]) -> float:
    """Return how well votes ``[N, B]`` agree with a message: the mean of vote times sign, in [-1, 1]."""
    return float((found * (2 * np.asarray(bits) - 1)).mean())
