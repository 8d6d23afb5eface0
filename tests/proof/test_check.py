"""Every status of a bundle, and every way to get around one that we could think of."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from story import CLASSES, COMMITTED, SINCE, SUSPECT, WORD, altered, honest, story, thief

from noli.core.key import Key
from noli.ops.exact import poisson_binomial_tail
from noli.proof import ledger
from noli.proof.bundle import SIGNATURE, pack, unpack
from noli.proof.check import check
from noli.proof.claim import Claim
from noli.proof.commitment import Commitment, public_key, sign
from noli.proof.records import canonical, utc
from noli.proof.session import Extras, claim_of, members
from noli.proof.times import seen_by_checker
from noli.proof.trust import Trust
from noli.testing import KEYS

TRUST = Trust(seen=(seen_by_checker(COMMITTED),), believe=WORD)


@pytest.fixture
def told(tmp_path):
    return story(tmp_path)


@pytest.fixture
def good(told):
    return told.bundle(thief(told), files={"report.html": b"<p>Read me</p>"})


def test_a_thief_is_found(good, told):
    found = check(good, TRUST)
    assert (found.status, found.exit_code, found.reasons) == ("valid", 0, ())
    assert found.claim.suspect == SUSPECT
    assert found.sealed == 10
    hits = sum(told.drawn(i)[0] == 0 or i % 2 == 0 for i in range(30))
    assert found.claim.outcome.value == hits
    assert found.claim.outcome.p == pytest.approx(poisson_binomial_tail([0.1] * 30, hits))
    assert found.as_dict()["exit_code"] == 0


def test_an_honest_model_is_not_accused(told):
    found = check(told.bundle(honest), TRUST)
    assert (found.status, found.exit_code) == ("not significant", 10)
    assert "needs at most 0.0001" in found.reasons[0]


def test_nothing_is_opened_that_was_not_used(good, told):
    held, _ = unpack(good)
    secrets = [told.vault().secret(i).export_secret().hex().encode() for i in range(40)]
    opened = [any(secret in data for data in held.values()) for secret in secrets]
    assert opened == [True] * 30 + [False] * 10


@pytest.mark.parametrize("mode", ["flip", "drop", "double"])
def test_no_byte_can_be_changed(told, mode):
    """Every region: each byte in turn of the short ones, every seventh of all."""
    whole = altered(told, secrets=3, budget=3).bundle(thief(told), files={"report.html": b"<p>x</p>"})
    for place in [*range(200), *range(200, len(whole), 7), *range(len(whole) - 120, len(whole))]:
        changed = bytearray(whole)
        if mode == "flip":
            changed[place] ^= 1 << place % 8
        elif mode == "drop":
            del changed[place]
        else:
            changed.insert(place, changed[place])
        assert check(bytes(changed), TRUST).status == "tampered", place


def edited(data: bytes, told, member: str, changes: dict[str, Any]) -> bytes:
    """Change a JSON member and sign again, as the owner can."""
    held, _ = unpack(data)
    document = json.loads(held[member])
    for field, value in changes.items():
        *parents, last = field.split("__")
        at = document
        for parent in parents:
            at = at[parent]
        at[last] = value
    return pack({**held, member: canonical(document)}, told.key)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("claim.json", {"outcome__p": 1e-30}, "figures do not follow"),
        ("claim.json", {"outcome__value": 30.0}, "figures do not follow"),
        ("claim.json", {"verdict__supported": False}, "verdict does not follow"),
        ("claim.json", {"transcript": "0" * 64}, "another transcript"),
        ("commitment.json", {"created": "2020-01-01T00:00:00+00:00"}, "commitment is not signed"),
        ("commitment.json", {"protocol__alpha": 0.05}, "commitment is not signed"),
        ("commitment.json", {"name": "Somebody else"}, "commitment is not signed"),
        ("openings/000004.json", {"secret": "ab" * 32}, "secret 4 is not the one"),
        ("openings/000004.json", {"index": 5}, "not the one that was committed"),
        ("openings/000004.json", {"contents": ["ab" * 32]}, "secret 4 is not the one"),
        ("openings/000004.json", {"path": []}, "secret 4 is not the one"),
    ],
)
def test_the_owner_cannot_change_what_was_committed(good, told, name, changes, reason):
    found = check(edited(good, told, name, changes), TRUST)
    assert found.status == "tampered"
    assert reason in found.reasons[0]


def test_labels_of_two_keys_cannot_be_swapped(good, told):
    held, _ = unpack(good)
    one, two = "openings/000002.json", "openings/000003.json"
    swapped = {**held, one: held[two], two: held[one]}
    assert "not the first ones" in check(pack(swapped, told.key), TRUST).reasons[0]


def rebuilt(told, session) -> bytes:
    """Claim anew whatever the session's transcript says now."""
    claim, spent = claim_of(session, SUSPECT, told.folder / "ledger.jsonl")
    return pack(members(session, claim, spent, Extras()), told.key)


