"""The contact sheet: rows of original, protected, and their difference ten times enlarged."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from noli.core.images import Stored
from noli.core.run import Record
from noli.ops.metrics import GAIN, difference

CELL = 200
GAP = 10
MARGIN = 32
CAPTION = 40
HEAD = 104
_PAPER, _INK, _SOFT, _FRAME = (250, 250, 248), (28, 30, 34), (120, 124, 130), (238, 238, 234)
_COLUMNS = ("original", "protected", f"difference \u00d7{GAIN}")


@dataclass(frozen=True)
class Pair:
    """An item: its record (``path``, ``label``, ``shape``, ``psnr``) and pictures ``uint8 [H, W, C]``."""

    record: Record
    before: Stored
    after: Stored


def contact_sheet(pairs: Sequence[Pair], *, title: str, note: str) -> bytes:
    """Draw the sheet and return it as PNG bytes. More than four items go into two blocks side by side."""
    blocks = 1 if len(pairs) <= 4 else 2
    rows = -(-len(pairs) // blocks)
    block = 3 * CELL + 2 * GAP
    width = 2 * MARGIN + blocks * block + (blocks - 1) * MARGIN
    sheet = Image.new("RGB", (width, HEAD + rows * (CELL + CAPTION) + MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 22), _fit(draw, title, _font(20), width - 2 * MARGIN), _INK, _font(20))
    draw.text((MARGIN, 52), _fit(draw, note, _font(11), width - 2 * MARGIN), _SOFT, _font(11))
    for number in range(blocks):
        for column, name in enumerate(_COLUMNS):
            left = MARGIN + number * (block + MARGIN) + column * (CELL + GAP)
            draw.text((left, HEAD - 22), name, _SOFT, _font(11))
    for place, pair in enumerate(pairs):
        left = MARGIN + (place // rows) * (block + MARGIN)
        top = HEAD + (place % rows) * (CELL + CAPTION)
        for column, pixels in enumerate((pair.before, pair.after, difference(pair.before, pair.after))):
            corner = left + column * (CELL + GAP)
            draw.rectangle((corner, top, corner + CELL - 1, top + CELL - 1), fill=_FRAME)
            image = _fitted(pixels)
            sheet.paste(image, (corner + (CELL - image.width) // 2, top + (CELL - image.height) // 2))
        _caption(draw, pair.record, left, top + CELL + 6, block)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _caption(draw: ImageDraw.ImageDraw, record: Record, left: int, top: int, width: int) -> None:
    height, across, _ = record["shape"]
    psnr = "identical" if record["psnr"] is None else f"{record['psnr']:.1f} dB"
    facts = " · ".join(part for part in (record.get("label"), f"{across} \u00d7 {height} px", psnr) if part)
    taken = draw.textlength(facts, _font(11))
    name = _fit(draw, record["path"], _font(11), width - int(taken) - 24)
    draw.text((left, top), name, _INK, _font(11))
    draw.text((left + width - taken, top), facts, _SOFT, _font(11))


def _fitted(pixels: Stored) -> Image.Image:
    """Scale to the cell; small images by a whole factor without smoothing, so that pixels stay visible."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    factor = CELL / max(image.size)
    if factor >= 1:
        return image.resize([side * int(factor) for side in image.size], Image.Resampling.NEAREST)
    return image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # DejaVu comes with matplotlib and, unlike Pillow's own font, knows more than basic Latin letters.
    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _fit(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    """Shorten a text from the left, because the end of a path says more than its beginning."""
    shown = text = text.encode("utf-8", "replace").decode()
    while text and draw.textlength(shown, font) > width:
        text = text[1:]
        shown = "…" + text
    return shown
