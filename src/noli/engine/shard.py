"""One shard from input bytes to output bytes and their records. This is what workers run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from noli.core.dataset import Item, Ref, Source, content_id
from noli.core.errors import DataError, MissingPrerequisite, NoliError, RunError, UsageError, WrongKey
from noli.core.files import storage_error
from noli.core.images import Stored, Working, check_images, to_float, to_uint8, to_uint16
from noli.core.key import Key
from noli.core.method import DataMethod, MethodConfig
from noli.core.run import Record
from noli.data.codec import decode, encode, from_array, lost, output_format
from noli.data.picture import Picture
from noli.data.writers import Content, Writer
from noli.engine.measure import measure
from noli.engine.request import Direction, ErrorPolicy, FormatPolicy, MetadataPolicy
from noli.engine.scanstage import row_item, row_ref

# About 1.5 MB of float32: large enough to amortise Python on tiny images, small enough for the caches.
GROUP_PIXELS = 1 << 17
_NEVER_PER_ITEM = (UsageError, MissingPrerequisite, WrongKey, RunError)


class StoppedError(Exception):
    """The main process asked the workers to stop; never shown to users."""


@dataclass(frozen=True)
class Job:
    """Everything a worker needs except the key; holds no secret.

    Attributes:
        module: The method's module.
        config: The method's Config as JSON values.
        direction: ``apply`` or ``invert``.
        state: Prepared state.
        source, writer: Both ends; without a writer items can be tried out but no shard processed.
        format, metadata, on_error, max_pixels: As in the request.
        originals: For ``invert``: where the unprotected originals may still lie.
    """

    module: str
    config: Mapping[str, Any]
    direction: Direction
    state: dict[str, Any]
    source: Source
    writer: Writer | None
    format: FormatPolicy
    metadata: MetadataPolicy
    on_error: ErrorPolicy
    max_pixels: int
    originals: Source | None = None


@dataclass(frozen=True)
class Loaded:
    """One item in memory: its index row, its picture, and what the method is told about it."""

    row: Record
    picture: Picture
    item: Item


class ShardWork:
    """A job with its method and key, ready to process shards."""

    def __init__(self, job: Job, method: DataMethod, key: Key | None, stop: Callable[[], bool]) -> None:
        self.job = job
        self.method = method
        self.cfg: MethodConfig = method.SPEC.config.model_validate(dict(job.config))
        # Methods that need no key never look at this argument.
        self.key: Any = key
        self.stop = stop

    def process(self, index: int, rows: list[Record]) -> list[Record]:
        """Read, transform, measure and write one shard; return its records in row order.

        Raises:
            DataError: An item failed under ``on_error="fail"``.
            RunError: The output cannot be written.
            StoppedError: The main process asked for it.
        """
        done: dict[str, Record] = {}
        outputs: list[tuple[Ref, str, Content]] = []
        for group in self._groups(rows, done):
            if self.stop():
                raise StoppedError
            for one, pixels, extra in self._transform(group, done):
                content, record = self.finish(one, pixels, extra)
                outputs.append((row_ref(one.row), one.row["out"], content))
                done[one.row["path"]] = record
        if self.job.writer is None:
            raise RunError("This job has no output.", fix="open a writer first")
        try:
            self.job.writer.write_shard(index, outputs)
        except OSError as exc:
            raise storage_error(exc) from exc
        return [done[row["path"]] for row in rows]

    def load(self, row: Record) -> Loaded:
        """Read and decode one item, and make sure that it is still the scanned one."""
        path = row["path"]
        try:
            content = self.job.source.read(row_ref(row))
        except OSError as exc:
            fix = "put it back, or run again without it"
            raise DataError("An item cannot be read.", where=path, why=str(exc), fix=fix) from exc
        if content_id(content)[1] != row["sha256"]:
            fix = "leave the input alone while a run works on it; the same command resumes"
            raise DataError("An item changed after the scan.", where=path, fix=fix, items=[path])
        return Loaded(row, self._decode(content, path), row_item(row))

    def transform(self, group: list[Loaded]) -> tuple[Stored, list[dict[str, float]]]:
        """Apply (or invert) the method on items of equal shape and depth.

        Returns:
            Stored pixels ``[N, H, W, C]`` of the input's bit depth and each item's extra numbers.
        """
        stacked = np.stack([one.picture.pixels for one in group])
        items = [one.item for one in group]
        batch = to_float(stacked)
        extras: list[dict[str, float]] = [{} for _ in group]
        if self.job.direction == "invert":
            kept = [one.row["made"].get("extra", {}) for one in group]
            after = self.method.invert(self.job.state, batch, items, self.key, self.cfg, kept)
        else:
            if hasattr(self.method, "extras"):
                extras = list(self.method.extras(self.job.state, batch, items, self.key, self.cfg))
            after = self.method.apply(self.job.state, batch, items, self.key, self.cfg)
        self._check(after, batch.shape, items)
        return (to_uint16 if stacked.dtype == np.uint16 else to_uint8)(after), extras

    def finish(self, one: Loaded, pixels: Stored, extra: dict[str, float]) -> tuple[Content, Record]:
        """Encode one transformed item and measure it as it will be read back."""
        row, picture = one.row, one.picture
        after = picture.with_pixels(pixels)
        kind, _ = output_format(picture.format, self.job.format, channels=picture.channels)
        raw, metadata = kind == "RAW", self.job.metadata
        content = after.stacked() if raw else encode(after, format=kind, metadata=metadata)
        saved = self._decode(content, row["out"]).pixels if kind == "JPEG" else pixels
        record: Record = {
            "path": row["path"],
            "out": row["out"],
            "id": row["id"],
            "label": row["label"],
            "split": row["split"],
            "index": row["index"],
            "sha256_in": row["sha256"],
            "sha256_out": content_id(content)[1],
            "size": row.get("bytes", row["size"]),
            "size_out": content.nbytes if isinstance(content, np.ndarray) else len(content),
            "mtime_ns": row["mtime_ns"],
            "shape": list(picture.pixels.shape),
            "bits": picture.bits,
            **measure(picture.pixels, saved),
            "notes": self._notes(one, kind),
        }
        if extra:
            record["extra"] = extra
        if self.job.direction == "invert":
            record.update(self._against_original(row["made"], saved))
        return content, record

    def _groups(self, rows: Iterable[Record], done: dict[str, Record]) -> Iterator[list[Loaded]]:
        group: list[Loaded] = []
        for row in rows:
            if "error" in row:
                done[row["path"]] = _failed(row, row["error"])
                continue
            try:
                one = self.load(row)
            except DataError as exc:
                done[row["path"]] = self._give_up(row, exc)
                continue
            if group and not _fits(group, one):
                yield group
                group = []
            group.append(one)
        if group:
            yield group

    def _transform(
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
                yield from self._transform([one], done)
            return
        yield from zip(group, pixels, extras, strict=True)

    def _give_up(self, row: Record, exc: Exception) -> Record:
        if self.job.on_error == "skip":
            why = exc.what if isinstance(exc, NoliError) else f"{type(exc).__name__}: {exc}"
            return _failed(row, why)
        if isinstance(exc, NoliError):
            raise type(exc)(
                exc.what, where=row["path"], why=exc.why, fix=exc.fix, items=[row["path"]]
            ) from exc
        raise DataError(
            "The method failed on an item.",
            where=row["path"],
            why=f"{type(exc).__name__}: {exc}",
            fix="remove the item or pass --on-error skip; the same command resumes",
            items=[row["path"]],
        ) from exc

    def _check(self, after: Working, shape: tuple[int, ...], items: list[Item]) -> None:
        name = self.method.SPEC.name
        check_images(after, where=f"output of {name} for {items[0].path}")
        if after.shape != shape:
            why = f"{shape} became {after.shape}"
            raise DataError("The method changed the shape of its images.", where=name, why=why)

    def _decode(self, content: Content, where: str) -> Picture:
        if isinstance(content, np.ndarray):
            return from_array(content, where=where)
        return decode(content, where=where, max_pixels=self.job.max_pixels)

    def _notes(self, one: Loaded, kind: str) -> list[str]:
        kept = self.job.metadata == "keep"
        notes = [*one.picture.notes, *(lost(one.picture, kind) if kept else ())]
        if one.picture.has_gps:
            notes.append("GPS position kept in the output" if kept else "GPS position removed")
        if self.job.direction == "invert" and one.row["made"]["sha256_out"] != one.row["sha256"]:
            notes.append("the file changed after it was protected")
        return notes

    def _against_original(self, made: Record, restored: Stored) -> Record:
        """Compare with the original where it still lies unchanged where the protected run read it."""
        if self.job.originals is None:
            return {}
        ref = Ref(made["path"], made.get("label"), made.get("split"), None, made.get("index", 0))
        try:
            content = self.job.originals.read(ref)
            if content_id(content)[1] != made["sha256_in"]:
                return {}
            original = self._decode(content, made["path"]).pixels
        except (OSError, DataError, KeyError, IndexError):
            return {}
        if original.shape != restored.shape or original.dtype != restored.dtype:
            return {}
        found = measure(original, restored)
        return {"restored_psnr": found["psnr"], "restored_linf": found["linf"]}


def _fits(group: list[Loaded], one: Loaded) -> bool:
    first, pixels = group[0].picture.pixels, one.picture.pixels
    same = first.shape == pixels.shape and first.dtype == pixels.dtype
    return same and (len(group) + 1) * pixels.shape[0] * pixels.shape[1] <= GROUP_PIXELS


def _failed(row: Record, why: str) -> Record:
    return {"path": row["path"], "error": why}
