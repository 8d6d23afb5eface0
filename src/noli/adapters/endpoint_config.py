"""How a served model is asked and how its answers are read: the configuration of an endpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from noli.adapters import jsonpath
from noli.adapters.bodies import PLACEHOLDER, Body, Frozen, known
from noli.core.errors import UsageError

FROM_ENV = re.compile(r"(?P<before>(?:[!-~]+ )?)env:(?P<name>[A-Za-z_]\w*)", re.ASCII)

# Tells `api_key` from `keyword`, `access-token` from `max_tokens`, `authorization` from `author`.
_SECRET = re.compile(
    r"auth(?!ors?\b)|(?:key|token)(?![a-z])|secret|cookie|passw|bearer|session|credential|signature",
    re.IGNORECASE,
)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})

Status = Annotated[int, Field(ge=100, le=599)]
Style = Literal["plain", "openai-chat", "openai-completions", "openai-images"]


class Refusals(Frozen):
    """What means that the service declines to answer.

    Attributes:
        statuses: HTTP statuses, each 100..599.
        pattern: Regular expression, looked for in the response without regard to case; empty: none.
        path: Where it is looked for; empty: in the whole response.
    """

    statuses: tuple[Status, ...] = (403, 451)
    pattern: str = ""
    path: str = ""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"this is no regular expression: {error.msg}") from None
        return pattern

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return check_path(path)


class EndpointConfig(Frozen):
    """A served model: where it is, what is sent, how its answers are read, and how fast it may be asked.

    Attributes:
        url: Address, http or https, without login and query.
        method: ``POST`` or ``GET`` (then everything is in ``query``).
        style: Preset that fills ``body`` and ``response_path``; what is given beside it wins.
        model: Name of the model that a preset asks for; empty: none is named.
        question: What stands for ``{prompt}`` when an image is asked about.
        extra: Further entries at the top of a JSON body; null takes an entry away.
        headers: Header name -> value. ``env:NAME``, also after one word (``Bearer env:NAME``), is read from
            the environment at every request and kept nowhere.
        query: Query name -> value; ``env:NAME`` as in headers, placeholders as in a JSON body.
        body: What is sent; none with GET.
        response_path: Where the answer lies, as in ``predictions[*].label``; empty: the whole response.
        tokens_path, logprobs_path: Where the tokens and their log probabilities (natural, <= 0) lie.
        label_field, score_field: Names in answers that list objects.
        classes: Names of the service's classes by position, for answers that are numbers or score lists.
            Without a label map, labels that are none of them are left out.
        label_map: The service's label -> our class names, one or more; empty: labels are our class names.
        top: How many of the service's labels are used, 1 or more.
        refusals: What means that the service declines.
        rate: Requests per second, > 0 to 1000; none: no pause between requests.
        jitter: Share, 0..1, by which a pause is at most lengthened at random. Not keyed: politeness only.
        retries: Further tries of a query after an error that may pass, 0..100.
        retry_statuses: HTTP statuses, each 300..599, that may pass.
        backoff: Seconds, 0..3600, before the second try; doubled for every further one.
        max_wait: Longest pause before a try in seconds, 0..86400, whatever the service asks for.
        timeout: Seconds, > 0 to 3600, that one request may take.
        budget: Requests that may be made in all, tries included, 1 or more.
        max_bytes: Largest response in bytes, 1 or more.
        jpeg_quality: 1..100, for images sent as JPEG; colour is not subsampled.
        ca_file: PEM file with the authority of the service's certificate; none: the public ones.
    """

    url: str
    method: Literal["POST", "GET"] = "POST"
    style: Style = "plain"
    model: str = ""
    question: str = ""
    extra: Annotated[dict[str, JsonValue], AfterValidator(known)] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    query: Annotated[dict[str, str], AfterValidator(known)] = Field(default_factory=dict, repr=False)
    body: Body | None = None
    response_path: str | None = None
    tokens_path: str | None = None
    logprobs_path: str | None = None
    label_field: str = "label"
    score_field: str = "score"
    classes: tuple[str, ...] = ()
    label_map: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    top: int = Field(1, ge=1)
    refusals: Refusals = Refusals()
    rate: float | None = Field(None, gt=0, le=1000)
    jitter: float = Field(0.1, ge=0, le=1)
    retries: int = Field(3, ge=0, le=100)
    retry_statuses: tuple[Annotated[int, Field(ge=300, le=599)], ...] = (429, 500, 502, 503, 504)
    backoff: float = Field(1.0, ge=0, le=3600)
    max_wait: float = Field(60.0, ge=0, le=86400)
    timeout: float = Field(60.0, gt=0, le=3600)
    budget: int = Field(1000, ge=1)
    max_bytes: int = Field(20_000_000, ge=1)
    jpeg_quality: int = Field(95, ge=1, le=100)
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not re.match(r"https?://[!-~]+\Z", url, re.IGNORECASE) or not (parts := urlsplit(url)).hostname:
            raise ValueError("it must read http://HOST/... or https://HOST/..., in ASCII")
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise ValueError(
                "no login and no query here: put them into headers or query, secrets as env:NAME"
            )
        _ = parts.port  # ValueError when it is no port
        return url

    @field_validator("headers", "query")
    @classmethod
    def _no_secrets(cls, pairs: dict[str, str]) -> dict[str, str]:
        for name, value in pairs.items():
            wanted = re.search(r"(?:^| )env:", value)
            if wanted and not FROM_ENV.fullmatch(value):
                raise ValueError(f"{name}: write env:NAME or one word and env:NAME")
            if not wanted and _SECRET.search(name) and not PLACEHOLDER.fullmatch(value):
                # A configuration ends up in run folders and reports.
                raise ValueError(
                    f"{name} looks like a secret: write env:NAME and put it into the environment"
                )
        return pairs

    @field_validator("headers")
    @classmethod
    def _well_formed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS or not re.fullmatch(r"[ -~]*", value):
                raise ValueError(f"{name!r} cannot be set: names are words, values printable ASCII")
        return headers

    @field_validator("response_path", "tokens_path", "logprobs_path")
    @classmethod
    def _is_path(cls, path: str | None) -> str | None:
        return path if path is None else check_path(path)

    @field_validator("label_map", mode="before")
    @classmethod
    def _lists(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # YAML reads a label 7 as a number.
        return {
            str(name) if type(name) is int else name: (ours,) if isinstance(ours, str) else ours
            for name, ours in given.items()
        }

    @model_validator(mode="after")
    def _sends_something(self) -> Self:
        if self.method == "GET" and (self.body or self.style != "plain"):
            raise ValueError("GET has no body: use query, or method POST")
        if self.style == "plain" and not (self.body or self.query):
            raise ValueError("nothing would be sent: give a body, a query or a style")
        # What would be ignored is refused: a misunderstanding that nobody notices costs a budget.
        own = self.body or self.style == "plain"
        if self.extra and own and not isinstance(getattr(self.body, "template", None), dict):
            raise ValueError("extra needs a JSON body that is an object")
        if self.model and own:
            raise ValueError("model needs a style without a body: write it into the body")
        return self


def check_path(path: str) -> str:
    """Return a path of the path language.

    Raises:
        ValueError: It is none.
    """
    try:
        jsonpath.parse(path)
    except UsageError as error:
        raise ValueError(f"this is not a path ({error.why}): {error.fix}") from None
    return path
