"""Presets for services that speak OpenAI's dialect: chat, completions and images."""

from __future__ import annotations

from typing import Any, Literal

from noli.adapters.endpoint_config import EndpointConfig, Style

Kind = Literal["image", "text", "picture"]

_CHAT = "choices[0].message.content"
_COMPLETION = "choices[0].text"
# What a preset reads for each kind of query; a pair that is not here makes no sense.
PATHS: dict[tuple[Style, Kind], str] = {
    ("openai-chat", "image"): _CHAT,
    ("openai-chat", "text"): _CHAT,
    ("openai-completions", "text"): _COMPLETION,
    ("openai-images", "picture"): "data[0].b64_json",
}
_TOKENS: dict[Style, tuple[str, str]] = {
    "openai-chat": ("choices[0].logprobs.content[*].token", "choices[0].logprobs.content[*].logprob"),
    "openai-completions": ("choices[0].logprobs.tokens", "choices[0].logprobs.token_logprobs"),
}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,{image_png_base64}"}}


# Codes of the errors by which pictures are declined.
_BLOCKED = ("content_policy_violation", "moderation_blocked")


def template(style: Style, kind: Kind, *, model: str, logprobs: bool, echo: bool) -> dict[str, Any]:
    """Return the JSON template of a preset.

    Args:
        style: One of the presets.
        kind: What is asked; the pair must be in `PATHS`.
        model: Name of the model; empty: none is named.
        logprobs: Whether log probabilities are wanted.
        echo: Whether the prompt's own tokens are wanted as well (completions only).
    """
    made: dict[str, Any] = {"model": model} if model else {}
    if style == "openai-images":
        return made | {"prompt": "{prompt}", "n": 1, "response_format": "b64_json"}
    made |= {"max_tokens": "{max_tokens}", "temperature": 0}
    if style == "openai-completions":
        made["prompt"] = "{prompt}"
        made |= {"logprobs": 1} if logprobs else {}
        return made | ({"echo": True} if echo else {})
    content: Any = "{prompt}"
    if kind == "image":
        content = [{"type": "text", "text": "{prompt}"}, _IMAGE]
    made["messages"] = [{"role": "user", "content": content}]
    return made | ({"logprobs": True} if logprobs else {})


def answer_path(config: EndpointConfig, kind: Kind) -> str:
    """Return where the answer lies; the configuration goes before the preset."""
    return PATHS.get((config.style, kind), "") if config.response_path is None else config.response_path


def token_paths(config: EndpointConfig) -> tuple[str, str]:
    """Return where tokens and log probabilities lie; empty where not known."""
    tokens, logprobs = _TOKENS.get(config.style, ("", ""))
    return config.tokens_path or tokens, config.logprobs_path or logprobs


def declines(document: Any) -> bool:
    """Tell whether a response says in OpenAI's own fields that the service declines."""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict) and error.get("code") in _BLOCKED:
        return True
    choices = document.get("choices") if isinstance(document, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return False
    message = first.get("message")
    said = message.get("refusal") if isinstance(message, dict) else None
    return bool(said) or first.get("finish_reason") == "content_filter"
