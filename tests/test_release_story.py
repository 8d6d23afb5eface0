"""Mark, publish, and say later what was published: noli check --released, with and without a beacon."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

import noli
from noli import api
from noli.api import MarkRun, _beacon, _commit_first, _detect
from noli.cli.committing import told
from noli.cli.main import main
from noli.core.errors import DataError, UsageError
from noli.core.run import Run
from noli.proof import times
from noli.proof.records import sha256
from noli.proof.released import release
from noli.proof.times import said
from noli.testing import KEYS

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "proof"))
from authority import Authority

from beacon_round import TIME, Clock, write_round

OPTIONS: dict[str, Any] = {"share": 1.0, "workers": 1, "key": KEYS[0]}
FIRST, SECOND = "a/0.png", "b/1.png"


def draw(folder: Path, numbers: range) -> Path:
    drawn = np.random.default_rng(3)
    for i in numbers:
        place = folder / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return draw(tmp_path / "in", range(24))


@pytest.fixture
def marked(pictures: Path, tmp_path: Path) -> MarkRun:
    return noli.mark(pictures, tmp_path / "out", **OPTIONS)


class Answers:
    """A suspect that gives the same answer to everything."""

    def loaded(self, _model: str, _labels: object) -> tuple[Any, dict[str, Any]]:
        return lambda _item, _part: {"status": "answered", "answer": ("a",)}, {"where": "here"}

    def served(self, _endpoint: Path, _stack: ExitStack, _keep: object) -> Any:
        raise NotImplementedError


def bundle_of(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Path:
    monkeypatch.setattr(_detect, "queries_of", lambda *_: Answers())
    noli.detect(run.path, key=KEYS[0], model="suspect", bundle=file, **more)
    return file


def test_every_released_file_is_in_the_commitment(
    marked: MarkRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (marked.path / "proof" / "released.json").read_bytes()
    assert marked.commitment.released == sha256(kept)
    out = tmp_path / "out"
    names = sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file())
    assert [name for name, _ in json.loads(kept)] == names
    assert len(names) == 24
    bundle = bundle_of(marked, tmp_path / "proof.zip", monkeypatch)
    found = noli.check_bundle(bundle, released=out)
    assert found.compared is not None
    assert found.compared.outcome == "same"
    # The owner swaps a file after the commitment, loses one, and adds one.
    shutil.copytree(out, tmp_path / "said")
    shutil.copy(out / SECOND, tmp_path / "said" / FIRST)
    (tmp_path / "said" / SECOND).rename(tmp_path / "said" / "b" / "new.png")
    other = noli.check_bundle(bundle, released=tmp_path / "said").compared
    assert other is not None
    assert (other.outcome, other.different, other.missing, other.extra) == (
        "differs", (FIRST,), (SECOND,), ("b/new.png",)
    )  # fmt: skip
    capsys.readouterr()
    assert (
        main(["check", str(bundle), "--released", str(tmp_path / "said")]) == 4
    )  # nobody saw the commitment
    words = " ".join(capsys.readouterr().out.split())
    assert "released 24 files, fixed by the commitment" in words
    assert "OTHER FILES: the folder is not what the bundle says was released." in words
    assert f"- other content: {FIRST} - missing: {SECOND} - not released: b/new.png" in words


def test_the_same_command_keeps_the_list_and_an_extension_is_not_in_it(
    marked: MarkRun, pictures: Path, tmp_path: Path
) -> None:
    kept = {file.name: file.read_bytes() for file in (marked.path / "proof").iterdir()}
    # Whoever edits an output and marks again does not get the edit blessed.
    Image.new("RGB", (16, 16)).save(tmp_path / "out" / FIRST)
    noli.mark(pictures, tmp_path / "out", **OPTIONS)
    draw(pictures, range(24, 30))
    assert noli.mark(pictures, tmp_path / "out", **OPTIONS).added == 6
    assert {file.name: file.read_bytes() for file in (marked.path / "proof").iterdir()} == kept


def test_a_killed_marking_commits_to_the_same_files(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noli.api import _mark

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_mark, "atomic_write", kill)
        with pytest.raises(KeyboardInterrupt):
            noli.mark(pictures, tmp_path / "out", **OPTIONS)
    listed = (tmp_path / "out.noli" / "proof" / "released.json").read_bytes()
    assert noli.mark(pictures, tmp_path / "out", **OPTIONS).commitment.released == sha256(listed)


def test_runs_of_older_versions_have_bundles_that_say_so(
    marked: MarkRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = marked.commitment.model_copy(update={"released": None})
    from noli.proof.commitment import sign

    old = old.model_copy(update={"signature": sign(KEYS[0], old.canonical("signature"))})
    marked.commitment_file.write_bytes(old.canonical())
    (marked.path / "proof" / "released.json").unlink()
    bundle = bundle_of(marked, tmp_path / "proof.zip", monkeypatch)
    found = noli.check_bundle(bundle, released=tmp_path / "out", seen="2026-01-01T00:00:00+00:00")
    assert (found.release, found.compared.outcome) == (None, "not bound")  # type: ignore[union-attr]
    capsys.readouterr()
    main(["check", str(bundle), "--released", str(tmp_path / "out")])
    words = " ".join(capsys.readouterr().out.split())
    assert "released not fixed: the bundle has no list of the files that were released" in words
    assert "NOT BOUND: the bundle does not fix which files were released." in words


def test_a_changed_list_is_noticed_before_anything_is_bundled(
    marked: MarkRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = marked.path / "proof" / "released.json"
    file.write_bytes(file.read_bytes().replace(b"a/0.png", b"a/1.png"))
    with pytest.raises(DataError, match="list of released files was changed"):
        bundle_of(marked, tmp_path / "proof.zip", monkeypatch)


def test_with_a_beacon_a_record_is_signed_after_the_marking(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(_beacon, "now", clock)
    monkeypatch.setattr(_commit_first, "now", clock)
    first = noli.mark(pictures, tmp_path / "out", beacon=True, **OPTIONS)
    assert not (first.path / "proof" / "release.json").exists()
    assert "release_sha256" not in told(first, first.commitment, "classes", "20")[0]
    clock.moment = TIME
    done = noli.mark(pictures, tmp_path / "out", beacon=True, beacon_file=write_round(tmp_path), **OPTIONS)
    assert (done.commitment, done.commitment.released) == (first.commitment, None)
    record = (done.path / "proof" / "release.json").read_bytes()
    document, rows = told(done, done.commitment, "classes", "20")
    assert document["release_sha256"] == sha256(record)
    assert any(name == "release, SHA-256" and sha256(record) in text for name, text in rows)
    bundle = bundle_of(done, tmp_path / "proof.zip", monkeypatch)
    found = noli.check_bundle(bundle, released=tmp_path / "out")
    assert found.release is not None
    assert found.release.record == sha256(record)
    assert found.compared.outcome == "same"  # type: ignore[union-attr]
    # An authority has stamped the record: a checker who trusts it sees since when.
    authority, stamp = Authority(), tmp_path / "release.tsr"
    stamp.write_bytes(authority.stamp(record, TIME))
    late = bundle_of(done, tmp_path / "stamped.zip", monkeypatch, stamps=[stamp])
    (tmp_path / "tsa.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    dated = noli.check_bundle(late, roots=tmp_path / "tsa.pem").release
    assert dated is not None
    assert dated.known is not None
    assert dated.known.moment == TIME
    assert f"before {said(TIME)}: RFC 3161 time stamp" in dated.words
    assert noli.check_bundle(late).release == found.release  # nobody is trusted
    again = noli.mark(pictures, tmp_path / "out", beacon=True, beacon_file=write_round(tmp_path), **OPTIONS)
    assert (again.path / "proof" / "release.json").read_bytes() == record


def test_a_record_can_be_stamped_and_a_list_in_the_commitment_need_not(
    marked: MarkRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"authority": "https://tsa.example", "key": KEYS[0], "allow_network": True}
    with pytest.raises(UsageError, match="no record of the release"):
        api.stamp(marked.path, tmp_path / "r.tsr", release=True, **given)
    asked: list[bytes] = []
    monkeypatch.setattr(times, "request_token", lambda _, made: asked.append(made.canonical()) or b"stamp")
    record = marked.path / "proof" / "release.json"
    record.write_bytes(release(KEYS[0], [marked.commitment], b"[]").canonical())
    api.stamp(marked.path, tmp_path / "r.tsr", release=True, **given)
    api.stamp(marked.path, tmp_path / "c.tsr", **given)
    assert asked == [record.read_bytes(), marked.commitment_file.read_bytes()]
    record.write_bytes(b"{}")
    with pytest.raises(DataError, match="was changed"):
        api.stamp(marked.path, tmp_path / "d.tsr", release=True, **given)


def test_what_is_held_against_it_must_be_here(
    marked: MarkRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(marked, tmp_path / "proof.zip", monkeypatch)
    with pytest.raises(UsageError, match="no such folder"):
        noli.check_bundle(bundle, released=tmp_path / "none")
    with pytest.raises(UsageError, match="not here"):
        noli.check_bundle(bundle, released="s3://bucket/out")
    assert main(["check", str(bundle), str(bundle), "--released", str(tmp_path)]) == 2
