"""Passphrase protection of a key: scrypt gives the wrapping key of AES-256-GCM."""

from __future__ import annotations

import json
import os
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from noli.core.errors import UsageError
from noli.core.keysecret import Secret

SCRYPT_N: Final = 2**17
_R: Final = 8
_P: Final = 1
# A file's parameters decide how much memory (128 N r bytes) opening it costs: at most 1 GiB, and never so
# little that a guess is free.
_N_RANGE: Final = (2**14, 2**20)


class Wrapped(BaseModel):
    """A wrapped secret as it lies in the key file; binary fields are hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    kdf: Literal["scrypt"] = "scrypt"
    n: int = Field(default=SCRYPT_N, ge=_N_RANGE[0], le=_N_RANGE[1])
    r: int = Field(default=_R, ge=8, le=8)
    p: int = Field(default=_P, ge=1, le=4)
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    nonce: str = Field(pattern=r"^[0-9a-f]{24}$")
    ciphertext: str = Field(default="", pattern=r"^([0-9a-f]{96})?$")

    @field_validator("n")
    @classmethod
    def _power_of_two(cls, n: int) -> int:
        if n & (n - 1):
            raise ValueError("must be a power of two")
        return n


def _associated_data(header: dict[str, str], wrapped: Wrapped) -> bytes:
    parameters = wrapped.model_dump(exclude={"ciphertext"})
    canonical = json.dumps({**header, "wrapping": parameters}, sort_keys=True, separators=(",", ":"))
    return canonical.encode("ascii")


def _wrapping_key(passphrase: Secret, wrapped: Wrapped) -> AESGCM:
    kdf = Scrypt(salt=bytes.fromhex(wrapped.salt), length=32, n=wrapped.n, r=wrapped.r, p=wrapped.p)
    return AESGCM(kdf.derive(passphrase.reveal()))


def wrap(secret: Secret, passphrase: Secret, header: dict[str, str], *, n: int = SCRYPT_N) -> Wrapped:
    """Encrypt a secret under a passphrase; `header` and the parameters are authenticated with it.

    Raises:
        UsageError: The passphrase is empty.
    """
    if not passphrase.reveal():
        raise UsageError("The passphrase is empty.", fix="give one, or leave it out for a file without")
    empty = Wrapped(n=n, salt=os.urandom(16).hex(), nonce=os.urandom(12).hex())
    cipher = _wrapping_key(passphrase, empty)
    sealed = cipher.encrypt(bytes.fromhex(empty.nonce), secret.reveal(), _associated_data(header, empty))
    return empty.model_copy(update={"ciphertext": sealed.hex()})


def unwrap(wrapped: Wrapped, passphrase: Secret, header: dict[str, str]) -> Secret | None:
    """Return the secret, or None when the passphrase is wrong or anything authenticated was changed."""
    cipher = _wrapping_key(passphrase, wrapped)
    try:
        return Secret(
            cipher.decrypt(
                bytes.fromhex(wrapped.nonce),
                bytes.fromhex(wrapped.ciphertext),
                _associated_data(header, wrapped),
            )
        )
    except InvalidTag:
        return None
