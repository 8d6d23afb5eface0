"""No secret leaves by any other way than the header or the query that it is for."""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from servers import (
    Seen,
    Sent,
    asking,
    coloured,
    endpoint,
    image_settings,
    in_turn,
    said,
    text_settings,
    top_1,
)

from noli.adapters.config_file import load_endpoint, make_endpoint
from noli.adapters.endpoint import Misconfigured, dry_run
from noli.adapters.endpoint_config import EndpointConfig
from noli.core.errors import UsageError

SECRET = "sk-9f8e/7d6c5b4a"
BLUE = coloured(10, 20, 200)
HEADERS = {"Authorization": "Bearer env:NOLI_TEST_KEY", "X-Plain": "open"}


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NOLI_TEST_KEY", f"{SECRET}\n")
    return SECRET


def test_it_is_sent_where_it_belongs(secret: str) -> None:
    query = {"key": "env:NOLI_TEST_KEY", "v": "1"}
    with asking(top_1, headers=HEADERS, query=query) as (one, server):
        one.ask_image(BLUE)
    (seen,) = server.seen
    assert seen.headers["authorization"] == f"Bearer {secret}"
    assert seen.headers["x-plain"] == "open"
    assert seen.path == f"/predict?v=1&key={secret.replace('/', '%2F')}"


def test_it_is_read_anew_for_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def rotate(_: Seen) -> Sent:
        monkeypatch.setenv("NOLI_TEST_KEY", "second-secret")
        return Sent(status=503)

    monkeypatch.setenv("NOLI_TEST_KEY", "first-secret")
    with asking(in_turn(rotate, top_1), headers=HEADERS) as (one, server):
        one.ask_image(BLUE)
    assert [seen.headers["authorization"][7:] for seen in server.seen] == ["first-secret", "second-secret"]


def parrot(seen: Seen) -> Sent:
    """Repeat the credentials in every possible place of an answer."""
    key = seen.headers["authorization"]
    token = key.removeprefix("Bearer ")
    inner = {"tokens": [token], "token_logprobs": [-1]}
    return said({"label": [token, f"x {key}"], "text": f"you are {key}, {token}", "logprobs": inner})


def everything(one: Any, *more: Any) -> str:
    """All that somebody might print or store."""
    return " ".join(
        map(repr, [one, vars(one), one.config, one.config.model_dump(mode="json"), one.unknown, *more])
    )


