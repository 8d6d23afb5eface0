"""Services that refuse, slow us down, break, lie about where they are, or send too much."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from servers import (
    Seen,
    Sent,
    Time,
    asking,
    closed_port,
    coloured,
    endpoint,
    image_settings,
    in_turn,
    own_authority,
    said,
    serve,
    text_settings,
    top_1,
)

from noli.adapters.answers import NOTHING
from noli.adapters.endpoint import BudgetSpent, Misconfigured
from noli.core.errors import RunError, UsageError

BLUE = coloured(10, 20, 200)
DROPPED = Sent(b'{"label": "red"}', drop_after=5)
BUSY = Sent(status=503)


# Refusals


def test_a_refusing_status_is_an_answer() -> None:
    no = said({"error": {"message": "not today"}}, 403)
    with asking(in_turn(no, top_1, Sent(status=451))) as (one, _):
        found = [one.ask_image(BLUE) for _ in range(3)]
    assert [answer.status for answer in found] == ["refused", "answered", "refused"]
    assert [answer.reason for answer in found] == ["HTTP 403: not today", "", "HTTP 451"]
    assert found[0].response_sha256 == hashlib.sha256(no.body).hexdigest()
    assert one.spent == 3


@pytest.mark.parametrize(
    ("rules", "reply", "status"),
    [
        ({"pattern": "cannot (help|assist)"}, said({"label": "Sorry, I CANNOT  assist."}), "answered"),
        ({"pattern": r"cannot\s+(help|assist)"}, said({"label": "Sorry, I CANNOT  assist."}), "refused"),
        ({"pattern": "^none$", "path": "label"}, said({"label": "none", "x": 1}), "refused"),
        ({"pattern": "none", "path": "why"}, said({"label": "none"}), "answered"),
        ({"pattern": "policy", "path": "error"}, said({"error": {"code": "policy_7"}}, 400), "refused"),
        ({"pattern": "blocked"}, Sent(b"<p>blocked</p>", 503), "refused"),
        ({"statuses": (422,)}, said({}, 422), "refused"),
        ({"statuses": (200,)}, said({"label": "x"}), "refused"),
    ],
)
def test_refusal_rules(rules: dict[str, Any], reply: Sent, status: str) -> None:
    with asking(lambda _: reply, refusals=rules) as (one, _):
        answer = one.ask_image(BLUE)
    assert answer.status == status
    assert answer.attempts == 1
    assert bool(answer.reason) == (status == "refused")


# Pauses and further tries


def test_a_limited_service_is_waited_for_in_seconds() -> None:
    time = Time()
    busy = Sent(status=429, headers={"Retry-After": "7"})
    with asking(in_turn(busy, busy, top_1), time=time) as (one, _):
        answer = one.ask_image(BLUE)
    assert (answer.labels, answer.attempts, one.spent) == (("blue",), 3, 3)
    assert time.waits == [7, 7]
    assert answer.time == "2027-01-15T08:00:14.250+00:00"


def test_a_limited_service_is_waited_for_until_a_date() -> None:
    time = Time()  # it is 08:00:00.25 on our clock
    named = Sent(status=429, headers={"Retry-After": "Fri, 15 Jan 2027 08:00:20 GMT"})
    skewed = {"Retry-After": "Fri, 15 Jan 2027 09:00:30 GMT", "Date": "Fri, 15 Jan 2027 09:00:00 GMT"}
    with asking(in_turn(named, Sent(status=503, headers=skewed), top_1), time=time) as (one, _):
        assert one.ask_image(BLUE).attempts == 3
    assert time.waits == [19.75, 30]


def test_no_pause_is_longer_than_allowed() -> None:
    time = Time()
    busy = Sent(status=429, headers={"Retry-After": "86400"})
    with asking(in_turn(busy, BUSY, BUSY, top_1), time=time, max_wait=3, backoff=2) as (one, _):
        assert one.ask_image(BLUE).status == "answered"
    assert time.waits == [3, 3, 3]


def test_pauses_double_and_end() -> None:
    time = Time()
    with asking(lambda _: BUSY, time=time, retries=4) as (one, server):
        answer = one.ask_image(BLUE)
    assert time.waits == [1, 2, 4, 8]
    assert (answer.status, answer.attempts, answer.reason) == ("failed", 5, "HTTP 503")
    assert len(server.seen) == one.spent == 5


def test_the_rate_holds_for_queries_and_tries() -> None:
    time = Time()
    sent: list[float] = []

    def note(seen: Seen) -> Sent:
        sent.append(time.moment)
        return BUSY if len(sent) == 2 else top_1(seen)

    with asking(note, time=time, rate=0.5, backoff=0.5) as (one, _):
        for _ in range(3):
            one.ask_image(BLUE)
    assert sent == [0, 2, 4, 6]


@pytest.mark.parametrize("drop_after", [0, 5])
def test_a_dropped_connection_is_tried_again(drop_after: int) -> None:
    time = Time()
    cut = Sent(DROPPED.body, drop_after=drop_after)
    with asking(in_turn(cut, cut, top_1), time=time) as (one, _):
        answer = one.ask_image(BLUE)
    assert (answer.status, answer.labels, answer.attempts) == ("answered", ("blue",), 3)
    assert time.waits == [1, 2]


def test_a_connection_that_never_recovers_is_a_failed_answer() -> None:
    with asking(lambda _: DROPPED, retries=2) as (one, server):
        found = [one.ask_image(BLUE) for _ in range(2)]
    assert [answer.status for answer in found] == ["failed", "failed"]
    assert found[0].reason == "the connection broke"
    assert found[0].response_sha256 == NOTHING
    assert found[0].request_sha256 == hashlib.sha256(server.seen[0].body).hexdigest()
    assert one.spent == len(server.seen) == 6 == sum(answer.attempts for answer in found)


def test_a_service_that_dawdles() -> None:
    time = Time()

    def slow(seen: Seen) -> Sent:
        time.moment += 3
        return top_1(seen)

    with asking(slow, time=time, timeout=2, retries=1) as (one, _):
        answer = one.ask_image(BLUE)
    assert (answer.status, answer.attempts, answer.seconds) == ("failed", 2, 3)
    assert answer.reason == "no complete response within 2 s"


def test_the_real_timeout() -> None:
    import threading

    released = threading.Event()

    def stuck(seen: Seen) -> Sent:
        released.wait(10)
        return top_1(seen)

    with asking(stuck, timeout=0.2, retries=0) as (one, _):
        answer = one.ask_image(BLUE)
        released.set()
    assert answer.reason == "no complete response within 0.2 s"


# What stops the work


def test_a_service_that_nobody_can_reach_is_an_error() -> None:
    time = Time()
    with (
        endpoint(image_settings(f"http://127.0.0.1:{closed_port()}/x", retries=2), time) as one,
        pytest.raises(RunError, match="cannot be reached") as caught,
    ):
        one.ask_image(BLUE)
    assert "url" in str(caught.value.fix)
    assert time.waits == [1, 2]


@pytest.mark.parametrize("host", ["a..b", "a" * 300, "xn--zzzzzzz99999.invalid"])
def test_names_of_hosts_that_are_none(host: str) -> None:
    with endpoint(image_settings(f"http://{host}/")) as one, pytest.raises(RunError) as caught:
        one.ask_image(BLUE)
    assert caught.value.why == "the address names no host or is too long"
    assert one.spent == 1


def test_a_service_that_goes_away_later_gives_failed_answers() -> None:
    with serve(top_1) as server:
        one = endpoint(image_settings(server.url, retries=0))
        assert one.ask_image(BLUE).status == "answered"
        with one:
            pass  # closes the connection that is kept
    answer = one.ask_image(BLUE)
    assert (answer.status, answer.reason) == ("failed", "no connection to the service")


WRONG = [
    (said({"error": {"message": "no such key"}}, 401), "HTTP 401", "no such key", "credentials"),
    (said({"detail": "Not Found"}, 404), "HTTP 404", "Not Found", "check url"),
    (said({"error": "bad\nfield"}, 422), "HTTP 422", "bad field", "dry run"),
    (Sent(b"nope", 405), "HTTP 405", "nope", "method"),
    (said([1], 400), "HTTP 400", "[1]", "dry run"),
    (said({"labels": ["a"]}), "nothing at this path", "labels", "did you mean labels?"),
    (said({"label": None}), "something else", "null", "response_path"),
    (said({"label": 3}), "something else", "set classes", "classes"),
    (said({"label": {"a": "b"}}), "something else", "an object", "response_path"),
    (Sent(b"<html>", headers={"Content-Type": "text/html"}), "not JSON", "text/html", "address"),
    (Sent(b""), "not JSON", "no content type", "address"),
    (Sent(b"[" * 100_000), "not JSON", "", "address"),
    (Sent(b'{"label": "a\xff\xfe"}'), "not JSON", "", "address"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "what", "why", "fix"), WRONG)
def test_what_is_wrong_from_the_start_stops_the_work(reply: Sent, what: str, why: str, fix: str) -> None:
    with asking(lambda _: reply) as (one, _), pytest.raises(Misconfigured, match=what) as caught:
        one.ask_image(BLUE)
    assert why in str(caught.value.why)
    assert fix in str(caught.value.fix)
    assert one.spent == 1
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(("reply", "what", "why", "fix"), WRONG)
def test_what_goes_wrong_later_is_a_failed_answer(reply: Sent, what: str, why: str, fix: str) -> None:
    with asking(in_turn(top_1, reply, top_1)) as (one, _):
        found = [one.ask_image(BLUE) for _ in range(3)]
    assert [answer.status for answer in found] == ["answered", "failed", "answered"]
    assert what in found[1].reason
    assert found[1].labels == ()
    assert found[1].response_sha256 == hashlib.sha256(reply.body).hexdigest()


def test_a_refusal_shows_that_the_service_is_there() -> None:
    with asking(in_turn(Sent(status=403), Sent(b"gone", 404))) as (one, _):
        assert [one.ask_image(BLUE).status for _ in range(2)] == ["refused", "failed"]


def test_a_wrong_path_of_a_text() -> None:
    with (
        asking(lambda _: said({"text": ["a"]}), text_settings) as (one, _),
        pytest.raises(Misconfigured, match="something else") as caught,
    ):
        one.ask_text("x")
    assert "a text is looked for, and there is a list of 1" in str(caught.value.why)


def test_the_budget_is_spent_in_the_open() -> None:
    with asking(top_1, budget=2) as (one, server):
        assert [one.ask_image(BLUE).status for _ in range(2)] == ["answered"] * 2
        for _ in range(2):
            with pytest.raises(BudgetSpent, match="budget of 2 requests"):
                one.ask_image(BLUE)
    assert one.spent == len(server.seen) == 2


def test_the_budget_counts_every_try() -> None:
    time = Time()
    with asking(lambda _: BUSY, budget=3, retries=9, time=time) as (one, server):
        answer = one.ask_image(BLUE)
        with pytest.raises(BudgetSpent):
            one.ask_image(BLUE)
    assert (answer.status, answer.attempts) == ("failed", 3)
    assert answer.reason == "HTTP 503; the budget is spent"
    assert len(server.seen) == 3
    assert time.waits == [1, 2]


# Too much, too far


def test_an_oversize_response_is_cut_off() -> None:
    huge = Sent(b"[" + b"1," * 5_000_000 + b"1]")
    with asking(in_turn(top_1, huge, top_1), max_bytes=10_000) as (one, _):
        found = [one.ask_image(BLUE) for _ in range(3)]
    assert [answer.status for answer in found] == ["answered", "failed", "answered"]
    assert found[1].reason == "the response is larger than 10000 bytes"
    assert (found[1].attempts, found[1].response_sha256) == (1, NOTHING)


def test_a_packed_response() -> None:
    body = gzip.compress(b'{"label": "red"}', mtime=0)
    with asking(lambda _: Sent(body, headers={"Content-Encoding": "gzip"})) as (one, server):
        answer = one.ask_image(BLUE)
    assert answer.labels == ("red",)
    assert answer.response_sha256 == hashlib.sha256(body).hexdigest()
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (gzip.compress(b" " * 1_000_000, mtime=0), "gzip", "larger than 10000 bytes"),
        (b"not gzip at all", "gzip", "packed wrongly"),
        (gzip.compress(b'{"label": "red"}', mtime=0)[:-3], "gzip", "not complete"),
        (b"x", "br", "unknown way"),
    ],
)
def test_packages_that_are_not_opened(body: bytes, encoding: str, reason: str) -> None:
    assert len(body) < 10_000
    with asking(lambda _: Sent(body, headers={"Content-Encoding": encoding}), max_bytes=10_000) as (one, _):
        answer = one.ask_image(BLUE)
    assert answer.status == "failed"
    assert reason in answer.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_to_another_host_is_followed(status: int) -> None:
    with serve(top_1) as other:
        away = Sent(status=status, headers={"Location": other.url + "?secret=1"})
        with asking(in_turn(away, top_1, away)) as (one, _):
            with pytest.raises(Misconfigured, match="redirects") as caught:
                one.ask_image(BLUE)
            assert [one.ask_image(BLUE).status for _ in range(2)] == ["answered", "failed"]
    assert other.seen == []
    assert "secret" not in str(caught.value)
    assert "to http://127.0.0.1" in str(caught.value.why)


def test_a_redirect_within_the_service_is_followed_and_counted() -> None:
    with asking(in_turn(Sent(status=307, headers={"Location": "/v2/predict?x=1"}), top_1)) as (one, server):
        answer = one.ask_image(BLUE)
    assert (answer.labels, answer.attempts, one.spent) == (("blue",), 2, 2)
    assert [seen.path for seen in server.seen] == ["/predict", "/v2/predict?x=1"]
    assert server.seen[0].body == server.seen[1].body


@pytest.mark.parametrize(
    "location",
    ["//other.invalid/x", "https://127.0.0.1/", "http://user@127.0.0.1/", "http://[", "http://a:b/"],
)
def test_redirects_that_only_look_like_the_same_service(location: str) -> None:
    with asking(in_turn(top_1, Sent(status=308, headers={"Location": location}))) as (one, server):
        assert [one.ask_image(BLUE).status for _ in range(2)] == ["answered", "failed"]
    assert len(server.seen) == 2


def test_a_redirect_in_a_circle_ends() -> None:
    with (
        asking(lambda _: Sent(status=308, headers={"Location": "/predict"})) as (one, server),
        pytest.raises(Misconfigured, match="redirects"),
    ):
        one.ask_image(BLUE)
    assert len(server.seen) == one.spent == 4


def test_a_post_is_not_turned_into_a_get() -> None:
    away = Sent(status=302, headers={"Location": "/other"})
    with asking(in_turn(top_1, away)) as (one, server):
        assert [one.ask_image(BLUE).status for _ in range(2)] == ["answered", "failed"]
    with serve(in_turn(away, said("x"))) as server:
        settings = {"url": server.url, "method": "GET", "query": {"q": "{prompt}"}}
        with endpoint(settings) as one:
            assert one.ask_text("hello").text == "x"
    assert [seen.path for seen in server.seen] == ["/predict?q=hello", "/other"]


# TLS and proxies


def test_the_certificate_is_recorded(tmp_path: Path) -> None:
    context, pem, der = own_authority(tmp_path)
    with (
        serve(in_turn(top_1, DROPPED), context) as server,
        endpoint(image_settings(server.url, ca_file=str(pem), retries=0)) as one,
    ):
        found = [one.ask_image(BLUE) for _ in range(2)]
    assert [answer.status for answer in found] == ["answered", "failed"]
    assert {answer.certificate_sha256 for answer in found} == {hashlib.sha256(der).hexdigest()}


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tmp_path: Path) -> None:
    context, *_ = own_authority(tmp_path)
    with (
        serve(top_1, context) as server,
        endpoint(image_settings(server.url)) as one,
        pytest.raises(RunError, match="cannot be reached") as caught,
    ):
        one.ask_image(BLUE)
    assert "not trusted" in str(caught.value.why)
    assert "ca_file" in str(caught.value.fix)
    assert one.spent == 1
    assert server.seen == []


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_authorities_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    place = tmp_path / "ca.pem"
    if content:
        place.write_bytes(content)
    with (
        endpoint(image_settings("https://127.0.0.1:1/", ca_file=str(place))) as one,
        pytest.raises(UsageError, match="authorities") as caught,
    ):
        one.ask_image(BLUE)
    assert caught.value.where == str(place)
    assert one.spent == 0


def test_proxies_are_for_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    seen_by_proxy: list[Seen] = []

    def relay(seen: Seen) -> Sent:
        seen_by_proxy.append(seen)
        return said({"label": "by proxy"})

    with serve(relay) as proxy, asking(top_1) as (one, _):
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/predict"))
        assert one.ask_image(BLUE).labels == ("blue",)
        with endpoint(image_settings("http://far.invalid/predict")) as outside:
            assert outside.ask_image(BLUE).labels == ("by proxy",)
        assert [seen.path for seen in seen_by_proxy] == ["http://far.invalid/predict"]
        monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
        with pytest.raises(UsageError, match="proxy"):
            endpoint(image_settings("http://far.invalid/predict")).ask_image(BLUE)


def test_an_answer_is_a_record() -> None:
    from dataclasses import FrozenInstanceError, asdict

    with asking(top_1) as (one, _):
        answer = one.ask_image(BLUE)
    with pytest.raises(FrozenInstanceError):
        answer.status = "refused"  # type: ignore[misc]
    line = json.loads(json.dumps(asdict(answer)))
    assert line["labels"] == ["blue"]
    assert line["image"] is None
