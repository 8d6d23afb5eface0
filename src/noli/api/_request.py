"""From the arguments of a call to the engine's request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noli import options as option_parser
from noli import registry
from noli.core.environment import available_cores
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.manifest import Manifest
from noli.core.method import Spec
from noli.engine.progress import Progress, Quiet
from noli.engine.request import ErrorPolicy, FormatPolicy, MetadataPolicy, RunRequest

KeyLike = Key | str | Path | None


def build(
    data: str | Path,
    output: str | Path,
    method: str,
    *,
    key: KeyLike,
    workers: int | None,
    format: FormatPolicy,  # noqa: A002 - the option's public name
    metadata: MetadataPolicy,
    on_error: ErrorPolicy,
    labels: str | None,
    run: str | Path | None,
    progress: Progress | None,
    options: Mapping[str, object],
) -> RunRequest:
    """Resolve names, key and options of a data -> data call.

    Raises:
        UsageError: Unknown method or option, or a value that does not fit.
        KeyFileError: The key file cannot be used.
    """
    spec = find(method)
    opened = open_key(key)
    if opened is not None and opened.state != "active":
        raise UsageError(
            "This key is retired: it can undo, but must not protect anything new.",
            where=opened.id,
            why=f"its state is {opened.state}",
            fix="use the active key of the file and a new output, or make a key with `noli key new`",
        )
    return RunRequest(
        source=str(data),
        output=str(output),
        spec=spec,
        cfg=option_parser.resolve(spec, options),
        key=opened,
        workers=workers if workers is not None else available_cores(),
        format=format,
        metadata=metadata,
        on_error=on_error,
        labels=labels,
        run_dir=None if run is None else Path(run),
        args_passed=_passed(data, output, method, options, workers=workers, format=format,
                            metadata=metadata, on_error=on_error, labels=labels),
        progress=progress if progress is not None else Quiet(),
    )  # fmt: skip


def check_same_key(request: RunRequest, before: Manifest | None) -> None:
    """Refuse to go on with a protection that another key began, and say what can be done.

    Raises:
        UsageError: The keys differ.
    """
    if before is None or before.verb != request.verb or before.key is None or request.key is None:
        return
    if before.key.id == request.key.id:
        return
    raise UsageError(
        "This output was begun with another key.",
        where=str(request.run_folder),
        why=f"it was made with key {before.key.id}, this is key {request.key.id}; "
        "after `noli key rotate` the earlier key can only undo and protects nothing new",
        fix="protect into a new output with this key, or pass the key file in which the other key is active",
    )


def find(method: str, family: str = "protect") -> Spec:
    """Return the Spec for a short name (``cuda``) or a full one (``protect/cuda``, ``package/name``)."""
    return registry.get(method if "/" in method else f"{family}/{method}")


def open_key(key: KeyLike, key_id: str | None = None) -> Key | None:
    """Return a key given as itself or as the path of a file without passphrase."""
    if key is None or isinstance(key, Key):
        return key
    return Key.load(key, key_id=key_id)


def _passed(
    data: str | Path, output: str | Path, method: str, options: Mapping[str, object], **policies: object
) -> dict[str, Any]:
    plain = {name: value if isinstance(value, _JSON) else str(value) for name, value in options.items()}
    return {"data": str(data), "output": str(output), "method": method, **policies, "options": plain}


_JSON = (str, int, float, bool, type(None))
