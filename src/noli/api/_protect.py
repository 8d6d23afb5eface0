"""Protect a data set; estimate and preview before doing so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noli.api._places import refuse_inside
from noli.api._request import KeyLike, build, check_same_key
from noli.core.errors import RunError
from noli.core.manifest import Manifest
from noli.core.run import Run
from noli.engine.plan import Plan, dry_run
from noli.engine.plan import preview as contact_sheet
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, FormatPolicy, MetadataPolicy, RunRequest
from noli.engine.runner import run_data


class ProtectRun(Run):
    """A finished run that can write its report.

    Attributes:
        path: The run folder.
        manifest: What was done, with figures in ``manifest.results``.
        worked: False when an earlier call had done everything already.
        added: Pictures that this call found new in the source.
    """

    worked: bool = True
    added: int = 0

    def __repr__(self) -> str:
        found = self.manifest.results
        place = self.manifest.output.uri if self.manifest.output else str(self.path)
        return f"<ProtectRun {place!r}: {found.get('items', 0)} pictures, {self.manifest.status}>"

    @property
    def output(self) -> str:
        """Where the protected data lies."""
        if self.manifest.output is None:
            raise RunError("This run has no output.", where=str(self.path), fix="give the run folder of OUT")
        return self.manifest.output.uri

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report into the run folder, and the page also to ``path``; return where the page is."""
        from noli.api._write import write_report

        return write_report(self.path, path)


def protect(
    data: str | Path,
    output: str | Path,
    method: str = "cuda",
    *,
    key: KeyLike = None,
    workers: int | None = None,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: MetadataPolicy = "keep",
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **options: object,
) -> ProtectRun:
    """Write a protected copy of a data set: same tree, same names, same splits.

    The same call again resumes after an interruption, protects what was added to the source, or does
    nothing. Originals are never touched.

    Args:
        data: Folder, CSV, ``.npz``, Parquet or any fsspec URL with labelled pictures.
        output: New place of the same kind.
        method: Registry name (``protect/cuda``) or the short one (``cuda``).
        key: The owner's key, or the path of a key file without a passphrase.
        workers: Processes; all cores when None.
        format: ``png``, ``webp`` (both lossless) or ``same`` as the source.
        metadata: ``keep`` or ``strip`` EXIF, XMP and text; colour profiles always stay.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.
        config: Options of the method as a mapping, for example from a file.
        options: Options of the method; they win over ``config``.

    Returns:
        The finished run; ``run.report("page.html")`` writes its page elsewhere, too.

    Raises:
        UsageError: Unknown method or option, a bad value, an output that is in the way.
        DataError: Items that cannot be used.
        RunError: Disk full, place not writable, worker killed; the same call resumes.
        Interrupted: Ctrl-C; the same call resumes.
    """
    request = build(data, output, method, key=key, workers=workers, format=format, metadata=metadata,
                    on_error=on_error, labels=labels, run=run, progress=progress,
                    options={**(config or {}), **options})  # fmt: skip
    before = _manifest(request.run_folder)
    check_same_key(request, before)
    done = run_data(request)
    finished = ProtectRun(done.path, done.manifest)
    finished.worked = before is None or _state(before) != _state(done.manifest)
    finished.added = _entered(done.manifest) - (_entered(before) if before else 0)
    finished.report()
    return finished


def _manifest(folder: Path) -> Manifest | None:
    return Run.open(folder).manifest if Run.exists(folder) else None


def _state(manifest: Manifest) -> tuple[object, ...]:
    """Return what changes whenever a session worked on pictures."""
    return manifest.status, manifest.generations, manifest.shards, manifest.resources


def _entered(manifest: Manifest) -> int:
    return sum(generation.items for generation in manifest.generations)


def plan(
    data: str | Path,
    output: str | Path,
    method: str = "cuda",
    *,
    config: Mapping[str, object] | None = None,
    **arguments: Any,
) -> Plan:
    """Say what :func:`protect` would do with the same arguments, without writing anything.

    Returns:
        Counts, sizes, disk space, memory, and the time as measured on three items.
    """
    request = _dry(data, output, method, config, arguments)
    check_same_key(request, _manifest(request.run_folder))
    return dry_run(request)


def preview(
    data: str | Path,
    output: str | Path,
    method: str = "cuda",
    *,
    path: str | Path,
    n: int = 8,
    config: Mapping[str, object] | None = None,
    **arguments: Any,
) -> Path:
    """Write one PNG with ``n`` examples: original, protected, difference times ten. Protects nothing.

    Args:
        data: As for :func:`protect`.
        output: As for :func:`protect`.
        method: As for :func:`protect`.
        path: The PNG to write: a new file outside the data.
        n: How many examples.
        config: As for :func:`protect`.
        arguments: All other arguments of :func:`protect`.
    """
    refuse_inside(path, data, output, new=True)
    return contact_sheet(_dry(data, output, method, config, arguments), path, n)


_POLICIES: dict[str, Any] = {
    "key": None, "workers": None, "format": "png", "metadata": "keep", "on_error": "fail",
    "labels": None, "run": None, "progress": None,
}  # fmt: skip


def _dry(
    data: str | Path,
    output: str | Path,
    method: str,
    config: Mapping[str, object] | None,
    arguments: Mapping[str, Any],
) -> RunRequest:
    policies = {name: arguments.get(name, default) for name, default in _POLICIES.items()}
    options = {name: value for name, value in arguments.items() if name not in _POLICIES}
    return build(data, output, method, **policies, options={**(config or {}), **options})
