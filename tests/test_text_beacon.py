"""Texts whose released variants a public round decides: commit, wait, mark, ask, prove; what breaks."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noli
from noli.api import TextRun, _beacon, _commit_first, _texts_first
from noli.cli.main import main
from noli.core.errors import DataError, MissingPrerequisite, NoliError, OutputExists, RunError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.language import Tokens
from noli.core.run import Run
from noli.engine.texts.record import unseal
from noli.proof import commitment, releases
from noli.proof.commitment import entropy, item_key
from noli.proof.kinds import kind
from noli.proof.releases import Passage, Place
from noli.testing import KEYS
from texts_making import OPTIONS, texts_of, tree, write_documents

sys.path.insert(0, str(Path(__file__).parent / "proof"))
from authority import Authority

from beacon_round import RANDOMNESS, ROUND, SERVED, SIGNATURE, TIME, Clock, write_round


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_beacon, "now", made)
    monkeypatch.setattr(commitment, "now", made)
    monkeypatch.setattr(_texts_first, "now", made)
    return made


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return write_documents(tmp_path / "documents")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return write_round(tmp_path)


def commit(documents: Path, out: Path, /, **more: Any) -> TextRun:
    return noli.mark_texts(documents, out, key=KEYS[0], **{"beacon": True, **OPTIONS, **more})


def plain(documents: Path, out: Path, /, **more: Any) -> TextRun:
    return commit(documents, out, beacon=False, **more)


class Reader:
    """A language model that finds what it read likelier than anything else."""

    name, digest = "reader", "ab" * 32

    def __init__(self, folder: str | Path) -> None:
        self.known = " ".join(" ".join(texts_of(Path(folder))).split())

    def score_tokens(self, texts: list[str]) -> list[Tokens]:
        scores = [-1.0 if " ".join(text.split()) in self.known else -2.0 for text in texts]
        return [Tokens(np.array([one]), None, None, np.array([[0, 1]])) for one in scores]


def ask(run: TextRun, read: str | Path, **more: Any) -> noli.api.Detection:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noli.zoo.language.load_language", lambda _: Reader(read))
        return noli.detect(run.output, key=KEYS[0], model=read, **more)


@pytest.mark.parametrize("way", ["scores", "choice", "cloze"])
def test_commit_wait_mark_ask_prove(
    documents: Path, served: Path, clock: Clock, tmp_path: Path, way: str
) -> None:
    out, options = tmp_path / "out", {"ask": way, "name": "The press"}
    first = commit(documents, out, **options)
    assert first.waiting
    assert not out.exists()
    assert not first.changes_file.exists()
    assert first.round_time == TIME
    published = first.commitment_file.read_bytes()
    error = Run.open(first.path).manifest.error
    assert error is not None
    assert (error.type, first.manifest.status) == ("Waiting", "interrupted")
    # Neither time nor another delay makes a later call choose another round.
    clock.moment += timedelta(minutes=9)
    again = commit(documents, out, beacon_delay=600, **{**options, "name": "Another"})
    assert (again.waiting, again.commitment_file.read_bytes()) == (True, published)
    assert not out.exists()
    clock.moment = TIME + timedelta(days=3)
    done = commit(documents, out, beacon_file=served, **options)
    assert (done.waiting, done.manifest.status, done.manifest.error) == (False, "done", None)
    assert done.commitment_file.read_bytes() == published
    assert json.loads((done.path / "proof" / "beacon.json").read_bytes()) == SERVED
    released_as_drawn(done)
    # Once more, without the round: nothing changes.
    marked = tree(out)
    assert commit(documents, out, **options).commitment == done.commitment
    assert tree(out) == marked
    bundle = tmp_path / "proof.zip"
    assert ask(done, out, bundle=bundle).supported
    before, after = (TIME + timedelta(minutes=minutes) for minutes in (-1, 1))
    assert noli.check_bundle(bundle, seen=before.isoformat()).status == "valid"
    late = noli.check_bundle(bundle, seen=after.isoformat())
    assert late.status == "untimely"
    assert "The beacon was public" in late.reasons[0]
    assert noli.check_bundle(bundle).status == "untimely"
    assert not ask(done, documents, suspect="who read the originals").supported
    noli.undo(out, tmp_path / "back", key=KEYS[0])
    assert tree(tmp_path / "back") == tree(documents)


def released_as_drawn(done: TextRun) -> None:
    """See that what was released is what a checker draws, and not what the key alone would give."""
    made = done.commitment
    assert made is not None
    claim, record = made.protocol, unseal(done.path, KEYS[0])
    numbers = [
        kind(claim).draw(item_key(KEYS[0], claim, index), entropy(made, RANDOMNESS, index))[0]
        for index in range(claim.secrets)
    ]
    assert numbers != releases.released(claim, KEYS[0])
    count = next(iter(claim.parameters.values()))
    text = "\n".join(file.read_bytes().decode() for file in Path(done.output).rglob("*.txt"))
    found = 0
    for (layout, passage), number in zip(record.ordered, numbers, strict=True):
        if layout == "plain":
            picked = releases.variants(passage, KEYS[0], count)[number]
            assert passage.rendered(picked) in text
            found += 1
    assert found >= 12


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

    places = ("core.run", "api._commit_first", "api._mark_texts")
    for place in (*places, "engine.texts.record", "engine.texts.collection"):
        patch.setattr(f"noli.{place}.atomic_write", write)


def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path: Path, served: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    texts = write_documents(tmp_path / "all")
    for name in ("0.txt", "notes.md", "picture.bin"):
        (texts / name).rename(documents / name)
    options = {"alpha": 0.05, "documents": 4}

    def both(out: Path) -> TextRun:
        commit(documents, out, **options)
        return commit(documents, out, beacon_file=served, **options)

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
        assert done.commitment is not None
        assert whole.commitment is not None
        assert done.commitment.root == whole.commitment.root
        assert done.commitment_file.read_bytes() == done.commitment.canonical()
        assert tree(out) == tree(tmp_path / "whole")
        assert {**(done.manifest.state or {}), "commitment": 0} == {
            **(whole.manifest.state or {}),
            "commitment": 0,
        }
    assert kills >= 10


def test_rounds_that_are_not_the_planned_one(
    documents: Path, clock: Clock, tmp_path: Path, served: Path
) -> None:
    out, file = tmp_path / "out", tmp_path / "other.json"
    commit(documents, out)
    for words, text in (
        ({**SERVED, "round": 124}, "round 123 was planned"),
        ({**SERVED, "randomness": "ab" * 32}, "does not follow"),
        ({"round": ROUND, "signature": SIGNATURE[:-1] + "3"}, "not signed by the chain"),
    ):
        file.write_text(json.dumps(words))
        with pytest.raises(DataError, match=text):
            commit(documents, out, beacon_file=file)
    assert not (tmp_path / "out.noli" / "proof" / "beacon.json").exists()
    clock.moment = TIME + timedelta(seconds=1)
    with pytest.raises(MissingPrerequisite, match="--beacon-file FILE, or add --allow-network"):
        commit(documents, out)
    assert not out.exists()
    done = commit(documents, out, beacon_file=served)
    kept = done.path / "proof" / "beacon.json"
    kept.write_bytes(kept.read_bytes().replace(b'"round":123', b'"round":124'))
    with pytest.raises(DataError, match="stored round cannot be used"):
        ask(done, out)
    kept.unlink()
    with pytest.raises(RunError, match="round is missing"):
        ask(done, out)
    # The same command brings it back, and changes nothing.
    marked = tree(out)
    commit(documents, out, beacon_file=served)
    assert tree(out) == marked
    assert ask(done, out).supported


def test_texts_that_changed_meanwhile_are_refused(documents: Path, served: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", documents / "0.txt"
    first = commit(documents, out)
    before = file.read_bytes()
    file.write_bytes(before.replace(b"The ", b"Every ", 1))
    for _ in range(2):
        with pytest.raises(DataError, match="not those of the commitment"):
            commit(documents, out, beacon_file=served)
    # The same words in a document of another kind are other texts to a reader.
    file.rename(documents / "0.html")
    (documents / "0.html").write_bytes(before.replace(b".\r\n\r\n", b".<br>\r\n\r\n"))
    with pytest.raises(DataError, match="not those of the commitment"):
        commit(documents, out)
    assert not out.exists()
    # Nothing was written there, so that what lies there is somebody else's.
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputExists, match="exists already"):
        commit(documents, out)
    (out / "mine.txt").unlink()
    (documents / "0.html").unlink()
    file.write_bytes(before)
    done = commit(documents, out)
    assert not done.waiting
    assert done.commitment == first.commitment


def test_a_run_goes_on_as_it_was_begun(documents: Path, served: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    commit(documents, one)
    plain(documents, other)
    cases: list[tuple[type[NoliError], str, Path, dict[str, Any]]] = [
        (UsageError, "begun with a beacon", one, {"beacon": False}),
        (UsageError, "begun without a beacon", other, {"beacon_file": served}),
        (UsageError, "begun with other arguments", one, {"variants": 7}),
        (UsageError, "a file or the network", tmp_path / "new", {"beacon": False, "allow_network": True}),
        (UsageError, "published mode takes no beacon", tmp_path / "new", {"mode": "published"}),
        (UsageError, "cannot be waited for so long", tmp_path / "new", {"beacon_delay": 0}),
        (UsageError, "never be evidence", tmp_path / "new", {"documents": 1}),
    ]  # fmt: skip
    for error, words, out, options in cases:
        with pytest.raises(error, match=words):
            commit(documents, out, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(MissingPrerequisite, match=r"noli\[timestamps\]"):
            commit(documents, tmp_path / "new")
    assert not list(tmp_path.glob("new*"))
    assert not one.exists()


def test_a_waiting_commitment_can_be_stamped_and_nothing_else(
    documents: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    stamped: list[bytes] = []

    def token(_url: str, commitment: Any) -> bytes:
        stamped.append(commitment.canonical())
        return authority.stamp(commitment.canonical(), clock.moment)

    monkeypatch.setattr("noli.proof.times.request_token", token)
    first, out = commit(documents, tmp_path / "out"), tmp_path / "out"
    made = noli.api.stamp(
        out, tmp_path / "c.tsr", authority="https://tsa.example/", key=KEYS[0], allow_network=True
    )
    assert stamped == [first.commitment_file.read_bytes()]
    assert made.is_file()
    with pytest.raises(UsageError, match="Nothing is marked yet"):
        noli.detect(out, key=KEYS[0], model="thief")
    inside = b"".join(file.read_bytes() for file in first.path.rglob("*") if file.is_file())
    assert b"vessel" not in inside


def test_the_command_line(
    documents: Path, served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, out = tmp_path / "owner.key", tmp_path / "out"
    Key.new(key)
    settings = [f"--set={name}={value}" for name, value in OPTIONS.items()]
    words = ["mark", "leximark", str(documents), "-o", str(out), "--key", str(key), "--beacon", *settings]
    assert main([*words, "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["waiting"], told["round"], told["protocol"]["beacon"]["round"]) == (True, ROUND, ROUND)
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "nothing is marked yet" in " ".join(shown.out.split())
    assert "--beacon-file FILE" in " ".join(shown.err.split())
    assert not out.exists()
    assert main([*words, "--beacon-file", str(served)]) == 0
    shown = capsys.readouterr()
    assert "decided by round 123" in " ".join(shown.out.split())
    assert "BEFORE the round" in " ".join(shown.err.split())
    assert main([*words, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting"] is False


def test_without_a_beacon_nothing_changed(documents: Path, served: Path, tmp_path: Path) -> None:
    """Made with the version before beacons: published texts must stay what they are."""
    places = (Place(2, 7, ("large", "big")), Place(8, 14, ("vessel", "ship")))
    some = [Passage(f"{number} large vessel", places) for number in range(12)]
    claim = releases.protocol(
        some, ask="scores", variants=6, asked=10, alpha=1e-4, looks="fixed", tests=1, words="Scores."
    )
    texts = [[one.rendered(picks) for picks in releases.variants(one, KEYS[0], 6)] for one in some]
    assert claim.digest == "8813399e1238f01abc789a3592e789b92e5a82b18655ffeec3ad13ebc79abe69"
    assert releases.released(claim, KEYS[0]) == [2, 4, 2, 1, 1, 3, 0, 5, 2, 1, 5, 1]
    assert releases.vault(KEYS[0], claim, texts).commit().root == (
        "7e9a7389ab4a63df0d040494ca6f0033b4f622ad79b199b830b07c4047d88899"
    )
    run = plain(documents, tmp_path / "plain")
    assert set(run.manifest.state or {}) == {"protocol", "source", "texts"}
    assert (run.waiting, run.round_time) == (False, None)
    commit(documents, tmp_path / "drawn")
    drawn = commit(documents, tmp_path / "drawn", beacon_file=served)
    # The same passages and variants; another protocol, and with it other secrets.
    one, other = (unseal(found.path, KEYS[0]) for found in (run, drawn))
    assert one.passages == other.passages
    assert tree(tmp_path / "plain") != tree(tmp_path / "drawn")
