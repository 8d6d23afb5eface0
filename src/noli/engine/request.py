"""What the runner is asked to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from noli.core.errors import UsageError, clean_url
from noli.core.key import Key
from noli.core.method import DataMethod, MethodConfig, Spec
from noli.core.plugins import loading
from noli.core.run import Run
from noli.data.picture import FormatPolicy, Metadata
from noli.data.place import is_url, local_path
from noli.engine.progress import Progress

ErrorPolicy = Literal["fail", "skip"]
KeyLike = Key | str | Path | None
# Not in the registry: what brings scrambled pictures back, or gives them another key, by their headers.
OPENING = "lock/open"
ROTATION = "lock/rotate"
# Under this name the state that `apply` of a rotation gets holds the former key (never in the manifest).
FORMER = "former"


@dataclass(frozen=True)
class RunRequest:
    """One job for the data -> data arrow. Pickled, it leaves the key and the progress display behind.

    Attributes:
        source, output: Folder, file or URL of either end.
        spec: The method; ``spec.module`` must be importable, workers import it again.
        cfg: The method's resolved Config.
        key: Owner's key; None only for methods that need none.
        workers: Worker processes; 1 works inside this process.
        format, metadata: Policies for the output files.
        on_error: ``fail`` refuses broken items before any work, ``skip`` records and leaves them out.
        shard_size: Most items of a shard.
        run_dir: Run folder; None puts it beside the output.
        undo_of: Run folder of protected data: invert the method instead of applying it.
        former: The key that scrambled the pictures so far, for a rotation.
        lossy: Bring scrambled pictures back even from a JPEG that halved their chroma.
        labels: Which labels the source reader should use (passed to ``open_source``).
        args_passed: Arguments as the user gave them, for the manifest.
        progress: Where progress goes.
    """

    source: str
    output: str
    spec: Spec
    cfg: MethodConfig
    key: Key | None = None
    workers: int = 1
    format: FormatPolicy = "png"
    metadata: Metadata = "keep"
    on_error: ErrorPolicy = "fail"
    shard_size: int = 256
    run_dir: Path | None = None
    undo_of: Path | None = None
    former: Key | None = None
    lossy: bool = False
    labels: str | None = None
    args_passed: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) and n >= 1 for n in (self.workers, self.shard_size)):
            fix = "use --workers 1 for a run inside one process"
            raise UsageError("workers and shard_size must be whole numbers of at least 1.", fix=fix)
        for name, known in (("format", FormatPolicy), ("metadata", Metadata), ("on_error", ErrorPolicy)):
            given = getattr(self, name)
            if given not in get_args(known):
                fix = f"use one of {', '.join(get_args(known))}"
                raise UsageError(f"{name} has no such value.", where=repr(given), fix=fix)
        if self.spec.arrow != "data->data":
            fix = "use the verb that `noli list` shows for it"
            raise UsageError("This method does not turn data into data.", where=self.spec.name, fix=fix)
        if "key" in self.spec.needs and self.key is None:
            fix = "make one with `noli key new owner.key` and pass --key owner.key"
            raise UsageError("This method needs a key.", where=self.spec.name, fix=fix)
        fresh = not self.restores and self.key is not None and begun_with(self.run_folder) != self.key.id
        if fresh and self.key is not None and self.key.state != "active":
            raise UsageError(
                "This key is retired: it can undo, but must not protect anything new.",
                where=self.key.id,
                why=f"its state is {self.key.state}",
                fix="use the active key of the file and a new output, or make a key with `noli key new`",
            )
        if self.undo_of is not None and not self.spec.reversible:
            fix = "keep the originals: nothing can restore them from the output"
            raise UsageError("This method cannot be undone.", where=self.spec.name, fix=fix)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "key": None, "former": None, "progress": None}

    @property
    def verb(self) -> str:
        """Word for the manifest: ``undo``, or the family of the method."""
        return "undo" if self.restores else self.spec.family

    @property
    def restores(self) -> bool:
        """Whether originals come back: with the run that changed them, or by the headers in their files."""
        return self.undo_of is not None or self.spec.name == OPENING

    @property
    def at_once(self) -> int:
        """Processes that can work at once: 1 where other processes would not see the data."""
        hidden = any(place.startswith("memory:") for place in (self.source, self.output))
        return 1 if hidden else self.workers

    @property
    def run_folder(self) -> Path:
        """Where the run folder lies: `run_dir`, or ``OUT.noli`` beside the output."""
        return self.run_dir if self.run_dir is not None else run_folder(self.output)

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output, JSON values, no secrets."""
        return {
            "source": absolute(self.source),
            "output": absolute(self.output),
            "method": self.spec.name,
            "direction": "invert" if self.restores else "apply",
            "config": self.cfg.model_dump(mode="json"),
            "key": self.key.id if self.key else None,
            **({FORMER: self.former.id} if self.former else {}),
            "format": self.format,
            "metadata": self.metadata,
            "labels": self.labels,
        }


