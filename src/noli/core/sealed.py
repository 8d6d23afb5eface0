"""Sealed files: AES-256-GCM, opened into memory only. This is cryptography; the locks of noli are not.

Layout: ``NOLISEAL1`` and a line feed, the length of the header (4 bytes, little-endian), the header as JSON,
the ciphertext with its tag. Everything before the ciphertext is authenticated with it, so that no byte of the
file can be changed unnoticed. The whole file is in memory, as ciphertext and in plain; 1 GiB is the limit.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noli.core.errors import SealError, UsageError, WrongKey
from noli.core.key import Key

MAGIC: Final = b"NOLISEAL1\n"
MAX_BYTES: Final = 1 << 30
_MOST_HEADER, _TAG = 1 << 20, 16
_PURPOSE = "noli/v1/seal/content"
Hex8 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Header(BaseModel):
    """What a sealed file says of itself without any key.

    Attributes:
        scheme: Cipher.
        seal_id: Random name of this file; its content key follows from the owner's key and this.
        key_id, check_value: Of the content key, by which a wrong one is noticed before any work.
        owner: The owner's public signing key (ed25519); licences and revocations are signed with it.
        owner_id: Id of the owner's key, so that it is found in a file with several.
        created: UTC time, by the owner's clock.
        kind: What is inside: ``locked-detector`` or ``safetensors``.
        layers: Locked layers of the model.
        label: The owner's public note.
        size: Bytes of the content.
        nonce: 96 bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["noli-seal"] = "noli-seal"
    version: Literal[1] = 1
    scheme: Literal["AES-256-GCM"] = "AES-256-GCM"
    seal_id: Hex16
    key_id: Hex8
    check_value: Hex8
    owner: Hex32
    owner_id: Hex8
    created: str = Field(max_length=40)
    kind: Literal["locked-detector", "safetensors"]
    layers: list[str] = Field(default_factory=list)
    label: str = Field("", max_length=200)
    size: int = Field(ge=0, le=MAX_BYTES)
    nonce: str = Field(pattern=r"^[0-9a-f]{24}$")

    def prefix(self) -> bytes:
        """Return all of the file that comes before the ciphertext."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()
        return MAGIC + len(told).to_bytes(4, "little") + told


def new_seal_id() -> str:
    """Return a random name for a sealed file, 32 hex digits."""
    return os.urandom(16).hex()


def content_key(owner: Key, seal_id: str) -> Key:
    """Return the key of one sealed file; with it a copy for another customer cannot be opened."""
    return Key.from_bytes(owner.subkey(f"noli/v1/lock/seal/{seal_id}"))


def seal(content: bytes, key: Key, **told: Any) -> bytes:
    """Encrypt a file.

    Args:
        content: At most 1 GiB.
        key: The content key (:func:`content_key`).
        **told: What else is in the :class:`Header`.

    Raises:
        UsageError: The content is too large, or something told does not fit.
    """
    if len(content) > MAX_BYTES:
        why = f"got {len(content):,} bytes, {MAX_BYTES:,} are the limit"
        raise UsageError("The file is too large to be sealed.", why=why)
    nonce = os.urandom(12)
    try:
        header = Header(
            key_id=key.id, check_value=key.check_value, size=len(content), nonce=nonce.hex(), **told
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError("The seal cannot say this.", where=str(first["loc"]), why=first["msg"]) from None
    prefix = header.prefix()
    return prefix + AESGCM(key.subkey(_PURPOSE)).encrypt(nonce, content, prefix)


def header_of(data: bytes, where: str) -> Header:
    """Read what a sealed file says of itself; only opening shows that it is true.

    Raises:
        SealError: It is no sealed file, or damaged.
    """
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or length > _MOST_HEADER or len(data) < start + length + _TAG:
        raise _damaged(where, "it is no file of `noli lock seal`, or cut off")
    try:
        header = Header.model_validate_json(data[start : start + length])
    except ValidationError:
        raise _damaged(where, "its header is not readable") from None
    if header.prefix() != data[: start + length] or len(data) != start + length + header.size + _TAG:
        raise _damaged(where, "its header is not the one that was written, or its length is another")
    return header


def unseal(data: bytes, key: Key, where: str) -> bytes:
    """Decrypt a sealed file, in memory.

    Raises:
        WrongKey: The content key is another.
        SealError: Anything in the file was changed.
    """
    header = header_of(data, where)
    if (key.id, key.check_value) != (header.key_id, header.check_value):
        why = f"needed {header.key_id}, got {key.id}"
        raise WrongKey("The key is not the one of this sealed file.", where=where, why=why)
    prefix = header.prefix()
    try:
        nonce = bytes.fromhex(header.nonce)
        return AESGCM(key.subkey(_PURPOSE)).decrypt(nonce, memoryview(data)[len(prefix) :], prefix)
    except InvalidTag:
        raise _damaged(where, "something in it was changed") from None


def _damaged(where: str, why: str) -> SealError:
    fix = "take a whole copy of the file as it was sealed"
    return SealError("The sealed file cannot be opened.", where=where, why=why, fix=fix)
