"""The runner of the data -> data arrow: scan, prepare once, apply per shard, resume, extend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from noli.core.dataset import Source
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
from noli.engine.outputs import Outputs
from noli.engine.pictures import save_preview
from noli.engine.pool import map_shards, threads_per_worker
from noli.engine.request import RunRequest, absolute, run_folder
from noli.engine.results import tally
from noli.engine.scanstage import SHARD_PIXELS, Noted, Totals, cut_shards, find_new
from noli.engine.shard import ShardWork
from noli.engine.study import located, prepare

_NAMED = 1000
_ALWAYS_TOLD = ("removed_from_source", "outputs_changed", "outputs_gone")


def run_data(request: RunRequest) -> Run:
    """Transform a data set, or continue, extend or confirm an earlier run of the same request.

    The same request after an interruption of any kind gives the same bytes as an uninterrupted run (noise
    that was learned on a GPU: up to rounding). When the run is finished, only items that are new in the
    source are processed. What differs from what the run
    left behind is counted in the manifest's ``results``: ``removed_from_source``, ``outputs_changed`` (kept
    as they are), ``outputs_gone`` (nothing is left to make them from), ``companions_kept`` (changed in the
    output), ``companions_left_out`` (hidden pictures, keys, and what may hold pictures), for an undo
    ``protected_missing``.

    Returns:
        The finished run.

    Raises:
        UsageError: Wrong arguments, an output in the way, or other arguments than the run was begun with.
        DataError: Broken items (``on_error="fail"``), changed items, no items; nothing new was written
            when the scan finds them.
        RunError: Disk full, read-only place, dead worker; the same request resumes.
        Interrupted: Ctrl-C; the same request resumes.
    """
    folder, usual = request.run_folder, run_folder(request.output)
    check_paths(request.source, request.output, owned=Run.exists(folder))
    check_places(request, folder)
    made_here = [place for place in {folder, usual} if not place.exists()]
    try:
        # Two runs with folders of their own must not share an output either.
        shared = usual != folder and os.access(usual if usual.exists() else usual.parent, os.W_OK)
        with locked(folder), locked(usual) if shared else nullcontext():
            return _Session(request, folder).work()
    finally:
        for place in made_here:  # refused before any work: nothing stays behind
            with suppress(OSError):
                place.rmdir()


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
        )

    def work(self) -> Run:
        """Run all stages that still have something to do."""
        try:
            run = self._enter()
            outputs = Outputs(self.request, run, self.source, self.writer)
            todo = {index: len(rows) for index, rows in outputs.undone(self.noted)}
            self._warn(run)
            if todo or run.manifest.status != "done":
                if run.manifest.status != "running":
                    run.resume()
                self._process(run, outputs, todo)
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
            state = self._state(totals, fresh)
            size, pixels = request.shard_size, SHARD_PIXELS
            if run is not None:
                size, pixels = run.manifest.shard_size, run.manifest.shard_pixels
            name = f"index-{len(generations)}.jsonl" if generations else "index.jsonl"
            index = self.folder / "artifacts" / name
            index.parent.mkdir(exist_ok=True)
            fresh.replace(index)
        except OSError as exc:
            raise storage_error(exc, str(fresh)) from exc
        finally:
            remove_quietly(fresh)
        entered = Generation(
            index=name,
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

    def _state(self, totals: Totals, fresh: Path) -> dict[str, Any]:
        request = self.request
        if request.undo_of is not None:
            return Run.open(request.undo_of).manifest.state or {}
        before = self.run.manifest.state if self.run is not None else None
        rows = chain(self._known(), read_lines(fresh))
        try:
            return prepare(request, self.source, totals, rows, self.folder, before)
        except KeyboardInterrupt as exc:
            fix = "run the same command again: a training goes on from what it keeps once a minute"
            raise Interrupted("Stopped while the method was learning.", fix=fix) from exc

    def _create(self, state: dict[str, Any], entered: Generation) -> Run:
        request, key = self.request, self.request.key
        resolved = request.resolved()
        # Scan and learning take their time: somebody may have put something there.
        check_paths(request.source, request.output)
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

    def _warn(self, run: Run) -> None:
        """Write down what is not as the run left it; the manifest changes only when the counts do."""
        for kind, names in self.noted.names.items():
            run.event(kind.replace("_", "-"), total=self.noted.counts[kind], items=names)
        results = {**run.manifest.results, **self._counts()}
        if run.manifest.results and results != run.manifest.results:
            run.update(results=results)

    def _counts(self) -> dict[str, int]:
        return {**dict.fromkeys(_ALWAYS_TOLD, 0), **self.noted.counts}

    def _process(self, run: Run, outputs: Outputs, todo: dict[int, int]) -> None:
        """Work on the shards in `todo`, given as number -> items."""
        request = self.request
        state = located(run.manifest.state, request, request.undo_of or self.folder)
        work = ShardWork(request, state, self.source, self.writer, self._originals())
        # Starting a process costs more than a small shard: never more of them than shards.
        workers = max(1, min(request.at_once, len(todo)))
        run.update(threads=threads_per_worker(workers))
        request.progress.start(sum(todo.values()), request.verb)
        pending = ((index, rows) for index, rows in outputs.undone() if index in todo)
        finished = map_shards(work, pending, workers, run.meter)
        try:
            # Closed at once on an error, not when it is collected: workers stop, files are released.
            with closing(pending), closing(finished):
                for index, records in finished:
                    outputs.note(index, records)
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
        records = (record for record in run.iter_records() if "error" not in record)
        kept = self.writer.finalise((record["path"], record["out"]) for record in records)
        if kept:
            run.event("companions-kept", items=list(kept))
        told = {"companions_kept": len(kept)} if kept else {}
        left_out = getattr(self.source, "left_out", lambda **_: ())
        if left := list(left_out(strip=request.metadata == "strip")):
            run.event("companions-left-out", total=len(left), items=left[:_NAMED])
            told["companions_left_out"] = len(left)
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
            # An option that is newer than the run was at what is now its default.
            old = type(request.cfg).model_construct().model_dump(mode="json") | old
            if old == value:
                continue
            name = next(field for field in {**old, **value} if old.get(field) != value.get(field))
            old, value = old.get(name), value.get(name)
        raise UsageError(
            f"The run was begun with another value of `{name}`.",
            where=str(run.path),
            why=f"it was {old!r}, now it is {value!r}",
            fix=f"use {name}={old!r} to continue it, or choose another output or run folder",
        )


def check_places(request: RunRequest, folder: Path) -> None:
    """Refuse a run folder that would become part of the input or of the output.

    Raises:
        OutputExists: It would.
    """
    place = folder.resolve()
    for name, root in (("input", request.source), ("output", request.output)):
        if not is_url(root) and place.is_relative_to(local_path(root).resolve()):
            raise OutputExists(
                f"The run folder lies inside the {name}.",
                where=str(folder),
                fix="choose another --run folder, or leave it out: it then lies beside the output",
            )


def _typed(exc: BaseException) -> BaseException:
    if isinstance(exc, KeyboardInterrupt):
        return Interrupted("Stopped.", fix="run the same command again: it resumes where it stopped")
    return storage_error(exc) if isinstance(exc, OSError) else exc