@pytest.mark.parametrize("dropped", [0, 7, 29])
def test_missed_queries_cannot_be_left_out(told, dropped):
    session = told.session()
    session.run(honest)
    del session.transcript.entries[dropped]
    held = members(session, *_claimed(told, session), Extras())
    found = check(pack(held, told.key), TRUST)
    assert found.status == "tampered"
    assert "line" in found.reasons[0] or "another transcript" in found.reasons[0]


def _claimed(told, session):
    """A claim that was made before the transcript was thinned out."""
    whole = told.session()
    whole.run(honest)
    return claim_of(whole, SUSPECT, told.folder / "ledger.jsonl")


def test_missed_queries_cannot_be_left_out_with_a_new_chain_either(told):
    session = told.session()
    kept = [i for i in range(40) if i % 2 == 0 or told.drawn(i)[0] == 0][:30]
    ask = thief(told)
    for item in kept:
        content = session.vault.contents[item][0]
        session.transcript.add(item=item, content=content, time=SINCE, **ask(item, 0))
    held, _ = unpack(told.bundle(ask))
    found = check(pack({**held, "transcript.jsonl": session.transcript.lines()}, told.key), TRUST)
    assert found.status == "tampered"


def test_a_query_must_be_what_was_committed(told):
    session = told.session()
    session.run(thief(told))
    other = session.transcript.entries[5].model_copy(update={"content": "cd" * 32})
    session.transcript.entries[5] = other
    relinked = told.session().transcript
    for entry in session.transcript.entries:
        relinked.add(**entry.model_dump(exclude={"number", "previous"}))
    session.transcript.entries[:] = relinked.entries
    assert "did not ask what was committed" in check(rebuilt(told, session), TRUST).reasons[0]


def test_refused_queries_are_misses(told):
    def shy(item: int, part: int):
        return {"status": "refused"} if item % 3 == 0 else thief(told)(item, part)

    found = check(told.bundle(shy), TRUST)
    assert found.claim.outcome.refused == 10
    assert found.claim.outcome.expected == pytest.approx(3.0)
    hits = sum(i % 3 != 0 and (i % 2 == 0 or told.drawn(i)[0] == 0) for i in range(30))
    assert found.claim.outcome.value == hits


def test_without_proof_of_time_there_is_no_claim(good):
    assert check(good).status == "untimely"
    assert check(good).exit_code == 4
    assert check(good, Trust(believe=WORD | {"clock"})).status == "valid"
    late = Trust(seen=(seen_by_checker("2026-03-01T00:00:00+00:00"),))
    assert "The suspect existed at 2026-02-01" in check(good, late).reasons[0]
    older = Trust(seen=TRUST.seen, believe=WORD, suspect_since=utc("2025-12-01T00:00:00+00:00"))
    assert check(good, older).status == "untimely"


def test_a_suspect_of_unknown_age_needs_a_beacon(told):
    session = told.session()
    session.run(thief(told))
    claim, spent = claim_of(session, SUSPECT.model_copy(update={"since": None}), told.folder / "l.jsonl")
    data = pack(members(session, claim, spent, Extras()), told.key)
    assert "Nobody says since when" in check(data, TRUST).reasons[0]


def test_back_dating_is_of_no_use(told):
    """The owner signs a commitment of long ago, now; only a witness of that time would count."""
    session = told.session(told.commit(created="2001-01-01T00:00:00+00:00"))
    data = told.bundle(thief(told), session=session)
    assert check(data).status == "untimely"
    today = Trust(seen=(seen_by_checker("2026-11-01T00:00:00+00:00"),))
    assert check(data, today).status == "untimely"


