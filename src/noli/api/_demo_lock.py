"""The demo's last chapter: scramble pictures in three ways, and see what comes back without the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from pydantic import BaseModel, ConfigDict

from noli.api._audit import audit
from noli.api._lock import lock
from noli.core.audit import Has
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.data.demo import PHOTOS, photo_folder
from noli.engine.progress import Progress

SIDE = 128
WAYS: dict[str, dict[str, Any]] = {"pixel": {}, "shuffle": {"block": 4}, "etc": {"block": 16}}


class DemoLock(BaseModel):
    """One way to scramble, and the attack that brought back most.

    Attributes:
        method, title: How the pictures were scrambled.
        scrambled: Mean SSIM of scrambled pictures to originals.
        attack, has: The attack that needed least among those that brought back half of the pictures, else
            the one with the highest SSIM; and what it has beside the scrambled pictures.
        ssim, back: What it brought back.
        nominal, capped, effective: log2 of the number of keys.
        page: The audit with pictures.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    title: str
    scrambled: float
    attack: str
    has: Has
    ssim: float
    back: float
    nominal: float
    capped: float
    effective: float
    page: Path


def break_locks(
    folder: Path, key: Key, *, bar: Progress, tell: Callable[[str], None]
) -> tuple[DemoLock, ...]:
    """Lock embedded photographs and audit them; the same call again gives the same.

    Args:
        folder: The demo's folder.
        key: The owner's key.
        bar: Where progress goes.
        tell: Called with one line before each way.
    """
    photos = _photos(folder / "photos-to-lock")
    found = []
    for method, options in WAYS.items():
        tell(f"    {method}")
        made = folder / f"locked-{method}"
        lock(photos, made, method, key=key, workers=1, progress=bar, **options)
        page = folder / f"locked-{method}.audit.html"
        told = audit(made, clean=photos, html=page, progress=bar)
        broken = [row for row in told.rows if row.has == told.least and row.back >= 0.5]
        row = max(broken or told.rows, key=lambda one: one.ssim)
        found.append(
            DemoLock(
                method=method, title=told.title, scrambled=told.scrambled_ssim, attack=row.name, has=row.has,
                ssim=row.ssim, back=row.back, nominal=told.nominal, capped=told.capped,
                effective=told.effective, page=page,
            )
        )  # fmt: skip
    return tuple(found)


def _photos(folder: Path) -> Path:
    for name in PHOTOS[::2]:  # the others are what an attacker learns from
        pixels = cv2.imread(str(photo_folder() / name), cv2.IMREAD_COLOR)
        file = folder / f"{Path(name).stem}.png"
        if pixels is not None and not file.exists():
            side = min(pixels.shape[:2])
            small = cv2.resize(pixels[:side, :side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            atomic_write(file, cv2.imencode(".png", small)[1].tobytes())
    return folder
