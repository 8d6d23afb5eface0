"""The owner's key: 256 random bits, from which every random choice that matters is derived."""

from __future__ import annotations

import hmac
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, Self, final
from urllib.parse import quote

from noli.core import keyfile
from noli.core.errors import UsageError
from noli.core.keyformat import PublicEntry, State, check_label
from noli.core.keysecret import SECRET_BYTES, Secret, check_value, commitment, key_id
from noli.core.keystream import Stream, hkdf_expand, hkdf_extract
from noli.core.keywrap import SCRYPT_N

_PREFIX: Final = "noli/v1/"
_NO_PICKLE: Final = (
    "A key is never pickled: pass key.export_secret() to your own worker and rebuild it there with "
    "Key.from_bytes(secret, label), or pass the path of the key file and call Key.load."
)


@final
class Key:
    """An immutable 256-bit key with a label. Its secret is never printed, pickled or logged.

    Make one with :meth:`new` (in a file), :meth:`load`, :meth:`generate` (in memory only) or
    :meth:`from_bytes`. Two keys are equal when their secrets are, whatever their labels.

    Attributes:
        id: Public name, 16 hex digits.
        label: The owner's note, public.
        created: UTC time of creation, ISO 8601, or an empty string when unknown.
        state: ``active``, or ``decrypt-only`` for a rotated key, which must not protect anything new.
        check_value: 16 hex digits by which a wrong key is noticed before any work starts.
    """

    __slots__ = ("_expander", "_secret", "check_value", "created", "id", "label", "state")

    _expander: hmac.HMAC
    _secret: Secret
    check_value: str
    created: str
    id: str
    label: str
    state: State

    def __init__(self, secret: Secret, label: str = "", created: str = "", state: State = "active") -> None:
        if not isinstance(secret, Secret):
            del secret  # whatever was passed must not show up among the locals of a traceback
            raise TypeError("Key(...) is not called directly; use Key.new, Key.load or Key.from_bytes.")
        check_label(label)
        # The keyed HMAC is copied for every sub-key: no raw bytes in any frame, half the hashing.
        prk = hkdf_extract(b"", secret)
        for name, value in (
            ("_secret", secret),
            ("_expander", hmac.new(prk.reveal(), digestmod="sha256")),
            ("id", key_id(secret)),
            ("check_value", check_value(secret)),
            ("label", label),
            ("created", created),
            ("state", state),
        ):
            object.__setattr__(self, name, value)

    # ------------------------------------------------------------------ making and loading

    @classmethod
    def generate(cls, label: str = "") -> Self:
        """Return a fresh key from the operating system's generator, kept in memory only."""
        return cls(Secret(os.urandom(SECRET_BYTES)), label, _now())

    @classmethod
    def from_bytes(cls, secret: bytes, label: str = "") -> Self:
        """Return the key with these 32 bytes; they must be uniformly random.

        Raises:
            UsageError: Not exactly 32 bytes.
        """
        kind, size = type(secret).__name__, len(secret) if isinstance(secret, bytes) else -1
        masked = Secret(secret) if isinstance(secret, bytes) else None
        del secret
        if masked is None or size != SECRET_BYTES:
            raise UsageError(
                "A key is made of exactly 32 random bytes.",
                why=f"got {kind}" + (f" of length {size}" if size >= 0 else ""),
                fix="use Key.generate() or os.urandom(32)",
            )
        return cls(masked, label)

    @classmethod
    def new(
        cls,
        path: str | os.PathLike[str],
        *,
        label: str = "",
        passphrase: str | None = None,
        _scrypt_n: int = SCRYPT_N,
    ) -> Self:
        """Generate a key and write it to a new file, readable by its owner only (mode 0600).

        Args:
            path: The file to make; it must not exist, its folder must.
            label: Public note, at most 200 printable characters.
            passphrase: If given, the file is useless without it (scrypt and AES-256-GCM, about 0.5 s).
            _scrypt_n: For tests only.

        Raises:
            OutputExists: The file exists; nothing was changed.
            KeyFileError: It cannot be written.
            UsageError: Empty passphrase or unusable label.
        """
        phrase = None if passphrase is None else Secret(passphrase)
        del passphrase
        key = cls.generate(label)
        keyfile.create(Path(path), key._secret, label, key.created, phrase, _scrypt_n)
        return key

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, passphrase: str | None = None, key_id: str | None = None
    ) -> Self:
        """Read a key from a key file.

        Args:
            path: The key file.
            passphrase: Needed exactly when the file has one.
            key_id: Which key of a rotated file; the active one by default.

        Raises:
            KeyFileError: Missing, readable by others, damaged, revoked key, missing or wrong passphrase.
            WrongKey: The file holds no key with this id.
        """
        phrase = None if passphrase is None else Secret(passphrase)
        del passphrase
        loaded = keyfile.load(Path(path), phrase, key_id)
        return cls(loaded.secret, loaded.label, loaded.created, loaded.state)

    @classmethod
    def rotate(
        cls,
        path: str | os.PathLike[str],
        *,
        passphrase: str | None = None,
        _scrypt_n: int = SCRYPT_N,
    ) -> Self:
        """Add a fresh key to a key file and return it; the previous one becomes ``decrypt-only``.

        Runs made with older keys stay undoable: ``Key.load(path, key_id=...)``.

        Raises:
            KeyFileError: As for :meth:`load`, or another rotation is under way.
        """
        phrase = None if passphrase is None else Secret(passphrase)
        del passphrase
        secret, created = Secret(os.urandom(SECRET_BYTES)), _now()
        label = keyfile.rotate(Path(path), secret, created, phrase, _scrypt_n)
        return cls(secret, label, created)

    @staticmethod
    def revoke(path: str | os.PathLike[str], key_id: str) -> None:
        """Mark one key of a file as revoked: it stays in the file, and :meth:`load` refuses it.

        Raises:
            KeyFileError: The file cannot be read or written.
            WrongKey: The file holds no key with this id.
        """
        keyfile.revoke(Path(path), key_id)

    @staticmethod
    def keyring(path: str | os.PathLike[str]) -> list[PublicEntry]:
        """List the keys of a file, oldest first, without their secrets and without a passphrase."""
        return keyfile.public_entries(Path(path))

    # ------------------------------------------------------------------ what may be published

    def commit(self) -> str:
        """Return the commitment to publish before a release, 64 hex digits (hiding and binding)."""
        return commitment(self._secret)

    def opens(self, published: str) -> bool:
        """Whether `published` is this key's commitment; compared in constant time."""
        return hmac.compare_digest(self.commit().encode(), published.strip().lower().encode())

    def public(self) -> dict[str, str]:
        """Return what may be published: label, id, commitment, check value, time and state."""
        return {
            "label": self.label,
            "id": self.id,
            "commitment": self.commit(),
            "check_value": self.check_value,
            "created": self.created,
            "state": self.state,
        }

    # ------------------------------------------------------------------ derivation

    def subkey(self, info: str | bytes, *, salt: bytes = b"") -> bytes:
        """Return 32 bytes of HKDF-SHA256(key, salt, info).

        Args:
            info: What the sub-key is for; text is encoded as UTF-8.
            salt: A data set's public salt, or nothing.

        Raises:
            UsageError: `info` or `salt` has another type.
        """
        if isinstance(info, str):
            info = info.encode("utf-8", "surrogatepass")
        if not (isinstance(info, bytes) and isinstance(salt, bytes)):
            raise UsageError(
                "Sub-keys are derived for text or bytes.",
                why=f"got info {type(info).__name__} and salt {type(salt).__name__}",
            )
        if salt:
            return hkdf_expand(hkdf_extract(salt, self._secret), info).reveal()
        expander = self._expander.copy()
        expander.update(info + b"\x01")
        return expander.digest()

    def stream(self, purpose: str, item: str = "") -> Stream:
        """Return the random stream of one purpose and one item.

        The info string is ``noli/v1/<purpose>/<item>`` with the item percent-encoded (UTF-8, nothing but
        ``A-Za-z0-9_.-~`` left as it is), so that different pairs never share a stream.

        Args:
            purpose: What is being drawn, such as ``cuda/filter``; not empty, may contain slashes.
            item: Content-derived id or class name of what it is drawn for; empty for the whole data set.
                Taken as it is, without Unicode normalisation.

        Raises:
            UsageError: Not text, or an empty purpose.
        """
        if not (isinstance(purpose, str) and isinstance(item, str) and purpose):
            raise UsageError(
                "A key stream needs a purpose and an item, both text.", why=f"got {purpose!r} and {item!r}"
            )
        if not (item.isascii() and item.isalnum()):
            item = quote(item, safe="", errors="surrogatepass")
        return Stream(Secret(self.subkey(f"{_PREFIX}{purpose}/{item}")))

    def export_secret(self) -> bytes:
        """Return the 32 secret bytes, for your own worker processes. Never write them anywhere."""
        return self._secret.reveal()

    # ------------------------------------------------------------------ an immutable value that never prints

    def __repr__(self) -> str:
        # A traceback may show a key whose construction failed half-way.
        facts = [f"{name}={getattr(self, name, None)!r}" for name in ("id", "label")]
        return f"Key({', '.join(facts)}, secret=<masked>)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self.id)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A key is immutable; cannot set {name!r}.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A key is immutable; cannot delete {name!r}.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(_NO_PICKLE)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
