"""Trainings with pictures and captions: a small image-text model, and the generator of T2UE against one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from noli import zoo
from noli.core.errors import RunError
from noli.core.model import Model
from noli.ops.augment import crop_flip
from noli.train.callbacks import CropFlip
from noli.train.checkpoint import Checkpoint
from noli.train.contrastive import info_nce
from noli.train.fit import Callback, fit
from noli.train.hardware import pick_device
from noli.train.lesson import TimeBudget, Told
from noli.train.options import GeneratorConfig
from noli.train.recipe import Recipe
from noli.zoo.imagine import new_generator
from noli.zoo.joint import ALIGNED, Joint, load_joint
from noli.zoo.text import load_text

JOINT = Recipe(epochs=12)


class Captioning(Callback):
    """Tells the generator a caption and a random vector instead of a picture, and is the loss of its noise.

    Args:
        joint: Frozen image-text model.
        texts: What the text encoder said of every caption, ``float32 [K, D]``.
        z: Length of the random vector.
        eps: Bound of the noise in [0, 1] units.
        shift: Largest random shift of the noisy pictures in pixels, with mirroring (expectation over
            transforms); 0 for neither.
    """

    def __init__(self, joint: Joint, texts: Tensor, z: int, eps: float, shift: int = 0) -> None:
        self.joint, self.texts, self.z, self.eps, self.shift = joint, texts, z, eps, shift
        self.aims = joint.texts(texts)

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return texts and random vectors ``[B, D + Z, 1, 1]`` and the numbers of the captions ``[B]``."""
        self.pictures, self.generator = x, generator
        z = torch.randn(len(x), self.z, generator=generator).to(x.device)
        return torch.cat([self.texts[y], z], 1)[..., None, None], y

    def __call__(self, noise: Tensor, y: Tensor) -> Tensor:
        """Return the symmetric InfoNCE of the latest pictures with noise ``[B, 3, S, S]`` in [-1, 1]."""
        noisy = (self.pictures + self.eps * noise).clamp(0, 1)
        if self.shift:
            noisy = crop_flip(noisy, self.shift, self.generator)
        return info_nce(self.joint(noisy), self.aims[y], y, self.joint.temperature)


def learn_joint(
    x: npt.NDArray[np.uint8],
    captions: npt.NDArray[np.int64],
    texts: Tensor,
    network: str,
    recipe: Recipe,
    *,
    seed: int = 0,
) -> Joint:
    """Train a network of the zoo from scratch to meet the vectors of its captions, which stay as they are.

    Args:
        x: ``uint8 [N, S, S, C]``.
        captions: Row of `texts` of every picture, ``int64 [N]``.
        texts: ``float32 [K, D]``, rows of length 1.
        network: Name in the zoo.
        recipe: How to train; shifts and mirroring are added.
        seed: Seed of the initial weights.
    """
    model = zoo.network(network, texts.shape[1], x.shape[3], size=x.shape[1], seed=seed)
    mean = texts.mean(0)  # texts of one kind lie close together; they differ around their mean
    aims = F.normalize(texts - mean, dim=1).to(pick_device(recipe.device))

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return info_nce(F.normalize(outputs, dim=1), aims[y], y)

    fit(model, x, captions, recipe, [CropFlip()], loss)
    return Joint(model, mean=mean).to(aims.device)


def learn_generator(
    x: npt.NDArray[np.uint8],
    captions: Sequence[str],
    cfg: GeneratorConfig,
    tell: Callable[[int, int, str], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Model, dict[str, float]]:
    """Train a generator whose noise makes pictures match their captions, for a frozen image-text model.

    Args:
        x: ``uint8 [N, S, S, 3]``, S as configured.
        captions: N captions.
        cfg: How to train; its time budget begins after the surrogate is ready.
        tell: Progress, ``(done, all, what)``.
        checkpoint: Where the generator's training is kept against a kill.

    Returns:
        The generator, and what it reached: ``loss``, ``steps``, ``seconds``, ``pictures``, ``captions``.

    Raises:
        RunError: The time budget ended before the first pass over the pictures.
        MissingPrerequisite: An encoder is not installed.
        DataError: An encoder cannot be read.
    """
    different = list(dict.fromkeys(captions))
    place = {caption: row for row, caption in enumerate(different)}
    y = np.array([place[caption] for caption in captions], np.int64)
    text, device = load_text(cfg.text), pick_device(cfg.device)
    texts = text(different)
    recipe = Recipe(
        epochs=cfg.epochs, batch=cfg.batch, optimiser="adam", lr=cfg.lr, weight_decay=1e-4, seed=cfg.seed,
        device=cfg.device,
    )  # fmt: skip
    if cfg.surrogate in zoo.NETWORKS:
        joint = learn_joint(x, y, texts, cfg.surrogate, JOINT.model_copy(update={"device": cfg.device}))
    else:
        twice = 2 * cfg.side if cfg.surrogate == ALIGNED else None
        joint = load_joint(cfg.surrogate, text, cfg.surrogate_side or twice)
    generator = new_generator(text, side=cfg.side, eps=cfg.eps, seed=cfg.seed)
    shift = cfg.side // 16 if cfg.eot else 0
    judge = Captioning(joint.to(device), texts.to(device), generator.arch_args["z"], cfg.eps, shift)
    told = [] if tell is None else [Told(tell, recipe.steps_for(len(x)), "train")]
    if checkpoint is not None:
        checkpoint.depends_on("t2ue", cfg.model_dump_json(), *captions, x, texts.cpu().numpy())
    found = fit(generator, x, y, recipe, [TimeBudget(cfg.time, monotonic), *told, judge], judge, checkpoint)
    if not found.losses:
        fix = "give it more time, or fewer pictures"
        raise RunError("The time budget ended before the first pass.", where=f"time={cfg.time:g}", fix=fix)
    reached = {"loss": found.losses[-1], "steps": float(found.steps), "seconds": found.seconds}
    return generator, {**reached, "pictures": float(len(x)), "captions": float(len(different))}
