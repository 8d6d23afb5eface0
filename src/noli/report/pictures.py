"""The pictures of a report: original, protected, difference x10, spectrum, as embedded PNG files."""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from noli.core.errors import RunError
from noli.ops.metrics import GAIN, difference, in_words, psnr, spectrum, ssim

Pixels = npt.NDArray[np.uint8]
# Of frames: they must differ on any ground, and for most of those who do not see red and green apart.
_COLOURS = ((255, 214, 0), (0, 114, 255), (230, 0, 126), (0, 200, 120), (255, 120, 0), (150, 80, 255))
SMALLEST, LARGEST = 192, 256  # shown sides in pixels: small pictures are enlarged, large ones reduced


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
    """The pictures of one item, and how far apart the first two are: PSNR in words, SSIM."""

    name: str
    tiles: tuple[Tile, ...]
    psnr: str = ""
    ssim: float | None = None


def load_strips(file: Path, *, undone: bool = False) -> tuple[Strip, ...]:
    """Read `preview.npz` of a run: ``original_i``, ``protected_i`` (``uint8 [H, W, C]``) and ``names``.

    Of an undo the first picture is the protected one, the second the restored one. No file, no strips.

    Raises:
        RunError: The file is damaged.
    """
    if not file.is_file():
        return ()
    captions = ("protected", "restored") if undone else ("original", "protected")
    try:
        with np.load(file, allow_pickle=False) as preview:
            return tuple(
                strip(str(name), preview[f"original_{i}"], preview[f"protected_{i}"], *captions)
                for i, name in enumerate(preview["names"])
            )
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(
            "The preview pictures of the run are damaged.",
            where=str(file),
            why=type(error).__name__,
            fix="delete the file; the report is then made without pictures",
        ) from error


def load_boxes(file: Path) -> tuple[Strip, ...]:
    """Read `boxes.npz` of a run and draw the true boxes, and those found with the key and without.

    It has ``images`` (``uint8 [N, H, W, 3]``), ``names``, and for picture i ``true_i``, ``key_i``, ``none_i``
    (``float [n, 5]``: class, left, top, right, bottom). No file, no strips.

    Raises:
        RunError: The file is damaged.
    """
    if not file.is_file():
        return ()
    captions = {"true": "True boxes", "key": "Found with the key", "none": "Found without the key"}
    try:
        with np.load(file, allow_pickle=False) as kept:
            strips = []
            for i, (name, image) in enumerate(zip(kept["names"], kept["images"], strict=True)):
                found = {view: kept[f"{view}_{i}"] for view in captions}
                told = {view: f"{captions[view]}: {len(boxes)}" for view, boxes in found.items()}
                tiles = [tile(told[v], f"{told[v]}, on {name}", boxed(image, found[v])) for v in captions]
                strips.append(Strip(str(name), tuple(tiles)))
            return tuple(strips)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(
            "The pictures with boxes of the run are damaged.",
            where=str(file),
            why=type(error).__name__,
            fix="delete the file; the report is then made without them",
        ) from error


def boxed(image: Pixels, boxes: npt.NDArray[np.float32]) -> Pixels:
    """Return a picture ``uint8 [H, W, 3]`` with frames, one colour per class."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for label, *sides in boxes.tolist():
        corners = [min(max(round(side), 0), most) for side, most in zip(sides, _ends(image), strict=True)]
        pen.rectangle(corners, outline=_COLOURS[int(label) % len(_COLOURS)], width=2)
    return np.asarray(picture)


def _ends(image: Pixels) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    return width - 1, height - 1, width - 1, height - 1


def strip(name: str, first: Pixels, second: Pixels, before: str, after: str) -> Strip:
    """Return four pictures of an item, or two when the shapes of the two ``uint8 [H, W, C]`` differ."""
    two = (
        tile(before.capitalize(), f"The {before} picture of {name}", first),
        tile(after.capitalize(), f"The {after} picture of {name}", second),
    )
    if first.shape != second.shape:
        return Strip(name, two)
    gap = (
        f"Difference between the {before} and the {after} picture of {name}, times {GAIN}; grey is no change"
    )
    waves = f"Spectra of {name}: left half {before}, right half {after}"
    tiles = (
        *two,
        tile(f"Difference \u00d7{GAIN}", gap, difference(first, second)),
        tile("Spectrum", waves, spectra(first, second)),
    )
    return Strip(name, tiles, in_words(psnr(first, second)), ssim(first, second))


def spectra(first: Pixels, second: Pixels) -> Pixels:
    """Return both spectra in one picture ``uint8 [H, W, 1]``: left half of one, right half of the other.

    The spectrum of a real picture is symmetric about its centre, so half of it says everything, and two
    halves side by side show a change better than two pictures.
    """
    half = first.shape[1] // 2
    joined = np.concatenate([spectrum(first)[:, :half], spectrum(second)[:, half:]], axis=1)
    return joined[..., None]


def tile(caption: str, alt: str, pixels: Pixels) -> Tile:
    """Return a picture ``uint8 [H, W, C]`` for a page, at a size that can be looked at."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    factor = SMALLEST // max(picture.size)
    if factor > 1:  # whole factors keep every pixel a sharp square, on screen and on paper
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Tile(caption, alt, uri, picture.width, picture.height, smooth=factor <= 1)
