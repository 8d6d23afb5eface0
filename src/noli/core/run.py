"""A run is a folder: `run.json` (manifest), `events.jsonl`, `shards/`, `artifacts/`, reports."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from noli.core.environment import Meter, capture_environment
from noli.core.errors import Interrupted, NoliError, OutputExists, RunError, UsageError, clean_url
from noli.core.files import atomic_write, storage_error
from noli.core.manifest import SCHEMA_VERSION, ErrorInfo, Manifest

MANIFEST = "run.json"
EVENTS = "events.jsonl"
Record = dict[str, Any]
M = TypeVar("M", bound=BaseModel)
_KEPT_ITEMS = 1000


class Run:
    """A run folder. Everything in it is written atomically, so it can be read at any moment.

    Attributes:
        path: The folder.
        manifest: What `run.json` holds; change it with :meth:`update`.
        meter: Cost of this session; added to the manifest when the run ends.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.meter = Meter()
        self._before = manifest.resources

    @classmethod
    def create(cls, path: str | Path, *, verb: str, **fields: Any) -> Self:
        """Create a run folder with status ``running``.

        Args:
            path: The folder; it may exist, but must not hold a run.
            verb: ``protect``, ``verify``, ``undo``, ...
            fields: Further fields of :class:`~noli.core.manifest.Manifest`.

        Raises:
            OutputExists: The folder already holds a run.
            RunError: The place cannot be written.
        """
        folder = Path(path)
        if cls.exists(folder):
            fix = "open it, or choose another run folder"
            raise OutputExists("This folder already holds a run.", where=str(folder), fix=fix)
        now = datetime.now(UTC)
        manifest = Manifest(
            run_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            created=now.isoformat(timespec="seconds"),
            verb=verb,
            environment=capture_environment(),
            **fields,
        )
        run = cls(folder, manifest)
        run.save()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing run folder.

        Raises:
            RunError: There is no run, or its manifest is damaged or newer than this noli.
        """
        folder = Path(path)
        file = folder / MANIFEST
        try:
            raw = json.loads(file.read_bytes())
            version = int(raw["schema_version"])
            if version > SCHEMA_VERSION:
                fix = "install a newer noli"
                raise RunError(f"The run has schema {version}; this noli reads {SCHEMA_VERSION}.", fix=fix)
            return cls(folder, Manifest.model_validate(raw))
        except FileNotFoundError as exc:
            fix = "name the run folder (it ends in .noli and lies beside the output)"
            raise RunError("There is no run in this folder.", where=str(folder), fix=fix) from exc
        except OSError as exc:
            raise storage_error(exc, str(file)) from exc
        except (ValueError, KeyError, TypeError) as exc:
            fix = "restore run.json from a backup, or delete the run folder and its output and start again"
            raise RunError(
                "The manifest is damaged.", where=str(file), why=type(exc).__name__, fix=fix
            ) from exc

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return True when the folder holds a run."""
        return (Path(path) / MANIFEST).is_file()

    @property
    def finished_once(self) -> bool:
        """Whether the data was finished at least once, whatever happened to later tries."""
        return bool(self.manifest.results and self.manifest.generations)

    @property
    def complete(self) -> bool:
        """Whether everything that entered the run was finished."""
        entered = sum(generation.shards for generation in self.manifest.generations)
        return self.finished_once and entered == len(self.manifest.shards)

    def save(self) -> None:
        """Write the manifest (atomic)."""
        # Not pydantic's own JSON: it refuses names that are not UTF-8.
        public = _without_logins(self.manifest.model_dump())
        atomic_write(self.path / MANIFEST, json.dumps(public, indent=1).encode())

    def update(self, **fields: Any) -> None:
        """Change manifest fields and write the manifest (atomic, all or nothing)."""
        self.manifest = self.manifest.model_copy(update=fields)
        self.save()

    def event(self, kind: str, **data: Any) -> None:
        """Append one line to `events.jsonl`; `data` must be JSON and hold no secret."""
        data = _without_logins(data)
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_line(self.path / EVENTS, {"time": moment, "kind": kind, **data})

    def events(self) -> Iterator[Record]:
        """Iterate over the events; a torn line left by a kill is passed over."""
        if (self.path / EVENTS).is_file():
            yield from read_lines(self.path / EVENTS, torn="skip")

    def shard_record(self, index: int) -> Path:
        """Return where the record of shard `index` lies."""
        return self.path / "shards" / f"{index:06d}.jsonl"

    def write_shard_record(self, index: int, records: Iterable[Record]) -> None:
        """Write the record of a finished shard (atomic); its presence means the shard is done."""
        atomic_write(self.shard_record(index), b"".join(dump_line(record) for record in records))

    def iter_records(self) -> Iterator[Record]:
        """Iterate over all item records in shard order, one line in memory at a time."""
        for file in sorted((self.path / "shards").glob("[0-9]*.jsonl")):
            yield from read_lines(file)

    def artifact(self, name: str) -> Path:
        """Return the path of an artifact; its folder exists."""
        folder = self.path / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def resume(self, **fields: Any) -> None:
        """Set the status back to ``running`` for a further session."""
        self.update(status="running", finished=None, error=None, **fields)

    def finish(self, results: Mapping[str, Any], **fields: Any) -> None:
        """Set the status to ``done`` with the run's figures (JSON values)."""
        self._end("done", results=dict(results), error=None, **fields)

    def fail(self, error: BaseException) -> None:
        """Record why the run stopped: status ``interrupted`` or ``failed``.

        A finished run stays ``done`` when a later try fails before new items entered it; an event says why.
        Never raises: it runs while `error` is handled, possibly because the disk is full.
        """
        found = describe_error(error)
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        with suppress(NoliError):
            if self.complete:
                self.event("attempt-failed", error=found.model_dump())
                self._end("done", error=None)
            else:
                self._end("interrupted" if stopped else "failed", error=found)

    @contextmanager
    def recording_failures(self, fix: str) -> Iterator[None]:
        """Record what stops the block (:meth:`fail`); Ctrl-C becomes an error that says what to do.

        Args:
            fix: What to do after Ctrl-C.

        Raises:
            Interrupted: Ctrl-C.
        """
        try:
            yield
        except KeyboardInterrupt as stop:
            error = Interrupted("Stopped.", fix=fix)
            self.fail(error)
            raise error from stop
        except BaseException as error:
            self.fail(error)
            raise

    def refuse_other(self, verb: str, resolved: Mapping[str, Any]) -> None:
        """Refuse to go on with other arguments than the run was begun with.

        Raises:
            UsageError: They are others, or another verb.
        """
        before = self.manifest.args_resolved
        changed = [name for name, value in resolved.items() if before.get(name) != value]
        if self.manifest.verb != verb or changed:
            raise UsageError(
                "The run was begun with other arguments.",
                where=str(self.path),
                why=f"different: {', '.join(changed) or 'the verb'}",
                fix="give the arguments it was begun with, or choose another output",
            )

    def _end(self, status: str, **fields: Any) -> None:
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self.update(status=status, finished=finished, resources=self.meter.add_to(self._before), **fields)
        self.event(status, **({} if status == "done" else {"error": fields["error"].model_dump()}))


