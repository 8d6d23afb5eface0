"""noli check: a verdict and an exit code for every bundle, offline, and errors that are no verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import noli as package
from noli.cli.check import closing, plain
from noli.core.errors import MissingPrerequisite, OutputExists, UsageError
from noli.data.place import Place
from noli.proof.beacon import Beacon
from noli.proof.bundle import pack
from noli.proof.commitment import public_key
from noli.proof.records import sha256
from noli.proof.released import files_of, listing
from noli.proof.session import Extras, claim_of, members
from noli.proof.transcript import Transcript
from noli.report.limits import not_shown
from noli.testing import KEYS

PROOF = Path(__file__).parents[1] / "proof"
sys.path.insert(0, str(PROOF))

from authority import Authority  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402
from story import COMMITTED, LONG_AGO, SINCE, SUSPECT, altered, honest, protocol, story, thief  # noqa: E402
from test_records import RANDOMNESS, SIGNATURE  # noqa: E402

Run = Callable[..., Any]
WITNESSED = ("--seen", COMMITTED)
BELIEVED = ("--believe", "draw", "--believe", "age")
SEEN = (*WITNESSED, *BELIEVED)
LONGER_AGO = ("--suspect-since", "2025-12-01T00:00:00+00:00")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle of each kind."""
    place: Path = tmp_path_factory.mktemp("bundles")
    for name in ("thief", "honest", "looked"):
        (place / name).mkdir()
    told = story(place / "thief")
    good = told.bundle(thief(told), files={"report.html": b"<p>Read me</p>"})
    (place / "good.zip").write_bytes(good)
    # Another recipient's secrets: two ledgers of the same ones would contradict each other.
    other = altered(story(place / "honest"), binds={"recipient": "ab" * 32})
    (place / "honest.zip").write_bytes(other.bundle(honest))
    changed = bytearray(good)
    changed[500] ^= 1
    (place / "bad.zip").write_bytes(changed)
    looked = altered(story(place / "looked"), looks="sequential", alpha=1e-3, tests=3)
    (place / "looked.zip").write_bytes(looked.bundle(thief(looked, every=1)))
    return place


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("bundle", "options", "status", "code"),
    [
        ("good.zip", SEEN, "valid", 0),
        ("good.zip", (*BELIEVED, "--believe", "clock"), "valid", 0),
        ("good.zip", WITNESSED, "on trust", 11),
        ("good.zip", (*WITNESSED, "--suspect-since", SINCE), "on trust", 11),
        ("honest.zip", WITNESSED, "not significant", 10),
        ("looked.zip", SEEN, "valid", 0),
        ("honest.zip", SEEN, "not significant", 10),
        ("bad.zip", SEEN, "tampered", 3),
        ("good.zip", (*SEEN, "--owner", public_key(KEYS[1])), "tampered", 3),
        ("good.zip", (), "untimely", 4),
        ("good.zip", (*SEEN, *LONGER_AGO), "untimely", 4),
        ("good.zip", ("--seen", "2026-03-01T00:00:00+00:00"), "untimely", 4),
    ],
)
def test_every_status_has_its_exit_code(
    noli: Run, folder: Path, bundle: str, options: tuple[str, ...], status: str, code: int
) -> None:
    done = noli("check", folder / bundle, *options)
    assert done.code == code
    assert done.out.startswith(f"{status.upper()}: ")
    document = noli("check", folder / bundle, *options, "--json")
    assert (document.code, document.err) == (code, "")
    assert (document.json["status"], document.json["exit_code"]) == (status, code)
    assert bool(document.json["reasons"]) is (status != "valid")
    assert document.json["report"] is None


def test_a_valid_claim_is_told_with_its_figures_and_its_limits(noli: Run, folder: Path) -> None:
    done = noli("check", folder / "good.zip", *SEEN)
    said = words(done.out)
    for text in (
        "claim The model was trained on the pictures that were signed.",
        "suspect the suspect, https://models.example/v1",
        "owner A museum",
        f"public key {public_key(KEYS[0])}",
        "secret classes named first 16 expected by chance 3 of 30 p-value, exact 3.7 \u00d7 10⁻⁹",
        "committed before 2026-01-01 12:00:00 UTC: the checker, who saw the published commitment",
        "model since 2026-02-01 00:00:00 UTC, as the owner says",
        "on the owner's word draw on the owner's word age",
        "still sealed 10 of 40 secrets",
        "If the claim were false, evidence as strong as this would turn up at most once in",
        "does not show that the answers came from the suspect, who trained the model, nor that the owner",
        "The report inside a bundle is its owner's own text.",
    ):
        assert text in said
    assert words(done.err).startswith("Compare the commitment's SHA-256 with the number that you saw")


