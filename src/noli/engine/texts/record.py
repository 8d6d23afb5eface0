"""What only the owner may know of a marking of texts: passages, their words, and how to take it back.

It lies in the run folder under the owner's key, so that a run folder that gets out gives no variant away.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field

from noli.core.errors import DataError, RunError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.proof.records import Damaged, Digest, Record
from noli.proof.releases import Passage, Place

NAME = "texts.sealed"
_HEAD = b"noli/texts/v1\n"
_NONCE = 12


class PassageRecord(Record):
    """One passage.

    Attributes:
        layout: Kind of its document.
        text: As it was.
        places: Start, end and words of every place.
    """

    layout: str
    text: str
    places: tuple[tuple[int, int, tuple[str, ...]], ...]

    @classmethod
    def of(cls, layout: str, passage: Passage) -> PassageRecord:
        """Return the record of a passage."""
        return cls(
            layout=layout,
            text=passage.text,
            places=tuple((one.start, one.end, one.words) for one in passage.places),
        )

    @property
    def passage(self) -> Passage:
        """The passage."""
        return Passage(self.text, tuple(Place(*one) for one in self.places))


class FileRecord(Record):
    """One document: what was replaced, and the digests of both ends.

    Attributes:
        name: Inside the collection.
        before, after: SHA-256 of its bytes.
        back: The same of what comes back; it differs from `before` where a Word file was packed otherwise.
        edits: Per edit: number of the text, start and end in the original, the old and the new word.
    """

    name: str
    before: Digest
    after: Digest
    back: Digest
    edits: tuple[tuple[int, int, int, str, str], ...]


class TextRecord(Record):
    """A whole marking.

    Attributes:
        passages: In the order of the secrets; equal passages stand once.
        files: All documents; none while a beacon is waited for.
    """

    schema_version: Literal[1] = 1
    passages: Annotated[tuple[PassageRecord, ...], Field()]
    files: tuple[FileRecord, ...]

    @property
    def ordered(self) -> list[tuple[str, Passage]]:
        """The passages, each with the kind of its document."""
        return [(one.layout, one.passage) for one in self.passages]


def seal(folder: Path, record: TextRecord, key: Key) -> Path:
    """Write the record under the owner's key (AES-256-GCM) and return where it lies."""
    nonce = os.urandom(_NONCE)
    packed = zlib.compress(record.canonical(), 6)
    file = folder / NAME
    atomic_write(file, _HEAD + nonce + AESGCM(_secret(key)).encrypt(nonce, packed, _HEAD))
    return file


def unseal(folder: Path, key: Key) -> TextRecord:
    """Read the record of a marking.

    Raises:
        RunError: It is not there.
        DataError: It was changed, or sealed with another key.
    """
    file = folder / NAME
    try:
        data = file.read_bytes()
    except OSError as exc:
        fix = "put the run folder back as it was; without the record nothing can be proven or taken back"
        raise RunError("The record of the marked texts is missing.", where=str(file), fix=fix) from exc
    head, nonce, body = data[: len(_HEAD)], data[len(_HEAD) :][:_NONCE], data[len(_HEAD) + _NONCE :]
    try:
        packed = AESGCM(_secret(key)).decrypt(nonce, body, head)
        return TextRecord.read(zlib.decompress(packed), NAME)
    except (InvalidTag, ValueError, zlib.error, Damaged) as exc:
        fix = "put the file back from a copy, or give the key that marked the texts"
        raise DataError("The record of the marked texts cannot be opened.", where=str(file), fix=fix) from exc


def _secret(key: Key) -> bytes:
    return key.subkey("noli/texts/v1/record")
