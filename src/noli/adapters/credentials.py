"""Values that live in the environment: read when a request is made, and wiped from what is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from noli.adapters.endpoint_config import FROM_ENV
from noli.core.errors import NoliError, UsageError, clean_url

_LONGEST = 400
_SHORTEST = 8  # shorter values are settings such as "true": wiping them would eat ordinary words


def names(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the environment variables that header or query values refer to, in order."""
    return tuple(dict.fromkeys(found["name"] for value in values if (found := FROM_ENV.fullmatch(value))))


def split(values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the header or query values that refer to the environment, and the others."""
    secret = {name: value for name, value in values.items() if FROM_ENV.fullmatch(value)}
    return secret, {name: value for name, value in values.items() if name not in secret}


def resolve(values: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """Replace ``env:NAME`` by what the environment holds.

    Args:
        values: The first part of what :func:`split` returns.

    Returns:
        The complete values, and the secrets among them: keep neither.

    Raises:
        UsageError: A variable is missing, empty, or holds what no header can carry; it is named, not shown.
    """
    made: dict[str, str] = {}
    secrets: set[str] = set()
    for name, value in values.items():
        before, _, variable = value.rpartition("env:")
        secret = _read(variable, name)
        made[name] = before + secret
        # "Bearer abc" in the variable: a service may repeat the part behind the space alone.
        secrets |= {secret, secret.rpartition(" ")[2]}
    return made, frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)


def _read(variable: str, name: str) -> str:
    secret = os.environ.get(variable, "").strip()  # files of secrets end with a line break
    if not secret:
        fix = f"export {variable}=... in the shell that runs noli; it is not stored"
        what = f"The environment variable {variable} is missing or empty."
        raise UsageError(what, where=f"needed for {name}", fix=fix)
    if not re.fullmatch(r"[ -~]+", secret):
        fix = "set it again: printable ASCII on one line"
        raise UsageError(f"The environment variable {variable} holds what cannot be sent.", fix=fix)
    return secret


def wiped(text: str, secrets: Iterable[str]) -> str:
    """Return text without the secrets that a service may have repeated."""
    for secret in sorted(secrets, key=len, reverse=True):
        # Some writers of JSON escape the slash.
        text = text.replace(secret, "***").replace(secret.replace("/", "\\/"), "***")
    return text


def plain(text: str, secrets: Iterable[str]) -> str:
    """Return a short text without secrets and without logins and queries of addresses, for reasons."""
    return clean_url(wiped(text, secrets))[:_LONGEST]  # cut last: half a secret would not be found


def wiped_answer(found: Mapping[str, Any], secrets: Iterable[str]) -> dict[str, Any]:
    """Return the fields of an answer without secrets that the service repeated."""
    made = dict(found)
    if "text" in made:
        made["text"] = wiped(made["text"], secrets)
    if made.get("labels"):
        made["labels"] = tuple(wiped(label, secrets) for label in made["labels"])
    if made.get("logprobs"):
        made["logprobs"] = tuple((wiped(token, secrets), number) for token, number in made["logprobs"])
    return made


def wiped_error(error: NoliError, secrets: Iterable[str]) -> NoliError:
    """Return an error without secrets that the service repeated."""
    where, why, fix = (text and plain(text, secrets) for text in (error.where, error.why, error.fix))
    return type(error)(wiped(error.what, secrets), where=where, why=why, fix=fix)