def test_what_rests_on_the_owner_s_word_is_said_with_the_way_out(noli: Run, folder: Path) -> None:
    done = noli("check", folder / "good.zip", *WITNESSED)
    said, hint = words(done.out), words(done.err)
    assert said.startswith("ON TRUST: all figures follow from the records, but it is evidence only if you")
    assert "- Only the owner says that the secrets were drawn at random" in said
    assert "- Only the owner says that the suspect is not older than 2026-02-01 00:00:00 UTC." in said
    assert "name the time with --suspect-since." in hint
    assert "To take the owner's word: --believe draw --believe age" in hint
    known = noli("check", folder / "good.zip", *WITNESSED, "--suspect-since", SINCE)
    assert words(known.err).endswith("SHA256=TIME. To take the owner's word: --believe draw")
    untold = noli("check", folder / "good.zip")
    assert "If you saw its number published: --seen SHA256=TIME." in words(untold.err)


def test_a_time_is_held_against_the_number_that_was_seen(noli: Run, folder: Path) -> None:
    number = noli("check", folder / "good.zip", *SEEN, "--json").json["claim"]["commitment"]
    bare = noli("check", folder / "good.zip", "--seen", COMMITTED, *BELIEVED)
    assert (bare.code, "Compare the commitment's SHA-256" in words(bare.err)) == (0, True)
    for given, code in ((number, 0), (number[:16].upper(), 0), ("0" * 64, 4)):
        done = noli("check", folder / "good.zip", "--seen", f"{given}={COMMITTED}", *BELIEVED)
        assert done.code == code
        assert ("The commitment that you saw is another one" in done.out) is (code == 4)
    short = noli("check", folder / "good.zip", "--seen", f"{number[:15]}={COMMITTED}")
    assert (short.code, "with 16 hex digits or more" in words(short.err)) == (2, True)


def test_the_page_says_what_was_believed_and_who_named_the_age(
    noli: Run, folder: Path, tmp_path: Path
) -> None:
    later = "2026-03-01T00:00:00+00:00"
    noli("check", folder / "good.zip", *SEEN, "--report", tmp_path / "believed.html")
    page = (tmp_path / "believed.html").read_text()
    assert "The claim is supported, if its owner is believed" in page
    assert "that the secrets were drawn at random; since when the suspect exists." in page
    given = (*WITNESSED, "--believe", "draw", "--suspect-since", later, "--report", tmp_path / "known.html")
    assert noli("check", folder / "good.zip", *given).code == 0
    page = (tmp_path / "known.html").read_text()
    assert "Suspect first seen, as the checker says" in page
    assert later in page
    assert "since when the suspect exists" not in page


def test_a_label_map_is_shown(noli: Run, tmp_path: Path) -> None:
    told = story(tmp_path)
    known = {**{f"tabby {i}": ("a",) for i in range(13)}, "\x1b[2Jcat": ("b", "c")}
    suspect = SUSPECT.model_copy(update={"label_map": known})
    session = replace(told.session(), transcript=Transcript(start=suspect.identity))
    session.run(thief(told))
    claim, spent = claim_of(session, suspect, tmp_path / "ledger.jsonl")
    (tmp_path / "b.zip").write_bytes(pack(members(session, claim, spent, Extras()), told.key))
    done = noli("check", tmp_path / "b.zip", *SEEN, "--report", tmp_path / "page.html")
    said = words(done.out)
    assert done.code == 11
    assert "Only the owner says what the suspect's classes are called in his data" in said
    assert "classes taken for �[2Jcat as b, c classes taken for tabby 0 as a" in said
    assert "and 2 more (claim.json)" in said
    page = (tmp_path / "page.html").read_text()
    assert "Supported only if its owner is believed" in page
    assert "tabby 12: a" in page
    assert noli("check", tmp_path / "b.zip", *SEEN, "--believe", "labels").code == 0


def test_e_values_and_the_family_of_tests(noli: Run, folder: Path) -> None:
    said = words(noli("check", folder / "looked.zip", *SEEN, "--suspect-since", SINCE).out)
    assert (
        "p-value, valid at any time 6.6 \u00d7 10⁻⁵ evidence (e-value) 15,103 p-value among 3 tests" in said
    )
    assert "model since 2026-02-01 00:00:00 UTC, as you say" in said


