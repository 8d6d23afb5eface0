"""The runner of the data -> data arrow: scan, prepare once, apply per shard, resume, extend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from noli.core.dataset import Source, content_id
from noli.core.environment import Meter
from noli.core.errors import Interrupted, NoliError, OutputExists, UsageError
from noli.core.files import TEMP_SUFFIX, remove_quietly, storage_error
from noli.core.manifest import DataInfo, Generation, KeyInfo
from noli.core.run import Record, Run, read_lines
from noli.data.place import is_url, local_path
from noli.data.sources import open_source
from noli.data.writers import Writer, check_paths, open_writer
from noli.engine.catalog import Catalog
from noli.engine.lock import locked
from noli.engine.pictures import save_preview
from noli.engine.pool import map_shards, threads_per_worker
from noli.engine.request import RunRequest, absolute, load_method
from noli.engine.results import tally
from noli.engine.scanstage import SHARD_PIXELS, Noted, Totals, all_shards, cut_shards, find_new, row_ref
from noli.engine.shard import ShardWork

_ALWAYS_TOLD = ("removed_from_source", "outputs_changed", "outputs_gone")


def run_data(request: RunRequest) -> Run:
    """Transform a data set, or continue, extend or confirm an earlier run of the same request.

    The same request after an interruption of any kind gives the same bytes as an uninterrupted run. When
    the run is finished, only items that are new in the source are processed. What differs from what the run
    left behind is counted in the manifest's ``results``: ``removed_from_source``, ``outputs_changed`` (kept
    as they are), ``outputs_gone`` (nothing is left to make them from), ``companions_kept`` (changed in the
    output), and for an undo ``protected_missing``.

    Returns:
        The finished run.

    Raises:
        UsageError: Wrong arguments, an output in the way, or other arguments than the run was begun with.
        DataError: Broken items (``on_error="fail"``), changed items, no items; nothing new was written
            when the scan finds them.
        RunError: Disk full, read-only place, dead worker; the same request resumes.
        Interrupted: Ctrl-C; the same request resumes.
    """
    folder = request.run_folder
    check_paths(request.source, request.output, owned=Run.exists(folder))
    _check_places(request, folder)
    made_here = not folder.exists()
    try:
        with locked(folder):
            return _Session(request, folder).work()
    finally:
        if made_here:  # refused before any work: nothing stays behind
            with suppress(OSError):
                folder.rmdir()


class _Session:
    """One start of a run: everything that the stages share."""

    def __init__(self, request: RunRequest, folder: Path) -> None:
        self.request = request
        self.folder = folder
        self.meter = Meter()
        self.noted = Noted()
        self.run = Run.open(folder) if Run.exists(folder) else None
        if self.run is not None:
            _same_job(self.run, request)
        self.source = open_source(request.source, labels=request.labels)
        self.writer: Writer = open_writer(
            request.output,
            self.source,
            format=request.format,
            metadata=request.metadata,
            work=folder / "parts",
            owned=True,
        )

    def work(self) -> Run:
        """Run all stages that still have something to do."""
        try:
            run = self._enter()
            todo = {index: len(rows) for index, rows in self._undone(run, note=True)}
            self._warn(run)
            if todo or run.manifest.status != "done":
                if run.manifest.status != "running":
                    run.resume()
                self._process(run, todo)
                self._finish(run)
        except BaseException as exc:
            error = _typed(exc)
            if self.run is not None:
                self.run.fail(error)
            if error is exc:
                raise
            raise error from exc
        return run

    def _enter(self) -> Run:
        """Scan; when something is new, prepare the method and make it part of the run in one atomic step."""
        run, request, totals = self.run, self.request, Totals()
        generations = run.manifest.generations if run is not None else ()
        fresh = self.folder / f".index{TEMP_SUFFIX}"
        try:
            new = self._scan(totals, fresh)
            if run is not None and not new:
                return run
            state = self._state(totals)
            size, pixels = request.shard_size, SHARD_PIXELS
            if run is not None:
                size, pixels = run.manifest.shard_size, run.manifest.shard_pixels
            index = self.folder / "artifacts" / _index_name(len(generations))
            index.parent.mkdir(exist_ok=True)
            fresh.replace(index)
        except OSError as exc:
            raise storage_error(exc, str(fresh)) from exc
        finally:
            remove_quietly(fresh)
        entered = Generation(
            index=index.name,
            first_shard=sum(generation.shards for generation in generations),
            shards=sum(1 for _ in cut_shards(read_lines(index), size, pixels)),
            items=new,
        )
        if run is None:
            self.run = run = self._create(state, entered)
        else:
            run.resume(state=state, generations=(*generations, entered))
        run.event("entered", generation=len(generations) + 1, items=new, shards=entered.shards)
        return run

    def _scan(self, totals: Totals, target: Path) -> int:
        """Write what is new to `target`; return how many items that are."""
        with closing(Catalog()) as catalog:
            if self.request.undo_of is not None:
                for record in Run.open(self.request.undo_of).iter_records():
                    if "error" not in record:
                        catalog.add_made(record)
            for row in self._known():
                catalog.add(row)
                totals.add(row)
            self.writer.reserve((row["path"], row["out"]) for row in self._known() if "out" in row)
            guard = self.run is not None
            new, self.noted = find_new(
                self.request, self.source, self.writer, catalog, totals, target, guard=guard
            )
        return new

    def _known(self) -> Iterator[Record]:
        """Iterate over all items that entered the run, generation by generation."""
        for generation in self.run.manifest.generations if self.run is not None else ():
            yield from read_lines(self.folder / "artifacts" / generation.index)

    def _state(self, totals: Totals) -> dict[str, Any]:
        request = self.request
        if request.undo_of is not None:
            return Run.open(request.undo_of).manifest.state or {}
        before = self.run.manifest.state if self.run is not None else None
        # Methods that need no key never look at this argument.
        return load_method(request.spec.module).prepare(
            totals.summary(request.source),
            request.key,  # type: ignore[arg-type]
            request.cfg,
            before,
        )

    def _create(self, state: dict[str, Any], entered: Generation) -> Run:
        request, key = self.request, self.request.key
        resolved = request.resolved()
        run = Run.create(
            self.folder,
            verb=request.verb,
            method=request.spec.name,
            args_passed=request.args_passed,
            args_resolved={**resolved, "on_error": request.on_error, "workers": request.workers},
            key=KeyInfo(id=key.id, commitment=key.commit()) if key else None,
            input=DataInfo(uri=resolved["source"], layout=self.source.layout),
            output=DataInfo(uri=resolved["output"], format=request.format, metadata=request.metadata),
            state=state,
            shard_size=request.shard_size,
            shard_pixels=SHARD_PIXELS,
            generations=(entered,),
        )
        run.meter = self.meter
        return run

    def _undone(self, run: Run, *, note: bool = False) -> Iterator[tuple[int, list[Record]]]:
        """Iterate over the shards with items that must be made (again), and those items.

        Outputs that somebody changed are never replaced; items of which neither original nor output is left
        are given up. `note` looks for changes and counts both.
        """
        for index, rows in all_shards(run):
            file = run.shard_record(index)
            wanted = rows
            if file.is_file():
                records = {record["out"]: record for record in read_lines(file) if "out" in record}
                since = file.stat().st_mtime_ns
                missing = []
                for row in rows:
                    found = self._found(row, records.get(row.get("out")), since if note else None)
                    if found == "missing":
                        missing.append(row)
                    elif found != "ok" and note:
                        self.noted.add(f"outputs_{found}", row["out"])
                wanted = rows if missing and not self.writer.separate else missing
            if wanted:
                yield index, wanted

    def _found(self, row: Record, record: Record | None, since: int | None) -> str:
        """Tell how an item lies in the output: ``ok``, ``missing``, ``gone`` for good, or ``changed``."""
        if "out" not in row:
            return "ok"
        out = row["out"]
        found = self.writer.state(out, record["size_out"] if record else None)
        if found == "missing" and self.writer.separate:
            with suppress(NoliError, OSError):
                self.source.stat(row_ref(row))
                return "missing"
            return "gone"
        if found == "ok" and record and since is not None and self._touched(out, since):
            return "ok" if content_id(self.writer.read(out))[1] == record["sha256_out"] else "changed"
        return found

    def _touched(self, out: str, since: int) -> bool:
        """Tell whether the file of an output was modified after its record was written (local files only)."""
        if is_url(self.request.output):
            return False
        file = local_path(self.request.output)
        if self.writer.separate:
            file /= out
        else:
            file = file / out.rpartition("#")[0] if file.is_dir() else file
            # Assembled after the records; the preview is what a session writes next.
            since = _modified(self.folder / "artifacts/preview.npz")
        return _modified(file) >= since

    def _warn(self, run: Run) -> None:
        """Write down what is not as the run left it; the manifest changes only when the counts do."""
        for kind, names in self.noted.names.items():
            run.event(kind.replace("_", "-"), total=self.noted.counts[kind], items=names)
        results = {**run.manifest.results, **self._counts()}
        if run.manifest.results and results != run.manifest.results:
            run.update(results=results)

    def _counts(self) -> dict[str, int]:
        return {**dict.fromkeys(_ALWAYS_TOLD, 0), **self.noted.counts}

    def _process(self, run: Run, todo: dict[int, int]) -> None:
        """Work on the shards in `todo`, given as number -> items."""
        request = self.request
        work = ShardWork(request, run.manifest.state or {}, self.source, self.writer, self._originals())
        # Starting a process costs more than a small shard: never more of them than shards.
        workers = max(1, min(request.at_once, len(todo)))
        run.update(threads=threads_per_worker(workers))
        request.progress.start(sum(todo.values()), request.verb)
        pending = ((index, rows) for index, rows in self._undone(run) if index in todo)
        finished = map_shards(work, pending, workers, run.meter)
        try:
            # Closed at once on an error, not when it is collected: workers stop, files are released.
            with closing(pending), closing(finished):
                for index, records in finished:
                    _keep(run, index, records)
                    request.progress.advance(len(records))
        finally:
            request.progress.finish()

    def _originals(self) -> Source | None:
        if self.request.undo_of is None:
            return None
        before = Run.open(self.request.undo_of).manifest
        with suppress(NoliError, OSError):
            return open_source(before.args_resolved["source"], labels=before.args_resolved.get("labels"))
        return None

    def _finish(self, run: Run) -> None:
        request, manifest = self.request, run.manifest
        self.writer.finalise()
        kept = self.writer.kept()
        if kept:
            run.event("companions-kept", items=list(kept))
        told = {"companions_kept": len(kept)} if kept else {}
        found = tally(run)
        save_preview(run, self.source, self.writer, found.items)
        layout = self.source.layout
        before = DataInfo(
            uri=absolute(request.source),
            layout=layout,
            items=found.items,
            skipped=len(found.failed),
            bytes=found.bytes_in,
            hash=found.hash_in.hexdigest(),
        )
        after = DataInfo(
            uri=manifest.args_resolved["output"],
            layout=layout,
            items=found.items,
            bytes=found.bytes_out,
            hash=found.hash_out.hexdigest(),
            format=request.format,
            metadata=request.metadata,
        )
        results = {**found.results(), **self._counts(), **told}
        run.finish(results, shards=tuple(found.shards), input=before, output=after)


def _keep(run: Run, index: int, records: list[Record]) -> None:
    """Write the record of a shard; items made again go between those of the others."""
    file = run.shard_record(index)
    if file.is_file():
        written = file.stat().st_mtime_ns
        table = {record["path"]: record for record in [*read_lines(file), *records]}
        run.write_shard_record(index, table.values())
        os.utime(file, ns=(written, written))  # else edits of the other outputs would look old
    else:
        run.write_shard_record(index, records)
    for record in records:
        if "error" in record:
            run.event("item-failed", path=record["path"], why=record["error"])


def _same_job(run: Run, request: RunRequest) -> None:
    """Refuse to continue a run with other arguments than it was begun with."""
    if run.manifest.verb != request.verb:
        fix = "choose another run folder"
        raise UsageError(
            f"The run folder belongs to a `{run.manifest.verb}` run.", where=str(run.path), fix=fix
        )
    for name, value in request.resolved().items():
        old = run.manifest.args_resolved.get(name)
        if old == value:
            continue
        if name == "config" and isinstance(old, dict) and isinstance(value, dict):
            name = next(field for field in {**old, **value} if old.get(field) != value.get(field))
            old, value = old.get(name), value.get(name)
        raise UsageError(
            f"The run was begun with another value of `{name}`.",
            where=str(run.path),
            why=f"it was {old!r}, now it is {value!r}",
            fix=f"use {name}={old!r} to continue it, or choose another output",
        )


def _check_places(request: RunRequest, folder: Path) -> None:
    """Refuse a run folder that would become part of the input or of the output."""
    place = folder.resolve()
    for name, root in (("input", request.source), ("output", request.output)):
        if not is_url(root) and place.is_relative_to(local_path(root).resolve()):
            raise OutputExists(
                f"The run folder lies inside the {name}.",
                where=str(folder),
                fix="choose another --run folder, or leave it out: it then lies beside the output",
            )


def _index_name(generation: int) -> str:
    return f"index-{generation}.jsonl" if generation else "index.jsonl"


def _modified(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def _typed(exc: BaseException) -> BaseException:
    if isinstance(exc, KeyboardInterrupt):
        return Interrupted("Stopped.", fix="run the same command again: it resumes where it stopped")
    return storage_error(exc) if isinstance(exc, OSError) else exc
