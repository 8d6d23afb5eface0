"""A served model that scores texts: whose tokens are whose, and what is no answer."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from servers import Seen, Sent, Server, asking, endpoint, in_turn, said

from noli.adapters.endpoint import Misconfigured
from noli.adapters.language import Scored, ServedLanguage
from noli.core.errors import RunError, UsageError
from noli.core.language import LanguageModel

TEXT = "The cat  sat, über 😀!"


def styled(url: str, **changes: Any) -> dict[str, Any]:
    return {"url": url, "style": "openai-completions", "model": "small", **changes}


def reply(tokens: list[str], numbers: list[Any], text: str = TEXT) -> Sent:
    inner = {"tokens": tokens, "token_logprobs": numbers}
    return said({"choices": [{"text": text, "finish_reason": "length", "logprobs": inner}]})


def words(text: str) -> list[str]:
    return re.findall(r" *\w+| *[^\w ]", text)


def scorer(seen: Seen) -> Sent:
    """Score every token by its length; a completion is made where it is asked for."""
    asked = seen.json
    tokens = words(asked["prompt"])
    numbers: list[Any] = [None, *(-len(token) / 4 for token in tokens[1:])]
    more = [" and"] * asked["max_tokens"]
    return reply([*tokens, *more], [*numbers, *(-9.0 for _ in more)], asked["prompt"] + "".join(more))


def scored(sent: Sent, text: str = TEXT) -> Scored:
    with asking(lambda _: sent, styled) as (one, _):
        return ServedLanguage(one).score_text(text)


@pytest.mark.parametrize("max_tokens", [0, 1, 3])
def test_tokens_lie_where_the_text_has_them(max_tokens: int) -> None:
    with asking(scorer, styled) as (one, server):
        model: LanguageModel = ServedLanguage(one, max_tokens=max_tokens)
        (found,) = model.score_tokens([TEXT])
        assert (model.name, model.digest) == (f"{server.url} small", "")
    pieces = words(TEXT)
    assert [TEXT[begin:end] for begin, end in found.spans] == pieces[1:]
    assert found.logp.tolist() == [-len(token) / 4 for token in pieces[1:]]
    assert (found.mean, found.std) == (None, None)
    asked = server.seen[0].json
    assert (asked["echo"], asked["max_tokens"], asked["prompt"]) == (True, max_tokens, TEXT)
    assert asked["logprobs"] == 1


def test_the_record_of_the_query_is_kept() -> None:
    with asking(scorer, styled) as (one, _):
        found = ServedLanguage(one).score_text(TEXT)
    assert (found.status, found.reason, found.answer.status, found.answer.attempts) == (
        "answered", "", "answered", 1
    )  # fmt: skip
    assert len(found.answer.response_sha256) == 64


def test_characters_in_several_tokens() -> None:
    parts = ["a", "bytes: \\xf0\\x9f", "bytes:\\x98", "bytes:\\x80", "!"]
    found = scored(reply(parts, [None, -1, -2, -3, -4], "a 😀!"), "a 😀!")
    assert found.tokens is not None
    assert found.tokens.spans.tolist() == [[1, 3], [2, 3], [2, 3], [3, 4]]
    assert found.tokens.logp.tolist() == [-1, -2, -3, -4]
    # A text that reads like it is taken as it is.
    plain = "x bytes:\\x41"
    found = scored(reply(["x", " ", "bytes:\\x41"], [None, -1, -2], plain), plain)
    assert found.tokens is not None
    assert found.tokens.spans.tolist() == [[1, 2], [2, 12]]


def test_a_control_token_in_front_and_empty_tokens() -> None:
    found = scored(reply(["<s>", "The", "", " cat"], [None, -1, None, -2], "The cat"), "The cat")
    assert found.tokens is not None
    assert found.tokens.spans.tolist() == [[0, 3], [3, 7]]
    assert found.tokens.logp.tolist() == [-1, -2]


@pytest.mark.parametrize(
    ("tokens", "numbers", "reason"),
    [
        (["The", " dog"], [None, -1], "' dog' at character 3"),
        (["The", " ca"], [None, -1], "end at character 6 of 7"),
        (["The", " cat sat"], [None, -1], "' cat sat' at character 3"),
        (["the", " cat"], [-1, -1], "'the' at character 0"),
        (["<s>", "<s>", "The", " cat"], [None, None, -1, -1], "'<s>' at character 0"),
        (["The", " ca", "t"], [None, None, -1], "no log probability of ' ca'"),
        (["The", " cat"], [None, math.nan], "no log probability of ' cat'"),
        (["The", " cat"], [None, 0.7], "0.7 is no log probability"),
        (["The", "�", "cat"], [None, -1, -1], "at character 3"),
        ([], [], "no log probabilities"),
        (["The"], [None, -1], "no log probabilities"),
    ],
)
def test_what_is_not_the_text_is_a_failure(tokens: list[str], numbers: list[Any], reason: str) -> None:
    found = scored(reply(tokens, numbers, "The cat"), "The cat")
    assert (found.status, found.tokens) == ("failed", None)
    assert reason in found.reason
    assert found.answer.status == "answered"


def test_a_service_that_does_not_echo_has_failed() -> None:
    found = scored(reply([" on"], [-0.5], " on"))
    assert (found.status, found.tokens) == ("failed", None)
    assert "no log probabilities" in found.reason


def test_tiny_excess_above_zero_is_rounding() -> None:
    found = scored(reply(["The", " cat"], [None, 1e-6], "The cat"), "The cat")
    assert found.tokens is not None
    assert found.tokens.logp.tolist() == [0.0]


def test_refusals_and_failures_are_seen_and_the_rest_goes_on() -> None:
    behave = in_turn(scorer, Sent(b"no", 451), Sent(b"odd", 400), scorer)
    with asking(behave, styled) as (one, _):
        model = ServedLanguage(one)
        found = [model.score_text("The cat") for _ in range(4)]
    assert [each.status for each in found] == ["answered", "refused", "failed", "answered"]
    assert [each.tokens is None for each in found] == [False, True, True, False]
    assert "451" in found[1].reason
    assert "400" in found[2].reason


def test_score_tokens_stops_at_the_first_text_without_an_answer() -> None:
    server: Server
    with asking(in_turn(scorer, Sent(b"no", 451), scorer), styled) as (one, server):
        with pytest.raises(RunError, match="refused") as caught:
            ServedLanguage(one).score_tokens(["The cat", "The dog", "The eel"])
        assert len(server.seen) == 2
    assert (caught.value.where, "score_text" in str(caught.value.fix)) == ("text 1", True)


def test_what_cannot_be_asked() -> None:
    chat = endpoint({"url": "http://127.0.0.1:1/", "style": "openai-chat"})
    with pytest.raises(UsageError, match="prompt"):
        ServedLanguage(chat).score_text(TEXT)
    with pytest.raises(UsageError, match="empty"):
        ServedLanguage(chat).score_text("")
    with asking(lambda _: Sent(b"who?", 401), styled) as (one, _), pytest.raises(Misconfigured):
        ServedLanguage(one).score_text(TEXT)


def test_a_service_of_another_kind() -> None:
    template = {"in": "{prompt}", "n": "{max_tokens}", "echo": "{echo}"}
    made = {"url": "", "body": {"kind": "json", "template": template}, "response_path": "said"}
    paths = {"tokens_path": "t[*].s", "logprobs_path": "t[*].p"}

    def behave(seen: Seen) -> Sent:
        tokens = words(seen.json["in"])
        return said({"said": seen.json["in"], "t": [{"s": token, "p": -1} for token in tokens]})

    with asking(behave, lambda url: {**made, **paths, "url": url}) as (one, server):
        (found,) = ServedLanguage(one).score_tokens([TEXT])
    # This one scores the first token as well.
    assert np.array_equal(found.logp, -np.ones(len(words(TEXT))))
    assert server.seen[0].json["echo"] is True
