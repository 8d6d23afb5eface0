"""What already lies in the output: which items must be made (again), and which somebody changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from noli.core.dataset import Source, content_id
from noli.core.errors import DataError, NoliError
from noli.core.run import Record, Run, read_lines
from noli.data.place import is_url, local_path
from noli.data.writers import Writer
from noli.engine.request import RunRequest
from noli.engine.scanstage import Noted, all_shards, row_ref


class Outputs:
    """The outputs of a run beside its records."""

    def __init__(self, request: RunRequest, run: Run, source: Source, writer: Writer) -> None:
        self.request = request
        self.run = run
        self.source = source
        self.writer = writer

    def undone(self, noted: Noted | None = None) -> Iterator[tuple[int, list[Record]]]:
        """Iterate over the shards with items that must be made (again), and those items.

        Outputs that somebody changed are never replaced; items of which neither original nor output is left
        are given up. Both are added to `noted`, as ``outputs_changed`` and ``outputs_gone``; without it
        nobody looks for edits that kept the size.
        """
        for index, rows in all_shards(self.run):
            file = self.run.shard_record(index)
            if not file.is_file():
                yield index, rows
                continue
            records = {record["out"]: record for record in read_lines(file) if "out" in record}
            written = file.stat().st_mtime_ns
            missing = []
            for row in rows:
                if "out" not in row:
                    continue
                record = records.get(row["out"])
                found = self._state(row, record)
                if found == "missing":
                    missing.append(row)
                elif noted is not None:
                    if found == "ok" and record is not None and self._edited(record, written):
                        found = "changed"
                    if found != "ok":
                        noted.add(f"outputs_{found}", row["out"])
            if missing:
                yield index, missing if self.writer.separate else rows

    def note(self, index: int, records: list[Record]) -> None:
        """Write the record of a shard; items that were made again go between the others."""
        file = self.run.shard_record(index)
        if file.is_file():
            written = file.stat().st_mtime_ns
            table = {record["path"]: record for record in [*read_lines(file), *records]}
            self.run.write_shard_record(index, table.values())
            os.utime(file, ns=(written, written))  # else edits of the other outputs would look older
        else:
            self.run.write_shard_record(index, records)
        for record in records:
            if "error" in record:
                self.run.event("item-failed", path=record["path"], why=record["error"])

    def _state(self, row: Record, record: Record | None) -> str:
        """Tell how an item lies in the output: ``ok``, ``changed``, ``missing``, or ``gone`` for good."""
        found = self.writer.state(row["out"], record["size_out"] if record is not None else None)
        if found == "missing" and self.writer.separate:
            with suppress(NoliError, OSError):
                self.source.stat(row_ref(row))
                return "missing"
            return "gone"
        return found

    def _edited(self, record: Record, written: int) -> bool:
        """Tell whether an output of the right size has other bytes; reads only files newer than `written`."""
        if is_url(self.request.output):
            return False
        file, out = local_path(self.request.output), record["out"]
        if self.writer.separate:
            file /= out
        else:
            file = file / out.rpartition("#")[0] if file.is_dir() else file
            # Assembled after the records; the preview is what a session writes next.
            preview = self.run.artifact("preview.npz")
            written = preview.stat().st_mtime_ns if preview.exists() else 0
        if not _modified(file, since=written):
            return False
        try:
            return bool(content_id(self.writer.read(out))[1] != record["sha256_out"])
        except DataError:
            return self.writer.separate  # a row may still lie in a part, not in the file that was touched


def _modified(file: Path, since: int) -> bool:
    return file.exists() and file.stat().st_mtime_ns >= since
