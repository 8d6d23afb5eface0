"""Take a marking of texts back: every replaced word becomes the one that stood there, byte for byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.manifest import DataInfo
from noli.core.run import Run
from noli.data.documents import Edit, TextFile, open_texts
from noli.data.writers import check_paths
from noli.engine.lock import locked
from noli.engine.request import absolute
from noli.engine.texts import collection as files
from noli.engine.texts.collection import Collection
from noli.engine.texts.record import TextRecord, unseal
from noli.proof.records import sha256

_Replaced = tuple[int, int, str, str]


def restore_texts(before: Run, marked: str, back: str, key: Key, folder: Path) -> Run:
    """Write the originals of marked texts.

    Args:
        before: The finished run that marked them.
        marked: The marked collection.
        back: Where the originals go: a new place, or one that an interrupted call began.
        key: The key that marked them.
        folder: Run folder of the restoring.

    Raises:
        DataError: A document is gone or was changed since; nothing was written.
        OutputExists: Something else is at the place.
    """
    check_paths(marked, back, owned=Run.exists(folder))
    found, record = Collection.find(marked), unseal(before.path, key)
    made = _restored_all(found, record, str(before.manifest.args_resolved["config"]["field"]))
    with locked(folder):
        args = {"source": absolute(marked), "output": absolute(back), "direction": "invert"}
        run = Run.open(folder) if Run.exists(folder) else _created(folder, before, args)
        if run.manifest.args_resolved != args:
            fix = "choose another output"
            raise UsageError("The run folder belongs to another run.", where=str(folder), fix=fix)
        for name in found.texts:
            files.write_if_other(files.target_of(Path(back), found, name), made[name])
        for name in found.others:
            files.write_if_other(files.target_of(Path(back), found, name), found.bytes_of(name))
        run.finish({"items": len(made)})
    return run


def _created(folder: Path, before: Run, args: dict[str, str]) -> Run:
    return Run.create(
        folder,
        verb="undo",
        method=before.manifest.method,
        args_resolved=args,
        key=before.manifest.key,
        input=DataInfo(uri=args["source"], layout="texts"),
        output=DataInfo(uri=args["output"], layout="texts"),
    )


def _restored_all(found: Collection, record: TextRecord, field: str) -> dict[str, bytes]:
    marked = found.root
    known = {one.name: one for one in record.files}
    if marked.is_file() and len(record.files) == 1:
        known = {found.texts[0]: record.files[0]}  # a single file may have another name by now
    gone = sorted(known.keys() - set(found.texts))
    if gone:
        fix = "put them back, or restore the others from a folder of their own"
        raise DataError("Marked documents are missing.", where=str(marked), items=gone, fix=fix)
    made, changed = {}, []
    for name in found.texts:
        data = found.bytes_of(name)
        if name not in known or sha256(data) != known[name].after:
            changed.append(name)
            continue
        made[name] = restored(open_texts(name, data, field), known[name].edits)
        if sha256(made[name]) != known[name].back:
            changed.append(name)
    if changed:
        raise DataError(
            "Documents were changed since they were marked, or are new.",
            where=str(marked),
            items=changed,
            fix="restore from an unchanged copy of the marked texts",
        )
    return made


def restored(document: TextFile, edits: Sequence[tuple[int, int, int, str, str]]) -> bytes:
    """Return the bytes of a marked document before it was marked.

    Args:
        document: As it is.
        edits: What was done to it (:class:`~noli.engine.texts.record.FileRecord`).
    """
    by_text: dict[int, list[_Replaced]] = defaultdict(list)
    for number, start, end, old, new in edits:
        by_text[number].append((start, end, old, new))
    return document.rewritten({number: _inverse(some) for number, some in by_text.items()})


def _inverse(edits: Sequence[_Replaced]) -> list[Edit]:
    """Return the edits that undo others, in the positions of the edited text."""
    found, shift = [], 0
    for start, end, old, new in sorted(edits):
        found.append(Edit(start + shift, start + shift + len(new), old))
        shift += len(new) - (end - start)
    return found
