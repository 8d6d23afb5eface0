"""What a served model answered: labels, words, pictures, read from the response; hashes of what was sent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from noli.adapters import jsonpath, openai_style
from noli.adapters.endpoint_config import EndpointConfig
from noli.adapters.exchange import Reply
from noli.adapters.jsonpath import NotThere, kind_of
from noli.adapters.request import Ask
from noli.core import foreign
from noli.core.errors import DataError

Logprobs = tuple[tuple[str, float | None], ...]
Ranked = list[tuple[str, float | None]]

NOTHING = hashlib.sha256(b"").hexdigest()
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_DECLINING = ("openai-chat", "openai-completions", "openai-images")


class Unreadable(DataError):
    """A response is not what the configuration says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one query. Refused and failed queries are results: they count as misses.

    Attributes:
        status: ``answered``, ``refused`` (the service declined) or ``failed`` (no usable answer).
        labels: Our class names, best first: what the service's first `top` labels mean.
        scores: One per label when the service gave numbers for all of them, else empty.
        text: The completion, as it came.
        logprobs: Tokens with their natural log probabilities; None when the service gave none. A token alone
            has None: the first of an echoed prompt.
        image: The picture, encoded as the service sent it; None when none was asked for.
        request_sha256, response_sha256: Of the exact body bytes sent and received last, in hex; of no bytes
            when there were none, or when the response broke off.
        seconds: From sending the last request to the last byte of its response.
        attempts: Requests made for this query.
        certificate_sha256: Of the service's TLS certificate in DER form; empty without TLS.
        time: When the last request was sent: UTC, ISO 8601 with milliseconds.
        reason: Why it was refused or failed.
    """

    status: Literal["answered", "refused", "failed"]
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    text: str = ""
    logprobs: Logprobs | None = None
    image: bytes | None = field(default=None, repr=False)
    request_sha256: str = NOTHING
    response_sha256: str = NOTHING
    seconds: float = 0.0
    attempts: int = 0
    certificate_sha256: str = ""
    time: str = ""
    reason: str = ""


def read(config: EndpointConfig, ask: Ask, reply: Reply, unknown: Counter[str]) -> dict[str, Any]:
    """Read the answer out of a response with a good status.

    Args:
        config: How answers are read.
        ask: What was asked.
        reply: The response.
        unknown: Counts labels that the label map does not know.

    Returns:
        The fields of `Answer` that hold the answer.

    Raises:
        Unreadable: The response is not as configured.
    """
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if ask.kind == "picture" and kind.startswith("image/"):
        return {"image": _picture(reply.content)}
    path = openai_style.answer_path(config, ask.kind)
    document = _text(reply) if kind == "text/plain" and not path else _json(reply)
    try:
        found = jsonpath.find(document, path)
    except NotThere as error:
        where = f"{path}, at {error.where}"
        raise Unreadable(error.what, where=where, why=error.why, fix=error.fix) from None
    if ask.kind == "image":
        labels, scores = _meant(config, _ranked(config, found)[: config.top], unknown)
        return {"labels": labels, "scores": scores}
    if not isinstance(found, str):
        raise _misfit(path, "a text", found)
    if ask.kind == "picture":
        return {"image": _picture(_unbase64(found))}
    return {"text": found, "logprobs": _logprobs(config, ask, document, found)}


def refusal(config: EndpointConfig, reply: Reply) -> str:
    """Return why a response is a refusal, or an empty text when it is none."""
    rules = config.refusals
    if reply.status in rules.statuses:
        return f"HTTP {reply.status}: {words(reply)}".removesuffix(": ")
    try:
        document = _json(reply) if rules.path or config.style in _DECLINING else None
    except Unreadable:
        document = None
    if config.style in _DECLINING and openai_style.declines(document):
        return "the service says that it declines"
    text = _text(reply) if rules.pattern else ""
    if text and rules.path:
        try:
            found = jsonpath.find(document, rules.path)
        except NotThere:
            return ""
        text = found if isinstance(found, str) else _dumped(found)
    said = re.search(rules.pattern, text, re.IGNORECASE) if rules.pattern else None
    return f"the response says: {_line(said[0])}" if said else ""


def words(reply: Reply) -> str:
    """Return what an error response says; it may repeat what was sent."""
    try:
        document = _json(reply)
    except Unreadable:
        return _line(_text(reply))
    for path in ("error.message", "error", "message", "detail"):
        try:
            found = jsonpath.find(document, path)
        except NotThere:
            continue
        if isinstance(found, str):
            return _line(found)
    return _line(_dumped(document))


def _line(text: str) -> str:
    return " ".join(re.sub(r"[^\x20-\x7e\xa0-\uffff]", " ", text).split())


def _text(reply: Reply) -> str:
    return reply.content.decode("utf-8", "replace")


def _json(reply: Reply) -> Any:
    try:
        # NaN and Infinity are no JSON, yet many services write them: no number, then.
        return foreign.loads(reply.content, parse_constant=lambda _: None)
    except ValueError:
        kind = reply.headers.get("content-type", "no content type")
        fix = "check the address and the method: this is not the answer of an API"
        raise Unreadable("The response is not JSON.", why=f"it is {kind}", fix=fix) from None


def _dumped(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


def _misfit(path: str, wanted: str, found: Any) -> Unreadable:
    fix = "change response_path, label_field or classes; a dry run shows what is sent"
    why = f"{wanted} is looked for, and there is {kind_of(found)}"
    return Unreadable(
        "The response has something else at the path.", where=path or "the top", why=why, fix=fix
    )


def _ranked(config: EndpointConfig, found: Any) -> Ranked:
    """Return the service's labels, best first, with scores where it gave numbers."""
    items = found if isinstance(found, list) else [found]
    if isinstance(found, dict) and config.label_field not in found:
        return _by_score(config, found)
    if len(items) == len(config.classes) and any(isinstance(item, float) for item in items):
        return _by_score(config, dict(zip(config.classes, items, strict=True)))
    pairs = [_item(config, item) for item in items]
    if any(score is None for _, score in pairs):
        return pairs
    # Some services list their classes in a fixed order; the sort is stable, so equal scores keep theirs.
    return sorted(pairs, key=lambda pair: -(pair[1] or 0.0))


