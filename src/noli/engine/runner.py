"""The runner of the data -> data arrow: scan, prepare once, apply per shard, resume, extend."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from noli.core.dataset import Source
from noli.core.errors import DataError, Interrupted, NoliError, OutputExists, UsageError
from noli.core.files import storage_error
from noli.core.key import Key
from noli.core.manifest import DataInfo, Generation, KeyInfo
from noli.core.run import Record, Run, read_lines
from noli.data.sources import open_source
from noli.data.writers import Writer, check_paths, open_writer
from noli.engine.catalog import Catalog
from noli.engine.lock import locked
from noli.engine.pool import map_shards, threads_per_worker
from noli.engine.previews import save_preview
from noli.engine.request import RunRequest, is_url, load_method
from noli.engine.results import Tally, tally
from noli.engine.scanstage import (
    Changes,
    Totals,
    all_shards,
    count_shards,
    find_new,
    index_rows,
    row_ref,
)
from noli.engine.shard import Job


def run_data(request: RunRequest) -> Run:
    """Transform a data set, or continue, extend or confirm an earlier run of the same request.

    The same request after an interruption of any kind gives the same bytes as an uninterrupted run. When
    the run is finished, only items that are new in the source are processed.

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
    fresh = not Run.exists(folder)
    check_paths(request.source, request.output, owned=not fresh)
    _check_places(request, folder)
    made_here = not folder.exists()
    with locked(folder):
        try:
            source = open_source(request.source, labels=request.labels)
            check_paths(request.source, request.output, owned=not fresh)
            run = _begin(request, folder, source)
        except BaseException:
            _discard(folder, whole=made_here, started=not fresh)
            raise
        try:
            _Session(request, run, source, guard=not fresh).work()
        except BaseException as exc:
            error = _typed(exc)
            if fresh and not run.manifest.generations and isinstance(error, DataError | UsageError):
                # Refused before any work: nothing stays behind, the next try starts clean.
                _discard(folder, whole=made_here, started=False)
            else:
                run.fail(error)
            if error is exc:
                raise
            raise error from exc
    return run


