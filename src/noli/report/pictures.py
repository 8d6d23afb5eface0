"""The pictures of a report: original, protected, difference x10, spectrum, as embedded PNG files."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from noli.core.errors import RunError
from noli.ops.metrics import in_words, psnr, spectrum, ssim

Pixels = npt.NDArray[np.uint8]
MAX_ITEMS = 8
SMALLEST, LARGEST = 192, 256  # shown sides in pixels: small pictures are enlarged, large ones reduced
GAIN = 10


@dataclass(frozen=True)
class Tile:
    """One embedded picture with its caption and its text for people who cannot see it.

    `smooth` is False for pictures enlarged pixel by pixel: the browser must not blur them.
    """

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    smooth: bool


@dataclass(frozen=True)
class Strip:
    """The pictures of one item."""

    name: str
    psnr: str
    tiles: tuple[Tile, ...]
    ssim: float | None = None


def load_strips(file: Path, *, verb: str = "protect") -> tuple[Strip, ...]:
    """Read `preview.npz` of a run.

    Args:
        file: Arrays ``original_i``, ``protected_i`` (``uint8 [H, W, C]``) and ``names``.
        verb: ``undo`` changes the captions: there the protected picture comes first.

    Returns:
        At most eight strips; empty when the file does not exist.

    Raises:
        RunError: The file is damaged.
    """
    if not file.is_file():
        return ()
    try:
        with np.load(file, allow_pickle=False) as preview:
            arrays: Mapping[str, npt.NDArray[Any]] = {name: preview[name] for name in preview.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            "The preview pictures of the run are damaged.",
            where=str(file),
            why=type(error).__name__,
            fix="delete the file; the report is then made without pictures",
        ) from error
    names = [str(name) for name in arrays.get("names", np.array([], dtype=str))]
    before, after = ("protected", "restored") if verb == "undo" else ("original", "protected")
    strips = []
    for index in range(MAX_ITEMS):
        first, second = arrays.get(f"original_{index}"), arrays.get(f"protected_{index}")
        if first is None or second is None:
            continue
        name = names[index] if index < len(names) else f"item {index + 1}"
        strips.append(strip(name, _eight_bits(first), _eight_bits(second), before, after))
    return tuple(strips)


def strip(name: str, first: Pixels, second: Pixels, before: str, after: str) -> Strip:
    """Return the four pictures of one item.

    Args:
        name: What the report calls it.
        first: ``uint8 [H, W, C]``.
        second: ``uint8 [H, W, C]``; when its shape differs, only the two pictures are shown.
        before: Caption of `first`.
        after: Caption of `second`.
    """
    tiles = [
        _tile(before.capitalize(), f"The {before} picture of {name}", first),
        _tile(after.capitalize(), f"The {after} picture of {name}", second),
    ]
    if first.shape != second.shape:
        return Strip(name, "", tuple(tiles))
    alt = (
        f"Difference between the {before} and the {after} picture of {name}, times {GAIN}; grey is no change"
    )
    tiles.append(_tile(f"Difference \u00d7{GAIN}", alt, difference(first, second)))
    alt = f"Spectra of {name}: left half {before}, right half {after}"
    tiles.append(_tile("Spectrum", alt, spectra(first, second)))
    return Strip(name, in_words(psnr(first, second)), tuple(tiles), ssim(first, second))


def difference(first: Pixels, second: Pixels) -> Pixels:
    """Return the signed difference times ten around mid-grey, ``uint8 [H, W, C]``."""
    gap = second.astype(np.int32) - first.astype(np.int32)
    return np.clip(128 + GAIN * gap, 0, 255).astype(np.uint8)


def spectra(first: Pixels, second: Pixels) -> Pixels:
    """Return both spectra in one picture ``uint8 [H, W, 1]``: left half of one, right half of the other.

    The spectrum of a real picture is symmetric about its centre, so half of it says everything, and two
    halves side by side show a change better than two pictures.
    """
    half = first.shape[1] // 2
    joined = np.concatenate([spectrum(first)[:, :half], spectrum(second)[:, half:]], axis=1)
    return joined[..., None]


def _eight_bits(pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    return pixels.astype(np.uint8, copy=False)


def _tile(caption: str, alt: str, pixels: Pixels) -> Tile:
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    side = max(picture.size)
    smooth = side > SMALLEST // 2
    if not smooth:  # whole factors keep every pixel a sharp square, on screen and on paper
        factor = SMALLEST // side
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    elif side > LARGEST:
        small = [max(1, round(length * LARGEST / side)) for length in picture.size]
        picture = picture.resize((small[0], small[1]), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Tile(caption, alt, uri, picture.width, picture.height, smooth)
