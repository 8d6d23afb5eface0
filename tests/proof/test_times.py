"""Who can say when a commitment existed, and in which order things must have happened."""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from authority import Authority
from cryptography.hazmat.primitives.serialization import Encoding
from story import COMMITTED, LONG_AGO, SINCE, WORD, story, thief
from test_records import RANDOMNESS, SIGNATURE

from noli.core.errors import DataError, MissingPrerequisite, UsageError
from noli.proof.beacon import Beacon
from noli.proof.check import check
from noli.proof.commitment import entropy
from noli.proof.kinds import kind
from noli.proof.protocol import BeaconPlan
from noli.proof.records import Damaged, utc
from noli.proof.times import Order, TimeProof, parse, read_roots, request_token, seen_by_checker, token_time
from noli.proof.trust import Trust

EARLY, LATE = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority():
    return Authority()


def test_a_token_tells_the_time_of_its_message(authority):
    proof = token_time(authority.stamp(b"message", EARLY), b"message", [authority.root])
    assert proof.moment == EARLY
    assert "Test TSA" in proof.by


def test_a_token_of_something_else_or_of_a_stranger_tells_nothing(authority):
    token = authority.stamp(b"message", EARLY)
    with pytest.raises(Damaged, match="time stamp is not valid"):
        token_time(token, b"another message", [authority.root])
    with pytest.raises(Damaged, match="time stamp is not valid"):
        token_time(token, b"message", [Authority("Somebody else").root])
    with pytest.raises(Damaged, match="time stamp is not valid"):
        token_time(b"no token", b"message", [authority.root])
    changed = bytearray(token)
    changed[len(token) // 2] ^= 1
    with pytest.raises(Damaged, match="time stamp is not valid"):
        token_time(bytes(changed), b"message", [authority.root])


def test_bundles_with_time_stamps(authority, tmp_path):
    told = story(tmp_path)
    message = told.commit().canonical()
    trusting = Trust(roots=[authority.root], believe=WORD)
    good = told.bundle(thief(told), stamps=[authority.stamp(message, EARLY)])
    assert check(good, trusting).status == "valid"
    assert check(good, trusting).proofs[0].moment == EARLY
    assert "count once you name roots" in check(good).reasons[1]
    late = told.bundle(thief(told), stamps=[authority.stamp(message, LATE)])
    assert check(late, trusting).status == "untimely"
    foreign = told.bundle(thief(told), stamps=[authority.stamp(b"something else", EARLY)])
    found = check(foreign, trusting)
    assert found.status == "untimely"
    assert "A time stamp does not count" in found.reasons[1]


def test_a_beacon_after_the_commitment_replaces_the_suspect_s_age(tmp_path):
    """Whoever committed before round 123 could not choose what it made of the secrets."""
    told = story(tmp_path, beacon={"round": 123})
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    session = replace(told.session(told.commit(LONG_AGO)), beacon=beacon)

    def ask(item, _part):
        public = entropy(session.commitment, RANDOMNESS, item)
        number = kind(told.protocol).draw(told.vault().secret(item), public)[0]
        return {"status": "answered", "answer": ("abcdefghij"[number],)}

    data = told.bundle(ask, session=session)
    before = Trust(seen=[seen_by_checker(LONG_AGO)])
    assert check(data, before).status == "valid"
    after = Trust(seen=[seen_by_checker("2023-08-23T16:00:00+00:00")])
    found = check(data, after)
    assert found.status == "untimely"
    assert "The beacon was public" in found.reasons[0]


@pytest.mark.parametrize(
    ("order", "objection"),
    [
        (Order((), None, LATE, LATE), "Nobody but the owner"),
        (Order((TimeProof(EARLY, "x"),), None, LATE, LATE), None),
        (Order((TimeProof(LATE, "x"), TimeProof(EARLY, "y")), None, LATE, LATE), None),
        (Order((TimeProof(LATE, "x"),), None, EARLY, LATE), "The suspect existed"),
        (Order((TimeProof(LATE, "x"),), None, LATE, LATE), "The suspect existed"),
        (Order((TimeProof(EARLY, "x"),), None, None, LATE), "since when the suspect exists"),
        (Order((TimeProof(EARLY, "x"),), LATE, None, LATE), None),
        (Order((TimeProof(LATE, "x"),), LATE, None, LATE), "The beacon was public"),
        (Order((TimeProof(LATE, "x"),), None, LATE + timedelta(1), EARLY), "The first query"),
    ],
)
def test_orders_of_events(order, objection):
    found = order.objections()
    assert found == [] if objection is None else objection in found[0]


def test_times_need_a_zone():
    assert parse(None) is None
    assert parse(SINCE) == utc(SINCE)
    for text in ("yesterday", "2026-01-01T00:00:00"):
        with pytest.raises(UsageError, match="not a time with its zone"):
            parse(text)


def test_certificates_are_read_from_pem(authority):
    pem = authority.root.public_bytes(Encoding.PEM)
    assert read_roots(pem, "roots.pem") == [authority.root]
    with pytest.raises(UsageError, match="no certificate"):
        read_roots(b"nothing", "roots.pem")


def test_a_token_is_asked_for_over_the_network(authority, tmp_path):
    commitment = story(tmp_path).commit(COMMITTED)
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            answer = authority.stamp(commitment.canonical(), EARLY)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        token = request_token(url, commitment)
    finally:
        server.shutdown()
        server.server_close()
    assert token_time(token, commitment.canonical(), [authority.root]).moment == EARLY
    assert len(asked) == 1
    with pytest.raises(DataError, match="could not be had"):
        request_token(url, commitment)


def test_what_is_missing_is_named(authority, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingPrerequisite, match=r"noli\[timestamps\]"):
        token_time(b"", b"", [authority.root])
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    with pytest.raises(MissingPrerequisite, match=r"noli\[timestamps\]"):
        beacon.check(BeaconPlan(round=123))
