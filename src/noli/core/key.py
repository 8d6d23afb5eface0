"""The owner's key: 256 random bits, from which every random choice that matters is derived."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, Self, final
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretBytes, SecretStr

from noli.core import keyfile
from noli.core.errors import KeyFileError, UsageError
from noli.core.keyfile import MAX_LABEL, Entry, Ring, State, public_values
from noli.core.keystream import Stream

SECRET_BYTES: Final = 32


@final
class Key:
    """A 256-bit key with a label. Its secret is never printed, pickled or logged.

    Make one with :meth:`new` (in a file), :meth:`load`, :meth:`generate` (in memory only) or
    :meth:`from_bytes`. Two keys are equal when their secrets are, whatever their labels.

    Attributes:
        id: Public name, 16 hex digits.
        label: The owner's note, public.
        created: UTC time of creation, ISO 8601, or an empty string when unknown.
        state: ``active``, or ``decrypt-only`` for a rotated key, which must not protect anything new.
        check_value: 16 hex digits by which a wrong key is noticed before any work starts.
    """

    __slots__ = ("_secret", "check_value", "created", "id", "label", "state")

    def __init__(
        self, secret: SecretBytes, label: str = "", created: str = "", state: State = "active"
    ) -> None:
        # Masked before anything can fail: whatever was passed must not show up in a traceback.
        secret = secret if isinstance(secret, SecretBytes) else SecretBytes(secret)
        kind = type(secret.get_secret_value()).__name__
        if kind != "bytes" or len(secret) != SECRET_BYTES:
            raise UsageError(
                "A key is made of exactly 32 random bytes.",
                why=f"got {len(secret)} bytes" if kind == "bytes" else f"got {kind}",
                fix="use Key.generate() or os.urandom(32)",
            )
        if not isinstance(label, str) or len(label) > MAX_LABEL or not label.isprintable():
            raise UsageError(f"A key's label must be one line of at most {MAX_LABEL} printable characters.")
        public = public_values(secret)
        self._secret: Final = secret
        self.id: Final = public["key_id"]
        self.check_value: Final = public["check_value"]
        self.label: Final = label
        self.created: Final = created
        self.state: Final[State] = state

    @classmethod
    def generate(cls, label: str = "") -> Self:
        """Return a fresh key from the operating system's generator, kept in memory only."""
        return cls(SecretBytes(os.urandom(SECRET_BYTES)), label, _now())

    @classmethod
    def from_bytes(cls, secret: bytes, label: str = "") -> Self:
        """Return the key with these 32 bytes; they must be uniformly random.

        Raises:
            UsageError: Not exactly 32 bytes, or an unusable label.
        """
        masked = SecretBytes(secret)
        del secret
        return cls(masked, label)

    @classmethod
    def new(cls, path: str | os.PathLike[str], *, label: str = "", passphrase: str | None = None) -> Self:
        """Generate a key and write it to a new file, readable by its owner only (mode 0600).

        Args:
            path: The file to make; it must not exist, its folder must.
            label: Public note, at most 200 printable characters.
            passphrase: If given, the file is useless without it (scrypt and AES-256-GCM, about 0.5 s).

        Raises:
            OutputExists: The file exists; nothing was changed.
            KeyFileError: It cannot be written.
            UsageError: Empty passphrase or unusable label.
        """
        phrase = _masked(passphrase)
        del passphrase
        key = cls.generate(label)
        key._written(path, phrase)
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
        phrase = _masked(passphrase)
        del passphrase
        ring = keyfile.read(Path(path))
        entry = keyfile.find(ring, Path(path), key_id)
        where = f"{path}, key {entry.key_id}"
        if entry.state == "revoked":
            fix = "what it made needs it: take a copy of the key file from before `noli key revoke`"
            raise KeyFileError("This key was revoked.", where=where, fix=fix)
        return cls(entry.open(ring.label, phrase, where), ring.label, entry.created, entry.state)

    @classmethod
    def rotate(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> Self:
        """Add a fresh key to a key file and return it; the previous one becomes ``decrypt-only``.

        Runs made with older keys stay undoable: ``Key.load(path, key_id=...)``.

        Raises:
            KeyFileError: As for :meth:`load`, or another rotation is under way.
        """
        phrase = _masked(passphrase)
        del passphrase
        key = cls.generate(keyfile.read(Path(path)).label)

        def add(ring: Ring) -> tuple[Entry, ...]:
            # Only somebody who can open the ring may add to it, and only with the same passphrase.
            ring.keys[-1].open(ring.label, phrase, str(path))
            older = (e.with_state("decrypt-only") if e.state == "active" else e for e in ring.keys)
            return *older, Entry.make(key._secret, ring.label, key.created, phrase)

        keyfile.change(Path(path), add)
        return key

    @staticmethod
    def revoke(path: str | os.PathLike[str], key_id: str) -> None:
        """Mark one key of a file as revoked: it stays in the file, and :meth:`load` refuses it.

        Raises:
            KeyFileError: The file cannot be read or written.
            WrongKey: The file holds no key with this id.
        """

        def mark(ring: Ring) -> tuple[Entry, ...]:
            found = keyfile.find(ring, Path(path), key_id)
            return tuple(e.with_state("revoked") if e is found else e for e in ring.keys)

        keyfile.change(Path(path), mark)

    @staticmethod
    def keyring(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """List the keys of a file, oldest first, without their secrets and without a passphrase.

        Returns:
            For each key what :meth:`public` gives, and ``passphrase``: whether the file needs one.
        """
        ring = keyfile.read(Path(path))
        return [
            {"label": ring.label, "id": e.key_id, **e.published(), "passphrase": e.wrapped is not None}
            for e in ring.keys
        ]

    def write(self, path: str | os.PathLike[str], *, passphrase: str | None = None) -> None:
        """Write this key to a new file, as :meth:`new` does with a fresh one.

        Args:
            path: The file to make; it must not exist, its folder must.
            passphrase: If given, the file is useless without it.

        Raises:
            OutputExists: The file exists; nothing was changed.
            KeyFileError: It cannot be written.
            UsageError: Empty passphrase.
        """
        phrase = _masked(passphrase)
        del passphrase
        self._written(path, phrase)

    def _written(self, path: str | os.PathLike[str], phrase: SecretStr | None) -> None:
        entry = Entry.make(self._secret, self.label, self.created or _now(), phrase)
        keyfile.create(Path(path), Ring(label=self.label, keys=(entry,)))

    def commit(self) -> str:
        """Return the commitment to publish before a release, 64 hex digits (hiding and binding)."""
        return public_values(self._secret)["commitment"]

    def opens(self, published: str) -> bool:
        """Whether `published` is this key's commitment."""
        return published.strip().lower() == self.commit()

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

    def subkey(self, info: str) -> bytes:
        """Return 32 bytes of HKDF-SHA256 (RFC 5869) of the key, with empty salt and `info` in UTF-8."""
        hkdf = HKDF(SHA256(), length=32, salt=None, info=info.encode("utf-8", "surrogatepass"))
        return hkdf.derive(self._secret.get_secret_value())

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
            why = f"got {purpose!r} and {item!r}"
            raise UsageError("A key stream needs a purpose and an item, both text.", why=why)
        name = quote(item, safe="", errors="surrogatepass")
        return Stream(SecretBytes(self.subkey(f"noli/v1/{purpose}/{name}")))

    def export_secret(self) -> bytes:
        """Return the 32 secret bytes, for your own worker processes. Never write them anywhere."""
        return self._secret.get_secret_value()

    def __repr__(self) -> str:
        # A traceback may show a key whose construction failed half-way.
        facts = [f"{name}={getattr(self, name, None)!r}" for name in ("id", "label")]
        return f"Key({', '.join(facts)}, secret=<masked>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A key is never pickled or copied: pass key.export_secret() to your own worker and rebuild it "
            "there with Key.from_bytes(secret, label), or pass the path of the key file and call Key.load."
        )


def _masked(passphrase: str | None) -> SecretStr | None:
    return None if passphrase is None else SecretStr(passphrase)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
