"""Bodies in a bundle are those of its transcript, each with the bytes that were sent or received."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from story import CLASSES, COMMITTED, story

from noli.proof.bodies import check_bodies, digests
from noli.proof.bundle import pack, unpack
from noli.proof.check import Trust, check
from noli.proof.records import Damaged, sha256
from noli.proof.times import seen_by_checker
from noli.proof.transcript import Transcript, content_of

TRUST = Trust(seen=(seen_by_checker(COMMITTED),))
BODIES = {f"bodies/{sha256(body)}": body for i in range(30) for body in (b"asked %d" % i, b"said %d" % i)}


def served(item: int, _part: int) -> Mapping[str, Any]:
    request, response = (sha256(b"%s %d" % (word, item)) for word in (b"asked", b"said"))
    shown = {"request": request, "response": response}
    return {"status": "answered", "answer": (CLASSES[item * 7 % 10],), **shown}


@pytest.fixture
def held(tmp_path: Path) -> dict[str, bytes]:
    return unpack(story(tmp_path).bundle(served, files=BODIES))[0]


def status(tmp_path: Path, members: Mapping[str, bytes]) -> tuple[str, str]:
    found = check(pack(members, story(tmp_path).key), TRUST)
    return found.status, " ".join(found.reasons)


def test_bodies_are_taken_and_may_be_left_out(tmp_path: Path, held: dict[str, bytes]) -> None:
    assert sum(name.startswith("bodies/") for name in held) == 60
    assert status(tmp_path, held)[0] == "not significant"
    del held[next(iter(BODIES))]
    assert status(tmp_path, held)[0] == "not significant"


def test_other_bytes_are_found(tmp_path: Path, held: dict[str, bytes]) -> None:
    name = sorted(BODIES)[7]
    told = status(tmp_path, {**held, name: BODIES[name] + b"!"})
    assert told[0] == "tampered"
    assert f"{name} is not what was sent or received" in told[1]


@pytest.mark.parametrize(
    "name", [f"bodies/{sha256(b'x')}", "bodies/", "bodies/x", f"bodies/../{sha256(b'x')}"]
)
def test_bodies_that_nobody_asked_or_said(tmp_path: Path, held: dict[str, bytes], name: str) -> None:
    told = status(tmp_path, {**held, name: b"x"})
    assert told[0] == "tampered"
    assert "is no body of the transcript" in told[1]


def test_what_was_never_received_has_no_body() -> None:
    made = Transcript()
    made.add(item=0, content=content_of(b""), time=COMMITTED, status="failed", request=sha256(b"x"))
    assert digests(made.entries) == {sha256(b"x")}
    assert check_bodies([(f"bodies/{sha256(b'x')}", b"x")], made.entries) == 1
    assert check_bodies([], made.entries) == 0
    with pytest.raises(Damaged):
        check_bodies([("bodies/", b"")], made.entries)
