"""Marks whose classes a public round decides: commit, wait, mark, ask, prove; and what breaks on the way."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import noli
from noli import registry, zoo
from noli.api import MarkRun, _beacon, _commit_first
from noli.core.errors import DataError, MissingPrerequisite, OutputExists, RunError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.core.run import Run
from noli.methods.mark import gratings, taggants
from noli.proof import commitment, marks
from noli.proof.beacon import URL
from noli.proof.commitment import entropy
from noli.proof.kinds import kind
from noli.testing import KEYS

sys.path.insert(0, str(Path(__file__).parent / "proof"))
from authority import Authority

from beacon_round import RANDOMNESS, ROUND, SERVED, SIGNATURE, TIME, Clock, write_round

GRATINGS: dict[str, Any] = {"share": 1.0, "workers": 1}
TAGGANTS: dict[str, Any] = {
    "share": 1.0, "keys": 5, "alpha": 0.05, "iterations": 2, "epochs": 1, "size": 16,
    "device": "cpu", "workers": 1,
}  # fmt: skip
METHODS = [("gratings", GRATINGS), ("taggants", TAGGANTS)]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_beacon, "now", made)
    monkeypatch.setattr(commitment, "now", made)
    monkeypatch.setattr(_commit_first, "now", made)
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw = np.random.default_rng(3)
    for i in range(24):
        place = tmp_path / "in" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "in"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return write_round(tmp_path)


def pixels(folder: str | Path) -> str:
    found = hashlib.sha256()
    for file in sorted(Path(folder).rglob("*.png")):
        found.update(str(file.relative_to(folder)).encode() + np.asarray(Image.open(file)).tobytes())
    return found.hexdigest()


def commit(pictures: Path, out: Path, method: str = "gratings", **more: Any) -> MarkRun:
    return noli.mark(pictures, out, method, key=KEYS[0], beacon=True, **{**GRATINGS, **more})


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda v: v if isinstance(v, str) else "")
def test_commit_wait_mark_ask_prove(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    first = commit(pictures, out, method, name="The herbarium", **options)
    assert first.waiting
    assert not out.exists()
    assert first.round_time == TIME
    assert first.round_time - clock.moment >= timedelta(minutes=10)
    published = first.commitment_file.read_bytes()
    assert first.commitment.protocol.beacon.round == ROUND  # type: ignore[union-attr]
    # Neither time nor another delay makes a later call choose another round.
    clock.moment += timedelta(minutes=9)
    again = commit(pictures, out, method, name="Another", beacon_delay=600, **options)
    assert (again.waiting, again.commitment_file.read_bytes()) == (True, published)
    clock.moment = TIME + timedelta(days=3)
    done = commit(pictures, out, method, beacon_file=served, **options)
    assert not done.waiting
    assert done.commitment_file.read_bytes() == published
    assert json.loads((done.path / "proof" / "beacon.json").read_bytes()) == SERVED
    assert pixels(out) != pixels(pictures)
    # What was drawn is what a checker draws, and not what the key alone would give.
    state, cfg = (
        done.manifest.state or {},
        registry.get(f"mark/{method}").config(
            **{name: value for name, value in options.items() if name != "workers"}
        ),
    )
    claim = marks.claim_of(state, cfg)  # type: ignore[arg-type]
    assert claim == done.commitment.protocol
    expected = [
        kind(claim).draw(secret, entropy(done.commitment, RANDOMNESS, i))[0]
        for i, secret in enumerate(marks.secrets(KEYS[0], claim))
    ]
    assert marks.drawn(state, KEYS[0], cfg) == expected  # type: ignore[arg-type]
    alone = marks.targets(KEYS[0], claim)
    assert len(alone) == len(expected)
    if len(alone) > 20:  # five draws of two classes agree by chance once in 32 runs
        assert alone != expected
    bundle = asked(done, tmp_path, expected)
    before, after = (TIME + timedelta(minutes=minutes) for minutes in (-1, 1))
    assert noli.check_bundle(bundle, seen=before.isoformat()).status == "valid"
    late = noli.check_bundle(bundle, seen=after.isoformat())
    assert late.status == "untimely"
    assert "The beacon was public" in late.reasons[0]
    assert noli.check_bundle(bundle).status == "untimely"


def asked(done: MarkRun, folder: Path, classes: list[int]) -> Path:
    """Ask a model that answers the secret queries with these classes, the owner's in turn."""
    model = zoo.network("tiny", ("a", "b"), seed=0)
    answers = iter(classes)

    class Thief:
        class_names = ("a", "b")

        def predict(self, _: Any) -> Any:
            return np.eye(2, dtype=np.float32)[[next(answers)]]

        weight_hash = model.weight_hash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", lambda _: Thief())
        found = noli.detect(done.output, key=KEYS[0], model="thief.safetensors", bundle=folder / "proof.zip")
    assert found.supported
    assert found.claim.outcome.value == found.claim.outcome.n
    return folder / "proof.zip"