def test_another_owner_s_bundle_cannot_be_replayed(good, told):
    held, _ = unpack(good)
    stolen = check(pack(held, KEYS[1]), TRUST)
    assert stolen.status == "tampered"
    assert "signed by another than the commitment" in stolen.reasons[0]
    mine = public_key(KEYS[1])
    commitment = Commitment.read(held["commitment.json"], "c")
    renamed = commitment.model_copy(update={"owner": mine})
    again = pack({**held, "commitment.json": renamed.canonical()}, KEYS[1])
    assert check(again, TRUST).status == "tampered"
    assert check(good, Trust(seen=TRUST.seen, believe=WORD, owner=mine)).status == "tampered"
    assert check(good, Trust(seen=TRUST.seen, believe=WORD, owner=public_key(told.key))).status == "valid"


def test_an_own_commitment_to_another_owner_s_secrets_opens_none_of_them(good, told):
    """The leaves are bound to the owner: signing the same root with another key fits no secret."""
    held, _ = unpack(good)
    mine = replace(told, key=KEYS[1])
    forged = mine.commit().model_copy(update={"root": Commitment.read(held["commitment.json"], "c").root})
    forged = forged.model_copy(update={"signature": sign(KEYS[1], forged.canonical("signature"))})
    claim = Claim.read(held["claim.json"], "c").model_copy(update={"commitment": forged.digest})
    again = pack({**held, "commitment.json": forged.canonical(), "claim.json": claim.canonical()}, KEYS[1])
    assert "secret 0 is not the one" in check(again, TRUST).reasons[0]


def test_grinding_seeds_against_a_known_model_is_untimely(told):
    """Of 100,000 seeds the best one hits often, but its commitment is younger than the model."""
    draw = np.random.default_rng(0)
    answers = draw.integers(0, 10, 30)
    hits = (draw.integers(0, 10, (100_000, 30)) == answers).sum(1)
    best = poisson_binomial_tail([0.1] * 30, int(hits.max()))
    assert best < 1e-4  # such a claim would pass, if the time were not checked
    ground = altered(told, alpha=0.05)
    keys = [Key.from_bytes(i.to_bytes(32)) for i in range(300)]

    def count(key: Key) -> int:
        owner = replace(ground, key=key)
        return sum(owner.drawn(i)[0] == answers[i] for i in range(30))

    winner = replace(ground, key=max(keys, key=count))
    session = winner.session(winner.commit("2026-03-01T00:00:00+00:00"))
    data = winner.bundle(
        lambda i, _: {"status": "answered", "answer": (CLASSES[answers[i]],)}, session=session
    )
    seen = Trust(seen=(seen_by_checker("2026-03-01T00:00:00+00:00"),))
    found = check(data, seen)
    assert found.claim.outcome.p < 0.05
    assert found.status == "untimely"


def test_other_tests_of_the_family_count(told):
    """Three suspects: the planned ones are paid for, and so are those beyond the plan."""
    family = altered(told, tests=3, alpha=1e-4)
    first = check(family.bundle(thief(family)), TRUST)
    assert first.claim.verdict.tests == 3
    assert first.claim.verdict.correction == "holm"
    assert first.claim.verdict.p == pytest.approx(3 * first.claim.outcome.p)
    for n in range(4):
        shifted = lambda i, _, n=n: {"status": "answered", "answer": (CLASSES[(i + n) % 10],)}  # noqa: E731
        later = check(family.bundle(shifted), TRUST)
    assert later.claim.verdict.tests == 5


def test_a_ledger_without_this_test_is_refused(good, told):
    held, _ = unpack(good)
    (reason,) = check(pack({**held, "ledger.jsonl": b""}, told.key), TRUST).reasons
    assert "the ledger does not list this test" in reason


def test_strange_files_do_not_belong_into_a_bundle(good, told):
    held, _ = unpack(good)
    found = check(pack({**held, "virus.exe": b"x"}, told.key), TRUST)
    assert "virus.exe does not belong" in found.reasons[0]
    missing = {name: data for name, data in held.items() if name != "claim.json"}
    assert "claim.json is missing" in check(pack(missing, told.key), TRUST).reasons[0]


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all" * 50])
def test_what_is_no_bundle(data):
    assert check(data, TRUST).status == "tampered"


def test_a_compressed_zip_is_no_bundle():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SIGNATURE, b"0" * 100_000)
    assert "compressed" in check(buffer.getvalue(), TRUST).reasons[0]


