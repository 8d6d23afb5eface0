"""What was released is bound: lists, records, folders held against them, and owners who swap files later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from authority import DAY, Authority
from hypothesis import given
from hypothesis import strategies as st
from story import COMMITTED, Story, honest, story

from noli.core.errors import DataError
from noli.data.place import Place
from noli.proof.bundle import pack, unpack
from noli.proof.check import Checked, Trust, check
from noli.proof.commitment import Commitment, sign
from noli.proof.records import Damaged, canonical, sha256
from noli.proof.released import (
    LIST,
    RECORD,
    Bound,
    Comparison,
    Release,
    Sealed,
    bound,
    compare,
    files_of,
    listing,
    release,
)
from noli.proof.times import seen_by_checker
from noli.testing import KEYS

TRUST = Trust(seen=(seen_by_checker(COMMITTED),))
FILES = {"a/1.png": b"one", "a/2.png": b"two", "b/3.png": b"three", "metadata.csv": b"file_name,label\n"}


def tree(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def plainly(folder: Path) -> bytes:
    """The list as its documentation says, written the long way."""
    found = []
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden:
            found.append([file.relative_to(folder).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()])
    return json.dumps(sorted(found), separators=(",", ":"), ensure_ascii=False).encode()


names = st.text(st.sampled_from("abAB \u00e9\u4e2d-_"), min_size=1, max_size=5).filter(str.strip)


@given(st.dictionaries(st.tuples(names, names), st.binary(max_size=20), max_size=6))
def test_the_list_is_that_of_a_plain_walk(tmp_path_factory: pytest.TempPathFactory, found: dict) -> None:
    folder = tmp_path_factory.mktemp("tree")
    tree(folder, {f"{one}/{two}.bin": data for (one, two), data in found.items()})
    assert listing(files_of(Place(folder))) == plainly(folder)


def test_hidden_files_do_not_count_and_single_files_do(tmp_path: Path) -> None:
    tree(tmp_path / "out")
    before = files_of(Place(tmp_path / "out"))
    tree(tmp_path / "out", {".DS_Store": b"x", "Thumbs.db": b"y", "a.noli/run.json": b"{}"})
    assert files_of(Place(tmp_path / "out")) == before
    assert files_of(Place(tmp_path / "out" / "a" / "1.png")) == {"1.png": hashlib.sha256(b"one").hexdigest()}
    with pytest.raises(DataError):
        files_of(Place(tmp_path / "none"))


def test_names_that_are_no_text_have_one_form(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (Path(str(tmp_path / "out")) / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"x")
    assert list(files_of(Place(tmp_path / "out"))) == ["\\xff.png"]
    # A text that reads like it is another name.
    (tmp_path / "out" / "\\xff.png").write_bytes(b"y")
    assert sorted(files_of(Place(tmp_path / "out"))) == ["\\\\xff.png", "\\xff.png"]


def listed(folder: Path) -> bytes:
    return listing(files_of(Place(folder)))


def bundled(told: Story, commitment: Commitment, **files: bytes) -> bytes:
    named = {f"{name}.json": data for name, data in files.items()}
    return told.bundle(honest, session=told.session(commitment), files=named)


def checked(told: Story, commitment: Commitment, **files: bytes) -> Checked:
    return check(bundled(told, commitment, **files), TRUST)


def test_a_bundle_binds_every_file_and_a_swapped_one_is_found(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed(out)))
    found = checked(told, made, released=listed(out))
    assert found.status == "not significant"
    assert found.release == Bound(sha256(listed(out)), files_of(Place(out)))
    assert "4 files, fixed by the commitment" in found.release.words
    assert compare(found.release, Place(out)) == Comparison("same")
    # After the commitment the owner says that other files were released.
    (out / "a/1.png").write_bytes(b"another")
    (out / "b/3.png").rename(out / "b/4.png")
    assert compare(found.release, Place(out)) == Comparison(
        "differs", different=("a/1.png",), missing=("b/3.png",), extra=("b/4.png",)
    )


def test_two_files_that_change_places_are_found(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed(out)))
    fixed = checked(told, made, released=listed(out)).release
    (out / "a/1.png").write_bytes(b"two")
    (out / "a/2.png").write_bytes(b"one")
    assert compare(fixed, Place(out)).different == ("a/1.png", "a/2.png")


def swapped_list(told: Story, made: Commitment, out: Path) -> bytes:
    return bundled(told, made, released=listed(tree(out, {"a/1.png": b"another"})))


def later_record(told: Story, made: Commitment, out: Path) -> bytes:
    other = listed(tree(out, {"a/1.png": b"another"}))
    return bundled(told, made, released=other, release=release(told.key, [made], other).canonical())


def reshaped_list(told: Story, made: Commitment, out: Path) -> bytes:
    return bundled(told, made, released=listed(out) + b"\n")


@pytest.mark.parametrize("cheat", [swapped_list, later_record, reshaped_list])
def test_what_the_commitment_fixes_cannot_be_replaced(
    tmp_path: Path, cheat: Callable[[Story, Commitment, Path], bytes]
) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed(out)))
    found = check(cheat(told, made, out), TRUST)
    assert found.status == "tampered"
    assert "release" in found.reasons[0]


def test_a_withheld_list_still_binds(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed(out)))
    fixed = checked(told, made).release
    assert fixed is not None
    assert fixed.files is None
    assert compare(fixed, Place(out)) == Comparison("same")
    (out / "a/1.png").write_bytes(b"another")
    assert compare(fixed, Place(out)) == Comparison("differs")


def test_a_commitment_made_before_the_files_gets_a_record(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made, other = told.commit(), story(tmp_path, tests=7).commit()
    record = release(told.key, [other, made], listed(out))
    found = checked(told, made, released=listed(out), release=record.canonical())
    assert found.release is not None
    assert found.release.record == record.digest
    assert f"binds only if its SHA-256 was published, {record.digest}" in found.release.words
    assert compare(found.release, Place(out)).outcome == "same"
    # A second record, of other files, has another number than the one that was published.
    (out / "a/1.png").write_bytes(b"another")
    assert release(told.key, [other, made], listed(out)).digest != record.digest


def foreign(told: Story, made: Commitment, data: bytes) -> bytes:
    return release(KEYS[1], [made], data).canonical()


def of_another_commitment(told: Story, made: Commitment, data: bytes) -> bytes:
    return release(told.key, [story(told.folder, tests=7).commit()], data).canonical()


def altered(told: Story, made: Commitment, data: bytes) -> bytes:
    record = release(told.key, [made], b"[]")
    return record.model_copy(update={"released": sha256(data)}).canonical()


def not_canonical(told: Story, made: Commitment, data: bytes) -> bytes:
    return release(told.key, [made], data).canonical() + b" "


@pytest.mark.parametrize("forge", [foreign, of_another_commitment, altered, not_canonical])
def test_forged_records(tmp_path: Path, forge: Callable[[Story, Commitment, bytes], bytes]) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.commit()
    found = checked(told, made, released=listed(out), release=forge(told, made, listed(out)))
    assert found.status == "tampered"


@pytest.mark.parametrize(
    "data",
    [b"", b"[", b"{}", b'[["a","b"]]', canonical([["a", "0" * 64], ["a", "1" * 64]]),
     canonical([["b", "0" * 64], ["a", "1" * 64]]), b'[ ["a","' + b"0" * 64 + b'"]]'],
)  # fmt: skip
def test_signed_lists_that_are_none(tmp_path: Path, data: bytes) -> None:
    told = story(tmp_path)
    made = told.vault().commit("A museum", COMMITTED, released=sha256(data))
    assert checked(told, made, released=data).status == "tampered"


def test_bundles_of_older_versions_lack_it_and_stay_valid(tmp_path: Path) -> None:
    told = story(tmp_path)
    made = told.commit()
    assert b"released" not in made.canonical()
    assert Commitment.read(made.canonical(), "commitment.json").digest == made.digest
    found = checked(told, made)
    assert (found.status, found.release) == ("not significant", None)
    assert compare(found.release, Place(tree(tmp_path / "out"))) == Comparison("not bound")
    # A list that nobody signed is worth nothing.
    assert checked(told, made, released=listed(tmp_path / "out")).status == "tampered"


def test_a_commitment_with_a_list_is_signed_with_it(tmp_path: Path) -> None:
    told = story(tmp_path)
    made = told.vault().commit("A museum", COMMITTED, released="ab" * 32)
    made.check()
    for other in ("cd" * 32, None):
        with pytest.raises(Damaged, match="not signed"):
            made.model_copy(update={"released": other}).check()
    # Its secrets are the same ones: the list depends on them, and not they on it.
    assert made.root == told.commit().root


def test_members_survive_the_bundle(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed(out)))
    held, _ = unpack(bundled(told, made, released=listed(out)))
    assert held[LIST] == listed(out)
    assert RECORD not in held
    del held[LIST]
    assert check(pack(held, told.key), TRUST).status == "not significant"


def test_a_record_says_what_it_is_about(tmp_path: Path) -> None:
    told = story(tmp_path)
    made = told.commit()
    record = release(told.key, [made], b"[]")
    assert (record.commitments, record.released) == ((made.digest,), sha256(b"[]"))
    assert bound(made, Sealed(None, record.canonical())) == Bound(sha256(b"[]"), None, record.digest)
    signed = record.model_copy(update={"released": "ab" * 32})
    assert sign(told.key, signed.canonical("signature")) != record.signature
    assert Release.read(record.canonical(), RECORD) == record


def test_stamps_of_no_record_and_of_something_else(tmp_path: Path) -> None:
    told, out = story(tmp_path), tree(tmp_path / "out")
    made = told.commit()
    record = release(told.key, [made], listed(out))
    with pytest.raises(Damaged, match="no such record"):
        bound(made, Sealed(stamps=(b"x",)))
    authority = Authority()
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    other, later = authority.stamp(b"other", moment), authority.stamp(record.canonical(), moment + DAY)
    stamps = (b"garbage", other, later, authority.stamp(record.canonical(), moment))
    sealed = Sealed(listed(out), record.canonical(), stamps)
    assert bound(made, sealed).known is None  # type: ignore[union-attr]
    assert bound(made, sealed, [Authority("another").root]).known is None  # type: ignore[union-attr]
    assert bound(made, sealed, [authority.root]).known.moment == moment  # type: ignore[union-attr]
    held, _ = unpack(bundled(told, made, released=listed(out), release=record.canonical()))
    data = pack({**held, "release/000.tsr": stamps[-1]}, told.key)
    found = check(data, Trust(seen=TRUST.seen, roots=[authority.root]))
    assert found.as_dict()["release"]["known_before"]["time"] == moment.isoformat()
    del held["release.json"]
    del held["released.json"]
    assert check(pack({**held, "release/000.tsr": stamps[-1]}, told.key), TRUST).status == "tampered"
