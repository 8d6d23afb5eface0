"""Weave: keyed class filters and keyed class colours in one picture (ours; no paper).

Two codes that fail to different countermeasures. Every class gets a secret small filter, as in protect/cuda
(arXiv 2303.04278), and a secret low-frequency pattern of *colour*, as in linearly separable perturbations
(arXiv 2111.00898): a 4 x 4 grid of shifts without brightness, to which natural images offer little
resistance. Sharpening and displacement undo the filters but not the colours; greyscale removes the colours
but not the filters. Every picture varies: it has taps of its own (``jitter``), and a colour pattern of its
own, ``colour_jitter`` times as strong as its class's. A thief who takes a leaked pair for its class then
subtracts what was the picture's own as well, and puts a new code of the class in its place.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1], C in {1, 3}; grey pictures get no colours.

Two more patterns close further holes, at a cost elsewhere: shifts of ``brightness``, which greyscale leaves,
and several ``codes`` per class, with which displacement after orthogonal projection gains nothing.

Threat model: as protect/cuda, and beyond it a trainer who uses RSK+FF, COIN, greyscale, orthogonal projection
or adversarial training, or a thief with one clean original per class; each alone. It does not stop COIN after
greyscale, after projection or after a leaked pair, nor a thief with more pairs: the variation averages out
(noli.ops.mixture); beside hundreds, the leaked originals alone teach nearly as much. What was tried, also
against combinations, is in docs/weave.md, benchmarks/leaderboard.py and benchmarks/weave_settings.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.dataset import Item
from noli.core.images import Working, check_images
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops.classfilters import choose_draws, kernel_for, keyed_filters
from noli.ops.filters import Border, invert_batch

GRID = 4
_LUMA = np.array([0.299, 0.587, 0.114])


class Config(MethodConfig):
    """Options of the weave; every default is ours."""

    binary: ClassVar[bool] = True  # as of noli.ops.classfilters.class_filter
    colour: float = Field(24 / 255, ge=0, le=0.2, description="largest shift of the colours, in [0, 1] units")
    brightness: float = Field(
        0.0, ge=0, le=0.2, description="shift of the brightness, the only pattern of grey pictures"
    )
    colour_jitter: float = Field(
        0.3, ge=0, le=4, description="strength of a picture's own patterns, in units of its class's"
    )
    codes: int = Field(1, ge=1, le=16, description="patterns per class, one of them per picture")
    gentle: float = Field(1.0, gt=0, le=1, description="strength of the filters' taps, 1: as protect/cuda")
    jitter: float = Field(1.0, ge=0, le=4, description="random taps per picture, in units of the class's")
    border: Border = Field("zero", description="zero: dark edge, protects more; reflect: no dark edge")
    candidates: int = Field(16, ge=1, le=256, description="sets of filters to choose from")
    separation: float = Field(0.1, ge=0, le=1, description="smallest distance between classes' filters")

    def shape_for(self, height: int, width: int) -> tuple[int, float]:
        """Kernel side and bound of the taps for an image of this size."""
        kernel, blur = kernel_for(height, width)
        return kernel, blur * self.gentle


SPEC = Spec(
    name="protect/weave",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("colour", "brightness", "colour_jitter", "codes", "gentle", "jitter"),
    module=__name__,
    card=Card(
        title="Weave: keyed class filters and class colours",
        paper="ours; after CUDA (arXiv 2303.04278) and linearly separable perturbations (arXiv 2111.00898)",
        stops=(
            "Ordinary and adversarial training of image classifiers on the protected images with their true "
            "labels, on 10,000 small pictures with a small network (docs/weave.md).",
            "Sharpening, displacement, compression or greyscale alone: each removes one code at most.",
            "A thief with one clean original per class beside its protected version: what varies from "
            "picture to picture misleads him.",
        ),
        does_not_stop=(
            "Combinations: COIN after greyscale, after orthogonal projection or after a leaked pair.",
            "A thief with ten originals per class: the variation averages out.",
            "Fine-tuning from pre-trained weights, in part, and self-supervised learning, by a little.",
            "Training with other labels than yours, or on any unprotected copies of the same images.",
            "Models that were trained before, and uses other than training (viewing, copying, editing).",
        ),
    ),
)


@lru_cache(maxsize=4096)
def colours(key: Key, purpose: str, name: str) -> npt.NDArray[np.float32]:
    """Draw a pattern of colour shifts ``float32 [4, 4, 3]`` without brightness, largest value 1."""
    drawn = key.stream(f"protect/weave/{purpose}", name).normal(GRID * GRID * 3).reshape(GRID, GRID, 3)
    drawn -= (drawn @ _LUMA)[..., None]  # shifts of equal channels are brightness
    # As strong as it may be everywhere: only the direction of the shift is secret.
    drawn /= np.abs(drawn).max(axis=2, keepdims=True)
    pattern: npt.NDArray[np.float32] = drawn.astype(np.float32)
    pattern.setflags(write=False)
    return pattern


@lru_cache(maxsize=4096)
def lights(key: Key, purpose: str, name: str) -> npt.NDArray[np.float32]:
    """Draw a pattern of brightness shifts ``float32 [4, 4, 1]``: 1 in half of the cells, -1 in the others."""
    drawn = key.stream(f"protect/weave/{purpose}/brightness", name).normal(GRID * GRID)
    pattern = np.full(GRID * GRID, -1, np.float32)
    pattern[np.argsort(drawn, kind="stable")[GRID * GRID // 2 :]] = 1
    pattern.setflags(write=False)
    return pattern.reshape(GRID, GRID, 1)


def veils(items: Sequence[Item], key: Key, cfg: Config, channels: int, height: int, width: int) -> Working:
    """Return the items' shifts ``float32 [N, C, height, width]``, at most ``colour + brightness`` in size."""
    out = np.empty((len(items), height, width, channels), np.float32)
    if channels == 1 and not cfg.brightness:
        return np.zeros((len(items), 1, height, width), np.float32)
    share = 1 / (1 + cfg.colour_jitter)

    def drawn(purpose: str, name: str) -> npt.NDArray[np.float32]:
        pattern = np.zeros((GRID, GRID, channels), np.float32)
        if channels == 3:
            pattern += np.float32(cfg.colour) * colours(key, purpose, name)
        if cfg.brightness:
            pattern += np.float32(cfg.brightness) * lights(key, purpose, name)
        return pattern

    for target, item in zip(out, items, strict=True):
        label = str(item.label)
        if cfg.codes > 1:
            label = f"{key.stream('protect/weave/code', item.id).choice(cfg.codes)}:{label}"
        pattern = share * drawn("class", label)
        if cfg.colour_jitter:
            pattern = pattern + (1 - share) * drawn("colour-of-item", item.id)
        large = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_NEAREST)
        target[:] = large.reshape(target.shape)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Choose the filters; see :func:`noli.ops.classfilters.choose_draws`."""
    return choose_draws(summary, key, cfg, previous, SPEC.name)


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Filter, then shift colours and brightness; ``float32 [N, C, H, W]`` in [0, 1] in and out."""
    check_images(batch)
    if len(batch) == 0:
        return batch
    _, channels, height, width = batch.shape
    out = keyed_filters(state, items, key, cfg, height, width, SPEC.name).apply(batch, cfg.border)
    out += veils(items, key, cfg, channels, height, width)
    return np.clip(out, 0.0, 1.0, out=out)


def invert(
    state: State,
    batch: Working,
    items: Sequence[Item],
    key: Key,
    cfg: Config,
    extras: Sequence[dict[str, float]],
) -> Working:
    """Undo :func:`apply` with the key: shifts off, then least squares for the filters."""
    check_images(batch)
    if len(batch) == 0:
        return batch
    _, channels, height, width = batch.shape
    plain = batch - veils(items, key, cfg, channels, height, width)
    parts = keyed_filters(state, items, key, cfg, height, width, SPEC.name).parts()
    restored = invert_batch(plain, parts, cfg.border, damping=1e-4, steps=30)
    return np.clip(restored, 0.0, 1.0, out=restored)