def test_a_sequence_stops_by_its_rule_and_no_query_may_follow(told):
    family = altered(told, looks="sequential", alpha=1e-3)
    session = family.session()
    outcome = session.run(thief(family, every=1))
    assert outcome.stopped == "evidence reached"
    assert outcome.n == len(session.transcript.entries) < 10
    assert outcome.e >= 1e3
    data = rebuilt(family, session)
    assert check(data, TRUST).status == "valid"
    assert check(data, TRUST).sealed == 40 - outcome.n
    extra = session.vault.contents[outcome.n][0]
    session.transcript.add(item=outcome.n, content=extra, time=SINCE, status="answered", answer=("a",))
    (told.folder / "ledger.jsonl").unlink()  # or it would be another test, which has to show more
    assert "went on after the rule" in check(rebuilt(family, session), TRUST).reasons[0]


def test_a_sequence_beyond_the_planned_ones_goes_on_until_it_has_paid(told):
    family, ledger_file = altered(told, looks="sequential", alpha=1e-3), told.folder / "ledger.jsonl"
    used = []
    for number in range(3):
        session = family.session()
        paid = ledger.paid(family.protocol, ledger.read(ledger_file), session.transcript.head)
        assert paid == (1, 2, 6)[number]
        session = replace(session, paid=paid)
        outcome = session.run(lambda item, part, n=number: thief(family, 1)(item, part) | {"reason": f"{n}"})
        assert outcome.stopped == "evidence reached"
        assert outcome.e >= paid * 1e3 > session.outcome().running[-2]
        found = check(rebuilt(family, session), TRUST)
        assert (found.status, found.claim.verdict.supported) == ("valid", True)
        used.append(outcome.n)
    assert used[0] < used[2]


def test_a_sequence_that_was_told_too_low_a_price_is_no_evidence_and_no_tampering(told):
    family = altered(told, looks="sequential", alpha=1e-3)
    for number, status in enumerate(("valid", "not significant")):
        session = family.session()
        session.run(lambda item, part, n=number: thief(family, 1)(item, part) | {"reason": f"{n}"})
        assert check(rebuilt(family, session), TRUST).status == status


def test_what_no_answers_can_prove_is_known_beforehand(told):
    bits = altered(told, test="bits", parameters={"bits": 14, "pictures": 6}, secrets=1, budget=1)
    assert not bits.session().hopeless()
    assert altered(bits, alpha=5e-5).session().hopeless()
    assert replace(bits.session(), paid=2.0).hopeless()


def test_a_fixed_test_needs_its_whole_budget(told):
    session = told.session()
    session.run(thief(told))
    del session.transcript.entries[20:]
    assert "the protocol fixes 30" in check(rebuilt(told, session), TRUST).reasons[0]


def test_no_p_value_of_a_bundle_is_a_simulated_one(good, told):
    """A margin for the error of a simulation is needed nowhere; whoever writes one down is not believed."""
    held, _ = unpack(good)
    assert b'"monte_carlo_error":0.0' in held["claim.json"]
    changed = held["claim.json"].replace(b'"monte_carlo_error":0.0', b'"monte_carlo_error":0.5')
    found = check(pack({**held, "claim.json": changed}, told.key), TRUST)
    assert found.status == "tampered"
    assert "claim.json is not readable: outcome.monte_carlo_error" in found.reasons[0]


def test_a_test_knows_how_many_queries_it_takes_at_least(told):
    fixed = told.session()
    assert fixed.least() == 30
    for item in range(7):
        told_ = {"time": SINCE, "status": "answered", "answer": ("a",)}
        fixed.transcript.add(item=item, part=0, content=fixed.vault.contents[item][0], **told_)
    assert fixed.least() == 23
    family = altered(told, looks="sequential", alpha=1e-3, parameters={"classes": CLASSES, "queries": 2})
    one = family.session()
    least = one.least()
    # Whoever answers every question as the claim has it needs just as many.
    assert one.run(thief(family, every=1)).stopped == "evidence reached"
    assert (len(one.transcript.entries), one.least()) == (least, 0)
    # Further tests have to show more; misses cost more.
    assert replace(family.session(), paid=6.0).least() > least
    missed = family.session()
    for part in range(2):
        told_ = {"time": SINCE, "status": "answered", "answer": ()}
        missed.transcript.add(item=0, part=part, content=missed.vault.contents[0][part], **told_)
    assert missed.least() + 2 > least
