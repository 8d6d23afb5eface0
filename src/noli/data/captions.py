"""Pictures with captions, as models that turn one into the other learn from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Ref, Source
from noli.core.errors import DataError
from noli.data.codec import upright
from noli.data.study import square

Tell = Callable[[int, int, str], None]


def captioned(
    source: Source, side: int, tell: Tell, *, most: int | None = None, by_class: bool = False
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Read captioned pictures as colour squares.

    Args:
        source: Where they lie.
        side: Side of the squares in pixels.
        tell: Progress, ``(done, all, what)``.
        most: Read no more than so many, evenly spaced in the order of the source; None for all.
        by_class: Whether a picture without a caption may be called by its class instead.

    Returns:
        ``uint8 [N, S, S, 3]`` and N captions.

    Raises:
        DataError: A picture has no caption or cannot be read, or there is none.
    """
    refs = list(source.refs())
    captions = [_caption(ref, by_class=by_class) for ref in refs]
    if missing := [ref.path for ref, caption in zip(refs, captions, strict=True) if not caption]:
        more = ", or put the pictures into one folder per class" if by_class else ""
        raise DataError(
            "A generator learns from captioned pictures, and some have no caption.",
            items=missing,
            fix=f"give every picture one in the column `caption` of metadata.csv (beside `file_name`){more}",
        )
    if not refs:
        raise DataError("There are no pictures.", where=source.uri)
    if most is not None and most < len(refs):
        chosen = np.linspace(0, len(refs) - 1, most).round().astype(int)
        refs, captions = [refs[i] for i in chosen], [captions[i] for i in chosen]
    out = np.empty((len(refs), side, side, 3), np.uint8)
    for row, ref in enumerate(refs):
        out[row] = square(upright(source.read(ref), ref.path), side, 3)
        tell(row + 1, len(refs), "read")
    return out, captions


def _caption(ref: Ref, *, by_class: bool) -> str:
    if said := (ref.text or "").strip():
        return said
    named = (ref.label or "").replace("_", " ").strip()
    return f"a photo of a {named}" if by_class and named else ""
