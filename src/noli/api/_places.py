"""Keep pages and sheets that show originals out of the data itself."""

from __future__ import annotations

from pathlib import Path

from noli.core.errors import OutputExists
from noli.core.files import write_new
from noli.engine.request import is_url


def refuse_inside(target: str | Path, *data: str | Path | None, new: bool = False) -> None:
    """Refuse a file inside a data folder: it would be published, or read, with the data.

    Args:
        target: The file to write.
        data: Data sets; only local folders matter, None is passed over.
        new: Also refuse a target that exists.

    Raises:
        OutputExists: The target lies inside one of them, or exists.
    """
    place = Path(target)
    whole = place.resolve()
    for folder in data:
        if folder is None or is_url(str(folder)) or not Path(folder).is_dir():
            continue
        root = Path(folder).resolve()
        if root == whole or root in whole.parents:
            raise OutputExists(
                "This file would lie inside the data.",
                where=str(target),
                why=f"it can show originals, and {folder} may be published or protected as a whole",
                fix="name a place outside the data",
            )
    if new and place.exists():
        write_new(place, b"")