def test_what_is_not_shown_depends_on_the_beacon() -> None:
    plain_one, public = protocol(), protocol(beacon={"round": 123})
    random, only = "drew the secrets at random", "made no other commitments"
    for made in (plain_one, public):
        said, listed = closing([made]), " ".join(not_shown(made))
        assert ("who trained the model" in said, "Who trained the model" in listed) == (
            True,
            True,
        )
        assert (random in said) is (random in listed) is (made is plain_one)
        assert (only in said) is (only in listed) is (made is public)
    both = closing([public, plain_one, public])
    assert (both.count(random), both.count(only)) == (1, 1)


def test_a_claim_with_a_beacon_is_told_what_public_randomness_excludes(noli: Run, tmp_path: Path) -> None:
    pytest.importorskip("py_ecc")
    told = story(tmp_path, beacon={"round": 123})
    beacon = Beacon(round=123, randomness=RANDOMNESS, signature=SIGNATURE)
    data = told.bundle(honest, session=replace(told.session(told.commit(LONG_AGO)), beacon=beacon))
    (tmp_path / "b.zip").write_bytes(data)
    done = noli("check", tmp_path / "b.zip", "--seen", LONG_AGO)
    said = words(done.out)
    assert done.code == 10
    assert "Public randomness: drand-quicknet, round 123, public from" in said
    assert "nor that the owner made no other commitments" in said
    assert "at random" not in said


def test_what_is_not_valid_gives_reasons_and_no_praise(noli: Run, folder: Path) -> None:
    late = noli("check", folder / "good.zip")
    assert "- Nobody but the owner says when the commitment was made." in late.out
    assert "If the claim were false" not in late.out
    nothing = words(noli("check", folder / "honest.zip", *SEEN).out)
    assert "The adjusted p-value is 0.589; the claim needs at most 0.0001." in nothing
    assert "Nor is it shown that the claim is false." in nothing
    bad = noli("check", folder / "bad.zip", *SEEN)
    assert len(bad.out.splitlines()) == 2
    assert "claim The model" not in words(bad.out)


@pytest.mark.parametrize(
    ("names", "options", "survivors", "code"),
    [
        (("good", "looked"), SEEN, ("good",), 10),
        (("good", "looked"), (*SEEN, "--alpha", "0.001"), ("good", "looked"), 0),
        (("good", "honest", "looked"), (*SEEN, "--alpha", "0.001"), ("good", "looked"), 10),
        (("honest",), (*SEEN, "--alpha", "0.05"), (), 10),
        (("good", "looked"), (), (), 4),
        (("good", "bad"), SEEN, ("good",), 3),
        (("good", "bad"), (), (), 3),
        (("bad", "bad"), SEEN, (), 3),
    ],
)
def test_several_bundles_have_one_answer(
    noli: Run, folder: Path, names: tuple[str, ...], options: tuple[str, ...], survivors: Any, code: int
) -> None:
    paths = [folder / f"{name}.zip" for name in names]
    done = noli("check", *paths, *options, "--json")
    assert (done.code, done.json["exit_code"], done.err) == (code, code, "")
    assert done.json["survivors"] == [str(folder / f"{name}.zip") for name in survivors]
    assert [one["bundle"] for one in done.json["bundles"]] == list(map(str, paths))
    alone = [noli("check", path, *[o for o in options if o in SEEN], "--json").json for path in paths]
    for one, other in zip(done.json["bundles"], alone, strict=True):
        assert {**one, **other} == {**one, "report": None}
    told = noli("check", *paths, *options)
    assert told.code == code
    for path, one in zip(paths, alone, strict=True):
        assert f"{path}: {one['status'].upper()}: " in told.out


def test_several_bundles_are_told_with_figures_owners_and_limits(
    noli: Run, folder: Path, tmp_path: Path
) -> None:
    other = story(tmp_path, KEYS[1])
    (tmp_path / "other.zip").write_bytes(other.bundle(thief(other)))
    paths = (folder / "good.zip", folder / "looked.zip", tmp_path / "other.zip", folder / "bad.zip")
    done = noli("check", *paths, *SEEN)
    said = words(done.out)
    for text in (
        f"{folder / 'bad.zip'}: TAMPERED: damaged, forged",
        "among 4 tests e-value answer",
        "3.7 \u00d7 10⁻⁹ 1.1 \u00d7 10⁻⁸ - survives",
        "6.6 \u00d7 10⁻⁵ 2.0 \u00d7 10⁻⁴ 15,103 does not survive",
        "2 of 4 claims survive. The probability that any false claim survives is at most 10⁻⁴ (Holm,",
        "Of the claims that e-BH names, a share of",
        "The claims are of 2 owners",
        public_key(KEYS[0])[:16],
        public_key(KEYS[1])[:16],
        "does not show that the answers came from the suspect, who trained the model, nor that the owner",
    ):
        assert text in said, (text, said)
    assert done.code == 3
    late = words(noli("check", *paths[:2]).out)
    assert late.count("- - - does not count") == 2
    nothing = noli("check", paths[3], paths[3]).out.splitlines()
    assert len(nothing) == 4


