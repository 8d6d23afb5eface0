"""Learned attacks on one set of scrambled pictures: public pictures of its kind, scrambled under own keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noli import registry
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.method import MethodConfig, Spec
from noli.engine.auditing import Case, Images, scheme_of
from noli.ops.matching import ssim_distance
from noli.ops.planes import to_planes
from noli.ops.scramble import padded, scramble
from noli.ops.sealing import folded
from noli.train.stages import Stages
from noli.train.steps import Tell
from noli.train.studio import (
    Answer,
    Learning,
    Scrambler,
    answers,
    by_statistics,
    enough,
    learn_scheme,
    learn_studio,
    resized,
    small,
)
from noli.zoo.likeness import picture_distance
from noli.zoo.style import load_generator


@dataclass(frozen=True)
class Brought:
    """What one learned attack brings back.

    Attributes:
        answer: What it says.
        images: ``uint8 [N, H, W, C]``: its pictures at the size of the originals.
    """

    answer: Answer
    images: Images


def prepared(images: Images, cfg: MethodConfig) -> Images:
    """Return pictures as they look before they are scrambled: in planes, whole blocks."""
    options: Any = cfg
    block = int(getattr(options, "block", 1))
    planes: Any = getattr(options, "planes", "colour")
    if planes != "colour" and images.shape[3] == 3:
        return to_planes(images, planes, block)
    return padded(images, block)


def own_keys(spec: Spec, cfg: MethodConfig, seed: int = 0) -> Scrambler:
    """Return what scrambles pictures, each under a key that follows from the seed and is nobody's."""
    module: Any = registry.module(spec.name)
    key = Key.from_bytes(hashlib.sha256(f"attacker {seed}".encode()).digest())

    def run(images: Images, number: int) -> Images:
        out = np.empty_like(images)
        shape = (images.shape[1], images.shape[2], images.shape[3])
        for row in range(len(images)):
            how = folded(spec.name, module.fold, key, cfg, shape, "", f"{number}/{row}")
            out[row : row + 1] = scramble(images[row : row + 1], how)
        return out

    return run


def attacked(
    case: Case,
    how: Learning,
    *,
    folder: Path | None = None,
    generator: str | Path | None = None,
    lpips: str | Path | None = None,
    tell: Tell | None = None,
    untrained: bool = False,
) -> Sequence[Brought]:
    """Learn to attack scrambled pictures, and attack them.

    Args:
        case: What is attacked; its public pictures are learned from.
        how: How much is learned.
        folder: Where finished trainings are kept against a kill; None: nowhere.
        generator: File of a trained generator; None: one is trained.
        lpips: File of LPIPS weights; None: trainings use SSIM.
        tell: Progress.
        untrained: Make the one attack alone that learns nothing.

    Raises:
        UsageError: Pictures with alpha, fewer than two, or a generator of another side.
        DataError: A generator or weights that cannot be read.
    """
    if case.originals.shape[3] not in (1, 3) or len(case.originals) < 2:
        why = f"there are {len(case.originals)} with {case.originals.shape[3]} channels"
        raise UsageError("Learned attacks need two pictures or more, grey or in colour.", why=why)
    given = None if generator is None else load_generator(generator)
    if given is not None and given.side != how.side:
        fix = f"take side {given.side}"
        raise UsageError(f"The generator makes pictures of {given.side} pixels, not {how.side}.", fix=fix)
    size = (case.originals.shape[1], case.originals.shape[2])
    public = enough(case.public, how.pictures, size)
    stages, (scheme, block) = Stages(folder), scheme_of(case.spec, case.cfg)
    plain, gallery = prepared(public, case.cfg), prepared(case.originals, case.cfg)
    if untrained:
        one = by_statistics(small(public, how.side), scheme, block, gallery, case.scrambled, plain)
        return [Brought(one, _enlarged(one.images, size, case.originals.shape[3]))]
    files = [Path(file) for file in (generator, lpips) if file is not None]
    perception = None if lpips is None else picture_distance(str(lpips), 1.0, side=how.side)
    studio = learn_studio(
        small(public, how.side), how, stages, given=given, perception=perception or ssim_distance,
        named="".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files), tell=tell,
    )  # fmt: skip
    trained = learn_scheme(
        studio, scheme, block, plain, own_keys(case.spec, case.cfg), how, stages,
        named=case.spec.name.split("/")[1], tell=tell,
    )  # fmt: skip
    seen = small(case.originals, how.side)
    found = answers(studio, trained, gallery, case.scrambled, seen, plain, how)
    stages.clear()
    return [Brought(one, _enlarged(one.images, size, case.originals.shape[3])) for one in found]


def _enlarged(images: Images, size: tuple[int, int], channels: int) -> Images:
    out = np.stack([resized(image, size) for image in images])
    if channels == 3:
        return out
    grey: Images = (out.astype(np.float32).mean(3, keepdims=True) + 0.5).astype(np.uint8)
    return grey
