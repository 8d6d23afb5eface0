"""What rests on an owner's word: a dishonest one is never valid to somebody who believes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from story import CLASSES, COMMITTED, SINCE, SUSPECT, WORD, Story, altered, honest, story, thief
from test_records import RANDOMNESS, SIGNATURE

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.proof.beacon import Beacon
from noli.proof.bundle import pack
from noli.proof.check import Checked, check
from noli.proof.claim import Suspect
from noli.proof.commitment import Vault, entropy
from noli.proof.kinds import kind
from noli.proof.records import utc
from noli.proof.session import Extras, Session, claim_of, members
from noli.proof.several import together
from noli.proof.times import seen_by_checker
from noli.proof.transcript import Transcript
from noli.proof.trust import WORDS, Trust, Word, words

SEEN = (seen_by_checker(COMMITTED),)
EARLY = (seen_by_checker("2023-08-23T15:00:00+00:00"),)


def constant(_item: int, _part: int) -> Mapping[str, Any]:
    """Calls everything strange the same, as many an innocent network does."""
    return {"status": "answered", "answer": ("f",)}


@dataclass(frozen=True)
class Grinder(Vault):
    """Tries secrets, leaf by leaf, until each is drawn for what the constant model answers."""

    def secret(self, index: int) -> Key:
        test = kind(self.protocol)
        tried = (Key.from_bytes(index.to_bytes(16) + n.to_bytes(16)) for n in count())
        return next(key for key in tried if CLASSES[test.draw(key, "")[0]] == "f")


def bundled(told: Story, session: Session, model: Any, suspect: Suspect = SUSPECT) -> bytes:
    session.run(model)
    claim, spent = claim_of(session, suspect, told.folder / "ledger.jsonl")
    return pack(members(session, claim, spent, Extras()), told.key)


def grinding(told: Story, beacon: Beacon | None = None) -> bytes:
    vault = Grinder(told.key, told.protocol, told.vault().contents)
    transcript = Transcript(start=SUSPECT.identity)
    return bundled(told, Session(vault, vault.commit("", COMMITTED), transcript, beacon=beacon), constant)


def word(found: Checked) -> list[Word]:
    return [one.word for one in found.rests]


def test_ground_secrets_accuse_an_innocent_only_for_who_believes_the_owner(tmp_path: Path) -> None:
    data = grinding(story(tmp_path, secrets=20, budget=20))
    found = check(data, Trust(seen=SEEN, suspect_since=utc(SINCE)))
    assert found.claim.outcome.value == 20
    assert found.claim.outcome.p == pytest.approx(1e-20)
    assert (found.status, found.exit_code, word(found)) == ("on trust", 11, ["draw"])
    assert "drawn at random" in found.reasons[0]
    assert check(data, Trust(seen=SEEN, suspect_since=utc(SINCE), believe=frozenset({"draw"}))).exit_code == 0


def test_a_beacon_undoes_the_grinding(tmp_path: Path) -> None:
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    data = grinding(story(tmp_path, secrets=20, budget=20, beacon={"round": 123}), beacon)
    found = check(data, Trust(seen=EARLY, believe=frozenset(WORDS) - {"clock"}))
    assert (found.status, found.exit_code) == ("not significant", 10)
    assert found.claim.outcome.p > 1e-4


def test_the_age_of_the_suspect_is_the_owner_s_word(tmp_path: Path) -> None:
    told = story(tmp_path)
    data = told.bundle(thief(told))
    found = check(data, Trust(seen=SEEN, believe=frozenset({"draw"})))
    assert (found.status, word(found)) == ("on trust", ["age"])
    assert "2026-02-01" in found.reasons[0]
    assert check(data, Trust(seen=SEEN, believe=WORD)).status == "valid"
    known = Trust(seen=SEEN, believe=frozenset({"draw"}), suspect_since=utc(SINCE))
    assert check(data, known).status == "valid"
    # The truth, where the owner named too late a time.
    older = replace(known, suspect_since=utc("2025-06-01T00:00:00+00:00"))
    assert check(data, older).status == "untimely"


def test_nobody_believes_by_default(tmp_path: Path) -> None:
    told = story(tmp_path)
    found = check(told.bundle(thief(told)), Trust(seen=SEEN))
    assert (found.status, word(found)) == ("on trust", ["draw", "age"])
    assert found.as_dict()["rests_on"].keys() == {"draw", "age"}
    assert check(told.bundle(honest), Trust(seen=SEEN)).status == "not significant"


def mapped(tmp_path: Path, known: dict[str, tuple[str, ...]]) -> bytes:
    """Suspects that answer in classes of their own, read by a label map; a beacon decides what is asked."""
    told = story(tmp_path, beacon={"round": 123})
    suspect = SUSPECT.model_copy(update={"label_map": known})
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    session = Session(told.vault(), told.commit(), Transcript(start=suspect.identity), beacon=beacon)

    def ask(item: int, _part: int) -> Mapping[str, Any]:
        public = entropy(session.commitment, RANDOMNESS, item)
        (number,) = kind(told.protocol).draw(told.vault().secret(item), public)
        return {"status": "answered", "answer": (CLASSES[number],)}

    return bundled(told, session, ask, suspect)


def test_a_label_map_is_the_owner_s_word_with_a_beacon_too(tmp_path: Path) -> None:
    """A service with a name for every question would be found by the map that was made for its answers."""
    trust = Trust(seen=EARLY)
    for name, known, rests in (
        ("fitted", {"tabby": ("a",), "Siamese": ("a", "b")}, ["labels"]),
        ("same", {name: (name,) for name in CLASSES}, []),
        ("none", {}, []),
    ):
        (tmp_path / name).mkdir()
        data = mapped(tmp_path / name, known)
        found = check(data, trust)
        assert (found.status, word(found)) == ("on trust" if rests else "valid", rests)
        assert check(data, replace(trust, believe=frozenset({"labels"}))).status == "valid"


def test_asking_again_with_an_empty_ledger_makes_both_bundles_worthless(tmp_path: Path) -> None:
    trust = Trust(seen=SEEN, believe=WORD)
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    first, again = (altered(story(tmp_path / place), tests=3) for place in ("one", "two"))
    other = lambda item, part: honest(item, part) if item == 1 else thief(again)(item, part)  # noqa: E731
    told = [check(first.bundle(thief(first)), trust), check(again.bundle(other), trust)]
    assert {one.status for one in told} == {"valid"}  # neither shows it alone
    found = together([("a.zip", told[0]), ("b.zip", told[1])])
    assert found.exit_code == 3
    assert [one.checked.status for one in found.bundles] == ["tampered", "tampered"]
    assert "that of b.zip each list a test" in found.bundles[0].checked.reasons[0]
    # One ledger that has grown is no contradiction.
    grown = check(first.bundle(other), trust)
    assert together([("a.zip", told[0]), ("c.zip", grown)]).exit_code == 0


def test_a_claim_on_trust_survives_on_trust(tmp_path: Path) -> None:
    told = story(tmp_path)
    found = together([("a.zip", check(told.bundle(thief(told)), Trust(seen=SEEN)))])
    assert (found.exit_code, found.survivors) == (11, ())
    assert found.bundles[0].on_trust
    assert found.as_dict()["bundles"][0]["survives_on_trust"] is True


def test_what_can_be_believed() -> None:
    assert words(()) == frozenset()
    assert words(("draw", "draw", "age")) == {"draw", "age"}
    with pytest.raises(UsageError, match="did you mean draw"):
        words(("drew",))
