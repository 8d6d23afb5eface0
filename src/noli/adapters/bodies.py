"""What is sent to a served model: kinds of bodies, and the placeholders in their templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from noli.core.plugins import did_you_mean

IMAGE_NAMES = frozenset({"image_png_base64", "image_jpeg_base64", "image_array"})
NAMES = IMAGE_NAMES | {"prompt", "max_tokens", "logprobs", "echo"}
# `{name}` is replaced, `{{name}}` stands for the literal text `{name}`; other braces mean nothing.
PLACEHOLDER = re.compile(r"\{\{(?P<literal>[a-z][a-z0-9_]*)\}\}|\{(?P<name>[a-z][a-z0-9_]*)\}")

Encoding = Literal["png", "jpeg"]
T = TypeVar("T")


class Frozen(BaseModel):
    """Base of the settings of an endpoint: immutable, and its errors never repeat what was given."""

    # What was given may hold a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def known(template: T) -> T:
    """Check the placeholders in all texts of a template, which is returned as it is.

    Raises:
        ValueError: There is no such placeholder.
    """
    for text in texts(template):
        for found in PLACEHOLDER.finditer(text):
            if (name := found["name"]) and name not in NAMES:
                hint = f"{did_you_mean(name, NAMES)} For the plain text write {{{{{name}}}}}"
                raise ValueError(f"there is no placeholder {{{name}}}; {hint}")
    return template


def texts(template: object) -> Iterator[str]:
    """Yield all texts of a JSON value but the names in its objects."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict | list):
        for part in template.values() if isinstance(template, dict) else template:
            yield from texts(part)


class JsonBody(Frozen):
    """A JSON body.

    Attributes:
        kind: ``json``.
        template: Any JSON value. In its texts ``{prompt}``, ``{image_png_base64}``, ``{image_jpeg_base64}``,
            ``{image_array}`` (nested list ``[H][W][C]`` of 0..255), ``{max_tokens}``, ``{logprobs}`` and
            ``{echo}`` are replaced: a text that is nothing else becomes the value itself.
    """

    kind: Literal["json"] = "json"
    template: Annotated[JsonValue, AfterValidator(known)]


class MultipartBody(Frozen):
    """A form with the image as a file.

    Attributes:
        kind: ``multipart``.
        field: Name of the field that holds the image; without an image to send it is left out.
        encoding: Format of the image: ``png`` (exact) or ``jpeg``.
        fields: Further fields; placeholders as in a JSON body.
    """

    kind: Literal["multipart"] = "multipart"
    field: str = Field("file", pattern=r'^[^"\r\n]+$')
    encoding: Encoding = "png"
    fields: Annotated[dict[Annotated[str, Field(pattern=r'^[^"\r\n]+$')], str], AfterValidator(known)] = (
        Field(default_factory=dict)
    )


class RawBody(Frozen):
    """The bytes of the image as the whole body.

    Attributes:
        kind: ``raw``.
        encoding: Format of the image: ``png`` (exact) or ``jpeg``.
        content_type: What the body is called; empty: ``image/png`` or ``image/jpeg``.
    """

    kind: Literal["raw"] = "raw"
    encoding: Encoding = "png"
    content_type: str = Field("", pattern=r"^[ -~]*$")


Body = Annotated[JsonBody | MultipartBody | RawBody, Field(discriminator="kind")]