@dataclass(frozen=True)
class JobRequest:
    """What every job has that is not of the data -> data arrow.

    Attributes:
        source: Folder, file or URL that is read.
        output: Folder or file of what is made, local.
        spec, cfg: The method; its Config is of the method's own class.
        key: The owner's key.
        run_dir: Run folder; None puts it beside the output.
        progress: Where progress goes.
    """

    source: str
    output: str
    spec: Spec
    cfg: Any
    key: Key
    run_dir: Path | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> Path:
        """Where the run folder lies."""
        return self.run_dir or run_folder(self.output)

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        return {
            "source": absolute(self.source),
            "output": absolute(self.output),
            "method": self.spec.name,
            "direction": "apply",
            "config": self.cfg.model_dump(mode="json"),
            "key": self.key.id,
        }


def open_key(key: KeyLike, key_id: str | None = None) -> Key | None:
    """Return a key given as itself or as the path of a file without passphrase."""
    if key is None or isinstance(key, Key):
        return key
    if not isinstance(key, str | Path):
        raise UsageError("This is no key.", where=type(key).__name__, fix="give a Key or a key file's path")
    return Key.load(key, key_id=key_id)


def fitting_key(file: str | Path, passphrase: str | None, fits: Callable[[Key], bool]) -> Key:
    """Return the newest key of a file that fits, else the active one; one that was revoked is never tried."""
    for one in reversed(Key.keyring(file)):
        if one["state"] != "revoked":
            found = Key.load(file, passphrase=passphrase, key_id=one["id"])
            if fits(found):
                return found
    return Key.load(file, passphrase=passphrase)


def key_for(spec: Spec, key: KeyLike, folder: Path) -> Key:
    """Return the key that a job is done with; a run that was begun is ended with its own, retired or not.

    Raises:
        UsageError: There is none, or it is retired.
    """
    owner = open_key(key, begun_id(key, folder))
    if owner is None:
        fix = "make one with `noli key new owner.key`"
        raise UsageError(f"A {spec.family} needs a key.", where=spec.name, fix=fix)
    if owner.state != "active" and begun_with(folder) != owner.id:
        fix = "use the active key of the file"
        raise UsageError(
            f"This key is retired: it must not {spec.family} anything new.", where=owner.id, fix=fix
        )
    return owner


def begun_with(folder: Path) -> str | None:
    """Return the id of the key with which an unfinished run was begun; None where there is no such run."""
    manifest = Run.open(folder).manifest if Run.exists(folder) else None
    begun = manifest is not None and manifest.status != "done" and manifest.key is not None
    return manifest.key.id if begun and manifest and manifest.key else None


def begun_id(key: KeyLike, folder: Path) -> str | None:
    """Return which key of a file goes on with an unfinished run: the one it was begun with; None for any."""
    begun = begun_with(folder) if isinstance(key, str | Path) else None
    return begun if begun and any(one["id"] == begun for one in Key.keyring(str(key))) else None


def folder_of(run: str | Path | None, output: str | Path) -> Path:
    """Return where a run folder lies: where it was put, or beside the output."""
    return Path(run) if run is not None else run_folder(output)


def absolute(place: str | Path) -> str:
    """Return a local path in full, and a URL without login and query: it goes into manifests."""
    return clean_url(str(place)) if is_url(place) else str(local_path(place).resolve())


def run_folder(output: str | Path) -> Path:
    """Return the default run folder of an output: its sibling ``OUT.noli`` (``./<name>.noli`` for URLs)."""
    text = str(output).rstrip("/")
    if is_url(text):
        return Path(text.rsplit("/", 1)[-1] + ".noli")
    path = local_path(text) if text.startswith(("file:", "local:")) else Path(text)
    if not path.name or path.name == "..":
        path = path.resolve()
    return path.with_name(path.name + ".noli")


def load_method(module: str) -> DataMethod:
    """Import a method's module.

    Raises:
        MissingPrerequisite: The module or something it needs is not installed.
    """
    with loading("method", module, "run `noli doctor`; install what it names"):
        return cast(DataMethod, importlib.import_module(module))
