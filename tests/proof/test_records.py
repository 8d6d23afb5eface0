"""Commitments, transcripts, ledgers and beacons: what they fix, and what breaks them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from story import CLASSES, COMMITTED, SINCE, protocol, story

from noli.proof import chain, ledger, transcript
from noli.proof.beacon import GENESIS, Beacon, round_after, round_time
from noli.proof.commitment import Vault, entropy, item_key
from noli.proof.kinds import kind
from noli.proof.protocol import BeaconPlan
from noli.proof.records import Damaged, canonical, utc
from noli.proof.transcript import Transcript
from noli.testing import KEYS

# Round 123 of drand's quicknet, as published.
SIGNATURE = "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92"
RANDOMNESS = "fb8f7bc29bf24db51871ec8c79f3a1e4bd0557bc0dfcee9ed1d924e69d1c60dc"


def test_canonical_bytes_do_not_depend_on_order_or_spaces():
    assert canonical({"b": [1, 2.5], "a": "ä"}) == '{"a":"ä","b":[1,2.5]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})
    with pytest.raises(ValueError, match="no time zone"):
        utc("2026-01-01T00:00:00")


def test_a_commitment_is_the_same_for_the_same_key_and_another_for_another(tmp_path):
    one = story(tmp_path).commit()
    assert one == story(tmp_path).commit()
    one.check()
    assert one.root != story(tmp_path, KEYS[1]).commit().root
    assert one.root != story(tmp_path, alpha=1e-3).commit().root
    assert one.owner not in one.root


def test_every_secret_opens_and_none_in_another_s_place(tmp_path):
    told = story(tmp_path, secrets=9, budget=9)
    commitment = told.commit()
    openings = told.vault().open(range(9))
    for opening in openings:
        opening.check(commitment, commitment.protocol.digest)
        with pytest.raises(Damaged, match="not the one"):
            opening.model_copy(update={"index": (opening.index + 1) % 9}).check(
                commitment, commitment.protocol.digest
            )


def test_secrets_depend_on_the_protocol():
    assert item_key(KEYS[0], protocol(), 0) == item_key(KEYS[0], protocol(), 0)
    assert item_key(KEYS[0], protocol(), 0) != item_key(KEYS[0], protocol(), 1)
    assert item_key(KEYS[0], protocol(), 0) != item_key(KEYS[0], protocol(alpha=1e-3), 0)


def test_as_many_contents_as_secrets():
    with pytest.raises(ValueError, match="1 contents for 40 secrets"):
        Vault(KEYS[0], protocol(), [["ab" * 32]]).commit()


def filled(file=None) -> Transcript:
    made = Transcript(file)
    for item in range(3):
        made.add(item=item, content="ab" * 32, time=SINCE, status="answered", answer=("a",))
    return made


def test_a_transcript_comes_back_and_goes_on_after_a_kill(tmp_path):
    file = tmp_path / "transcript.jsonl"
    made = filled(file)
    assert file.read_bytes() == made.lines()
    with file.open("ab") as handle:
        handle.write(b'{"torn')
    again = Transcript(file)
    assert again.entries == made.entries
    assert file.read_bytes() == made.lines()
    with pytest.raises(Damaged, match="does not follow"):
        Transcript(file, "cd" * 32)  # somebody else was asked
    again.add(item=3, content="ab" * 32, time=SINCE, status="refused")
    assert [e.number for e in chain.read(transcript.Entry, file.read_bytes(), "t")] == [0, 1, 2, 3]
    assert again.head != made.head


@pytest.mark.parametrize("change", ["drop", "swap", "edit", "cut", "repeat"])
def test_a_changed_transcript_is_noticed(change):
    lines = filled().lines().splitlines(keepends=True)
    if change == "drop":
        lines = lines[1:]
    elif change == "swap":
        lines = [lines[1], lines[0], lines[2]]
    elif change == "edit":
        lines[0] = lines[0].replace(b'"answer":["a"]', b'"answer":["b"]')
    elif change == "cut":
        lines[2] = lines[2][:-10]
    else:
        lines = [*lines, lines[2]]
    with pytest.raises(Damaged):
        chain.read(transcript.Entry, b"".join(lines), "t")


def test_queries_come_back_per_secret_in_order():
    made = Transcript()
    for item in range(2):
        for part in range(2):
            status = "failed" if (item, part) == (1, 0) else "answered"
            made.add(item=item, part=part, content="ab" * 32, time=SINCE, status=status, answer=(part,))
    assert [one.answers for one in transcript.observed(made.entries, 2)] == [((0,), (1,)), (None, (1,))]
    with pytest.raises(Damaged, match="1 of 2 queries"):
        list(transcript.observed(made.entries[:3], 2))
    with pytest.raises(Damaged, match="leaves out or repeats"):
        list(transcript.observed(made.entries[1:3], 2))
    assert list(transcript.observed([], 2)) == []


def spent(file, p: float, head: str, family: str = "", e: float | None = None):
    fields = {"time": SINCE, "family": family, "protocol": protocol(family=family).digest}
    return ledger.append(file, **fields, suspect="s", transcript=head, p=p, e=e)


def test_a_ledger_counts_the_tests_of_a_family_once(tmp_path):
    file = tmp_path / "ledger.jsonl"
    spent(file, 0.02, "aa" * 32, "f")
    spent(file, 0.5, "bb" * 32, "another family")
    spent(file, 0.5, "cc" * 32, "f")
    entries = spent(file, 0.02, "aa" * 32, "f")
    assert len(entries) == 3
    assert chain.read(ledger.Spent, file.read_bytes(), "l") == entries
    verdict = ledger.judge(protocol(family="f"), entries, "aa" * 32)
    assert (verdict.tests, verdict.p, verdict.supported) == (2, 0.02, False)
    assert ledger.judge(protocol(family="f"), entries, "cc" * 32).p == 1.0
    with pytest.raises(Damaged, match="does not list"):
        ledger.judge(protocol(family="f"), entries, "bb" * 32)
    lines = file.read_bytes().splitlines(keepends=True)
    with pytest.raises(Damaged, match="does not follow"):
        chain.read(ledger.Spent, b"".join(lines[1:]), "l")
    with pytest.raises(Damaged, match="middle"):
        chain.read(ledger.Spent, file.read_bytes()[:-3], "l")


@pytest.mark.parametrize("planned", [1, 2, 7])
def test_further_tests_share_one_more_alpha_however_many_there_are(planned: int) -> None:
    shares = [1 / ledger.price(place, planned) for place in range(1, 5000)]
    assert sum(shares[:planned]) == pytest.approx(1)
    assert 0.99 < sum(shares[planned:]) < 1
    assert shares == sorted(shares, reverse=True)


def test_a_test_is_priced_by_its_place(tmp_path):
    for head in ("aa", "bb", "cc", "dd"):
        entries = spent(tmp_path / "ledger.jsonl", 0.001, head * 32)
    own = [one.model_copy(update={"protocol": protocol(tests=2).digest}) for one in entries]
    paid = [ledger.judge(protocol(tests=2), own, head * 32).p for head in ("aa", "bb", "cc", "dd")]
    assert paid == pytest.approx([0.002, 0.002, 0.003, 0.006])


def test_e_values_of_a_family_are_judged_by_e_bh(tmp_path):
    made = protocol(looks="sequential", correction="e-bh", alpha=0.05, tests=4)
    file = tmp_path / "ledger.jsonl"
    for head, e in (("aa" * 32, 81.0), ("bb" * 32, 79.0), ("cc" * 32, 1.0)):
        entries = ledger.append(
            file, time=SINCE, family="", protocol=made.digest, suspect="s", transcript=head, p=1 / e, e=e
        )
    verdicts = [ledger.judge(made, entries, head * 32).supported for head in ("aa", "bb", "cc")]
    # What the others gave is the owner's word: each needs 4 / 0.05 = 80 for itself.
    assert verdicts == [True, False, False]


def test_the_beacon_is_the_round_that_the_chain_signed():
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    beacon.check(BeaconPlan(round=123))
    assert beacon.time == datetime(2023, 8, 23, 15, 15, 33, tzinfo=UTC)
    with pytest.raises(Damaged, match="round 124 was planned"):
        beacon.check(BeaconPlan(round=124))
    with pytest.raises(Damaged, match="does not follow from its signature"):
        beacon.model_copy(update={"randomness": "ab" * 32}).check(BeaconPlan(round=123))
    with pytest.raises(Damaged, match="not signed by the chain"):
        beacon.model_copy(update={"round": 124}).check(BeaconPlan(round=124))


def test_rounds_and_times():
    assert round_time(1).timestamp() == GENESIS
    for moment in (utc(COMMITTED), round_time(7), round_time(1)):
        after = round_after(moment)
        assert round_time(after) > moment >= round_time(after - 1)


def test_checking_a_beacon_leaves_the_recursion_limit_as_it_was():
    """Else deeply nested JSON, of a served model for example, would end the process."""
    program = f"""
