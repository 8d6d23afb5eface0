"""How good protected pictures look: measured at native size, on what would be stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from noli.core.images import Stored
from noli.core.run import Record
from noli.data.codec import picture
from noli.engine.pictures import evenly
from noli.engine.results import Spread
from noli.engine.shard import ShardWork, blame
from noli.ops import metrics

# SSIM of a large photograph takes seconds: as many pictures as have so many pixels, but at least the fewest.
PIXELS, FEWEST, MOST = 1 << 24, 4, 64
Look = Callable[[str, Stored, Stored], None]


class Quality(NamedTuple):
    """Quality and cost on a sample.

    Attributes:
        psnr, psnr_min: Mean and smallest PSNR in dB of the changed pictures; infinite when none changed.
        ssim, ssim_min: Mean and smallest SSIM.
        seconds: Seconds per 1,000 pictures, preparation included; infinite where they are not known.
        images: Pictures measured; 0 where nothing is known.
        at_least: What a cheaper trial took where seconds are not known; infinite if there was none.
    """

    psnr: float = -math.inf
    psnr_min: float = -math.inf
    ssim: float = -1.0
    ssim_min: float = -1.0
    seconds: float = math.inf
    images: int = 0
    at_least: float = math.inf


def some(rows: Sequence[Record], pixels: float) -> list[Record]:
    """Return the rows whose pictures are measured, evenly spaced; a picture has `pixels` on average."""
    return list(evenly(rows, len(rows), max(FEWEST, min(MOST, int(PIXELS // max(pixels, 1))))))


def measured(
    work: ShardWork, rows: Sequence[Record], once: float, clock: Callable[[], float], look: Look
) -> Quality:
    """Protect pictures as a run would, encode them, and compare what is stored with the originals.

    Args:
        work: The prepared method.
        rows: Index rows of the pictures, at least one.
        once: Seconds that preparation takes for 1,000 pictures.
        clock: Monotonic seconds.
        look: Called with path, pixels before and pixels as stored, each ``[H, W, C]``.

    Raises:
        NoliError: The method fails on a picture.
    """
    psnr, similar, seconds = Spread(), Spread(), list[float]()
    for row in rows:
        one, begun = work.load(row), clock()
        try:
            pixels, extras = work.transform([one])
        except Exception as exc:
            raise blame(row, exc) from exc
        content, record = work.finish(one, pixels[0], extras[0])
        seconds.append(clock() - begun)
        saved = picture(content, row["out"]).pixels
        psnr.add(record["psnr"])
        similar.add(metrics.ssim(one.picture.pixels, saved))
        look(row["path"], one.picture.pixels, saved)
    found = psnr.named("psnr")
    return Quality(
        psnr=_or_infinite(found["psnr_mean"]),
        psnr_min=_or_infinite(found["psnr_min"]),
        ssim=similar.total / similar.n,
        ssim_min=similar.low,
        # The first picture pays for what is loaded once.
        seconds=once + 1000 * float(np.median(seconds)),
        images=len(rows),
    )


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


class Reach:
    """How much of a change is left at the training size, made at native size and made in the trial.

    Fine changes vanish when a large picture is reduced. Trials protect pictures that were reduced before;
    where that shows more of a change than there will be, they would promise too much.

    Args:
        small: Brings stored pixels to the training size, ``uint8 [S, S, C]``.
    """

    def __init__(self, small: Callable[[Stored], npt.NDArray[np.uint8]]) -> None:
        self._small = small
        self._native: dict[str, float] = {}

    def look(self, path: str, before: Stored, after: Stored) -> None:
        """Note a picture that was protected at native size."""
        self._native[path] = _energy(self._small(before), self._small(after))

    def ratio(self, trial: Callable[[str], tuple[Stored, Stored]]) -> float:
        """Compare with the same pictures of the trial, given by path as ``(before, after)``.

        Returns:
            Root of the ratio of mean squared changes; 1 where the trial changes nothing.
        """
        seen = sum(_energy(*trial(path)) for path in self._native)
        return math.sqrt(sum(self._native.values()) / seen) if seen else 1.0


def _energy(before: Stored, after: Stored) -> float:
    return float(np.mean((after.astype(np.float32) - before.astype(np.float32)) ** 2))
