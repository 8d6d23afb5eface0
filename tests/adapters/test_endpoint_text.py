"""Completions, chats and pictures: what is asked for, and what the record keeps of the answers."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from servers import Seen, Sent, asking, coloured, endpoint, in_turn, said, text_settings

from noli.core.errors import UsageError

PROMPT = "The cat sat"


def styled(style: str, **changes: Any) -> Any:
    return lambda url: {"url": url, "style": style, "model": "small", **changes}


def completion(seen: Seen) -> Sent:
    """A completion endpoint of the old kind: it echoes, and tells log probabilities when asked."""
    asked = seen.json
    tokens = [" on", " mats"][: asked["max_tokens"]]
    if asked.get("echo"):
        tokens = ["The", " cat", " sat", *tokens]
    choice: dict[str, Any] = {"text": "".join(tokens), "finish_reason": "length", "logprobs": None}
    if "logprobs" in asked:
        numbers = [None if asked.get("echo") and not place else -place / 4 for place in range(len(tokens))]
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": numbers}
    return said({"choices": [choice]})


def test_completions_without_logprobs() -> None:
    with asking(completion, styled("openai-completions")) as (one, server):
        answer = one.ask_text(PROMPT, max_tokens=2)
    assert (answer.status, answer.text, answer.logprobs) == ("answered", " on mats", None)
    assert answer.labels == ()
    assert server.seen[0].json == {"model": "small", "prompt": PROMPT, "max_tokens": 2, "temperature": 0}
    assert answer.request_sha256 == hashlib.sha256(server.seen[0].body).hexdigest()


def test_completions_with_logprobs() -> None:
    with asking(completion, styled("openai-completions")) as (one, server):
        answer = one.ask_text(PROMPT, max_tokens=2, logprobs=True)
    assert answer.logprobs == ((" on", 0.0), (" mats", -0.25))
    assert server.seen[0].json["logprobs"] == 1
    assert "echo" not in server.seen[0].json


def test_logprobs_of_the_prompt() -> None:
    with asking(completion, styled("openai-completions")) as (one, server):
        answer = one.ask_text(PROMPT, max_tokens=0, logprobs=True, echo=True)
    assert answer.text == PROMPT
    assert answer.logprobs == (("The", None), (" cat", -0.25), (" sat", -0.5))
    assert server.seen[0].json["echo"] is True


def test_logprobs_of_something_else_are_not_taken_for_those_of_the_prompt() -> None:
    def deaf(seen: Seen) -> Sent:
        """Ignore the wish for an echo."""
        assert seen.json["echo"]
        inner = {"tokens": [" on"], "token_logprobs": [-0.5]}
        return said({"choices": [{"text": " on", "logprobs": inner}]})

    with asking(deaf, styled("openai-completions")) as (one, _):
        answer = one.ask_text(PROMPT, logprobs=True, echo=True)
    assert (answer.status, answer.text, answer.logprobs) == ("answered", " on", None)


@pytest.mark.parametrize(
    "inner",
    [None, {}, {"tokens": ["a", "b"], "token_logprobs": [-1]}, {"tokens": "a", "token_logprobs": -1},
     {"tokens": [], "token_logprobs": []}, {"tokens": [["a"]], "token_logprobs": [-1]}],
)  # fmt: skip
def test_a_service_that_gives_no_logprobs_is_no_failure(inner: Any) -> None:
    reply = {"choices": [{"text": "x", "logprobs": inner}]}
    with asking(lambda _: said(reply), styled("openai-completions")) as (one, _):
        answer = one.ask_text(PROMPT, logprobs=True)
    assert (answer.status, answer.logprobs) == ("answered", None)


def test_chat() -> None:
    inner = {"content": [{"token": "Hi", "logprob": -0.1}, {"token": "!", "logprob": -2}]}
    choice = {"message": {"role": "assistant", "content": "Hi!", "refusal": None}, "logprobs": inner}
    with asking(lambda _: said({"choices": [choice]}), styled("openai-chat")) as (one, server):
        answer = one.ask_text(PROMPT, logprobs=True)
        silent = one.ask_text(PROMPT)
    assert (answer.text, answer.logprobs) == ("Hi!", (("Hi", -0.1), ("!", -2.0)))
    assert silent.logprobs is None
    assert server.seen[0].json == {
        "model": "small",
        "max_tokens": 16,
        "temperature": 0,
        "messages": [{"role": "user", "content": PROMPT}],
        "logprobs": True,
    }


@pytest.mark.parametrize(
    "choice",
    [{"message": {"content": None, "refusal": "I cannot help with that."}},
     {"message": {"content": ""}, "finish_reason": "content_filter"}],
)  # fmt: skip
def test_a_chat_that_declines(choice: dict[str, Any]) -> None:
    with asking(lambda _: said({"choices": [choice]}), styled("openai-chat")) as (one, _):
        answer = one.ask_text(PROMPT)
    assert (answer.status, answer.text) == ("refused", "")
    assert "declines" in answer.reason


@pytest.mark.parametrize(
    "reply", [Sent(b"<html>"), said([1]), said({"choices": []}), said({"choices": ["x"]})]
)
def test_a_chat_that_makes_no_sense_does_not_decline(reply: Sent) -> None:
    fine = said({"choices": [{"message": {"content": "x"}}]})
    with asking(in_turn(fine, reply), styled("openai-chat")) as (one, _):
        assert [one.ask_text(PROMPT).status for _ in range(2)] == ["answered", "failed"]


def test_a_chat_has_no_echo() -> None:
    one = endpoint(styled("openai-chat")("http://127.0.0.1:1/"))
    with pytest.raises(UsageError, match="prompt"):
        one.ask_text(PROMPT, logprobs=True, echo=True)


def test_a_service_of_another_kind() -> None:
    template = {
        "in": "{prompt}",
        "n": "{max_tokens}",
        "scores": "{logprobs}",
        "all": "{echo}",
        "s": "n={max_tokens}",
    }
    reply = {"out": [{"t": "x"}], "lp": {"t": ["x"], "v": [-1.5]}}
    paths = {"response_path": "out[0].t", "tokens_path": "lp.t", "logprobs_path": "lp.v"}
    with asking(
        lambda _: said(reply), text_settings, body={"kind": "json", "template": template}, **paths
    ) as (one, server):
        answer = one.ask_text("a\ud800", max_tokens=3, logprobs=True)
    assert answer.logprobs == (("x", -1.5),)
    assert server.seen[0].json == {"in": "a\ud800", "n": 3, "scores": True, "all": False, "s": "n=3"}


def test_logprobs_need_a_place() -> None:
    one = endpoint(text_settings("http://127.0.0.1:1/", tokens_path="t"))
    with pytest.raises(UsageError) as caught:
        one.ask_text(PROMPT, logprobs=True)
    assert "logprobs_path" in str(caught.value.fix)
    with pytest.raises(UsageError, match="0 or more"):
        one.ask_text(PROMPT, max_tokens=-1)
    assert one.spent == 0


def jpeg(shade: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(coloured(shade, shade, shade, size=(8, 8))).save(target, "JPEG")
    return target.getvalue()


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_pictures_as_base64(prefix: str) -> None:
    raw = jpeg(90)
    reply = {"data": [{"b64_json": prefix + base64.b64encode(raw).decode()}]}
    with asking(lambda _: said(reply), styled("openai-images", extra={"size": "8x8"})) as (one, server):
        answer = one.ask_picture("a cat")
    assert answer.image == raw
    assert server.seen[0].json == {
        "model": "small", "prompt": "a cat", "n": 1, "response_format": "b64_json", "size": "8x8"
    }  # fmt: skip
    assert str(len(raw)) not in repr(answer)
    assert "\\xff\\xd8" not in repr(answer)


def test_pictures_as_the_raw_body() -> None:
    raw = jpeg(160)
    with asking(lambda _: Sent(raw, headers={"Content-Type": "image/jpeg"}), text_settings) as (one, _):
        answer = one.ask_picture("a cat")
    assert answer.image == raw
    assert answer.response_sha256 == hashlib.sha256(raw).hexdigest()
    assert abs(np.asarray(Image.open(io.BytesIO(answer.image))).mean() - 161) < 3


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (said({"text": "https://cdn.example/cat.png?token=abc"}), "base64"),
        (said({"text": "bm8gcGljdHVyZQ=="}), "no picture"),
        (said({"text": 5}), "something else"),
        (Sent(b"<html>", headers={"Content-Type": "image/png"}), "no picture"),
    ],
)
def test_what_is_no_picture(reply: Sent, word: str) -> None:
    with asking(lambda _: reply, text_settings) as (one, _), pytest.raises(UsageError, match=word) as caught:
        one.ask_picture("a cat")
    assert "token=abc" not in str(caught.value)


@pytest.mark.parametrize("code", ["content_policy_violation", "moderation_blocked"])
def test_a_picture_that_is_declined(code: str) -> None:
    reply = said({"error": {"code": code, "message": "Your request was rejected."}}, status=400)
    with asking(lambda _: reply, styled("openai-images")) as (one, _):
        answer = one.ask_picture("a cat")
    assert (answer.status, answer.image) == ("refused", None)
    other = said({"error": {"code": "invalid_size", "message": "no"}}, status=400)
    with asking(lambda _: other, styled("openai-images")) as (one, _), pytest.raises(UsageError, match="400"):
        one.ask_picture("a cat")
