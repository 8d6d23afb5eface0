"""The bundle: one zip with everything that a check needs, in a form in which every byte counts.

Members are stored, in the order of their names, without dates: of one content there is one zip, so that no
byte of it can be changed unseen. ``signature.json`` lists the digests of all others, signed by the owner.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from noli.core.key import Key
from noli.proof.commitment import Signature, check_signature, public_key, sign
from noli.proof.records import Damaged, Digest, Record, sha256

SIGNATURE = "signature.json"
LARGEST = 2**31
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Signed(Record):
    """Digests of all members, signed.

    Attributes:
        owner: Public key, 32 bytes in hex.
        files: Name -> SHA-256.
        signature: Of the two above.
    """

    schema_version: Literal[1] = 1
    owner: Digest
    files: dict[str, Digest]
    signature: Signature


def pack(members: Mapping[str, bytes], key: Key) -> bytes:
    """Return the signed bundle of these members."""
    files = {name: sha256(data) for name, data in members.items()}
    unsigned = Signed(owner=public_key(key), files=files, signature="0" * 128)
    signed = unsigned.model_copy(update={"signature": sign(key, unsigned.canonical("signature"))})
    return _zipped({**members, SIGNATURE: signed.canonical()})


def unpack(data: bytes) -> tuple[dict[str, bytes], Signed]:
    """Return the members of a bundle, and who signed them, after checking every byte.

    Raises:
        Damaged: It is no bundle, or not as it was signed.
    """
    members = _unzipped(data)
    if _zipped(members) != data:
        raise Damaged("the zip has bytes that no bundle has")
    if SIGNATURE not in members:
        raise Damaged("the bundle is not signed")
    signed = Signed.read(members.pop(SIGNATURE), SIGNATURE)
    check_signature(signed.owner, signed.signature, signed.canonical("signature"), "the bundle")
    found = {name: sha256(content) for name, content in members.items()}
    if found != signed.files:
        wrong = sorted(
            name for name in found.keys() | signed.files if found.get(name) != signed.files.get(name)
        )
        raise Damaged(f"not as it was signed: {', '.join(wrong[:5])}")
    return members, signed


def load(path: Path) -> bytes:
    """Read a bundle's bytes.

    Raises:
        Damaged: It is larger than any bundle.
    """
    if path.stat().st_size > LARGEST:
        raise Damaged("the file is larger than any bundle")
    return path.read_bytes()


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def _unzipped(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Stored members cannot be larger than the file: nothing is inflated.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise Damaged("the zip is compressed, and no bundle is")
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"this is not a whole zip: {error}") from error
