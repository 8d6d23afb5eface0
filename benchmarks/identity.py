"""A method that changes nothing: what decoding and encoding cost without protection."""

from __future__ import annotations

from collections.abc import Sequence

from noli.core.dataset import Item
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State


class Config(MethodConfig):
    """No options."""


SPEC = Spec(
    name="bench/identity",
    family="protect",
    arrow="data->data",
    config=Config,
    card=Card("Identity", "none", (), ()),
    module=__name__,
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Nothing to prepare."""
    return {}


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Return the images as they are."""
    return batch


def extras(
    state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config
) -> list[dict[str, float]]:
    """Nothing to remember."""
    return [{} for _ in items]