def test_an_answer_that_repeats_it_is_wiped(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with asking(parrot, headers=HEADERS, top=5, query={"key": "env:NOLI_TEST_KEY"}) as (one, _):
        images = one.ask_image(BLUE)
    places = {"tokens_path": "logprobs.tokens", "logprobs_path": "logprobs.token_logprobs"}
    with asking(parrot, text_settings, headers=HEADERS, **places) as (two, _):
        words = two.ask_text("who am I?", logprobs=True)
    with asking(parrot, headers=HEADERS, top=5, label_map={"a": "b"}) as (three, _):
        three.ask_image(BLUE)
    assert images.labels == ("***", "x Bearer ***")
    assert words.text == "you are Bearer ***, ***"
    assert words.logprobs == (("***", -1.0),)
    assert three.unknown == {"***": 1, "x Bearer ***": 1}
    for one_of in (one, two, three):
        assert secret not in everything(one_of, images, asdict(images), words)
    assert secret not in caplog.text
    assert secret.replace("/", "%2F") not in caplog.text


@pytest.mark.parametrize("status", [200, 401, 403, 500])
@pytest.mark.parametrize(
    "form", ["{0}", '{{"error": "{0} is no key"}}', '{{"error": "{1} is no key"}}', '{{"{0}": 1}}']
)
def test_no_error_and_no_reason_repeats_it(status: int, form: str, secret: str) -> None:
    body = form.format(secret, secret.replace("/", "\\/")).encode()
    rules = {"pattern": ".*is no key.*"}
    for behaviour, settings in (
        (lambda _: Sent(body, status), {}),
        (in_turn(top_1, Sent(body, status)), {}),
        (lambda _: Sent(body, status), {"refusals": rules}),
    ):
        told = ""
        with asking(behaviour, headers=HEADERS, retries=0, **settings) as (one, _):
            try:
                told = everything(one, *(one.ask_image(BLUE) for _ in range(2)))
            except Misconfigured as error:
                told = "".join(traceback.format_exception(error)) + repr(vars(error)) + everything(one)
        assert secret not in told
        assert secret.replace("/", "\\/") not in told.replace("\\\\", "\\")


def test_the_hash_of_a_request_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for value in ("one-secret", "other-secret"):
        monkeypatch.setenv("NOLI_TEST_KEY", value)
        with asking(top_1, headers=HEADERS) as (one, _):
            found.append(one.ask_image(BLUE).request_sha256)
    assert found[0] == found[1]


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_variable_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOLI_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("NOLI_TEST_KEY", value)
    with (
        asking(top_1, headers=HEADERS) as (one, server),
        pytest.raises(UsageError, match="NOLI_TEST_KEY is missing") as caught,
    ):
        one.ask_image(BLUE)
    assert "export NOLI_TEST_KEY" in str(caught.value.fix)
    assert caught.value.where == "needed for Authorization"
    assert (one.spent, server.seen) == (0, [])


@pytest.mark.parametrize("value", ["hunter2\nhunter2", "hunter2é", "hunter2\thunter2"])
def test_a_value_that_no_header_can_carry_is_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOLI_TEST_KEY", value)
    one = endpoint(image_settings("http://127.0.0.1:1/", headers=HEADERS))
    with pytest.raises(UsageError, match="NOLI_TEST_KEY holds") as caught:
        one.ask_image(BLUE)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"headers": {"Authorization": f"Bearer {SECRET}"}}, "Authorization"),
        ({"headers": {"x-api-key": SECRET}}, "x-api-key"),
        ({"query": {"access_token": SECRET}}, "access_token"),
        ({"headers": {"Cookie": SECRET}}, "Cookie"),
        ({"headers": {"X-Any": f"two words {SECRET} env:NAME"}}, "X-Any"),
        ({"headers": {"X-Any": "env:NO-NAME"}}, "X-Any"),
        ({"url": f"https://me:{SECRET}@host.invalid/"}, "url"),
        ({"url": f"https://host.invalid/?key={SECRET}"}, "url"),
        ({"timeout": SECRET}, "timeout"),
        ({"no_such": SECRET}, "no_such"),
    ],
)
def test_a_secret_in_a_configuration_is_refused_and_not_repeated(
    changes: dict[str, Any], name: str, tmp_path: Path
) -> None:
    settings = image_settings("https://host.invalid/") | changes
    file = tmp_path / "endpoint.json"
    file.write_text(json.dumps(settings))
    for make in (lambda: make_endpoint(settings), lambda: load_endpoint(file)):
        with pytest.raises(UsageError) as caught:
            make()
        assert name in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ValidationError) as refused:
        EndpointConfig(**settings)
    assert SECRET not in str(refused.value)


def test_harmless_names_may_have_plain_values() -> None:
    names = {"X-Author": "me", "X-Max-Tokens": "5", "Keyword": "cat", "Accept": "text/html; q=1"}
    assert make_endpoint(image_settings("http://h/", headers=names)).headers == names
    assert make_endpoint(image_settings("http://h/", query={"token": "{prompt}"})).query == {
        "token": "{prompt}"
    }


def test_a_dry_run_reads_no_secret(secret: str) -> None:
    shown = dry_run(make_endpoint(image_settings("https://host.invalid/x", headers=HEADERS)), BLUE)
    assert secret not in json.dumps(shown)
    assert shown["headers"] == ["Authorization", "Content-Type", "X-Plain"]
    assert shown["missing"] == []


def test_short_settings_from_the_environment_do_not_eat_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOLI_TEST_KEY", "blue")
    with asking(top_1, headers={"X-Mode": "env:NOLI_TEST_KEY"}) as (one, _):
        assert one.ask_image(BLUE).labels == ("blue",)