class Warnings:
    """What was found different from what the run left behind: counts, and at most 1,000 names of each kind.

    The counts go into the manifest's ``results``: ``removed_from_source``, ``outputs_changed`` (kept as they
    are), ``outputs_gone`` (nothing is left to make them from), ``companions_kept`` (other than in
    the source), and for an undo ``protected_missing``.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("removed_from_source", "outputs_changed", "outputs_gone"), 0)
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Count one item."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        names = self.names.setdefault(kind, [])
        if len(names) < 1000:
            names.append(name)


class _Session:
    """One start of a run: everything that the stages share."""

    def __init__(self, request: RunRequest, run: Run, source: Source, *, guard: bool) -> None:
        self.guard = guard
        self.warnings = Warnings()
        self.request = request
        self.run = run
        self.source = source
        self.method = load_method(request.spec.module)
        self.writer: Writer = open_writer(
            request.output,
            source,
            format=request.format,
            metadata=request.metadata,
            work=run.path / "parts",
            owned=True,
        )

    def work(self) -> None:
        """Run all stages that still have something to do."""
        changes, totals = self._scan()
        todo = dict(self._undone(self.run.manifest.generations))
        self._warn()
        if not todo and self.run.manifest.status == "done" and not changes.new:
            return
        self.run.resume()
        if changes.new:
            self._enter(changes, totals)
            todo.update(self._undone(self.run.manifest.generations[-1:]))
        self._process(todo)
        self._finish()

    def _scan(self) -> tuple[Changes, Totals]:
        run, totals = self.run, Totals()
        catalog = Catalog(run.artifact("catalog.sqlite"))
        try:
            if self.request.undo_of is not None:
                for record in Run.open(self.request.undo_of).iter_records():
                    if "error" not in record:
                        catalog.add_made(record)
            known = self._known(catalog, totals)
            self.writer.reserve(known)
            for _ in known:  # writers that need not reserve anything leave them unread
                pass
            target = run.artifact(self._index_name())
            changes = find_new(
                self.request, self.source, self.writer, catalog, totals, target, guard=self.guard
            )
            if self.request.undo_of is not None:
                for out in catalog.unused():
                    self.warnings.add("protected_missing", out)
        finally:
            catalog.close()
        if changes.removed_total:
            run.event("items-removed", total=changes.removed_total, items=changes.removed)
        self.warnings.counts["removed_from_source"] = changes.removed_total
        return changes, totals

    def _known(self, catalog: Catalog, totals: Totals) -> Iterator[tuple[str, str]]:
        """Put all items that entered the run into the catalog; yield their in-paths and out-paths."""
        for row in index_rows(self.run, totals):
            catalog.add(row)
            if "out" in row:
                yield row["path"], row["out"]

    def _index_name(self) -> str:
        number = len(self.run.manifest.generations)
        return "index.jsonl" if number == 0 else f"index-{number}.jsonl"

    def _enter(self, changes: Changes, totals: Totals) -> None:
        """Prepare the method and make the new items part of the run, in one atomic step."""
        run, request = self.run, self.request
        manifest = run.manifest
        state = manifest.state
        if changes.new_good or state is None:
            summary = totals.summary(request.source)
            run.event("prepare", items=summary.items, classes=len(summary.classes), extend=state is not None)
            if request.undo_of is not None:
                state = Run.open(request.undo_of).manifest.state
            else:
                # Methods that need no key never look at this argument.
                key: Key = request.key  # type: ignore[assignment]
                state = self.method.prepare(summary, key, request.cfg, state)
        name = self._index_name()
        shards, items = count_shards(run.artifact(name), manifest.shard_size, manifest.shard_pixels)
        last = manifest.generations[-1] if manifest.generations else None
        entered = Generation(
            index=name,
            first_shard=last.first_shard + last.shards if last else 0,
            shards=shards,
            items=items,
        )
        run.update(state=state or {}, generations=(*manifest.generations, entered))
        run.event("entered", generation=len(manifest.generations), items=items, shards=shards)

    def _undone(self, generations: Sequence[Generation]) -> Iterator[tuple[int, int]]:
        """Yield ``(number, items)`` of the shards without a record, or with an output missing."""
        for index, rows in all_shards(self.run, generations):
            wanted = self._wanted(index, rows, note=True)
            if wanted:
                yield index, len(wanted)

    def _pending(self, todo: Mapping[int, int]) -> Generator[tuple[int, list[Record]], None, None]:
        for generation in self.run.manifest.generations:
            numbers = range(generation.first_shard, generation.first_shard + generation.shards)
            if not todo.keys().isdisjoint(numbers):
                for index, rows in all_shards(self.run, [generation]):
                    if index in todo:
                        yield index, self._wanted(index, rows)

    def _wanted(self, index: int, rows: list[Record], *, note: bool = False) -> list[Record]:
        """Return the rows of a shard that must be made (again).

        Outputs that somebody changed are never replaced; items of which neither original nor output is left
        are given up. `note` counts both.
        """
        if not self.run.shard_record(index).is_file():
            return rows
        records = read_lines(self.run.shard_record(index))
        sizes = {record["out"]: record["size_out"] for record in records if "out" in record}
        missing: list[Record] = []
        for row in rows:
            found = self.writer.state(row["out"], sizes.get(row["out"])) if "out" in row else "ok"
            gone = found == "missing" and self.writer.separate and not self._has_original(row)
            if found == "missing" and not gone:
                missing.append(row)
            elif found != "ok" and note:
                self.warnings.add("outputs_gone" if gone else "outputs_changed", row["out"])
        return missing if self.writer.separate or not missing else rows

    def _has_original(self, row: Record) -> bool:
        try:
            self.source.stat(row_ref(row))
        except (NoliError, OSError):
            return False
        return True

    def _warn(self) -> None:
        """Write down what is not as the run left it; the manifest changes only when the counts do."""
        results = self.run.manifest.results
        for kind, names in self.warnings.names.items():
            self.run.event(kind.replace("_", "-"), total=self.warnings.counts[kind], items=names)
        counts = self.warnings.counts
        if results and any(results.get(kind, 0) != count for kind, count in counts.items()):
            self.run.update(results={**results, **counts})

    def _merged(self, index: int, records: list[Record]) -> list[Record]:
        """Put the records of items made again between those of the other items of their shard."""
        if not self.run.shard_record(index).is_file():
            return records
        table = {record["path"]: record for record in read_lines(self.run.shard_record(index))}
        table.update({record["path"]: record for record in records})
        return list(table.values())

    def _process(self, todo: Mapping[int, int]) -> None:
        """Work on shards given as number -> items."""
        request, run = self.request, self.run
        job = Job(
            module=request.spec.module,
            config=request.cfg.model_dump(mode="json"),
            direction=request.direction,
            state=run.manifest.state or {},
            source=self.source,
            writer=self.writer,
            format=request.format,
            metadata=request.metadata,
            on_error=request.on_error,
            max_pixels=request.max_pixels,
            originals=self._originals(),
        )
        # Starting a process costs more than a small shard: never more of them than shards.
        workers = max(1, min(request.at_once, len(todo)))
        run.update(threads=threads_per_worker(workers))
        request.progress.start(sum(todo.values()), request.verb)
        pending = self._pending(todo)
        finished = map_shards(job, request.key, pending, workers, run.meter)
        try:
            # Closed at once on an error, not when it is collected: workers stop, files are released.
            with closing(pending), closing(finished):
                for index, records in finished:
                    run.write_shard_record(index, self._merged(index, records))
                    for record in records:
                        if "error" in record:
                            run.event("item-failed", path=record["path"], why=record["error"])
                    request.progress.advance(len(records))
        finally:
            request.progress.finish()

    def _originals(self) -> Source | None:
        if self.request.undo_of is None:
            return None
        before = Run.open(self.request.undo_of).manifest
        try:
            return open_source(before.input.uri, labels=before.args_resolved.get("labels"))  # type: ignore[union-attr]
        except (NoliError, OSError):
            return None

    def _finish(self) -> None:
        request, run = self.request, self.run
        records = (record for record in run.iter_records() if "error" not in record)
        kept = self.writer.finalise((record["path"], record["out"]) for record in records)
        for name in kept:
            self.warnings.add("companions_kept", name)
        if kept:
            run.event("companions-kept", items=kept)
        found: Tally = tally(run)
        save_preview(run, self.source, self.writer, found.items)
        data = run.manifest.input or DataInfo(uri=request.source)
        run.finish(
            {**found.results(), **self.warnings.counts},
            shards=tuple(found.shards),
            input=data.model_copy(
                update={
                    "items": found.items,
                    "skipped": found.skipped,
                    "bytes": found.bytes_in,
                    "hash": found.hash_in.hexdigest(),
                }
            ),
            output=DataInfo(
                uri=run.manifest.args_resolved["output"],
                layout=data.layout,
                items=found.items,
                bytes=found.bytes_out,
                hash=found.hash_out.hexdigest(),
                format=request.format,
                metadata=request.metadata,
            ),
        )


def _begin(request: RunRequest, folder: Path, source: Source) -> Run:
    """Create the run, or open the earlier one and make sure that it is the same job."""
    resolved = request.resolved()
    if Run.exists(folder):
        run = Run.open(folder)
        _same_job(run, request, resolved)
        return run
    key = request.key
    return Run.create(
        folder,
        verb=request.verb,
        method=request.spec.name,
        args_passed=request.args_passed,
        args_resolved={**resolved, "on_error": request.on_error, "workers": request.workers},
        key=KeyInfo(id=key.id, commitment=key.commit()) if key else None,
        input=DataInfo(uri=resolved["source"], layout=source.layout),
        output=DataInfo(uri=resolved["output"], format=request.format, metadata=request.metadata),
        shard_size=request.shard_size,
    )


def _same_job(run: Run, request: RunRequest, resolved: dict[str, object]) -> None:
    before = run.manifest.args_resolved
    if run.manifest.verb != request.verb:
        fix = "choose another run folder"
        raise UsageError(
            f"The run folder belongs to a `{run.manifest.verb}` run.", where=str(run.path), fix=fix
        )
    for name, value in resolved.items():
        old = before.get(name)
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
        if is_url(root):
            continue
        tree = Path(root).resolve()
        if place == tree or tree in place.parents:
            raise OutputExists(
                f"The run folder lies inside the {name}.",
                where=str(folder),
                fix="choose another --run folder, or leave it out: it then lies beside the output",
            )


def _discard(folder: Path, *, whole: bool, started: bool) -> None:
    """Remove what a refused first start left; never touches a run that exists or a folder of the user's."""
    if started:
        return
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in ("run.json", "events.jsonl"):
        (folder / name).unlink(missing_ok=True)
    for name in ("shards", "artifacts"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _typed(exc: BaseException) -> BaseException:
    if isinstance(exc, KeyboardInterrupt):
        return Interrupted("Stopped.", fix="run the same command again: it resumes where it stopped")
    if isinstance(exc, OSError):
        return storage_error(exc)
    return exc


__all__ = ["RunRequest", "run_data"]
