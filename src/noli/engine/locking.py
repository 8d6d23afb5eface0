"""What runs share that make codes or keyed models: a request, a run folder, refusals that leave nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noli.core.dataset import Item
from noli.core.errors import DataError, OutputExists
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.run import Run
from noli.data.place import is_url, local_path
from noli.data.writers import check_paths
from noli.engine.lock import locked
from noli.engine.request import ErrorPolicy, JobRequest, absolute

RESUME = "run the same command again: it resumes where it stopped"


@dataclass(frozen=True)
class LockRequest(JobRequest):
    """One job.

    Attributes:
        model: File or folder of a public network, for methods that take one; empty: none is given.
        labels: Name of the class column of a table.
        on_error: ``fail`` refuses broken items before any work, ``skip`` leaves them out.
    """

    model: str = ""
    labels: str | None = None
    on_error: ErrorPolicy = "fail"

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        model = absolute(self.model) if self.model else ""
        told = {"model": model, "model_sha256": network_digest(self.model), "labels": self.labels}
        return {**super().resolved(), **told}


def worked(request: LockRequest, work: Callable[[Run | None], Run]) -> Run:
    """Hold the run folder and do the work; what is refused before any work leaves nothing.

    Args:
        request: The job.
        work: Gets the run that an earlier call began or finished, or None, and returns the finished one.

    Raises:
        UsageError: The run was begun with other arguments.
        OutputExists: Something else lies at the output, or the run folder inside the input.
    """
    folder = request.folder
    new = not folder.exists()
    try:
        with locked(folder):
            run = Run.open(folder) if Run.exists(folder) else None
            check_paths(request.source, request.output, owned=run is not None)
            if not is_url(request.source) and folder.resolve().is_relative_to(
                local_path(request.source).resolve()
            ):
                fix = "name another --run"
                raise OutputExists("The run folder lies inside the input.", where=str(folder), fix=fix)
            if run is not None:
                run.refuse_other("lock", request.resolved())
            return work(run)
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def same_pictures(run: Run, items: Sequence[Item], where: str) -> None:
    """Refuse other pictures than a run was begun with.

    Raises:
        DataError: They are others, or have other classes.
    """
    told = "\n".join(f"{item.sha256} {item.label}" for item in items)
    digest = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
    state = run.manifest.state or {}
    if state.get("data", digest) != digest:
        raise DataError(
            "The pictures are not those that the run was begun with.",
            where=where,
            why="a picture was added, removed, relabelled or changed since",
            fix="put them back as they were, or write into a new output",
        )
    if "data" not in state:
        run.update(state={**state, "data": digest})


def finish(run: Run, output: Path, results: Mapping[str, Any]) -> None:
    """Finish a run and remember what its files are."""
    files = {file.name: digest(file) for file in sorted(output.iterdir()) if file.is_file()}
    run.finish({**results, "files": files})


def whole(run: Run, output: Path) -> bool:
    """Tell whether a run is finished and all its files are there; what is missing has to be made again.

    Raises:
        OutputExists: A file was changed since: it is neither given out as the run's nor overwritten.
    """
    if run.manifest.status != "done":
        return False
    files: dict[str, str] = run.manifest.results.get("files", {})
    for name, known in files.items():
        if (output / name).exists() and digest(output / name) != known:
            fix = "remove it, and the same command makes it again; or write into a new output"
            raise OutputExists("A file of the output was changed.", where=str(output / name), fix=fix)
    if all((output / name).exists() for name in files):
        return True
    run.resume()
    return False


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def network_digest(place: str) -> str | None:
    """Return a SHA-256 over what a network is read from, a file or a folder; None where nothing is."""
    path = Path(place)
    if path.is_file():
        return digest(path)
    if not place or not path.is_dir():
        return None
    read = sorted(one for one in path.iterdir() if one.suffix in (".json", ".safetensors") and one.is_file())
    told = "\n".join(f"{one.name} {digest(one)}" for one in read)
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def created(request: LockRequest, layout: str) -> Run:
    """Create the run of a request; `layout` says what its output is."""
    resolved = request.resolved()
    return Run.create(
        request.folder,
        verb="lock",
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="pictures"),
        output=DataInfo(uri=resolved["output"], layout=layout),
        state={},
    )