class Killed(BaseException):
    pass


def die_at(patch: pytest.MonkeyPatch, limit: int) -> None:
    """Let the process die before its write number `limit`: nothing is written from then on."""
    writes = 0

    def write(path: Path, data: Any) -> None:
        nonlocal writes
        writes += 1
        if writes >= limit:
            raise Killed
        atomic_write(path, data)

    for place in ("core.run", "api._commit_first", "api._mark", "ops.noisestore", "engine.shard"):
        if hasattr(importlib.import_module(f"noli.{place}"), "atomic_write"):
            patch.setattr(f"noli.{place}.atomic_write", write)


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda v: v if isinstance(v, str) else "")
def test_killed_anywhere_it_ends_with_the_same_bytes(
    pictures: Path, served: Path, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    def both(out: Path) -> MarkRun:
        commit(pictures, out, method, **options)
        return commit(pictures, out, method, beacon_file=served, **options)

    whole, kills = both(tmp_path / "whole"), 0
    for limit in range(1, 100):
        out = tmp_path / f"cut-{limit}"
        before = None
        try:
            with pytest.MonkeyPatch.context() as patch:
                die_at(patch, limit)
                both(out)
            break
        except Killed:
            kills += 1
            if Run.exists(run := tmp_path / f"cut-{limit}.noli"):
                before = _commit_first.committed_of(Run.open(run))
        done = both(out)
        # Once it was written down, nothing changes the commitment, and with it the round.
        assert before in (None, done.commitment)
        assert done.commitment.root == whole.commitment.root
        assert done.commitment_file.read_bytes() == done.commitment.canonical()
        assert pixels(out) == pixels(whole.output)
        assert {**(done.manifest.state or {}), "commitment": 0} == {
            **(whole.manifest.state or {}),
            "commitment": 0,
        }
    assert kills >= 8


def test_rounds_that_are_not_the_planned_one(
    pictures: Path, clock: Clock, tmp_path: Path, served: Path
) -> None:
    commit(pictures, tmp_path / "out")
    file = tmp_path / "other.json"
    for words, text in (
        ({**SERVED, "round": 124}, "round 123 was planned"),
        ({**SERVED, "randomness": "ab" * 32}, "does not follow"),
        ({"round": ROUND, "signature": SIGNATURE[:-1] + "3"}, "not signed by the chain"),
        ({"round": ROUND}, "no round as drand serves it"),
        (["round"], "no round as drand serves it"),
    ):
        file.write_text(json.dumps(words))
        with pytest.raises(DataError, match=text):
            commit(pictures, tmp_path / "out", beacon_file=file)
    assert not (tmp_path / "out.noli" / "proof" / "beacon.json").exists()
    # Not there yet: not an error before the round, one after it.
    assert commit(pictures, tmp_path / "out", beacon_file=tmp_path / "none.json").waiting
    clock.moment = TIME + timedelta(seconds=1)
    with pytest.raises(UsageError, match="cannot be read"):
        commit(pictures, tmp_path / "out", beacon_file=tmp_path / "none.json")
    with pytest.raises(MissingPrerequisite, match="--beacon-file FILE, or add --allow-network"):
        commit(pictures, tmp_path / "out")
    # What follows from the signature may be missing; what else drand says does not matter.
    file.write_text(json.dumps({"round": ROUND, "signature": SIGNATURE, "previous": None}))
    assert not commit(pictures, tmp_path / "out", beacon_file=file).waiting


def test_the_round_is_fetched_only_when_that_is_allowed_and_it_is_there(
    pictures: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    answers = iter([httpx.Response(503), httpx.Response(200, json={**SERVED, "round": 124}),
                    httpx.Response(200, json=SERVED)])  # fmt: skip

    def get(url: str, **_: Any) -> httpx.Response:
        calls.append(url)
        answer = next(answers)
        answer.request = httpx.Request("GET", url)
        return answer

    monkeypatch.setattr(httpx, "get", get)
    assert commit(pictures, tmp_path / "out", allow_network=True).waiting
    assert calls == []
    clock.moment = TIME + timedelta(seconds=1)
    with pytest.raises(DataError, match="could not be fetched"):
        commit(pictures, tmp_path / "out", allow_network=True)
    with pytest.raises(DataError, match="round 123 was planned"):
        commit(pictures, tmp_path / "out", allow_network=True)
    assert not commit(pictures, tmp_path / "out", allow_network=True).waiting
    assert calls == [f"{URL}{ROUND}"] * 3


def test_with_and_without_a_beacon_are_two_things(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path
) -> None:
    plain = noli.mark(pictures, tmp_path / "plain", key=KEYS[0], **GRATINGS)
    assert not plain.waiting
    assert plain.round_time is None
    with pytest.raises(UsageError, match="begun without a beacon"):
        commit(pictures, tmp_path / "plain")
    commit(pictures, tmp_path / "out")
    with pytest.raises(UsageError, match="begun with a beacon"):
        noli.mark(pictures, tmp_path / "out", key=KEYS[0], **GRATINGS)
    with pytest.raises(UsageError, match="add --beacon"):
        noli.mark(pictures, tmp_path / "else", key=KEYS[0], allow_network=True, **GRATINGS)
    with pytest.raises(UsageError, match="not decided yet"):
        noli.protect(pictures, tmp_path / "out", "mark/gratings", key=KEYS[0], **GRATINGS)
    with pytest.raises(UsageError, match="another value of `config`"):
        commit(pictures, tmp_path / "out", eps=8 / 255)
    with pytest.raises(UsageError, match="another key"):
        noli.mark(pictures, tmp_path / "out", key=KEYS[1], beacon=True, **GRATINGS)
    for minutes in (0, -5, 10**9):
        with pytest.raises(UsageError, match="waited for"):
            commit(pictures, tmp_path / "third", beacon_delay=minutes)
    assert not (tmp_path / "third.noli").exists()
    assert not commit(pictures, tmp_path / "out", beacon_file=served).waiting


def test_methods_that_take_no_beacon_say_so(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(gratings, "fixed")
    with pytest.raises(UsageError, match="takes no beacon"):
        commit(pictures, tmp_path / "out")
    assert not (tmp_path / "out.noli").exists()


def test_nothing_is_written_where_something_is_missing_or_in_the_way(
    pictures: Path, clock: Clock, tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(MissingPrerequisite, match=r"noli\[timestamps\]"):
            commit(pictures, tmp_path / "out")
    (pictures / "a" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        commit(pictures, tmp_path / "out")
    (pictures / "a" / "broken.png").unlink()
    assert sorted(place.name for place in tmp_path.iterdir()) == ["in", "round.json"]
    with pytest.raises(DataError, match="too few pictures to sign"):
        commit(pictures, tmp_path / "out", "taggants", **{**TAGGANTS, "keys": 30})
    commit(pictures, tmp_path / "out")
    # Somebody puts something there while the round is waited for.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputExists, match="exists already"):
        commit(pictures, tmp_path / "out", beacon_file=served)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_waiting_commitment_can_be_stamped_and_nothing_else(
    pictures: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: Path
) -> None:
    authority = Authority()
    stamped: list[bytes] = []

    def token(_url: str, commitment: Any) -> bytes:
        stamped.append(commitment.canonical())
        return authority.stamp(commitment.canonical(), clock.moment)

    monkeypatch.setattr("noli.proof.times.request_token", token)
    first = commit(pictures, tmp_path / "out")
    calls = {"authority": "https://tsa.example/", "key": KEYS[0], "allow_network": True}
    made = noli.api.stamp(tmp_path / "out", tmp_path / "c.tsr", **calls)  # type: ignore[arg-type]
    assert stamped == [first.commitment_file.read_bytes()]
    assert made.is_file()
    with pytest.raises(UsageError, match="Nothing is marked yet"):
        noli.detect(tmp_path / "out", key=KEYS[0], model="model.safetensors")
    assert "appears at" in (Run.open(first.path).manifest.error or first).why  # type: ignore[union-attr]


def test_detection_needs_the_round(pictures: Path, served: Path, clock: Clock, tmp_path: Path) -> None:
    commit(pictures, tmp_path / "out")
    done = commit(pictures, tmp_path / "out", beacon_file=served)
    zoo.network("tiny", ("a", "b"), seed=0).save(tmp_path / "model.safetensors")
    calls: dict[str, Any] = {"key": KEYS[0], "model": tmp_path / "model.safetensors"}
    file = done.path / "proof" / "beacon.json"
    kept = file.read_bytes()
    for changed in (kept.replace(b'"round":123', b'"round":124'), kept[:-1]):
        file.write_bytes(changed)
        with pytest.raises(DataError, match="stored round cannot be used"):
            noli.detect(done.output, **calls)
    file.unlink()
    with pytest.raises(RunError, match="round is missing"):
        noli.detect(done.output, **calls)
    assert not list((done.path / "proof").glob("model-*"))
    # The same command brings it back, and changes nothing.
    marked = pixels(done.output)
    again = commit(pictures, tmp_path / "out", beacon_file=served)
    assert (again.worked, file.read_bytes(), pixels(done.output)) == (False, kept, marked)
    assert not noli.detect(done.output, **calls).supported


def test_a_key_that_was_retired_while_the_round_was_waited_for_ends_what_it_began(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path
) -> None:
    key, out = tmp_path / "owner.key", tmp_path / "out"
    old = Key.new(key).id
    options: dict[str, Any] = {"key": key, "beacon": True, **GRATINGS}
    assert noli.mark(pictures, out, "gratings", **options).waiting
    Key.rotate(key)
    done = noli.mark(pictures, out, "gratings", beacon_file=served, **options)
    assert (done.waiting, done.manifest.key.id) == (False, old)  # type: ignore[union-attr]
    # It adds nothing to what is finished.
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(pictures / "a" / "late.png")
    with pytest.raises(UsageError, match="ends what it began"):
        noli.mark(pictures, out, "gratings", **options)


def test_pictures_that_are_added_get_the_same_secrets(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path
) -> None:
    commit(pictures, tmp_path / "out")
    done = commit(pictures, tmp_path / "out", beacon_file=served)
    # One of two classes has half of the secrets or more, so that each of its pictures gets one.
    places = {"a/new.png": 127, "b/new.png": 128}
    for place, level in places.items():
        Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(pictures / place)
    more = commit(pictures, tmp_path / "out")
    assert (more.added, more.commitment) == (2, done.commitment)
    assert more.manifest.state == done.manifest.state
    assert any(np.asarray(Image.open(tmp_path / "out" / place)).std() > 0 for place in places)


def test_signed_pictures_must_be_those_of_the_commitment(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path
) -> None:
    commit(pictures, tmp_path / "out", "taggants", **TAGGANTS)
    extra = pictures / "b" / "extra.png"
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(extra)
    with pytest.raises(DataError, match="not that of the commitment"):
        commit(pictures, tmp_path / "out", "taggants", beacon_file=served, **TAGGANTS)
    extra.unlink()
    assert not commit(pictures, tmp_path / "out", "taggants", beacon_file=served, **TAGGANTS).waiting


def test_a_name_with_a_login_is_signed_as_it_is_kept(
    pictures: Path, served: Path, clock: Clock, tmp_path: Path
) -> None:
    commit(pictures, tmp_path / "out", name="https://me:secret@museum.example/?id=1")
    done = commit(pictures, tmp_path / "out", beacon_file=served)
    done.commitment.check()
    assert done.commitment.name == "https://museum.example/"


def test_what_is_asked_does_not_depend_on_the_draws() -> None:
    """Contents are committed before the round: they may depend on secrets and plan alone."""
    base = {"classes": ["a", "b"], "source": "ab" * 32, "side": 16, "channels": 3, "beacon": {"round": 9}}
    known = {**base, "commitment": {"any": "thing"}, "randomness": "cd" * 32}
    for method, cfg in ((gratings, gratings.Config()), (taggants, taggants.Config())):
        one, other = (method.vault(state, KEYS[0], cfg) for state in (base, known))  # type: ignore[arg-type]
        assert one.commit(created="2026-01-01T00:00:00+00:00") == other.commit(
            created="2026-01-01T00:00:00+00:00"
        )


def test_without_a_beacon_nothing_changed() -> None:
    """Made with the version before beacons: published marks must stay what they are."""
    summary = DataSummary(24, ("a", "b"), {(16, 16, 3): 24}, "in")
    # Marks had secrets in reserve then; none begins with them any more.
    cfg = gratings.Config(share=1.0, reserve=5)
    state = {
        "classes": ["a", "b"],
        "source": "111560844bb8efcd1cec7dd0fbd3994e80e4ec934873540bd95503e302900f66",
        "protocol": "98a9aaf7e517ae2edfd1ff0c88198253ac40bd711985322d198608961de9a549",
    }
    assert gratings.prepare(summary, KEYS[0], cfg, state) == state
    with pytest.raises(UsageError, match="reserve are of no use"):
        gratings.prepare(summary, KEYS[0], cfg)
    claim = marks.claim_of(state, cfg)
    assert claim.digest == state["protocol"]
    assert marks.drawn(state, KEYS[0], cfg) == marks.targets(KEYS[0], claim)
    assert marks.protocol(["a", "b"], taggants.Config(keys=5, alpha=0.05), state["source"]).digest == (
        "e19fc64496c0146e59d1784b3287da91d870bbd8aca9e45e384c43c388a1a3de"
    )
