"""Audits of codes: what is matched or brought back, by whom, and how it is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.numpy

import noli
from noli.cli.main import main
from noli.core.audit import Audit, AuditRow
from noli.core.errors import DataError, UsageError
from noli.data.demo import PHOTOS, photo_folder
from noli.engine.codecase import codes_run, gather_codes
from noli.testing import KEYS
from noli.train import likening

BROKEN = {"i_understand_this_is_broken": True}
SMALL: dict[str, Any] = {"side": 32, "patch": 4, "width": 128, **BROKEN}
MIXED: dict[str, Any] = {"side": 16, "copies": 20, **BROKEN}


def write(folder: Path, count: int, seed: int) -> Path:
    """Squares of 64 pixels from the embedded photographs, in two classes."""
    draw = np.random.default_rng(seed)
    photos = [cv2.imread(str(photo_folder() / name)) for name in PHOTOS if (photo_folder() / name).exists()]
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(draw.integers(0, photo.shape[axis] - 64)) for axis in (0, 1))
        file = folder / "ab"[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), photo[top : top + 64, left : left + 64])
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of a few steps: what they reach has tests of its own."""
    monkeypatch.setattr(likening, "STEPS", likening.STEPS.model_copy(update={"steps": 10}))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("codes") / "photos", 60, 0)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("codes") / "public", 20, 1)


