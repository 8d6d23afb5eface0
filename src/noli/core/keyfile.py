"""Key files: a versioned ring of keys in JSON, mode 0600, each secret plain or wrapped by a passphrase.

Secrets stay in pydantic's masked types and are revealed only inside argument lists: a local variable would
appear in tracebacks. Errors are raised outside of ``except`` blocks where the first one quotes the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    SerializationInfo,
    ValidationError,
)
from pydantic_core import ErrorDetails

from noli.core.errors import KeyFileError, NoliError, OutputExists, UsageError, WrongKey
from noli.core.files import KEY_FORMAT

SCRYPT_N: Final = 131072  # 2^17
MAX_LABEL: Final = 200
State = Literal["active", "decrypt-only", "revoked"]
_Hex8 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _dump(secret: Secret[str], info: SerializationInfo) -> str | Secret[str]:
    # JSON is the file itself; everywhere else the secret stays masked.
    return secret.get_secret_value() if info.mode == "json" else secret


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Wrapped(_Strict):
    """A secret under a passphrase: scrypt gives the key of AES-256-GCM; binary fields are hex.

    The cost decides how much memory (128 n r bytes) opening takes: at most 1 GiB, and never so little that
    a guess is free.
    """

    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    kdf: Literal["scrypt"] = "scrypt"
    n: Literal[16384, 32768, 65536, 131072, 262144, 524288, 1048576]
    r: Literal[8] = 8
    p: Literal[1] = 1
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    nonce: str = Field(pattern=r"^[0-9a-f]{24}$")
    ciphertext: str = Field(default="", pattern=r"^[0-9a-f]{96}$")

    @classmethod
    def seal(cls, secret: SecretBytes, passphrase: SecretStr, header: dict[str, str]) -> Wrapped:
        """Encrypt a secret; `header` and the parameters are authenticated with it."""
        if not passphrase.get_secret_value():
            raise UsageError("The passphrase is empty.", fix="give one, or leave it out for a file without")
        empty = cls(n=SCRYPT_N, salt=os.urandom(16).hex(), nonce=os.urandom(12).hex())
        nonce, vouched = bytes.fromhex(empty.nonce), empty._vouched(header)
        sealed = empty._aead(passphrase).encrypt(nonce, secret.get_secret_value(), vouched)
        return empty.model_copy(update={"ciphertext": sealed.hex()})

    def open(self, passphrase: SecretStr, header: dict[str, str]) -> SecretBytes:
        """Decrypt the secret; ``InvalidTag`` means a wrong passphrase or a changed file."""
        nonce, sealed = bytes.fromhex(self.nonce), bytes.fromhex(self.ciphertext)
        return SecretBytes(self._aead(passphrase).decrypt(nonce, sealed, self._vouched(header)))

    def _aead(self, passphrase: SecretStr) -> AESGCM:
        kdf = Scrypt(salt=bytes.fromhex(self.salt), length=32, n=self.n, r=self.r, p=self.p)
        return AESGCM(kdf.derive(passphrase.get_secret_value().encode("utf-8", "surrogatepass")))

    def _vouched(self, header: dict[str, str]) -> bytes:
        vouched = {**header, "wrapping": self.model_dump(exclude={"ciphertext"})}
        return json.dumps(vouched, sort_keys=True, separators=(",", ":")).encode("ascii")


class Entry(_Strict):
    """One key of the ring. The state is policy, not secrecy: the wrapping does not authenticate it."""

    key_id: _Hex8
    created: str = Field(max_length=40, pattern=r"^[0-9TZ:+.-]*$")
    state: State
    check_value: _Hex8
    commitment: _Hex32
    secret: Annotated[Secret[_Hex32], PlainSerializer(_dump)] | None = None
    wrapped: Wrapped | None = None

    @classmethod
    def make(cls, secret: SecretBytes, label: str, created: str, passphrase: SecretStr | None) -> Entry:
        """Return an active entry, wrapped when there is a passphrase."""
        bare = cls(**public_values(secret), created=created, state="active")
        if passphrase is None:
            return bare.model_copy(update={"secret": Secret[_Hex32](secret.get_secret_value().hex())})
        return bare.model_copy(update={"wrapped": Wrapped.seal(secret, passphrase, bare._header(label))})

    def open(self, label: str, passphrase: SecretStr | None, where: str) -> SecretBytes:
        """Return the secret, checked against the public values."""
        if self.secret is not None:
            if passphrase is not None:
                what = "A passphrase was given, but no passphrase protects this key file."
                raise KeyFileError(what, where=where, fix="leave the passphrase out")
            secret = SecretBytes(bytes.fromhex(self.secret.get_secret_value()))
        elif self.wrapped is None or passphrase is None:
            raise KeyFileError("This key file needs its passphrase.", where=where, fix="give the passphrase")
        else:
            try:
                secret = self.wrapped.open(passphrase, self._header(label))
            except InvalidTag:
                raise KeyFileError(
                    "The key could not be unlocked.",
                    where=where,
                    why="the passphrase is wrong, or the file was changed",
                    fix="try the passphrase again, or restore the file from a backup",
                ) from None
        if not public_values(secret).items() <= dict(self).items():
            why = "the check value does not fit the secret"
            raise KeyFileError(
                "The key file is damaged.", where=where, why=why, fix="restore the file from a backup"
            )
        return secret

    def with_state(self, state: State) -> Entry:
        """Return this entry in another state."""
        return self.model_copy(update={"state": state})

    def published(self) -> dict[str, str]:
        """Return commitment, check value, time and state."""
        return self.model_dump(include={"commitment", "check_value", "created", "state"})

    def _header(self, label: str) -> dict[str, str]:
        public = self.model_dump(include={"key_id", "created", "check_value", "commitment"})
        return {"format": KEY_FORMAT, "version": "1", "label": label, **public}


class Ring(_Strict):
    """The whole file: a public label, and the keys, oldest first."""

    format: Literal["noli-key"] = "noli-key"
    version: Literal[1] = 1
    label: str = Field(default="", max_length=MAX_LABEL)
    keys: tuple[Entry, ...] = Field(min_length=1)

    def render(self) -> SecretBytes:
        """Return the file's text, secrets included."""
        return SecretBytes(self.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")


def public_values(secret: SecretBytes) -> dict[str, str]:
    """Return what may be published of a key, in hex.

    ``key_id`` is its name, and ``check_value`` lets a wrong key be noticed before any work. ``commitment`` is
    binding because SHA-256 resists collisions, and hiding because the key has 256 bits of entropy.
    """
    reveal = secret.get_secret_value
    return {
        "key_id": hashlib.sha256(b"keyid" + reveal()).hexdigest()[:16],
        "check_value": hmac.digest(reveal(), b"kcv", "sha256")[:8].hex(),
        "commitment": hashlib.sha256(b"noli/v1/key-commitment\x00" + reveal()).hexdigest(),
    }


def find(ring: Ring, path: Path, wanted: str | None) -> Entry:
    """Return the entry with an id, or the active one; ``KeyFileError`` or ``WrongKey`` when there is none."""
    for entry in ring.keys:
        if entry.key_id == wanted or (wanted is None and entry.state == "active"):
            return entry
    if wanted is None:
        fix = "add a new key with `noli key rotate`"
        raise KeyFileError("No key of this file is active.", where=str(path), fix=fix)
    raise WrongKey(
        "The key file does not hold the key that is needed.",
        where=str(path),
        why=f"needed {wanted}, the file holds {', '.join(entry.key_id for entry in ring.keys)}",
        fix="use the key file that the data was made with",
    )


def read(path: Path) -> Ring:
    """Read a key file, secrets still wrapped or masked.

    Raises:
        KeyFileError: Missing, readable by others, damaged, no key file, or of a later version of noli.
    """
    with _typed_errors(path), path.open("rb") as handle:
        mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
        content = SecretBytes(handle.read(2**20))
    try:
        ring = Ring.model_validate_json(content.get_secret_value())
    except ValidationError as error:
        why = "; ".join(map(_fault, error.errors(include_input=False, include_url=False)[:3]))
    else:
        if os.name == "posix" and mode & 0o077:
            raise KeyFileError(
                "Other users can open the key file.",
                where=str(path),
                why=f"its mode is {mode:04o}",
                fix=f"chmod 600 {shlex.quote(str(path))}",
            )
        return ring
    raise KeyFileError(
        "The key file is empty, damaged or no key file.",
        where=str(path),
        why=why,
        fix="update noli"
        if "version: " in why
        else "name a file of `noli key new`, or restore it from a backup",
    )


def _fault(fault: ErrorDetails) -> str:
    # Names of unknown fields come from the file, so they could be anything, even a secret.
    place = "unknown field" if fault["type"] == "extra_forbidden" else ".".join(map(str, fault["loc"]))
    return f"{place or 'file'}: {fault['msg']}"


def create(path: Path, ring: Ring) -> None:
    """Write a ring to a new file; ``OutputExists`` when there is one, which is not touched."""
    taken = OutputExists(
        "The key file exists already; a key is never overwritten.",
        where=str(path),
        fix="choose another name, or add a key to it with `noli key rotate`",
    )
    with _new_file(path, taken, becomes=path) as handle:
        handle.write(ring.render().get_secret_value())


def change(path: Path, edit: Callable[[Ring], tuple[Entry, ...]]) -> None:
    """Replace a file's keys by what `edit` makes of them; its ``.new`` neighbour is lock and new file."""
    target = path.resolve()
    fresh = target.with_name(f"{target.name}.new")
    busy = KeyFileError(
        "The key file is being changed by another process, or a change was interrupted.",
        where=str(path),
        fix=f"wait; if nothing else is running, delete {shlex.quote(str(fresh))} and try again",
    )
    with _new_file(fresh, busy, becomes=target) as handle:
        ring = read(path)
        handle.write(ring.model_copy(update={"keys": edit(ring)}).render().get_secret_value())


@contextmanager
def _new_file(path: Path, taken: NoliError, becomes: Path) -> Iterator[BinaryIO]:
    """Create a private file, flush it to the disk and move it into place; on failure nothing is left."""
    with _typed_errors(path):
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise taken from None
        try:
            with os.fdopen(number, "wb") as handle:
                path.chmod(0o600)  # whatever the umask
                yield handle
                handle.flush()
                os.fsync(number)
            path.replace(becomes)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into typed ones."""
    try:
        yield
    except FileNotFoundError as error:
        fix = f"check the name; `noli key new {shlex.quote(str(path))}` makes a key, in a folder that exists"
        raise KeyFileError(
            "The key file, or its folder, does not exist.", where=str(path), fix=fix
        ) from error
    except OSError as error:
        raise KeyFileError(
            "The key file cannot be read or written.",
            where=str(path),
            why=error.strerror or type(error).__name__,
            fix="check the permissions of the file and its folder, and the free space",
        ) from error
