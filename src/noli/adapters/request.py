"""From a question to bytes: templates filled in, images encoded, forms built. No network here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.adapters import openai_style
from noli.adapters.bodies import IMAGE_NAMES, PLACEHOLDER, Encoding, JsonBody, MultipartBody, RawBody
from noli.adapters.credentials import split
from noli.adapters.endpoint_config import EndpointConfig
from noli.adapters.openai_style import Kind
from noli.core.errors import DataError, UsageError

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question.

    Attributes:
        kind: ``image`` (which labels?), ``text`` (how does it go on?) or ``picture`` (draw this).
        image: ``uint8 [H, W, C]``, C in {1, 3}; only for ``image``.
        prompt: The words.
        max_tokens: Longest completion.
        logprobs, echo: Whether log probabilities, and those of the prompt, are wanted.
    """

    kind: Kind
    image: Image | None = field(default=None, repr=False)
    prompt: str = ""
    max_tokens: int = 16
    logprobs: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request but for its secrets.

    Attributes:
        query, headers: What may be shown.
        secret_query, secret_headers: Name -> ``env:NAME``, to be read from the environment.
        body: The exact bytes.
        shown: The body for human eyes: the JSON document, or what a form consists of.
    """

    query: dict[str, str]
    headers: dict[str, str]
    secret_query: dict[str, str]
    secret_headers: dict[str, str]
    body: bytes
    shown: Any


def prepare(config: EndpointConfig, ask: Ask) -> Prepared:
    """Fill in the template of an endpoint for one question.

    Raises:
        UsageError: The endpoint cannot be asked this: its template has no place for the image or the words.
        DataError: Not an image.
    """
    filler = _Filler(config, ask)
    # Told apart before anything is filled in: a prompt "env:HOME" is a prompt.
    secret_query, open_query = split(config.query)
    secret_headers, headers = split(config.headers)
    query = {name: str(filler.fill(value, as_text=True)) for name, value in open_query.items()}
    content_type, body, shown = _body(config, ask, filler)
    _check_use(config, ask, filler.used)
    if content_type and "content-type" not in {name.lower() for name in config.headers}:
        headers["Content-Type"] = content_type
    return Prepared(query, headers, secret_query, secret_headers, body, shown)


def _check_use(config: EndpointConfig, ask: Ask, used: set[str]) -> None:
    if not (used & (IMAGE_NAMES if ask.kind == "image" else {"prompt"})):
        needed = "an image" if ask.kind == "image" else "a prompt"
        fix = "add {image_png_base64} or {prompt} to the body or the query, or use a multipart or raw body"
        raise UsageError(f"The endpoint has no place for {needed}.", where=config.url, fix=fix)
    if isinstance(config.body, MultipartBody) and "content-type" in {name.lower() for name in config.headers}:
        fix = "leave Content-Type out of the headers: a form needs its own"
        raise UsageError("A header contradicts the body.", where=config.url, fix=fix)
    if ask.logprobs and not all(openai_style.token_paths(config)):
        fix = "set tokens_path and logprobs_path, or ask without log probabilities"
        raise UsageError("Where the log probabilities lie is not known.", where=config.url, fix=fix)


def _body(config: EndpointConfig, ask: Ask, filler: _Filler) -> tuple[str, bytes, Any]:
    body = config.body
    if config.style != "plain" and body is None:
        body = _preset(config, ask)
    if isinstance(body, MultipartBody):
        return _form(body, filler)
    if isinstance(body, RawBody):
        raw = filler.encoded(body.encoding)
        return body.content_type or f"image/{body.encoding}", raw, {"image": body.encoding}
    if body is None:
        return "", b"", None
    template = body.template
    if isinstance(template, dict):
        merged = {**template, **config.extra}
        template = {name: value for name, value in merged.items() if config.extra.get(name, 0) is not None}
    document = filler.fill(template)
    packed = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return "application/json", packed, document


def _preset(config: EndpointConfig, ask: Ask) -> JsonBody:
    if (config.style, ask.kind) not in openai_style.PATHS:
        fix = "use another style, or style plain with a body of your own"
        raise UsageError(f"The style {config.style} cannot be asked this way.", where=ask.kind, fix=fix)
    if ask.echo and config.style == "openai-chat":
        fix = "ask a completion endpoint (style openai-completions)"
        raise UsageError("A chat does not return log probabilities of the prompt.", where=config.url, fix=fix)
    wanted = {"logprobs": ask.logprobs, "echo": ask.echo}
    return JsonBody(template=openai_style.template(config.style, ask.kind, model=config.model, **wanted))


def _form(body: MultipartBody, filler: _Filler) -> tuple[str, bytes, Any]:
    parts: list[tuple[str, bytes]] = []
    shown: dict[str, str] = {}
    for name, template in body.fields.items():
        shown[name] = str(filler.fill(template, as_text=True))
        parts.append((f'name="{name}"', shown[name].encode("utf-8", "surrogatepass")))
    if filler.has_image:
        raw, kind = filler.encoded(body.encoding), body.encoding
        shown[body.field] = f"image.{kind} ({len(raw)} bytes)"
        parts.append((f'name="{body.field}"; filename="image.{kind}"\r\nContent-Type: image/{kind}', raw))
    # Follows from the content: the same question gives the same bytes and the same hash.
    pieces = [f"Content-Disposition: form-data; {head}\r\n\r\n".encode() + content for head, content in parts]
    mark = hashlib.sha256(b"".join(pieces)).hexdigest()[:32]
    lines = [b"--%s\r\n%s\r\n" % (mark.encode(), piece) for piece in pieces]
    whole = b"".join([*lines, b"--%s--\r\n" % mark.encode()])
    return f"multipart/form-data; boundary={mark}", whole, shown


class _Filler:
    """Fills in placeholders and notes which were used; an image is encoded only when it is."""

    def __init__(self, config: EndpointConfig, ask: Ask) -> None:
        self.used: set[str] = set()
        self.has_image = ask.image is not None
        self._quality = config.jpeg_quality
        self._values: dict[str, Callable[[], Any]] = {
            "prompt": lambda: ask.prompt,
            "max_tokens": lambda: ask.max_tokens,
            "logprobs": lambda: ask.logprobs,
            "echo": lambda: ask.echo,
        }
        if ask.image is not None:
            self._image = check_image(ask.image)
            self._values |= {
                "image_png_base64": lambda: base64.b64encode(self.encoded("png")).decode(),
                "image_jpeg_base64": lambda: base64.b64encode(self.encoded("jpeg")).decode(),
                "image_array": self._image.tolist,
            }

    def fill(self, template: Any, *, as_text: bool = False) -> Any:
        """Return the template with its placeholders replaced, in one pass: no value is filled in itself."""
        if isinstance(template, dict):
            return {name: self.fill(part) for name, part in template.items()}
        if isinstance(template, list):
            return [self.fill(part) for part in template]
        if not isinstance(template, str):
            return template
        alone = PLACEHOLDER.fullmatch(template)
        if alone and alone["name"] and not as_text:
            return self._value(alone["name"])
        return PLACEHOLDER.sub(
            lambda found: _text(self._value(found["name"])) if found["name"] else f"{{{found['literal']}}}",
            template,
        )

    def encoded(self, encoding: Encoding) -> bytes:
        """Return the image as PNG (exact) or JPEG."""
        self._need_image()
        self.used |= IMAGE_NAMES
        return encode(self._image, encoding, self._quality)

    def _value(self, name: str) -> Any:
        if name in IMAGE_NAMES:
            self._need_image()
        self.used.add(name)
        return self._values[name]()

    def _need_image(self) -> None:
        if not self.has_image:
            fix = "ask about an image, or change the body"
            raise UsageError("The body has a place for an image, and there is none.", fix=fix)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def check_image(image: Image) -> Image:
    """Return the image.

    Raises:
        DataError: Not ``uint8 [H, W, C]`` with C in {1, 3}, or without pixels.
    """
    good = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3
    if not good or image.shape[2] not in (1, 3) or image.size == 0:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        what = "An image to ask about must be uint8 [H, W, C] with 1 or 3 channels."
        raise DataError(what, why=f"got {kind}", fix="use noli.core.images.to_uint8, one image at a time")
    return image


def encode(image: Image, encoding: Encoding, quality: int) -> bytes:
    """Return ``uint8 [H, W, C]`` as PNG (exact), or JPEG of a quality 1..100 without colour subsampling."""
    from PIL import Image as Pictures

    picture = Pictures.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))
    target = io.BytesIO()
    if encoding == "png":
        picture.save(target, "PNG")
    else:
        picture.save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()
