"""What a dishonest owner, a careless one, or a hostile service tried in review: none of it is valid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from story import COMMITTED, SUSPECT, WORD, Story, altered, honest, story, thief

from noli.core.errors import UsageError
from noli.proof import ledger, merkle
from noli.proof.bundle import pack, unpack
from noli.proof.check import check
from noli.proof.commitment import Commitment, Opening, leaf, public_key, sign
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged, canonical, sha256
from noli.proof.session import Extras, claim_of, members
from noli.proof.times import seen_by_checker
from noli.proof.transcript import content_of
from noli.proof.trust import Trust

TRUST = Trust(seen=(seen_by_checker(COMMITTED),), believe=WORD)


def test_the_answers_of_another_suspect_prove_nothing(tmp_path: Path) -> None:
    told = story(tmp_path)
    session = told.session()
    session.run(thief(told))
    for changes in ({"name": "the innocent"}, {"where": "elsewhere"}, {"weights": "ab" * 32},
                    {"label_map": {"x": ("a",)}}):  # fmt: skip
        innocent = SUSPECT.model_copy(update=changes)
        claim, spent = claim_of(session, innocent, tmp_path / "ledger.jsonl")
        found = check(pack(members(session, claim, spent, Extras()), told.key), TRUST)
        assert found.status == "tampered"
        assert "not about the suspect" in found.reasons[0]


def test_the_same_secret_in_every_leaf(tmp_path: Path) -> None:
    """All draws would be the same: a constant model would hit all of them for one owner in ten."""
    told = altered(story(tmp_path), secrets=20, budget=20)
    secret, owner, contents = "ab" * 32, public_key(told.key), content_of(b"x")
    leaves = [merkle.leaf_hash(leaf(owner, told.protocol.digest, i, secret, (contents,))) for i in range(20)]
    honest_one = told.commit()
    forged = honest_one.model_copy(update={"root": merkle.root(leaves).hex()})
    forged = forged.model_copy(update={"signature": sign(told.key, forged.canonical("signature"))})
    session = told.session(forged)
    for item in range(20):
        session.transcript.add(item=item, content=contents, time="2026-05-01T00:00:00+00:00",
                               status="answered", answer=("a",))  # fmt: skip
    claim, spent = claim_of(session, SUSPECT, tmp_path / "ledger.jsonl")
    held = members(session, claim, spent, Extras())
    for i in range(20):
        path = tuple(one.hex() for one in merkle.path(leaves, i))
        opening = Opening(index=i, secret=secret, contents=(contents,), path=path)
        held[f"openings/{i:06d}.json"] = opening.canonical()
    found = check(pack(held, told.key), TRUST)
    assert found.status == "tampered"
    assert "two of the secrets are the same" in found.reasons[0]


def test_invented_tests_in_the_ledger_do_not_help(tmp_path: Path) -> None:
    told = story(tmp_path, tests=1000, alpha=0.01)
    file = tmp_path / "ledger.jsonl"
    for number in range(30):
        fields = {"time": COMMITTED, "family": "", "protocol": told.protocol.digest, "suspect": "invented"}
        ledger.append(file, **fields, transcript=sha256(str(number).encode()), p=0.0)
    found = check(told.bundle(thief(told, every=4)), TRUST)
    assert found.claim.outcome.p * 1000 > 0.01
    assert found.status == "not significant"
    assert found.claim.verdict.p == pytest.approx(min(1.0, 1000 * found.claim.outcome.p))


def test_a_suspect_that_was_asked_before_it_existed(tmp_path: Path) -> None:
    told = story(tmp_path)
    later = replace(TRUST, suspect_since=seen_by_checker("2100-01-01T00:00:00+00:00").moment)
    found = check(told.bundle(thief(told)), later)
    assert found.status == "untimely"
    assert "before it is said to have existed" in found.reasons[0]


def test_who_says_since_when_the_suspect_exists_is_told(tmp_path: Path) -> None:
    told = story(tmp_path)
    data = told.bundle(thief(told))
    assert check(data, TRUST).as_dict()["suspect_since"]["by"] == "the owner"
    own = replace(TRUST, suspect_since=seen_by_checker("2026-02-03T00:00:00+00:00").moment)
    assert check(data, own).as_dict()["suspect_since"]["by"] == "the checker"


@pytest.mark.parametrize(
    "name", ["bodies/../../../../tmp/evil.sh", "report.html.exe", "environment.json/x", "report.pdf\x1b[2J"]
)
def test_members_with_other_names(tmp_path: Path, name: str) -> None:
    told = story(tmp_path)
    held, _ = unpack(told.bundle(honest))
    assert check(pack({**held, name: b"x"}, told.key), TRUST).status == "tampered"


def spoiled(told: Story, member: str, old: str, new: str) -> bytes:
    held, _ = unpack(told.bundle(honest))
    text = held[member].decode()
    assert old in text
    return pack({**held, member: text.replace(old, new, 1).encode()}, told.key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seconds":0.0', '"seconds":NaN'),
        ('"seconds":0.0', '"seconds":1e999'),
        ('"time":"20', '"time":"00'),
        ('"attempts":1', '"attempts":1' + "0" * 400),
    ],
)
def test_signed_records_that_nothing_can_be_computed_of(tmp_path: Path, old: str, new: str) -> None:
    told = story(tmp_path)
    assert check(spoiled(told, "transcript.jsonl", old, new), TRUST).status == "tampered"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_times_outside_of_all_calendars(tmp_path: Path, moment: str) -> None:
    told = story(tmp_path)
    held, _ = unpack(told.bundle(honest))
    document = json.loads(held["commitment.json"])
    document["created"] = moment
    held["commitment.json"] = canonical(document)
    assert check(pack(held, told.key), TRUST).status == "tampered"


@pytest.mark.parametrize(
    ("test", "parameters", "answer"),
    [
        ("decoys", {"triggers": 2}, None),
        ("bits", {"bits": 2, "pictures": 1}, (1e308, 1e-320)),
        ("choices", {"options": 2**70}, (0,)),
    ],
)
def test_parameters_and_answers_at_the_ends_of_numbers(tmp_path: Path, test, parameters, answer) -> None:
    """Refused when they are made, or tampered when they are checked; never a crash."""
    try:
        told = story(tmp_path, test=test, parameters=parameters, secrets=1, budget=1)
        session = told.session()
        if answer is not None:
            session.run(lambda *_: {"status": "answered", "answer": answer})
        claim, spent = claim_of(session, SUSPECT, tmp_path / "l.jsonl")
    except (Damaged, UsageError, ValueError):
        return
    data = pack(members(session, claim, spent, Extras()), told.key)
    assert check(data, TRUST).status in ("tampered", "not significant")


def test_protocols_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        story(tmp_path, tests=10**8)
    base = story(tmp_path).protocol.model_dump()
    with pytest.raises(ValueError, match="less than"):
        Protocol.model_validate({**base, "beacon": {"round": 2**70}})


def test_a_commitment_that_was_signed_is_read_back(tmp_path: Path) -> None:
    one = story(tmp_path).commit()
    read = Commitment.read(one.canonical(), "c")
    assert read.canonical() == one.canonical()
    read.check()


def test_two_ledger_entries_of_one_transcript(tmp_path: Path) -> None:
    """One of another family has the true figure, the other one is what the verdict is made of."""
    told = story(tmp_path)
    session = told.session()
    session.run(honest)
    claim, spent = claim_of(session, SUSPECT, tmp_path / "ledger.jsonl")
    true = spent[0].model_copy(update={"family": "other"})
    forged = spent[0].model_copy(update={"number": 1, "previous": true.digest, "p": 1e-30})
    verdict = ledger.Verdict(correction="holm", tests=1, p=1e-30, supported=True)
    claim = claim.model_copy(update={"verdict": verdict})
    for entries in ([true, forged], [forged.model_copy(update={"number": 0, "previous": "0" * 64})]):
        held = members(session, claim, entries, Extras())
        found = check(pack(held, told.key), TRUST)
        assert found.status == "tampered"
    assert (
        "lists a transcript twice"
        in check(pack(members(session, claim, [true, forged], Extras()), told.key), TRUST).reasons[0]
    )


def test_thousands_of_secrets_and_classes_are_checked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = altered(story(tmp_path), secrets=60, budget=60)
    calls = 0
    digest = Protocol.digest.fget  # type: ignore[attr-defined]

    def counted(self: Protocol) -> str:
        nonlocal calls
        calls += isinstance(self, Protocol)
        return str(digest(self))

    data = told.bundle(thief(told))
    monkeypatch.setattr(Protocol, "digest", property(counted))
    assert check(data, TRUST).status == "valid"
    # It takes its time where there are many classes, so it is not made for every secret.
    assert calls < 10
