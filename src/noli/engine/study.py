"""A data set on disk, as methods that learn from the data see it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item, Source
from noli.core.files import TEMP_SUFFIX, remove_quietly
from noli.core.method import FOLDER, State
from noli.core.run import Record
from noli.data.study import square, unseen
from noli.engine.request import RunRequest, load_method
from noli.engine.scanstage import Totals, row_item
from noli.engine.shard import ShardWork


def prepare(
    request: RunRequest,
    source: Source,
    totals: Totals,
    rows: Iterable[Record],
    folder: Path,
    previous: State | None = None,
) -> State:
    """Let the method do its expensive part, if it learns, on the data or on what is known of it.

    The index rows are those of all items, old ones first; `previous` is the state of a run that is extended.
    """
    work = ShardWork(request, {}, source)
    study = StoredStudy(work, rows, files(folder)) if request.spec.studies else None
    try:
        # Methods that need no key never look at this argument.
        key: Any = request.key
        method = load_method(request.spec.module)
        return method.prepare(totals.summary(request.source, study), key, request.cfg, previous)
    finally:
        if study is not None:
            study.close()


def located(state: State | None, request: RunRequest, folder: Path) -> State:
    """Return a state for `apply`: with the place of the method's files, where it keeps any."""
    return {**(state or {}), **({FOLDER: str(files(folder))} if request.spec.studies else {})}


def files(folder: Path) -> Path:
    """Return where a run keeps the files of its method."""
    return folder / "artifacts" / "method"


class StoredStudy:
    """A :class:`noli.core.method.Study` of the items of a run; squeezed images wait in a scratch file.

    Bad items among the index rows are passed over; the folder is made when a file is kept there.
    """

    def __init__(self, work: ShardWork, rows: Iterable[Record], folder: Path) -> None:
        self.work = work
        self.rows = [row for row in rows if "error" not in row]
        self.items: list[Item] = [row_item(row) for row in self.rows]
        self.shapes: list[tuple[int, int, int]] = [tuple(row["shape"]) for row in self.rows]
        self.folder = folder
        self._scratch: list[Path] = []
        self._stage = ""

    def images(self, side: int) -> npt.NDArray[np.uint8]:
        """Return all images as squares, in a file on disk: ``uint8 [N, side, side, C]``."""
        spec = self.work.request.spec
        if not spec.sees:
            raise unseen(spec.name)
        channels = max((row["shape"][2] for row in self.rows), default=3)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"images-{side}{TEMP_SUFFIX}"
        self._scratch.append(file)
        shape = (len(self.rows), side, side, channels)
        if not len(self.rows):
            return np.zeros(shape, np.uint8)
        out = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
        for place, row in enumerate(self.rows):
            out[place] = square(self.work.load(row).picture.pixels, side, channels)
            self.tell(place + 1, len(self.rows), "read")
        return out

    def tell(self, done: int, total: int, what: str) -> None:
        """Show a stage of the preparation."""
        bar = self.work.request.progress
        if what != self._stage:
            self._finish()
            bar.start(total, what)
            self._stage, self._told = what, 0
        bar.advance(done - self._told)
        self._told = done

    def close(self) -> None:
        """End the display and remove the scratch files."""
        self._finish()
        for file in self._scratch:
            remove_quietly(file)

    def _finish(self) -> None:
        if self._stage:
            self.work.request.progress.finish()
        self._stage = ""
