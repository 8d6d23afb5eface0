"""What rests on an owner's word: a dishonest one is never valid to somebody who believes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from story import CLASSES, COMMITTED, LONG_AGO, SINCE, SUSPECT, WORD, Story, altered, honest, story, thief
from test_records import RANDOMNESS, SIGNATURE

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.proof import ledger
from noli.proof.beacon import Beacon
from noli.proof.bundle import pack, unpack
from noli.proof.check import Checked, check
from noli.proof.claim import Claim, Suspect
from noli.proof.commitment import Vault, entropy
from noli.proof.kinds import kind
from noli.proof.records import utc
from noli.proof.released import Bound
from noli.proof.session import Extras, Session, claim_of, members
from noli.proof.several import together
from noli.proof.times import seen_by_checker
from noli.proof.transcript import Transcript
from noli.proof.trust import WORDS, Trust, Word, words

SEEN = (seen_by_checker(COMMITTED),)
EARLY = (seen_by_checker(LONG_AGO),)


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
    transcript, made = Transcript(start=SUSPECT.identity), LONG_AGO if beacon else COMMITTED
    return bundled(told, Session(vault, vault.commit("", made), transcript, beacon=beacon), constant)


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
    transcript = Transcript(start=suspect.identity)
    session = Session(told.vault(), told.commit(LONG_AGO), transcript, beacon=beacon)

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
        # It would leave eight of ten answers out, and with them their misses.
        ("part", {"a": ("a",), "b": ("b",)}, ["labels"]),
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


@pytest.mark.parametrize(
    ("since", "asked", "says"),
    [
        (None, "2023-08-23T15:10:00+00:00", "came before the beacon's round"),
        ("2020-01-01T00:00:00+00:00", None, "before anything could be marked"),
        (SINCE, "2026-01-15T00:00:00+00:00", "before it is said to have existed"),
        (SINCE, None, ""),
    ],
)
def test_with_a_beacon_what_came_before_its_round_counts_for_nothing(
    tmp_path: Path, since: str | None, asked: str | None, says: str
) -> None:
    """Nothing was marked yet, and no assignment was known: only an invented transcript can hit them."""
    told = story(tmp_path, beacon={"round": 123})
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    suspect = SUSPECT.model_copy(update={"since": since})
    session = Session(told.vault(), told.commit(LONG_AGO), Transcript(start=suspect.identity), beacon=beacon)
    for item in range(told.protocol.budget):
        public = entropy(session.commitment, RANDOMNESS, item)
        (number,) = kind(told.protocol).draw(told.vault().secret(item), public)
        session.transcript.add(
            item=item,
            content=session.vault.contents[item][0],
            time=asked or "2026-05-01T00:00:00+00:00",
            status="answered",
            answer=(CLASSES[number],),
        )
    claim, spent = claim_of(session, suspect, tmp_path / "ledger.jsonl")
    found = check(pack(members(session, claim, spent, Extras()), told.key), Trust(seen=EARLY))
    assert found.claim.outcome.value == 30
    assert found.status == ("untimely" if says else "valid")
    assert says in " ".join(found.reasons)


def test_a_commitment_that_its_own_owner_dates_later_was_not_seen_then(tmp_path: Path) -> None:
    """Of two commitments the checker saw one; the other cannot have its time."""
    told = story(tmp_path)
    data = told.bundle(thief(told), session=told.session(told.commit("2026-01-20T00:00:00+00:00")))
    found = check(data, Trust(seen=SEEN, believe=WORD))
    assert found.status == "untimely"
    assert "By its owner's own clock the commitment was made at 2026-01-20" in found.reasons[0]


def test_a_time_counts_for_the_commitment_that_was_seen(tmp_path: Path) -> None:
    told = story(tmp_path)
    data, digest = told.bundle(thief(told)), told.commit().digest
    for number, status in ((digest, "valid"), (digest[:16], "valid"), ("ab" * 32, "untimely")):
        trust = Trust(seen=(seen_by_checker(f"{number}={COMMITTED}"),), believe=WORD)
        assert check(data, trust).status == status
    both = Trust(seen=(seen_by_checker(f"{'ab' * 32}={COMMITTED}"), *SEEN), believe=WORD)
    assert check(data, both).status == "valid"
    with pytest.raises(UsageError, match="16 hex digits"):
        seen_by_checker(f"{digest[:15]}={COMMITTED}")


def test_tests_in_another_family_are_no_way_around_their_price(tmp_path: Path) -> None:
    told, trust = story(tmp_path), Trust(seen=SEEN, believe=WORD)
    held, _ = unpack(told.bundle(thief(told)))
    own = ledger.read(tmp_path / "ledger.jsonl")[0].model_dump(exclude={"number", "previous"})
    for name, protocol, status in (("a", told.protocol.digest, "tampered"), ("b", "ab" * 32, "valid")):
        file = tmp_path / name
        for n in range(3):
            aside = {"family": "elsewhere", "protocol": protocol, "transcript": f"{n:064d}", "p": 0.5}
            ledger.append(file, **{**own, **aside})
        ledger.append(file, **own)
        found = check(pack({**held, "ledger.jsonl": file.read_bytes()}, told.key), trust)
        assert found.status == status
        assert ("in another family" in " ".join(found.reasons)) is (status == "tampered")


def test_words_of_an_older_version_are_no_forgery(tmp_path: Path) -> None:
    """Figures are compared; the words are those of who checks."""
    told = story(tmp_path)
    held, _ = unpack(told.bundle(thief(told)))
    claim = Claim.read(held["claim.json"], "claim.json")
    words = {"statistic": "hits, as once called", "assumptions": ("Everything is fine.",)}
    older = claim.model_copy(update={"outcome": claim.outcome.model_copy(update=words)})
    found = check(pack({**held, "claim.json": older.canonical()}, told.key), Trust(seen=SEEN, believe=WORD))
    assert found.status == "valid"
    assert found.claim.outcome.statistic == claim.outcome.statistic
    assert found.claim.outcome.assumptions == claim.outcome.assumptions
    bent = claim.model_copy(update={"outcome": claim.outcome.model_copy(update={"value": 30.0})})
    assert check(pack({**held, "claim.json": bent.canonical()}, told.key), Trust(seen=SEEN)).exit_code == 3


def test_a_bundle_counts_once_under_whatever_name(tmp_path: Path) -> None:
    told = story(tmp_path)
    found = check(told.bundle(thief(told)), Trust(seen=SEEN, believe=WORD))
    for names in (("a.zip", "a.zip"), ("a.zip", "b.zip")):
        with pytest.raises(UsageError, match="handed in twice"):
            together([(name, found) for name in names])


def test_two_lists_of_released_files_contradict_each_other(tmp_path: Path) -> None:
    told, trust = altered(story(tmp_path), tests=2), Trust(seen=SEEN, believe=WORD)
    first = check(told.bundle(thief(told)), trust)
    second = check(told.bundle(lambda i, p: honest(i, p) if i == 1 else thief(told)(i, p)), trust)
    same, other = Bound("ab" * 32), Bound("cd" * 32)
    for lists, code in (((same, same), 0), ((same, None), 0), ((same, other), 3)):
        bundles = [replace(one, release=listed) for one, listed in zip((first, second), lists, strict=True)]
        found = together([("a.zip", bundles[0]), ("b.zip", bundles[1])])
        assert found.exit_code == code
        assert ("different files" in " ".join(found.bundles[1].checked.reasons)) is (code == 3)


def test_the_owner_s_clock_is_named_where_it_decides(tmp_path: Path) -> None:
    """A later witness beside it changes nothing: without the clock the claim would be untimely."""
    told = story(tmp_path)
    data, late = told.bundle(thief(told)), (seen_by_checker("2026-03-01T00:00:00+00:00"),)
    for seen in ((), late):
        found = check(data, Trust(seen=seen, believe=WORD | {"clock"}))
        assert (found.status, found.believed) == ("valid", ("clock", "draw", "age"))
    assert check(data, Trust(seen=late, believe=WORD)).status == "untimely"
    before = check(
        data, Trust(seen=(seen_by_checker("2025-12-31T13:00:00+00:00"),), believe=WORD | {"clock"})
    )
    assert (before.status, before.believed) == ("valid", ("draw", "age"))
