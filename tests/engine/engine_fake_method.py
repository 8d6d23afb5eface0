"""A tiny reversible method for the runner's tests, importable in worker processes.

Odd classes are inverted, every image is rolled sideways by a keyed shift that depends on its id. Knobs in
the Config make it slow, failing or deadly; every call is logged to a file when `log` is set.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noli.core.dataset import Item
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State


class Config(MethodConfig):
    strength: int = 1
    log: str = ""
    fail_on: str = ""
    kill_on: str = ""
    killed_once: str = ""
    interrupt_after: int = 0
    pause: float = 0.0


SPEC = Spec(
    name="test/roll",
    family="protect",
    arrow="data->data",
    config=Config,
    card=Card("Roll", "none", ("nothing",), ("everything",)),
    needs=frozenset({"key", "labels"}),
    reversible=True,
    module="engine_fake_method",
)
_calls = 0


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    _log(cfg, "prepare", summary.classes)
    before = dict((previous or {}).get("classes", {}))
    for name in summary.classes:
        before.setdefault(name, len(before))
    return {"classes": before, "items": summary.items, "key": key.id if key else None}


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    global _calls
    _calls += 1
    _log(cfg, "apply", [item.path for item in items])
    if cfg.pause:
        time.sleep(cfg.pause)
    if cfg.interrupt_after and _calls > cfg.interrupt_after:
        _calls = 0
        raise KeyboardInterrupt
    for item in items:
        if cfg.fail_on and cfg.fail_on in item.path:
            raise ValueError(f"cannot do {item.path}")
        if cfg.kill_on and cfg.kill_on in item.path and not Path(cfg.killed_once).exists():
            Path(cfg.killed_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return _all(state, batch, items, key, cfg, +1)


def invert(
    state: State,
    batch: Working,
    items: Sequence[Item],
    key: Key,
    cfg: Config,
    extras: Sequence[dict[str, float]],
) -> Working:
    assert all(extra["shift"] == _shift(item, key, cfg) for extra, item in zip(extras, items, strict=True))
    return _all(state, batch, items, key, cfg, -1)


def extras(
    state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config
) -> list[dict[str, float]]:
    return [{"shift": _shift(item, key, cfg)} for item in items]


def _all(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config, sign: int) -> Working:
    out = np.empty_like(batch)
    for i, item in enumerate(items):
        odd = state["classes"][item.label] % 2
        rolled = np.roll(batch[i], sign * _shift(item, key, cfg), axis=-1)
        out[i] = 1 - rolled if odd else rolled
    return np.clip(out, 0, 1)


def _shift(item: Item, key: Key, cfg: Config) -> int:
    return cfg.strength * (1 + key.stream("test/roll", item.id).choice(5))


def _log(cfg: Config, kind: str, what: Any) -> None:
    if cfg.log:
        with Path(cfg.log).open("a") as handle:
            handle.write(f"{kind} {len(what)}\n")
