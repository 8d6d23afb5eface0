"""Whoever has only a bundle can make every draw of a verification again, as its environment.json says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from story import SUSPECT, Story, honest, story
from test_records import RANDOMNESS, SIGNATURE

sys.path.insert(0, str(Path(__file__).parents[1]))
from beacon_round import ROUND
from noli.core.key import Key
from noli.proof.beacon import Beacon
from noli.proof.commitment import entropy
from noli.proof.kinds import kind
from noli.proof.reproducing import extras, randomness
from noli.proof.session import Extras, Session, claim_of, members

LABELS: dict[str, Any] = {}
BITS = {"test": "bits", "parameters": {"bits": 16, "pictures": 2}, "secrets": 1, "budget": 1}
DECOYS = {"test": "decoys", "parameters": {"triggers": 8}, "secrets": 1, "budget": 1}
CHOICES = {"test": "choices", "parameters": {"options": 5}}


def session_of(folder: Path, beacon: bool, changes: dict[str, Any]) -> tuple[Story, Session]:
    told = story(folder, **changes, **({"beacon": {"round": ROUND}} if beacon else {}))
    made = Beacon(round=ROUND, signature=SIGNATURE, randomness=RANDOMNESS)
    return told, replace(told.session(), beacon=made if beacon else None)


@pytest.mark.parametrize("beacon", [False, True])
@pytest.mark.parametrize(
    "changes", [LABELS, BITS, DECOYS, CHOICES], ids=["labels", "bits", "decoys", "choices"]
)
def test_every_draw_follows_from_the_bundle(tmp_path: Path, beacon: bool, changes: dict[str, Any]) -> None:
    told, session = session_of(tmp_path, beacon, changes)
    said = json.loads(json.dumps(randomness(session)))
    assert (said["beacon"] is not None) == beacon
    assert said["protocol"] == told.protocol.digest
    test, opened = kind(told.protocol), session.vault.open(range(told.protocol.budget))
    for one in opened:
        secret = Key.from_bytes(bytes.fromhex(one.secret))
        item = said["assignment"]["item"].format(index=one.index)
        stream = secret.stream(said["assignment"]["purpose"], item)
        # As the documentation of the kinds has it: bits, or one integer below the number of possibilities.
        if told.protocol.test == "bits":
            drawn: tuple[int, ...] = tuple(map(int, stream.integers(16, 2)))
        else:
            drawn = (stream.choice({"labels": 10, "choices": 5, "decoys": 8}[told.protocol.test]),)
        public = RANDOMNESS if beacon else ""
        assert drawn == test.draw(secret, entropy(session.commitment, public, one.index))


def test_seeds_are_named_where_pictures_are_made(tmp_path: Path) -> None:
    _, session = session_of(tmp_path, False, BITS)
    said, (first,) = randomness(session), session.vault.open([0])
    stream = Key.from_bytes(bytes.fromhex(first.secret)).stream("proof/pictures")
    assert said["seeds"] == {"proof/pictures": int(stream.integers(1, 2**31)[0])}
    assert "begin with it" in said["statement"]
    said = randomness(session_of(tmp_path, False, LABELS)[1])
    assert said["seeds"] == {}
    assert "No seed was chosen" in said["statement"]
    assert "No generator of Python, NumPy or torch takes part" in said["statement"]


def test_nothing_sealed_is_told(tmp_path: Path) -> None:
    told, session = session_of(tmp_path, False, LABELS)
    session.run(honest)
    claim, spent = claim_of(session, SUSPECT, tmp_path / "ledger.jsonl")
    told_of = json.dumps(randomness(session)).encode()
    held = members(session, claim, spent, Extras({"environment.json": told_of}))
    for index in range(told.protocol.budget, told.protocol.secrets):
        secret = told.vault().secret(index).export_secret().hex()
        assert not any(secret.encode() in data for data in held.values())


def test_versions_of_optional_packages() -> None:
    assert all(isinstance(version, str) and version for version in extras().values())
    assert "noli" not in extras()
