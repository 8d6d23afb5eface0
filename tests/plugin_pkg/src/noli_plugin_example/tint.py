"""Class-wise colour tint: the smallest method with a key, labels, a budget and a way back.

Paper: none, an example. Threat model: none, it stops nobody.
Does not stop: any training at all.
Shapes: working images ``float32 [N, C, H, W]``; range [0, 1], the strength in the same units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from noli.core.dataset import Item
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State


class Config(MethodConfig):
    """Options of the tint."""

    eps: float = Field(8 / 255, ge=0, le=0.5, description="Largest change of a pixel, in [0, 1] units.")
    channels: int = Field(3, ge=1, le=3, description="How many of the colour channels are tinted.")


SPEC = Spec(
    name="noli-plugin-example/tint",
    family="protect",
    arrow="data->data",
    config=Config,
    card=Card(
        title="Class-wise tint",
        paper="none: an example",
        stops=("nobody",),
        does_not_stop=("any training",),
    ),
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("eps",),
    module=__name__,
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Nothing depends on the whole data set."""
    return {}


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Shrink the range a little to make room, then add the tint of each item's class."""
    squeezed = cfg.eps / 2 + batch * np.float32(1 - cfg.eps)
    return np.clip(squeezed + _tints(batch, items, key, cfg), 0, 1).astype(np.float32)


def invert(
    state: State,
    batch: Working,
    items: Sequence[Item],
    key: Key,
    cfg: Config,
    extras: Sequence[dict[str, float]],
) -> Working:
    """Subtract the tint again."""
    plain = (batch - _tints(batch, items, key, cfg) - cfg.eps / 2) / np.float32(1 - cfg.eps)
    return np.clip(plain, 0, 1).astype(np.float32)


def extras(
    state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config
) -> list[dict[str, float]]:
    """Nothing is needed beyond the key."""
    return [{} for _ in items]


def _tints(batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Any:
    tints = np.zeros((len(items), batch.shape[1], 1, 1), np.float32)
    for row, item in enumerate(items):
        levels = np.frombuffer(key.subkey(f"tint/{item.label}")[: batch.shape[1]], np.uint8)
        tints[row, :, 0, 0] = cfg.eps / 2 * (levels / 127.5 - 1)
    tints[:, cfg.channels :] = 0
    return tints
