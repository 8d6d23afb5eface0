"""The page of an audit: sizes of the key, all attacks, and pictures beside what they bring back."""

from __future__ import annotations

from collections.abc import Sequence

from noli.core.audit import Audit
from noli.report.build import template
from noli.report.pictures import Pixels, Tile, tile


def write_page(found: Audit, originals: Pixels, scrambled: Pixels, back: Sequence[tuple[str, Pixels]]) -> str:
    """Return the page as HTML.

    Args:
        found: The audit.
        originals: ``uint8 [n, H, W, C]``.
        scrambled: The same pictures scrambled, or their codes drawn.
        back: Name of every attack, and the first pictures that it brings back or answers with.
    """
    columns = [("original", originals), ("code" if found.nominal is None else "scrambled", scrambled), *back]
    sheet: list[list[Tile]] = [
        [
            tile(name, f"{name}, picture {row + 1}", images[row])
            for name, images in columns
            if row < len(images)
        ]
        for row in range(len(originals))
    ]
    learned = any(row.retrieval is not None for row in found.rows)
    return template("audit.html.j2").render(found=found, sheet=sheet, learned=learned)
