"""What a key file holds: a versioned keyring, each secret plain or wrapped by a passphrase.

The models mask secrets in every ``repr``, error and dump; errors are raised outside of ``except`` blocks,
because the original exception would carry the file's text along.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypedDict

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from noli.core.errors import KeyFileError, UsageError
from noli.core.keysecret import Secret, check_value, commitment, key_id
from noli.core.keywrap import Wrapped, unwrap, wrap

State = Literal["active", "decrypt-only", "revoked"]
_MAX_LABEL: Final = 200
_REVEAL: Final = {"reveal": True}
_STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PublicEntry(TypedDict):
    """What a key file tells about one of its keys without a passphrase."""

    id: str
    label: str
    created: str
    state: State
    check_value: str
    commitment: str
    passphrase: bool


class Entry(BaseModel):
    """One key of the ring. The state is policy, not secrecy: the wrapping does not authenticate it."""

    model_config = _STRICT

    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    created: str = Field(max_length=40, pattern=r"^[0-9TZ:+.-]*$")
    state: State
    check_value: str = Field(pattern=r"^[0-9a-f]{16}$")
    commitment: str = Field(pattern=r"^[0-9a-f]{64}$")
    secret: SecretStr | None = None
    wrapped: Wrapped | None = None

    @field_validator("secret")
    @classmethod
    def _hex(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not re.fullmatch("[0-9a-f]{64}", secret.get_secret_value()):
            raise ValueError("must be 64 hex digits")
        return secret

    @model_validator(mode="after")
    def _one_secret(self) -> Entry:
        if (self.secret is None) == (self.wrapped is None):
            raise ValueError("needs either a secret or a wrapped secret")
        return self

    @field_serializer("secret", when_used="unless-none")
    def _dump_secret(self, secret: SecretStr, info: SerializationInfo) -> str:
        return secret.get_secret_value() if info.context == _REVEAL else str(secret)


class Ring(BaseModel):
    """The whole file."""

    model_config = _STRICT

    format: Literal["noli-key"] = "noli-key"
    version: Literal[1] = 1
    label: str = Field(default="", max_length=_MAX_LABEL)
    keys: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Ring:
        if len({entry.key_id for entry in self.keys}) != len(self.keys):
            raise ValueError("the same key is listed twice")
        if sum(entry.state == "active" for entry in self.keys) > 1:
            raise ValueError("more than one key is active")
        return self

    def public(self) -> list[PublicEntry]:
        """List the keys, oldest first, without secrets."""
        return [
            PublicEntry(
                id=entry.key_id,
                label=self.label,
                created=entry.created,
                state=entry.state,
                check_value=entry.check_value,
                commitment=entry.commitment,
                passphrase=entry.wrapped is not None,
            )
            for entry in self.keys
        ]


def check_label(label: str) -> None:
    """Refuse a label that is not one short printable line.

    Raises:
        UsageError: Not text, too long, or with control characters.
    """
    if not isinstance(label, str) or len(label) > _MAX_LABEL or not label.isprintable():
        raise UsageError(f"A key's label must be one line of at most {_MAX_LABEL} printable characters.")


def _header(label: str, created: str, public: tuple[str, str, str]) -> dict[str, str]:
    """What the wrapping authenticates besides its own parameters."""
    names = ("key_id", "check_value", "commitment")
    return {"format": "noli-key", "version": "1", "label": label, "created": created} | dict(
        zip(names, public, strict=True)
    )


def _public_values(secret: Secret) -> tuple[str, str, str]:
    return key_id(secret), check_value(secret), commitment(secret)


def make_entry(secret: Secret, label: str, created: str, passphrase: Secret | None, scrypt_n: int) -> Entry:
    """Return an active entry, wrapped when there is a passphrase.

    Raises:
        UsageError: The passphrase is empty.
    """
    values = _public_values(secret)
    wrapped = None
    if passphrase is not None:
        wrapped = wrap(secret, passphrase, _header(label, created, values), n=scrypt_n)
    return Entry(
        key_id=values[0],
        created=created,
        state="active",
        check_value=values[1],
        commitment=values[2],
        secret=SecretStr(secret.reveal().hex()) if wrapped is None else None,
        wrapped=wrapped,
    )


def open_entry(entry: Entry, label: str, passphrase: Secret | None, where: str) -> Secret:
    """Return the secret of an entry, checked against its public values.

    Raises:
        KeyFileError: Passphrase missing, wrong or superfluous; or the values do not fit the secret.
    """
    values = (entry.key_id, entry.check_value, entry.commitment)
    secret: Secret | None = None
    if entry.secret is not None:
        if passphrase is not None:
            raise KeyFileError(
                "A passphrase was given, but no passphrase protects this key file.",
                where=where,
                fix="leave the passphrase out",
            )
        secret = Secret(bytes.fromhex(entry.secret.get_secret_value()))
    elif entry.wrapped is not None:
        if passphrase is None:
            raise KeyFileError("This key file needs its passphrase.", where=where, fix="give the passphrase")
        secret = unwrap(entry.wrapped, passphrase, _header(label, entry.created, values))
    if secret is None:
        raise KeyFileError(
            "The key could not be unlocked.",
            where=where,
            why="the passphrase is wrong, or the file was changed",
            fix="try the passphrase again, or restore the file from a backup",
        )
    if _public_values(secret) != values:
        raise KeyFileError(
            "The key file is damaged.",
            where=where,
            why="the check value does not fit the secret",
            fix="restore the file from a backup",
        )
    return secret


def parse(content: Secret, where: str) -> Ring:
    """Read a key file's text.

    Raises:
        KeyFileError: Not a key file, damaged, or of a later version of noli.
    """
    faults: list[tuple[str, str]] = []
    try:
        return Ring.model_validate_json(content.reveal())
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            # Names of unknown fields come from the file, so they could be anything.
            place = "unknown field" if fault["type"] == "extra_forbidden" else fault["loc"]
            name = place if isinstance(place, str) else ".".join(map(str, place))
            faults.append((name, fault["msg"]))
    newer = any(name == "version" for name, _ in faults)
    raise KeyFileError(
        "The key file is damaged or is no key file.",
        where=where,
        why="; ".join(f"{name}: {message}" if name else message for name, message in faults[:3]),
        fix="update noli" if newer else "restore the file from a backup",
    )


def render(ring: Ring) -> Secret:
    """Return a key file's text, secrets included."""
    return Secret(ring.model_dump_json(indent=1, exclude_none=True, context=_REVEAL) + "\n")
