"""Keep pages and sheets that show originals out of the data itself."""

from __future__ import annotations

from pathlib import Path

from noli.core.errors import OutputExists
from noli.core.files import write_new
from noli.data.place import is_url, local_path


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
    for folder in data:
        if folder is None or is_url(folder) or not local_path(folder).is_dir():
            continue
        if place.resolve().is_relative_to(local_path(folder).resolve()):
            raise OutputExists(
                "This file would lie inside the data.",
                where=str(target),
                why=f"it can show originals, and {folder} may be published or protected as a whole",
                fix="name a place outside the data",
            )
    if new and place.exists():
        write_new(place, b"")