def test_time_stamps_count_with_roots(noli: Run, tmp_path: Path) -> None:
    authority, told = Authority(), story(tmp_path)
    stamp = authority.stamp(told.commit().canonical(), datetime.fromisoformat(COMMITTED))
    (tmp_path / "b.zip").write_bytes(told.bundle(thief(told), stamps=[stamp]))
    (tmp_path / "roots.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    assert noli("check", tmp_path / "b.zip").code == 4
    done = noli("check", tmp_path / "b.zip", "--roots", tmp_path / "roots.pem", *BELIEVED)
    assert done.code == 0
    assert "RFC 3161 time stamp of CN=Test TSA" in done.out


def test_the_report_is_made_from_what_was_recomputed(noli: Run, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = noli("check", folder / "good.zip", *SEEN, "--report", page, "--json")
    assert (done.code, done.json["report"]) == (0, str(page))
    text = page.read_text()
    assert "The claim is supported" in text
    assert "the checker, who saw the published commitment" in text
    before = page.read_bytes()
    again = noli("check", folder / "good.zip", *SEEN, "--report", page)
    assert (again.code, again.out, page.read_bytes()) == (2, "", before)
    late = tmp_path / "late.html"
    assert noli("check", folder / "good.zip", "--report", late).code == 4
    assert "Not accepted: untimely" in late.read_text()


def test_of_a_bundle_that_was_tampered_with_there_is_no_report(
    noli: Run, folder: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = noli("check", folder / "bad.zip", *SEEN, "--report", page)
    assert (done.code, page.exists()) == (3, False)
    assert "no report was written" in words(done.err)


@pytest.mark.parametrize(
    ("bundle", "options", "says"),
    [
        ("none.zip", (), "cannot be read"),
        (".", (), "cannot be read"),
        ("good.zip", ("--owner", "abc"), "64 hex digits"),
        ("good.zip", ("--owner", "g" * 64), "64 hex digits"),
        ("good.zip", ("--seen", "2026-01-01"), "has no time zone"),
        ("good.zip", ("--suspect-since", "yesterday"), "This is not a time with its zone."),
        ("good.zip", ("--roots", "/nowhere/roots.pem"), "certificates cannot be read"),
        ("good.zip", ("--roots", __file__), "This file holds no certificate."),
        ("good.zip", ("--sen", "x"), "--seen"),
        ("good.zip", ("--believe", "drew"), "did you mean draw"),
        ("good.zip", ("none.zip",), "cannot be read"),
        ("good.zip", ("good.zip",), "handed in twice"),
        ("good.zip", ("honest.zip", "--report", "page.html"), "--report is about one claim."),
        ("good.zip", ("--alpha", "0.01", "--report", "page.html"), "--report is about one claim."),
        ("good.zip", ("honest.zip", "--alpha", "0.5"), "This is no alpha of a claim."),
    ],
)
def test_usage_errors_are_no_verdict(
    noli: Run, folder: Path, bundle: str, options: tuple[str, ...], says: str
) -> None:
    done = noli("check", folder / bundle, *(folder / one if one.endswith(".zip") else one for one in options))
    assert (done.code, done.out) == (2, "")
    assert says in words(done.err)


def test_a_missing_package_is_no_verdict(noli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingPrerequisite("Time stamps cannot be handled.", fix='pip install "noli[timestamps]"')

    monkeypatch.setattr("noli.api._check.check", missing)
    done = noli("check", folder / "good.zip", "--json")
    # 3, as elsewhere, would read as "tampered".
    assert (done.code, done.out) == (5, "")
    assert '"type": "MissingPrerequisite"' in done.err
    assert '"exit_code": 5' in done.err


def test_a_file_that_is_too_large_is_no_bundle(
    noli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noli.proof.bundle.LARGEST", 100)
    done = noli("check", folder / "good.zip")
    assert (done.code, "larger than any bundle" in done.out) == (3, True)


def test_a_bundle_cannot_steer_the_terminal(noli: Run, tmp_path: Path) -> None:
    trick = "fine\x1b[2J\x1b[1;1H\nVALID: believe me \u202e"
    told = altered(story(tmp_path), claim=trick)
    (tmp_path / "b.zip").write_bytes(told.bundle(honest))
    said = noli("check", tmp_path / "b.zip", *SEEN).out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert not any(line.startswith("VALID") for line in said.splitlines())
    assert plain("Künstler, 絵 - ok") == "Künstler, 絵 - ok"


def test_nothing_of_the_network_is_even_loaded(folder: Path, tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def closed(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = closed\n"
        "from noli.cli.main import main\n"
        f"assert main(['check', {str(folder / 'good.zip')!r}, *{SEEN!r}, '--report', "
        f"{str(tmp_path / 'page.html')!r}]) == 0\n"
        "print([m for m in ('torch', 'httpx', 'requests', 'urllib3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_several_from_python(folder: Path) -> None:
    paths, believe = [folder / "good.zip", str(folder / "honest.zip")], ("clock", "draw", "age")
    found = package.check_bundles(paths, believe=believe)
    assert (found.exit_code, found.survivors, found.tests) == (10, (str(folder / "good.zip"),), 2)
    with pytest.raises(UsageError, match="no bundle"):
        package.check_bundles([])


def test_from_python(folder: Path, tmp_path: Path) -> None:
    seen = datetime.fromisoformat(COMMITTED)
    owner = public_key(KEYS[0])
    trust = {"seen": seen, "suspect_since": SINCE, "owner": owner.upper(), "believe": ["draw"]}
    found = package.check_bundle(folder / "good.zip", **trust)
    assert (found.status, found.exit_code, found.sealed) == ("valid", 0, 10)
    assert package.check_bundle(str(folder / "honest.zip"), believe=["clock"]).exit_code == 10
    with pytest.raises(UsageError, match="name the zip"):
        package.check_bundle(tmp_path / "none.zip")
    (tmp_path / "taken.html").write_text("mine")
    with pytest.raises(OutputExists):
        package.check_bundle(tmp_path / "none.zip", report=tmp_path / "taken.html")
    with pytest.raises(UsageError, match="no time zone"):
        package.check_bundle(folder / "good.zip", seen=datetime(2026, 1, 1))


def test_other_files_than_the_released_ones_have_an_exit_code(
    noli: Run, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.png").write_bytes(b"one")
    listed = listing(files_of(Place(out)))
    told = story(tmp_path)
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed))
    data = told.bundle(thief(told), session=told.session(made), files={"released.json": listed})
    (tmp_path / "bound.zip").write_bytes(data)
    done = noli("check", tmp_path / "bound.zip", *SEEN, "--released", out)
    assert done.code == 0
    assert "THE SAME FILES: " in words(done.out)
    (out / "1.png").write_bytes(b"two")
    (out / "2\x1b.png").write_bytes(b"three")
    done = noli("check", tmp_path / "bound.zip", *SEEN, "--released", out)
    assert done.code == 1
    assert done.out.startswith("VALID: ")
    assert "OTHER FILES: " in words(done.out)
    assert "- other content: 1.png - not released: 2\N{REPLACEMENT CHARACTER}.png" in words(done.out)
    document = noli("check", tmp_path / "bound.zip", *SEEN, "--released", out, "--json")
    assert (document.code, document.json["exit_code"]) == (1, 1)
    assert document.json["release"]["files"] == 1
    assert document.json["released"]["different"] == ["1.png"]
    # What a bundle does not bind is not said to be the same, either.
    done = noli("check", folder / "good.zip", *SEEN, "--released", out)
    assert done.code == 1
    assert "NOT BOUND: " in words(done.out)
    document = noli("check", folder / "bad.zip", *SEEN, "--released", out, "--json")
    assert (document.code, document.json["released"]) == (3, None)


def test_long_lists_of_other_files_are_cut(noli: Run, tmp_path: Path) -> None:
    told, out = story(tmp_path), tmp_path / "out"
    out.mkdir()
    listed = listing({f"{i:02d}.png": "ab" * 32 for i in range(25)})
    made = told.vault().commit("A museum", COMMITTED, released=sha256(listed))
    bundles: dict[str, dict[str, bytes]] = {"whole": {"released.json": listed}, "bare": {}}
    for name, files in bundles.items():
        data = told.bundle(thief(told), session=told.session(made), files=files)
        (tmp_path / f"{name}.zip").write_bytes(data)
    said = words(noli("check", tmp_path / "whole.zip", *SEEN, "--released", out).out)
    assert "- missing: 19.png - missing: 5 more; --json lists all" in said
    said = words(noli("check", tmp_path / "bare.zip", *SEEN, "--released", out).out)
    assert "which files differ cannot be said: the bundle withholds the list" in said
