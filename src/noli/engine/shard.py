"""One shard from input bytes to output bytes and their records. This is what workers run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from noli.core.dataset import Item, Source, content_id
from noli.core.errors import DataError, MissingPrerequisite, NoliError, RunError, UsageError, WrongKey
from noli.core.files import storage_error
from noli.core.images import Stored, check_images, to_float, to_uint8, to_uint16
from noli.core.key import Key
from noli.core.run import Record
from noli.data import exif
from noli.data.codec import WITH_HEADER, encode, lost, output_format, picture, stripped, upright
from noli.data.picture import Picture
from noli.data.writers import Content, Writer
from noli.engine.pictures import common, measure
from noli.engine.request import FORMER, ROTATION, RunRequest, load_method
from noli.engine.scanstage import row_item, row_ref
from noli.ops.container import Header
from noli.ops.sealing import nonce

# About 1.5 MB of float32: large enough to amortise Python on tiny images, small enough for the caches.
GROUP_PIXELS = 1 << 17
_NEVER_PER_ITEM = (UsageError, MissingPrerequisite, WrongKey, RunError)


class StoppedError(Exception):
    """The main process asked the workers to stop; never shown to users."""


@dataclass(frozen=True)
class Loaded:
    """One item in memory: its index row, its picture, and what the method is told about it."""

    row: Record
    picture: Picture
    item: Item


class ShardWork:
    """A request with its prepared state, ready to process shards. Pickled, it leaves the key behind.

    Args:
        writer: Where the items go; without it items can be tried out but no shard processed.
        originals: For an undo: where the unprotected originals may still lie.
    """

    def __init__(
        self,
        request: RunRequest,
        state: dict[str, Any],
        source: Source,
        writer: Writer | None = None,
        originals: Source | None = None,
    ) -> None:
        self.request = request
        self.state = state
        self.source = source
        self.writer = writer
        self.originals = originals
        # Methods that need no key never look at it.
        self.key: Any = request.key
        self.former = request.former
        self.stop: Callable[[], bool] | None = None
        self.method = load_method(request.spec.module)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "key": None, "former": None, "stop": None, "method": None}

    def process(self, index: int, rows: list[Record]) -> list[Record]:
        """Read, transform, measure and write one shard; return its records in row order.

        Raises:
            DataError: An item failed under ``on_error="fail"``.
            RunError: The output cannot be written.
            StoppedError: The main process asked for it.
        """
        done: dict[str, Record] = {}
        outputs = []
        for group in self._groups(rows, done):
            if self.stop is not None and self.stop():
                raise StoppedError
            for one, pixels, extra in self._transformed(group, done):
                try:
                    content, record = self.finish(one, pixels, extra)
                except DataError as exc:  # what its format cannot hold
                    record = self._give_up(one.row, exc)
                else:
                    outputs.append((row_ref(one.row), one.row["out"], content))
                done[one.row["path"]] = record
        if self.writer is None:
            raise RunError("This job has no output.", fix="open a writer first")
        try:
            self.writer.write_shard(index, outputs)
        except OSError as exc:
            raise storage_error(exc) from exc
        return [done[row["path"]] for row in rows]

    def load(self, row: Record) -> Loaded:
        """Read and decode one item, and make sure that it is still the scanned one."""
        path = row["path"]
        try:
            content = self.source.read(row_ref(row))
        except OSError as exc:
            fix = "put it back, or run again without it"
            raise DataError("An item cannot be read.", where=path, why=str(exc), fix=fix) from exc
        if content_id(content)[1] != row["sha256"]:
            fix = "leave the input alone while a run works on it; the same command resumes"
            raise DataError("An item changed after the scan.", where=path, fix=fix, items=[path])
        found = picture(content, path)
        if self.request.metadata == "strip" and not self.request.restores:
            # Before the method sees it: an undo will find the pixels upright and no orientation.
            found = stripped(found)
        item = row_item(row)
        if self.request.spec.reshapes:
            item = replace(item, text=check_container(self.request, found))
        return Loaded(row, found, item)

    def transform(self, group: list[Loaded]) -> tuple[Stored, list[dict[str, float]]]:
        """Apply (or invert) the method on items of equal shape and depth.

        Returns:
            Stored pixels ``[N, H, W, C]`` of the input's bit depth and each item's extra numbers.
        """
        return self._planes(group, np.stack([one.picture.pixels for one in group]), self.state)

    def _planes(
        self, group: list[Loaded], stacked: Stored, state: dict[str, Any]
    ) -> tuple[Stored, list[dict[str, float]]]:
        if self.request.spec.reshapes:
            state = {**state, "bits": group[0].picture.bits}
        if self.former is not None:
            state = {**state, FORMER: self.former}
        items, batch = [one.item for one in group], to_float(stacked)
        extras: list[dict[str, float]] = [{} for _ in group]
        name, cfg = self.request.spec.name, self.request.cfg
        if self.request.undo_of is not None:
            kept = [one.row["made"].get("extra", {}) for one in group]
            after = self.method.invert(state, batch, items, self.key, cfg, kept)
        else:
            if hasattr(self.method, "extras"):
                extras = self.method.extras(state, batch, items, self.key, cfg)
            after = self.method.apply(state, batch, items, self.key, cfg)
        check_images(after, where=f"output of {name} for {items[0].path}")
        if after.shape != batch.shape and not (self.request.spec.reshapes and len(after) == len(batch)):
            why = f"{batch.shape} became {after.shape}"
            raise DataError("The method changed the shape of its images.", where=name, why=why)
        return (to_uint16 if stacked.dtype == np.uint16 else to_uint8)(after), extras

    def _reshaped(self, one: Loaded, pixels: Stored, kind: str) -> Picture:
        """Return the picture with other pixels, and with its alpha scrambled or restored as they were."""
        before, alpha = one.picture, None
        if before.alpha is not None:
            stacked = before.alpha[None, :, :, None]
            alpha = self._planes([one], stacked, {**self.state, "plane": "alpha"})[0][0, :, :, 0]
        if kind == "RAW" and pixels.shape != before.pixels.shape:
            why = f"{before.pixels.shape} became {pixels.shape}, and all pictures of a table are of one shape"
            fix = "choose a size of blocks that divides both sides, or store pictures as files"
            raise DataError("Arrays keep their shape.", why=why, fix=fix)
        return before.reshaped(pixels, alpha)

    def finish(self, one: Loaded, pixels: Stored, extra: dict[str, float]) -> tuple[Content, Record]:
        """Encode one transformed item and measure it as it will be read back."""
        row, before, request = one.row, one.picture, self.request
        kind, _ = output_format(before.format, request.format, channels=before.channels)
        reshapes = request.spec.reshapes
        after = self._reshaped(one, pixels, kind) if reshapes else before.with_pixels(pixels)
        if reshapes:
            after = replace(after, header=self._header(one, kind))
        raw, inexact = kind == "RAW", kind in ("JPEG", "DICOM")
        content: Content = after.stacked() if raw else encode(after, format=kind, metadata=request.metadata)
        saved = picture(content, row["out"]).pixels if inexact else pixels
        record: Record = {
            **{name: row[name] for name in ("path", "out", "id", "label", "split", "index")},
            "sha256_in": row["sha256"],
            "sha256_out": content_id(content)[1],
            "size": row.get("bytes", row["size"]),
            "size_out": content.nbytes if isinstance(content, np.ndarray) else len(content),
            "mtime_ns": row["mtime_ns"],
            "shape": list(before.pixels.shape),
            "bits": before.bits,
            **measure(*common(before.pixels, saved)),
            "notes": self._notes(one, kind),
        }
        if extra:
            record["extra"] = extra
        if request.undo_of is not None:
            seen = exif.upright(saved, exif.orientation(before.exif))
            record.update(self._against_original(row["made"], seen))
        return content, record

    def _header(self, one: Loaded, kind: str) -> str:
        """Return what a scrambled picture says about itself; nothing for one that is brought back."""
        request = self.request
        if request.restores or kind not in WITH_HEADER:
            return ""
        if request.spec.name == ROTATION:
            return turned(one.item, self.key)
        fresh = getattr(request.cfg, "fresh", False)
        own = nonce(request.spec.name, self.key, one.item) if fresh else None
        shape = one.picture.pixels.shape
        config = request.cfg.model_dump(mode="json")
        return Header.of(request.spec.name, config, shape, self.key, own).render()

    def _groups(self, rows: Iterable[Record], done: dict[str, Record]) -> Iterator[list[Loaded]]:
        return grouped(self._readable(rows, done))

    def _readable(self, rows: Iterable[Record], done: dict[str, Record]) -> Iterator[Loaded]:
        for row in rows:
            if "error" in row:
                done[row["path"]] = _failed(row, row["error"])
                continue
            try:
                yield self.load(row)
            except DataError as exc:
                done[row["path"]] = self._give_up(row, exc)

    def _transformed(
        self, group: list[Loaded], done: dict[str, Record]
    ) -> Iterator[tuple[Loaded, Stored, dict[str, float]]]:
        try:
            pixels, extras = self.transform(group)
        except _NEVER_PER_ITEM:
            raise
        except Exception as exc:
            if len(group) == 1:
                done[group[0].row["path"]] = self._give_up(group[0].row, exc)
                return
            for one in group:  # one by one, to find out which item it was
                yield from self._transformed([one], done)
        else:
            yield from zip(group, pixels, extras, strict=True)

    def _give_up(self, row: Record, exc: Exception) -> Record:
        error = blame(row, exc)
        if self.request.on_error == "skip":
            return _failed(row, exc.what if isinstance(exc, NoliError) else str(error.why))
        raise error from exc

    def _notes(self, one: Loaded, kind: str) -> list[str]:
        kept = self.request.metadata == "keep"
        notes = [*one.picture.notes, *(lost(one.picture, kind) if kept else ())]
        if one.picture.has_gps:
            notes.append("GPS position kept in the output" if kept else "GPS position removed")
        if self.request.spec.reshapes and not self.request.restores and kind not in WITH_HEADER:
            notes.append("no header: an undo needs the run folder")
        if self.request.undo_of is not None and one.row["made"]["sha256_out"] != one.row["sha256"]:
            notes.append("the file changed after it was protected")
        pixels = one.picture.pixels
        # Scanners and cameras store 12 bits in 16; only DICOM says what is shown.
        if pixels.dtype == np.uint16 and one.picture.format != "DICOM" and pixels.max(initial=0) < 1 << 13:
            notes.append("16 bits, of which less than an eighth is used: a bound is a share of all of them")
        return notes

    def _against_original(self, made: Record, restored: Stored) -> Record:
        """Compare with the original where it still lies unchanged where the protected run read it."""
        if self.originals is None:
            return {}
        try:
            content = self.originals.read(row_ref(made))
            if content_id(content)[1] != made["sha256_in"]:
                return {}
            original = upright(content, made["path"])
        except (OSError, DataError, KeyError, IndexError):
            return {}
        if original.shape != restored.shape or original.dtype != restored.dtype:
            return {}
        return {"restored_psnr": measure(original, restored)["psnr"]}


def check_container(request: RunRequest, found: Picture) -> str | None:
    """Return the header of a picture that is to be brought back; refuse what cannot become or be one.

    Raises:
        DataError: A picture that is scrambled already, or, unless `lossy`, one whose chroma was halved since.
    """
    if not request.restores and request.spec.name != ROTATION:
        if not found.header:
            return None
        fix = "bring it back first (noli undo), or leave it out"
        raise DataError("This picture is scrambled already.", why="it has the header of a lock", fix=fix)
    if found.halved and not request.lossy:
        raise DataError(
            "The chroma of this scrambled picture was halved, which mixes the colours of its blocks.",
            why="it is a JPEG with 4:2:0 or 4:2:2 chroma; noli writes 4:4:4, so another program made it",
            fix="get the file as it was written, or accept the loss (3 to 8 dB) with --lossy",
        )
    return found.header or None


def turned(item: Item, key: Key) -> str:
    """Return the header of a picture that gets another key."""
    header = Header.parse(str(item.text))
    own = nonce(header.method, key, item) if header.nonce else None
    return header.sealed(key, own).render()


def grouped(items: Iterable[Loaded]) -> Iterator[list[Loaded]]:
    """Cut items into runs of one shape and depth that are transformed together."""
    group: list[Loaded] = []
    for one in items:
        if group and not _fits(group, one):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def blame(row: Record, exc: Exception) -> NoliError:
    """Return the error that names the item which made a method fail."""
    path = row["path"]
    if isinstance(exc, NoliError):
        return type(exc)(exc.what, where=path, why=exc.why, fix=exc.fix, items=[path])
    fix = "remove the item or pass --on-error skip; the same command resumes"
    why = f"{type(exc).__name__}: {exc}"
    return DataError("The method failed on an item.", where=path, why=why, fix=fix, items=[path])


def _fits(group: list[Loaded], one: Loaded) -> bool:
    first, pixels = group[0].picture.pixels, one.picture.pixels
    same = first.shape == pixels.shape and first.dtype == pixels.dtype and _was(group[0]) == _was(one)
    return same and (len(group) + 1) * pixels.shape[0] * pixels.shape[1] <= GROUP_PIXELS


def _was(one: Loaded) -> object:
    """Return the shape that an item which is being undone had before, or the header which says that."""
    return one.row.get("made", {}).get("shape"), one.picture.header


def _failed(row: Record, why: str) -> Record:
    return {"path": row["path"], "error": why}
