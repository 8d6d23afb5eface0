"""What the runner is asked to do."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from noli.core.errors import MissingPrerequisite, UsageError
from noli.core.key import Key
from noli.core.method import DataMethod, MethodConfig, Spec
from noli.engine.progress import Progress, Quiet

Direction = Literal["apply", "invert"]
FormatPolicy = Literal["png", "webp", "same"]
MetadataPolicy = Literal["keep", "strip"]
ErrorPolicy = Literal["fail", "skip"]
MAX_PIXELS = 178_956_970
SHARD_PIXELS = 1 << 24


@dataclass(frozen=True)
class RunRequest:
    """One job for the data -> data arrow.

    Attributes:
        source: Folder, file or URL of the input.
        output: Folder, file or URL of the output.
        spec: The method; ``spec.module`` must be importable, workers import it again.
        cfg: The method's resolved Config.
        key: Owner's key; None only for methods that need none.
        workers: Worker processes; 1 works inside this process.
        format: Output format policy.
        metadata: Metadata policy.
        on_error: ``fail`` refuses broken items before any work, ``skip`` records and leaves them out.
        shard_size: Most items of a shard.
        run_dir: Run folder; None puts it beside the output.
        direction: ``apply``, or ``invert`` to undo (set by :func:`noli.engine.undo.undo`).
        undo_of: For ``invert``: run folder of the protected data.
        labels: Which labels the source reader should use (passed to ``open_source``).
        max_pixels: Larger images are refused.
        verb: Word for the manifest.
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
    metadata: MetadataPolicy = "keep"
    on_error: ErrorPolicy = "fail"
    shard_size: int = 256
    run_dir: Path | None = None
    direction: Direction = "apply"
    undo_of: Path | None = None
    labels: str | None = None
    max_pixels: int = MAX_PIXELS
    verb: str = "protect"
    args_passed: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Quiet)

    def __post_init__(self) -> None:
        if self.workers < 1 or self.shard_size < 1:
            fix = "use --workers 1 for a run inside one process"
            raise UsageError("workers and shard_size must be at least 1.", fix=fix)
        if self.spec.arrow != "data->data":
            fix = "use the verb that `noli list` shows for it"
            raise UsageError("This method does not turn data into data.", where=self.spec.name, fix=fix)
        if "key" in self.spec.needs and self.key is None:
            fix = "make one with `noli key new owner.key` and pass --key owner.key"
            raise UsageError("This method needs a key.", where=self.spec.name, fix=fix)
        if self.direction == "apply" and self.key is not None and self.key.state != "active":
            fix = "use the active key of this key file"
            raise UsageError("A rotated key protects nothing new.", where=self.key.id, fix=fix)
        if (self.direction == "invert") != (self.undo_of is not None):
            fix = "call noli.engine.undo.undo"
            raise UsageError("An inversion needs the run that it undoes.", fix=fix)
        if self.direction == "invert" and not self.spec.reversible:
            fix = "keep the originals: nothing can restore them from the output"
            raise UsageError("This method cannot be undone.", where=self.spec.name, fix=fix)

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
            "source": self.source if is_url(self.source) else str(Path(self.source).resolve()),
            "output": self.output if is_url(self.output) else str(Path(self.output).resolve()),
            "method": self.spec.name,
            "direction": self.direction,
            "config": self.cfg.model_dump(mode="json"),
            "key": self.key.id if self.key else None,
            "format": self.format,
            "metadata": self.metadata,
            "labels": self.labels,
            "max_pixels": self.max_pixels,
        }


def is_url(place: str) -> bool:
    """Return True for ``scheme://...``, False for a local path."""
    return "://" in place


def run_folder(output: str | Path) -> Path:
    """Return the default run folder of an output: its sibling ``OUT.noli`` (``./<name>.noli`` for URLs)."""
    text = str(output).rstrip("/")
    if is_url(text):
        return Path(text.rsplit("/", 1)[-1] + ".noli")
    path = Path(text)
    if not path.name or path.name == "..":
        path = path.resolve()
    return path.with_name(path.name + ".noli")


def load_method(module: str) -> DataMethod:
    """Import a method's module.

    Raises:
        MissingPrerequisite: The module or something it needs is not installed.
    """
    try:
        return cast(DataMethod, importlib.import_module(module))
    except ImportError as exc:
        fix = "run `noli doctor`; install what it names"
        raise MissingPrerequisite(
            "The method's module cannot be imported.", where=module, why=str(exc), fix=fix
        ) from exc
