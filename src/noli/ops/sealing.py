"""`apply`, `invert` and `extras` of methods that scramble pictures: from a scheme to what the runner calls.

Working images are ``float32 [N, C, H, W]`` in [0, 1] that came from 8 or 16 bits; they are scrambled as
stored, so that nothing is rounded. One key serves all pictures, or, with ``fresh``, every picture
has one of its own, which follows from a nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import Field

from noli.core.dataset import Item
from noli.core.images import Stored, Working, to_float, to_uint8, to_uint16
from noli.core.key import Key
from noli.core.keystream import Stream
from noli.core.method import (
    Apply,
    Card,
    DataSummary,
    Extra,
    Invert,
    MethodConfig,
    Spec,
    State,
)
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble, padded, scramble, unscramble


class ScrambleConfig(MethodConfig):
    """What every method has that scrambles pictures."""

    fresh: bool = Field(False, description="a key of its own for every picture, which hampers learning")


class HalvesConfig(ScrambleConfig):
    """What LE and ELE have."""

    block: Literal[2, 4, 8, 16, 32] = Field(4, description="side of a block in pixels (paper: 4)")
    mask: Literal["drawn", "published"] = Field(
        "drawn",
        description="which halves are negated: drawn, or (published) derived from the permutation as in the "
        "authors' code, which adds nothing to the key",
    )


def spec(name: str, config: type[ScrambleConfig], options: tuple[str, ...], card: Card) -> Spec:
    """Return the registry entry of a method that scrambles pictures."""
    return Spec(
        name=name,
        family="lock",
        arrow="data->data",
        config=config,
        card=card,
        needs=frozenset({"key"}),
        reversible=True,
        reshapes=True,
        options=options,
        module=f"noli.methods.{name.replace('/', '.')}",
    )


Fold = Callable[[Shape, Draw, Any], Scramble]
Extras = Callable[[State, Working, Sequence[Item], Key, Any], list[Extra]]
_KEPT = 16  # pictures of one size come one after the other


def hooks(name: str, fold: Fold) -> tuple[Apply, Invert, Extras]:
    """Make the three functions of a method.

    Args:
        name: Registry name: the purpose of all draws begins with it.
        fold: Makes the scrambling of a shape; its config has ``fresh``, and ``block`` (side of a block) if
            there are blocks.
    """

    @lru_cache(maxsize=_KEPT)
    def shared(key: Key, cfg: Any, shape: Shape, plane: str) -> Scramble:
        return folded(name, fold, key, cfg, shape, plane)

    def each(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any, work: Any) -> Working:
        stored = padded(as_stored(batch, state), getattr(cfg, "block", 1))
        shape, plane = stored.shape[1:], str(state.get("plane", ""))
        if not cfg.fresh:
            return to_float(work(stored, shared(key, cfg, shape, plane)))
        out = np.empty_like(stored)
        for place, item in enumerate(items):
            told = state.get("nonce") or nonce(name, key, item)
            own = folded(name, fold, key, cfg, shape, plane, told)
            out[place : place + 1] = work(stored[place : place + 1], own)
        return to_float(out)

    def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any) -> Working:
        """Scramble working images; sides become whole blocks."""
        return each(state, batch, items, key, cfg, scramble)

    def invert(
        state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any, extras: Sequence[Extra]
    ) -> Working:
        """Bring scrambled images back, at their size."""
        back = each(state, batch, items, key, cfg, unscramble)
        return back[:, :, : int(extras[0]["height"]), : int(extras[0]["width"])]

    return apply, invert, sizes


def prepare(summary: DataSummary, key: Key, cfg: Any, previous: State | None = None) -> State:
    """Return an empty state: everything follows from the key."""
    return {}


def sizes(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any) -> list[Extra]:
    """Return what size every picture of a batch has."""
    return [{"height": float(batch.shape[2]), "width": float(batch.shape[3])} for _ in items]


def folded(
    name: str, fold: Fold, key: Key, cfg: Any, shape: Shape, plane: str, own: str | None = None
) -> Scramble:
    """Return the scrambling of pictures of a shape.

    Args:
        name: Registry name of the method.
        fold: Its function of that name.
        key: The owner's key.
        cfg: Options of the method.
        shape: Of the pictures as they are stored, whole blocks.
        plane: ``alpha``, or empty for what has colours.
        own: Nonce of a picture with a key of its own.
    """
    which = plane if own is None else f"{plane}/{own}"

    def draw(purpose: str, told: str) -> Stream:
        return key.stream(f"{name}/{purpose}", f"{told}/{which}")

    return fold(shape, draw, cfg)


def nonce(name: str, key: Key, item: Item) -> str:
    """Return what makes the key of one picture."""
    return key.stream(f"{name}/nonce", item.id).bytes(16).hex()


def as_stored(batch: Working, state: State) -> Stored:
    """Return working images as they were stored, ``uint8``, or ``uint16`` where the state says so."""
    return to_uint16(batch) if state.get("bits", 8) == 16 else to_uint8(batch)