import json, sys
from noli.proof.beacon import Beacon
from noli.proof.protocol import BeaconPlan
before = sys.getrecursionlimit()
Beacon(round=123, randomness={RANDOMNESS!r}, signature={SIGNATURE!r}).check(BeaconPlan(round=123))
assert sys.getrecursionlimit() == before
try:
    json.loads("[" * 100_000)
except RecursionError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_the_beacon_changes_what_is_drawn(tmp_path):
    told = story(tmp_path, beacon={"round": 123})
    session = told.session()
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    with_beacon = type(session)(session.vault, session.commitment, Transcript(), beacon)
    for one in (session, with_beacon):
        one.run(lambda i, _: {"status": "answered", "answer": (CLASSES[told.drawn(i)[0]],)})
    assert session.outcome().value == 30
    assert with_beacon.outcome().value < 12


def test_public_randomness_ties_every_draw_to_the_whole_tree(tmp_path):
    """With it, neither can one secret be chosen for its class, nor do equal secrets draw equally."""
    told = story(tmp_path)
    one, other = told.commit(), story(tmp_path, KEYS[1]).commit()
    assert entropy(one, "", 3) == ""
    assert len({entropy(tree, RANDOMNESS, i) for tree in (one, other) for i in range(40)}) == 80
    draws = {kind(told.protocol).draw(KEYS[0], entropy(one, RANDOMNESS, i)) for i in range(40)}
    assert len(draws) > 5
