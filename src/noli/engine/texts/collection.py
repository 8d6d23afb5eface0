"""A collection of text documents: a folder or one file; what is no text is carried along as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write, storage_error
from noli.data.documents import SUFFIXES, Edit, TextFile, open_texts
from noli.engine.request import ErrorPolicy

_TOLD = 3


@dataclass(frozen=True)
class Collection:
    """Files of a folder, or one file.

    Attributes:
        root: The folder, or the file itself.
        texts: Names of text documents, sorted, POSIX style.
        others: Names of all other files.
        left_out: Names of documents that cannot be read and were left out.
    """

    root: Path
    texts: tuple[str, ...]
    others: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def find(cls, place: str | Path) -> Collection:
        """List the files of a place; hidden ones are left out.

        Raises:
            UsageError: There is nothing, or it is no local folder or text file.
            DataError: No text document among the files.
        """
        root = Path(place)
        if not root.exists():
            raise UsageError("There is nothing here.", where=str(place), fix="name a folder or a text file")
        if root.is_file():
            names = [root.name]
        else:
            found = (one for one in root.rglob("*") if one.is_file())
            parts = sorted(one.relative_to(root) for one in found)
            names = [one.as_posix() for one in parts if not any(p.startswith(".") for p in one.parts)]
        texts = tuple(name for name in names if Path(name).suffix.lower() in SUFFIXES)
        if not texts:
            known = ", ".join(SUFFIXES)
            fix = f"name files that end in {known}"
            raise DataError("There are no text documents here.", where=str(place), fix=fix)
        return cls(root, texts, tuple(sorted(set(names) - set(texts))))

    def bytes_of(self, name: str) -> bytes:
        """Read a file.

        Raises:
            RunError: It cannot be read.
        """
        file = self.root if self.root.is_file() else self.root / name
        try:
            return file.read_bytes()
        except OSError as exc:
            raise storage_error(exc, str(file)) from exc

    def open(self, field: str) -> Iterator[tuple[str, bytes, TextFile]]:
        """Read all documents, one at a time.

        Args:
            field: Where the text lies in lines of JSONL.

        Raises:
            DataError: A document cannot be read.
        """
        for name in self.texts:
            data = self.bytes_of(name)
            yield name, data, open_texts(name, data, field)

    def readable(self, field: str, on_error: ErrorPolicy) -> Collection:
        """Return the collection without the documents that cannot be read.

        Args:
            field: Where the text lies in lines of JSONL.
            on_error: ``fail`` refuses the collection where there are any, ``skip`` leaves them out.

        Raises:
            DataError: Documents that cannot be read, all of them, under ``fail``; or no other one.
        """
        bad: dict[str, DataError] = {}
        for name in self.texts:
            try:
                open_texts(name, self.bytes_of(name), field)
            except DataError as error:
                bad[name] = error
        if bad and (on_error == "fail" or len(bad) == len(self.texts)):
            raise _refused(bad, len(self.texts))
        good = tuple(name for name in self.texts if name not in bad)
        return replace(self, texts=good, left_out=tuple(bad))


def _refused(bad: Mapping[str, DataError], among: int) -> DataError:
    """Return one error for all documents that cannot be read, as a scan of pictures has it."""
    errors = list(bad.values())
    where = "; ".join(f"{one.where}: {one.what}" for one in errors[:_TOLD])
    more = f"; and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
    fixes = dict.fromkeys(one.fix.rstrip(".") for one in errors if one.fix)
    fix = "; ".join(fixes) or "repair or remove them"
    return DataError(
        f"{len(bad)} of {among} documents cannot be read.",
        where=where + more,
        why="; ".join(dict.fromkeys(one.why for one in errors if one.why)),
        fix=fix + (", or leave them out with --on-error skip" if len(bad) < among else ""),
        items=bad,
    )


def layout_of(name: str) -> str:
    """Return the kind of a document by its name."""
    return SUFFIXES[Path(name).suffix.lower()]


def digest(parts: Sequence[tuple[str, bytes]]) -> str:
    """Return a SHA-256 over names and contents, in order."""
    whole = hashlib.sha256()
    for name, data in parts:
        whole.update(f"{len(name)}:{name}:{hashlib.sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


def target_of(output: Path, collection: Collection, name: str) -> Path:
    """Return where a file's copy goes: the output is a folder where the source is one, else a file."""
    return output if collection.root.is_file() else output / name


def write_if_other(file: Path, data: bytes) -> bool:
    """Write a file unless it has these bytes; return whether it was written.

    Raises:
        RunError: The place cannot be written.
    """
    try:
        if file.is_file() and file.read_bytes() == data:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc
    atomic_write(file, data)
    return True


Edits = Mapping[int, Sequence[Edit]]