def read_artifact(file: Path, model: type[M], fix: str) -> M | None:
    """Return what a run kept as JSON, or None when it kept nothing.

    Raises:
        RunError: The file is damaged; `fix` says what to do.
    """
    if not file.is_file():
        return None
    try:
        return model.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as exc:
        what = f"The {file.stem} of the run cannot be read."
        raise RunError(what, where=str(file), why=type(exc).__name__, fix=fix) from exc


def describe_error(error: BaseException) -> ErrorInfo:
    """Return what the manifest keeps of an error; foreign exceptions give their type and message."""
    if isinstance(error, NoliError):
        return ErrorInfo(
            type=type(error).__name__,
            what=error.what,
            where=error.where,
            why=error.why,
            fix=error.fix,
            items=error.items[:_KEPT_ITEMS],
            items_total=len(error.items),
        )
    return ErrorInfo(type=type(error).__name__, what=str(error) or type(error).__name__)


def _without_logins(value: Any) -> Any:
    """Return JSON data whose texts name no login of a URL."""
    if isinstance(value, str):
        return clean_url(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {name: _without_logins(one) for name, one in value.items()}
    return [_without_logins(one) for one in value] if isinstance(value, list | tuple) else value


def dump_line(record: Mapping[str, Any]) -> bytes:
    """Return one JSON line; NaN and infinity are refused because they are not JSON."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def append_line(file: Path, record: Mapping[str, Any], *, durable: bool = False) -> None:
    """Append a record to a JSON-lines file; when it is `durable`, it has reached the disk on return.

    Raises:
        RunError: The place cannot be written.
    """
    line = dump_line(record)
    try:
        with file.open("a+b") as handle:
            # A kill may have torn the last line; the next one must not be glued to it.
            if handle.tell():
                handle.seek(-1, os.SEEK_END)
                line = line if handle.read(1) == b"\n" else b"\n" + line
            handle.write(line)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc


def read_lines(file: Path, *, torn: str = "error") -> Iterator[Record]:
    """Stream the records of a JSON-lines file; with `torn` ``skip``, lines that are not JSON are passed over.

    Raises:
        RunError: A line is damaged and `torn` is ``error``, or the file cannot be read.
    """
    try:
        with file.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    yield json.loads(line.decode("utf-8", "surrogatepass"))
                except ValueError as exc:
                    if torn == "skip":
                        continue
                    fix = "delete this file and run the same command again"
                    raise RunError(
                        "A record is damaged.", where=f"{file}:{number}", why=str(exc), fix=fix
                    ) from exc
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc
