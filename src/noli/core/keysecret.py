"""Secret bytes that do not print, and what may be published about them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn

SECRET_BYTES: Final = 32
_COMMIT_DOMAIN: Final = b"noli/v1/key-commitment\x00"


class Secret:
    """Bytes whose ``repr`` is masked, so that no traceback that shows local variables prints them.

    Code that handles secrets keeps them in this wrapper and calls :meth:`reveal` only inside the
    argument list of the function that needs the bytes: a local variable would appear in tracebacks.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes. Do not bind them to a name."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(<masked>)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A secret is never pickled or copied; use Key.export_secret() where that is meant.")


def key_id(secret: Secret) -> str:
    """Return the public name of a key: first 16 hex digits of SHA-256("keyid" || key)."""
    return hashlib.sha256(b"keyid" + secret.reveal()).hexdigest()[:16]


def check_value(secret: Secret) -> str:
    """Return the key check value: first 8 bytes, in hex, of HMAC-SHA256(key, "kcv")."""
    return hmac.digest(secret.reveal(), b"kcv", "sha256")[:8].hex()


def commitment(secret: Secret) -> str:
    """Return the commitment to publish: hex SHA-256("noli/v1/key-commitment" || 0 || key).

    Binding because SHA-256 resists collisions and the prefix and the length are fixed; hiding because
    the key has 256 bits of entropy (a key made from guessable bytes is not hidden).
    """
    return hashlib.sha256(_COMMIT_DOMAIN + secret.reveal()).hexdigest()