@pytest.fixture(scope="module")
def sets(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("codes") / "sets"
    noli.encode(photos, place, "neuracrypt", key=KEYS[0], **SMALL)
    return place


def test_codes_of_neuracrypt_are_matched(sets: Path, photos: Path, public: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = noli.audit(sets, clean=photos, public=public, html=page)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == [
        "linking", "distributions", "lengths and distances", "order undone", "boosted matching", "1 pair",
        "10 pairs",
    ]  # fmt: skip
    assert found.pictures == 60
    assert found.matches
    assert found.nominal is None
    for row in found.rows:
        assert row.ssim is None
        assert row.chance == 1 / row.pictures
        assert (row.low or 0) <= row.back <= (row.high or 0)
    assert rows["10 pairs"].pictures == 50
    assert rows["boosted matching"].has == "the pictures, unordered"
    # It is tried on codes that are made for it: what was published has nothing to do with it.
    assert [row.name for row in found.rows if not row.counts] == ["linking"]
    assert found.least == "the pictures, unordered"
    # The challenge calls privacy bad from here.
    assert rows["boosted matching"].back > 0.2
    assert "which code belongs to which picture" in found.words[0]
    text = page.read_text()
    assert "Hides among" in text
    assert text.count("other codes: a demonstration") == 1
    assert "bits left" not in text.lower()
    assert text.count("<img") == 6 * (2 + 6)
    # The same codes are judged alike every time: attackers' keys are fixed.
    again = noli.audit(sets, clean=photos, public=public)
    assert [row.back for row in again.rows] == [row.back for row in found.rows]


def test_each_attack_on_codes_is_made_alone(sets: Path, photos: Path, public: Path) -> None:
    whole = noli.audit(sets, clean=photos, public=public)
    for row in whole.rows:
        only = row.name.replace(" ", "-")
        (alone,) = noli.audit(sets, clean=photos, public=public, only=only).rows
        assert alone.model_dump(exclude={"seconds"}) == row.model_dump(exclude={"seconds"})
    for wrong in ("graph-of-codes", "100-pairs", "coin", "jigsaw"):
        with pytest.raises(UsageError, match="no attack on this") as error:
            noli.audit(sets, clean=photos, only=wrong)
        assert "boosted-matching, 1-pair, 10-pairs" in str(error.value)


def test_mixed_pictures_are_attacked_by_one_attack(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noli.encode(photos, tmp_path / "out", "instahide", key=KEYS[0], **MIXED)
    whole = noli.audit(tmp_path / "out", clean=photos, seconds=1e-6)
    for row in whole.rows:
        (alone,) = noli.audit(tmp_path / "out", clean=photos, only=row.name, seconds=1e-6).rows
        assert (alone.name, alone.ssim, alone.back) == (row.name, row.ssim, row.back)
    words = [str(tmp_path / "out"), "--clean", str(photos), "--json"]
    assert main(["attack", "integer-seed", *words]) == 0  # a demonstration breaks nothing that was published
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["integer seed"]
    assert main(["attack", "boosted-matching", *words]) == 2
    assert "graph-of-codes, grouped-as-stored, integer-seed" in capsys.readouterr().err
    assert main(["attack", "integer-seed", *words, "--key", "owner.key"]) == 2


def test_an_order_that_was_kept_is_as_good_as_one_that_was_found(photos: Path, tmp_path: Path) -> None:
    noli.encode(photos, tmp_path / "out", "neuracrypt", key=KEYS[0], shuffle=False, colour="planes", **SMALL)
    found = noli.audit(tmp_path / "out", clean=photos, pictures=30)
    rows = {row.name: row for row in found.rows}
    assert found.pictures == rows["boosted matching"].pictures == 30
    assert found.least is not None


def test_pictures_come_back_from_instahide(photos: Path, public: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for number, file in enumerate(sorted(photos.rglob("*.png"))[:24]):
        place = few / "ab"[number % 2] / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    noli.encode(few, tmp_path / "out", "instahide", key=KEYS[0], **MIXED)
    page = tmp_path / "page.html"
    found = noli.audit(tmp_path / "out", clean=few, public=public, html=page)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["graph of codes", "grouped as stored", "integer seed"]
    assert not found.matches
    assert rows["grouped as stored"].ssim > 0.43
    assert rows["integer seed"].ssim > 0.95
    assert not rows["integer seed"].counts
    assert "no integers" in rows["integer seed"].note
    assert found.worst is rows["graph of codes"] or found.worst is rows["grouped as stored"]
    assert "a demonstration" in page.read_text()
    # With public pictures in every code the row says how many.
    crossed = {**MIXED, "copies": 2, "public": str(public)}
    noli.encode(few, tmp_path / "crossed", "instahide", key=KEYS[0], **crossed)
    row = noli.audit(tmp_path / "crossed", clean=few, public=public).rows[0]
    assert "2 codes of each picture, 2 public pictures in each" in row.note
    # A part of the set cannot be solved alone: it is encoded again, and the row says so.
    part = noli.audit(tmp_path / "out", clean=few, public=public, pictures=12)
    assert part.pictures == 12
    assert "encoded again" in part.rows[0].note


def test_codes_are_read_beside_their_own_pictures(sets: Path, photos: Path, public: Path) -> None:
    run = codes_run(sets)
    assert run is not None
    case = gather_codes(run, str(photos), str(public), 7)
    whole = gather_codes(run, str(photos), str(public), 200)
    assert (len(case.codes), case.total, len(whole.codes)) == (7, 60, 60)
    stored = [safetensors.numpy.load_file(file)["codes"] for file in sorted(sets.glob("codes-*"))]
    assert np.array_equal(whole.codes, np.concatenate(stored))
    places = [int(np.flatnonzero((whole.originals == one).all((1, 2, 3)))[0]) for one in case.originals]
    assert np.array_equal(case.codes, whole.codes[places])
    # The owner's key would give the same codes, up to the order within: what is read belongs together.
    mine = case.encode(case.originals, KEYS[0], case.cfg)["codes"]
    for one, other in zip(mine, case.codes, strict=True):
        assert np.allclose(np.sort(one, axis=0), np.sort(other, axis=0), atol=5e-3)


def test_codes_that_cannot_be_audited_are_refused(
    sets: Path, photos: Path, public: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no picture there"):
        noli.audit(sets, clean=public / "a")
    with pytest.raises(UsageError, match="attacked, not trained on"):
        noli.verify(sets, clean=photos)
    noli.encode(photos / "a", tmp_path / "out", "neuracrypt", key=KEYS[0], **SMALL)
    text = (tmp_path / "out" / "codes.json").read_text()
    (tmp_path / "out" / "codes.json").unlink()
    with pytest.raises(DataError, match="codes are gone"):
        noli.audit(tmp_path / "out", clean=photos / "a", public=public)
    (tmp_path / "out" / "codes.json").write_text(text)
    manifest = json.loads((tmp_path / "out.noli" / "run.json").read_text())
    (tmp_path / "out.noli" / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(UsageError, match="not complete"):
        noli.audit(tmp_path / "out", clean=photos / "a", public=public)
    (tmp_path / "out.noli").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="how these codes were made"):
        noli.audit(tmp_path / "out", clean=photos / "a")


@pytest.fixture
def copied(sets: Path, tmp_path: Path) -> Path:
    """The codes of the module's pictures and their run, to be spoilt."""
    run = tmp_path / "sets.noli"
    shutil.copytree(sets, tmp_path / "sets")
    shutil.copytree(f"{sets}.noli", run)
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace(str(sets), str(tmp_path / "sets")))
    return tmp_path / "sets"


def read(place: Path, clean: Path, public: Path) -> None:
    run = codes_run(place)
    assert run is not None
    gather_codes(run, str(clean), str(public), 7)


def spoilt(place: Path, how: str) -> None:
    """Change the only shard."""
    file = next(place.glob("codes-*"))
    content = file.read_bytes()
    if how == "rows reversed":
        arrays = safetensors.numpy.load(content)
        content = safetensors.numpy.save({name: array[::-1].copy() for name, array in arrays.items()})
    file.write_bytes(content[:-8] if how == "cut" else content)
    if how == "missing":
        file.unlink()


@pytest.mark.parametrize(
    ("how", "what"),
    [("rows reversed", "A shard of codes was changed"), ("cut", "A shard of codes was changed"),
     ("missing", "A shard of codes is gone")],
)  # fmt: skip
def test_a_changed_shard_is_refused_by_name(
    copied: Path, photos: Path, public: Path, how: str, what: str
) -> None:
    read(copied, photos, public)
    spoilt(copied, how)
    with pytest.raises(DataError, match=what) as caught:
        read(copied, photos, public)
    assert str(caught.value.where).endswith("codes-00000.safetensors")
    assert caught.value.why
    assert caught.value.fix


def without_digest(place: Path, content: bytes) -> None:
    """Write another list of codes, and let the run keep no digest of it."""
    (place / "codes.json").write_bytes(content)
    file = Path(f"{place}.noli") / "run.json"
    manifest = json.loads(file.read_text())
    manifest["results"].pop("files", None)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"{}", b"[]", b"null", b"\xff\xfe\x00", b"[" * 2000, b'{"shards": []}', b'{"shards": [1]}',
     b'{"shards": [{"file": "../x", "items": 60, "sha256": ""}]}',
     b'{"shards": [{"file": "codes-00000.safetensors", "items": -60, "sha256": ""}]}'],
)  # fmt: skip
def test_a_list_of_codes_that_is_none_is_refused(
    copied: Path, photos: Path, public: Path, content: bytes
) -> None:
    without_digest(copied, content)
    with pytest.raises(DataError, match="list of codes is damaged") as caught:
        read(copied, photos, public)
    assert str(caught.value.where).endswith("codes.json")
    assert caught.value.why
    assert caught.value.fix


def test_a_list_of_other_codes_is_refused(copied: Path, photos: Path, public: Path) -> None:
    listed = json.loads((copied / "codes.json").read_text())
    (copied / "codes.json").write_text(json.dumps(listed))
    with pytest.raises(DataError, match="not the one in the run"):
        read(copied, photos, public)
    listed["shards"] *= 2
    without_digest(copied, json.dumps(listed).encode())
    with pytest.raises(DataError, match="lists 120 codes"):
        read(copied, photos, public)


@pytest.mark.parametrize(("content", "items"), [(b"no tensors", 60), (None, 59)])
def test_a_listed_shard_that_holds_no_such_codes_is_refused(
    copied: Path, photos: Path, public: Path, content: bytes | None, items: int
) -> None:
    file = copied / "codes-00000.safetensors"
    if content is None:
        content = safetensors.numpy.save({"codes": np.zeros((items, 4, 4), np.float16)})
    file.write_bytes(content)
    one = {"file": file.name, "items": 60, "sha256": hashlib.sha256(content).hexdigest()}
    without_digest(copied, json.dumps({"shards": [one]}).encode())
    with pytest.raises(DataError, match="A shard of codes is damaged"):
        read(copied, photos, public)


def test_pictures_that_were_not_encoded_are_refused(
    sets: Path, photos: Path, public: Path, tmp_path: Path
) -> None:
    """Rotated among the names, others of the same names, or one changed: nothing is said about any."""
    files = sorted(photos.rglob("*.png"))
    for name in ("rotated", "other", "one"):
        shutil.copytree(photos, tmp_path / name)
    for file, after in zip(files, [*files[1:], files[0]], strict=True):
        (tmp_path / "rotated" / file.relative_to(photos)).write_bytes(after.read_bytes())
    write(tmp_path / "other", 60, 9)
    changed = tmp_path / "one" / files[0].relative_to(photos)
    cv2.imwrite(str(changed), cv2.imread(str(changed))[::-1])
    for name, count in (("rotated", 7), ("other", 7), ("one", 1)):
        with pytest.raises(DataError, match="not those that were encoded") as caught:
            read(sets, tmp_path / name, public)
        assert len(caught.value.items) == count
        assert str(files[0].relative_to(photos)) in str(caught.value)
        assert caught.value.where == str(tmp_path / name)


def test_a_picture_is_found_by_its_whole_name_first(photos: Path, public: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number, file in enumerate(sorted(photos.rglob("*.png"))[:3]):
        (few / f"{number}.png").write_bytes(file.read_bytes())
        cv2.imwrite(str(few / f"{number}.bmp"), cv2.imread(str(file))[::-1])
    noli.encode(few, tmp_path / "out", "neuracrypt", key=KEYS[0], **SMALL)
    read(tmp_path / "out", few, public)


def test_a_run_without_digests_of_its_pictures_is_refused(copied: Path, photos: Path, public: Path) -> None:
    file = Path(f"{copied}.noli") / "shards" / "000000.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(len(row.pop("sha256_in")) == 64 for row in rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="keeps no digests"):
        read(copied, photos, public)


def test_what_is_said_follows_from_the_rows() -> None:
    def told(*rows: dict[str, Any]) -> Audit:
        full = [AuditRow(**{"name": "x", "about": "", "pictures": 100, "seconds": 0, **row}) for row in rows]
        return Audit(
            method="lock/neuracrypt", title="", config={}, pictures=9, shape=(8, 8, 3), rows=tuple(full),
            limits=(),
        )  # fmt: skip

    one: dict[str, Any] = {"has": "the pictures, unordered", "chance": 0.01, "low": 0.3, "high": 0.5}
    assert told({**one, "back": 0.4}).least == "the pictures, unordered"
    assert told({**one, "back": 0.4}).rows[0].anonymity == pytest.approx(2.5)
    assert told({**one, "back": 0.0, "low": 0.0}).rows[0].anonymity is None
    assert told({**one, "back": 0.2}).least is None
    assert "None of these attacks matched more than 20%" in told({**one, "back": 0.1}).words[0]
    # Few pictures: a share above the bar that guessing reaches as well says nothing.
    assert told({**one, "back": 0.4, "chance": 0.35}).least is None
    linked = {**one, "has": "other codes: a demonstration", "back": 1.0}
    assert told(linked).least is told(linked).worst is None
    assert told(linked).words[0] == "This was a demonstration on other codes: nothing was tried on these."
    assert told(linked, {**one, "back": 0.4}).least == "the pictures, unordered"
    shown: dict[str, Any] = {"has": "nothing more", "ssim": 0.9, "back": 1.0}
    other = {**shown, "has": "other codes: a demonstration"}
    assert told(other).least is None
    assert told(other).worst is None
    assert "bring the pictures back" in told(shown).words[0]
