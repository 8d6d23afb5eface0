"""Protect a data set; estimate and preview before doing so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noli import options as option_parser
from noli import registry
from noli.api._write import write_report
from noli.core.environment import available_cores
from noli.core.errors import RunError, UsageError
from noli.core.manifest import Manifest
from noli.core.run import Run
from noli.data.picture import FormatPolicy, Metadata
from noli.data.place import refuse_inside
from noli.engine.plan import Plan, dry_run
from noli.engine.plan import preview as contact_sheet
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, KeyLike, RunRequest, begun_id, folder_of, open_key
from noli.engine.runner import run_data

_POLICIES = ("format", "metadata", "on_error", "labels")
_JSON = (str, int, float, bool, type(None))


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
        return f"<ProtectRun {self.output!r}: {found.get('items', 0)} pictures, {self.manifest.status}>"

    @property
    def output(self) -> str:
        """Where the protected data lies."""
        if self.manifest.output is None:
            raise RunError("This run has no output.", where=str(self.path), fix="give the run folder of OUT")
        return self.manifest.output.uri

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report into the run folder, and the page also to ``path``; return where the page is."""
        return write_report(self.path, path)


def protect(
    data: str | Path,
    output: str | Path,
    method: str = "cuda",
    *,
    key: KeyLike = None,
    workers: int | None = None,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: Metadata = "keep",
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
        metadata: ``keep`` or ``strip`` EXIF, XMP, text and DICOM tags (this is not de-identification);
            colour profiles always stay.
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
    request = request_for(
        data, output, method, key=key, workers=workers, format=format, metadata=metadata, on_error=on_error,
        labels=labels, run=run, progress=progress, config=config, **options,
    )  # fmt: skip
    return finished(request)


def finished(request: RunRequest) -> ProtectRun:
    """Run a request to its end, and write its report."""
    before = _manifest(request)
    done = run_data(request)
    made = ProtectRun(done.path, done.manifest)
    made.worked = before is None or before.resources != done.manifest.resources
    made.added = _entered(done.manifest) - _entered(before)
    made.report()
    return made


def plan(data: str | Path, output: str | Path, method: str = "cuda", **arguments: Any) -> Plan:
    """Say what :func:`protect` would do with the same arguments, without writing anything.

    Returns:
        Counts, sizes, disk space, memory, and the time as measured on three items.
    """
    return dry_run(request_for(data, output, method, **arguments))


def preview(
    data: str | Path,
    output: str | Path,
    method: str = "cuda",
    *,
    path: str | Path,
    n: int = 8,
    **arguments: Any,
) -> Path:
    """Write one PNG with ``n`` examples: original, protected, difference times ten. Protects nothing.

    Args:
        data: As for :func:`protect`.
        output: As for :func:`protect`.
        method: As for :func:`protect`.
        path: The PNG to write: a new file outside the data.
        n: How many examples.
        arguments: All other arguments of :func:`protect`.
    """
    refuse_inside(path, data, output, new=True)
    return contact_sheet(request_for(data, output, method, **arguments), path, n)


def request_for(
    data: str | Path,
    output: str | Path,
    method: str,
    *,
    key: KeyLike = None,
    workers: int | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **others: Any,
) -> RunRequest:
    """Resolve names, key and options; refuse to go on with a protection that another key began."""
    spec = registry.get(method if "/" in method else f"protect/{method}")
    policies = {name: others.pop(name) for name in _POLICIES if name in others}
    options = {**(config or {}), **others}
    plain = {name: value if isinstance(value, _JSON) else str(value) for name, value in options.items()}
    passed = {"data": str(data), "output": str(output), "method": method, "workers": workers, **policies}
    request = RunRequest(
        source=str(data),
        output=str(output),
        spec=spec,
        cfg=option_parser.resolve(spec, options),
        key=open_key(key, begun_id(key, folder_of(run, output))),
        workers=workers if workers is not None else available_cores(),
        run_dir=None if run is None else Path(run),
        args_passed={**passed, "options": plain},
        progress=progress if progress is not None else Progress(),
        **policies,
    )
    before = _manifest(request)
    known = before.key if before is not None and before.verb == request.verb else None
    if known is not None and request.key is not None and known.id != request.key.id:
        raise UsageError(
            "This output was begun with another key.",
            where=str(request.run_folder),
            why=f"it was made with key {known.id}, this is key {request.key.id}; after `noli key rotate` the "
            "earlier key ends what it began, but adds nothing new",
            fix="protect into a new output with this key, or pass the file in which the other key is active",
        )
    return request


def _manifest(request: RunRequest) -> Manifest | None:
    folder = request.run_folder
    return Run.open(folder).manifest if Run.exists(folder) else None


def _entered(manifest: Manifest | None) -> int:
    return sum(generation.items for generation in manifest.generations) if manifest is not None else 0