def _by_score(config: EndpointConfig, table: dict[str, Any]) -> Ranked:
    pairs = [(name.strip(), _number(score)) for name, score in table.items()]
    if any(score is None for _, score in pairs):
        raise _misfit(config.response_path or "", "a label, a list of labels or an object of scores", table)
    return sorted(pairs, key=lambda pair: (-(pair[1] or 0.0), pair[0]))


def _item(config: EndpointConfig, item: Any) -> tuple[str, float | None]:
    if isinstance(item, dict) and config.label_field in item:
        return _name(config, item[config.label_field]), _number(item.get(config.score_field))
    return _name(config, item), None


def _name(config: EndpointConfig, label: Any) -> str:
    if isinstance(label, str):
        return label.strip()
    if type(label) is int and (config.classes or config.label_map):
        return config.classes[label] if 0 <= label < len(config.classes) else str(label)
    raise _misfit(config.response_path or "", "a label (for numbers, set classes)", label)


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if good and math.isfinite(value) else None
    except OverflowError:
        return None


def _meant(
    config: EndpointConfig, ranked: Ranked, unknown: Counter[str]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return what the service's labels mean, each of our classes once, with scores when all have one."""
    made: dict[str, float | None] = {}
    known = config.label_map or {name: (name,) for name in config.classes}
    for label, score in ranked:
        if known and label not in known:
            unknown[label] += 1
        for name in known.get(label, ()) if known else (label,):
            made.setdefault(name, score)
    scores = tuple(score for score in made.values() if score is not None)
    return tuple(made), scores if len(scores) == len(made) else ()


def _logprobs(config: EndpointConfig, ask: Ask, document: Any, text: str) -> Logprobs | None:
    if not ask.logprobs or (ask.echo and not text.lstrip().startswith(ask.prompt.strip())):
        return None  # without the echo they would be taken for those of the prompt
    try:
        tokens, numbers = (jsonpath.find(document, path) for path in openai_style.token_paths(config))
    except NotThere:
        return None
    lists = isinstance(tokens, list) and isinstance(numbers, list) and len(tokens) == len(numbers)
    if not lists or not all(isinstance(token, str) for token in tokens):
        return None
    return tuple((token, _number(number)) for token, number in zip(tokens, numbers, strict=True)) or None


def _unbase64(text: str) -> bytes:
    packed = re.sub(r"^data:[^,]{0,100},|\s", "", text)
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        why = "an address" if text.startswith(("http://", "https://")) else "a text"
        fix = "ask the service for base64 (b64_json): pictures at other addresses are not fetched"
        raise Unreadable("The picture is not base64.", why=f"it is {why}", fix=fix) from None


def _picture(raw: bytes) -> bytes:
    if not raw.startswith(_PICTURES) and raw[8:12] != b"WEBP":
        why = "it is none of PNG, JPEG, WebP, GIF, BMP, TIFF"
        raise Unreadable("The response holds no picture.", why=why, fix="check response_path")
    return raw
