"""A dry run: what the first request would look like and how long all would take, without any network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from noli.adapters import credentials
from noli.adapters.endpoint_config import EndpointConfig
from noli.adapters.openai_style import Kind
from noli.adapters.pacing import planned_seconds
from noli.adapters.request import Ask, Image, prepare


def dry_run(
    config: EndpointConfig,
    question: Image | str,
    *,
    kind: Kind | None = None,
    queries: int = 1,
    max_tokens: int = 16,
    logprobs: bool = False,
    echo: bool = False,
) -> dict[str, Any]:
    """Return what the first request would be. Nothing is sent, and no secret is read.

    Args:
        config: The endpoint.
        question: ``uint8 [H, W, C]``, or a prompt.
        kind: ``image``, ``text`` or ``picture``; None: by the question and the style.
        queries: How many queries are planned.
        max_tokens: Longest completion in tokens.
        logprobs: Whether log probabilities are wanted.
        echo: Whether those of the prompt are wanted as well.

    Returns:
        ``url``, ``method``, ``headers`` and ``query`` (names only), ``body`` (long texts and lists cut),
        ``bytes`` of the body, ``planned_seconds`` of pauses for all queries, ``missing`` environment
        variables, and ``warnings``.

    Raises:
        UsageError: The endpoint cannot be asked this.
        DataError: Not an image.
    """
    if isinstance(question, str):
        found: Kind = "picture" if config.style == "openai-images" else "text"
        ask = Ask(kind or found, None, question, max_tokens, logprobs, echo)
    else:
        ask = Ask("image", question, config.question)
    prepared = prepare(config, ask)
    secret = (*prepared.secret_headers.values(), *prepared.secret_query.values())
    return {
        "url": config.url,
        "method": config.method,
        "headers": sorted({*prepared.headers, *prepared.secret_headers}),
        "query": list(config.query),
        "body": shortened(prepared.shown),
        "bytes": len(prepared.body),
        "planned_seconds": planned_seconds(queries, config.rate, config.jitter),
        "missing": [name for name in credentials.names(secret) if not os.environ.get(name, "").strip()],
        "warnings": _warnings(config, queries, bool(secret)),
    }


def _warnings(config: EndpointConfig, queries: int, secret: bool) -> list[str]:
    found = []
    if secret and config.url.lower().startswith("http://"):
        found.append("secrets travel unencrypted: the address is not https")
    if queries > config.budget:
        found.append(f"{queries} queries do not fit into the budget of {config.budget} requests")
    if config.top > 1 and config.style == "openai-chat":
        found.append("a chat answers with one label: top makes no difference")
    return found


def shortened(value: Any, *, text: int = 80, items: int = 8) -> Any:
    """Return a JSON value with long texts and long lists cut, each with how long it was."""
    if isinstance(value, str):
        return value if len(value) <= text else f"{value[: text // 2]}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {name: shortened(part, text=text, items=items) for name, part in value.items()}
    if isinstance(value, list):
        kept = [shortened(part, text=text, items=items) for part in value[:items]]
        return kept if len(value) <= items else [*kept, f"... ({len(value)} elements)"]
    return value
