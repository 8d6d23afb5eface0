"""``noli mark`` and ``noli detect`` as a person or a script calls them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from noli import api, zoo
from noli.api import _beacon, _commit_first
from noli.cli.detect import _head
from noli.core.key import Key
from noli.proof.records import now

sys.path.insert(0, str(Path(__file__).parents[1] / "proof"))
from test_records import RANDOMNESS, SIGNATURE

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mark")
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    Key.new(folder / "owner.key")
    zoo.network("tiny", ("cat", "dog"), seed=0).save(folder / "model.safetensors")
    return folder


def words(place: Path, *more: str) -> tuple[str, ...]:
    out = ("-o", str(place / "out"), "--key", str(place / "owner.key"))
    return ("mark", "gratings", str(place / "photos"), *out, "--workers", "1", "--set", "share=1", *more)


def test_marking_says_what_to_publish_first(noli: Run, place: Path) -> None:
    done = noli(*words(place, "--name", "The zoo"))
    assert done.code == 0
    assert "marked" in done.out
    assert "20 to ask" in done.out
    assert "BEFORE you publish the data" in done.err
    assert " pictures carry 20 secrets" in done.err
    again = noli(*words(place, "--json")).json
    commitment = json.loads(Path(again["commitment"]).read_bytes())
    assert commitment["name"] == "The zoo"
    assert again["owner"] == commitment["owner"]
    assert again["protocol"]["budget"] == 20


def test_a_model_that_learned_nothing_is_not_found(noli: Run, place: Path) -> None:
    noli(*words(place))
    asked = ("detect", str(place / "out"), "--key", str(place / "owner.key"))
    done = noli(*asked, "--model", str(place / "model.safetensors"), "-o", str(place / "proof.zip"),
                "--since", now())  # fmt: skip
    assert done.code == 1
    assert "NOT FOUND" in done.out
    assert "noli check" in done.err
    assert "Without --stamp it counts only for who saw the commitment published" in " ".join(done.err.split())
    assert noli("check", str(place / "proof.zip"), "--believe", "clock").code == 10
    document = noli(*asked, "--model", str(place / "model.safetensors"), "--json").json
    assert document["supported"] is False
    assert document["claim"]["outcome"]["n"] == 20


def test_words_that_are_missing(noli: Run, place: Path) -> None:
    noli(*words(place))
    asked = ("detect", str(place / "out"), "--key", str(place / "owner.key"))
    assert noli(*asked).code == 2
    assert "--endpoint or --model" in noli(*asked).err
    assert noli("detect", str(place / "photos"), "--key", str(place / "owner.key")).code != 0
    stamp = (
        "mark",
        "stamp",
        str(place / "out"),
        "--key",
        str(place / "owner.key"),
        "-o",
        str(place / "t.tsr"),
    )
    refused = noli(*stamp, "--authority", "http://127.0.0.1:9/")
    assert refused.code == 2
    assert "--allow-network" in refused.err
    assert noli(*stamp, "--authority", "http://127.0.0.1:9/", "--allow-network").code == 4
    assert not (place / "t.tsr").exists()


def test_a_dry_run_shows_the_first_request_and_sends_nothing(noli: Run, place: Path) -> None:
    noli(*words(place))
    (place / "suspect.yaml").write_text(
        "url: http://127.0.0.1:9/classify\nresponse_path: label\nrate: 2\n"
        "body: {kind: json, template: {image: '{image_png_base64}'}}\n"
    )
    asked = ("detect", str(place / "out"), "--key", str(place / "owner.key"))
    shown = noli(*asked, "--endpoint", str(place / "suspect.yaml"), "--dry-run", "--json").json
    assert shown["url"] == "http://127.0.0.1:9/classify"
    assert shown["planned_seconds"] > 5
    told = noli(*asked, "--endpoint", str(place / "suspect.yaml"), "--dry-run").out
    assert told.rstrip().endswith("Nothing was sent.")
    assert "pauses of all queries" in told
    assert not any(mark in told for mark in ("['", "[]", "{'", "planned_seconds"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the clock says; at first, ten minutes before round 123 of drand's quicknet."""
    said = ["2023-08-23T15:05:31+00:00"]
    for module in (_beacon, _commit_first):
        monkeypatch.setattr(module, "now", lambda: said[-1])
    return said


def beaconed(place: Path, out: str, *more: str) -> tuple[str, ...]:
    there = ("-o", str(place / out), "--key", str(place / "owner.key"))
    return ("mark", "gratings", str(place / "photos"), *there, "--workers", "1", "--set", "share=1",
            "--beacon", *more)  # fmt: skip


def test_a_beacon_is_waited_for(noli: Run, place: Path, clock: list[str]) -> None:
    first = noli(*beaconed(place, "later", "--name", "The zoo"))
    assert first.code == 0
    assert "Round 123 appears at 2023-08-23 15:15:33 UTC" in " ".join(first.out.split())
    assert "give the same command again" in " ".join(first.out.split())
    assert "/public/123" in first.err
    waiting = noli(*beaconed(place, "later", "--json")).json
    assert (waiting["waiting"], waiting["round"]) == (True, 123)
    assert not (place / "later").exists()
    assert "nothing is marked yet" in first.out
    early = noli(
        "detect", str(place / "later"), "--key", str(place / "owner.key"), "--model", "m.safetensors"
    )
    assert early.code == 2
    assert "round 123 of the beacon, public from 2023-08-23 15:15:33 UTC on" in " ".join(early.err.split())
    clock.append("2023-08-23T15:20:00+00:00")
    missing = noli(*beaconed(place, "later"))
    assert missing.code == 3
    assert "--beacon-file FILE" in missing.err
    (place / "round.json").write_text(json.dumps({"round": 122, "signature": SIGNATURE}))
    assert noli(*beaconed(place, "later", "--beacon-file", str(place / "round.json"))).code == 4
    (place / "round.json").write_text(
        json.dumps({"round": 123, "signature": SIGNATURE, "randomness": RANDOMNESS})
    )
    done = noli(*beaconed(place, "later", "--beacon-file", str(place / "round.json")))
    assert done.code == 0
    assert "decided by round 123" in done.out
    assert "published or stamped BEFORE the round" in done.err
    after = noli(*beaconed(place, "later", "--json")).json
    assert (after["waiting"], after["worked"]) == (False, False)
    assert after["commitment_sha256"] == waiting["commitment_sha256"]


def test_a_beacon_needs_what_checks_it(
    noli: Run, place: Path, clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert noli(*words(place, "--allow-network")).code == 2
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "py_ecc" else found(name))
    done = noli(*beaconed(place, "never"))
    assert done.code == 3
    assert "noli[timestamps]" in done.err
    assert not (place / "never.noli").exists()


def test_a_key_to_which_another_was_added_still_proves(noli: Run, place: Path, tmp_path: Path) -> None:
    key, out = tmp_path / "owner.key", tmp_path / "out"
    old = Key.new(key).id
    photos = ("mark", "gratings", place / "photos", "-o", out, "--key", key, "--workers", "1")
    assert noli(*photos, "--set", "share=1").code == 0
    Key.rotate(key)
    ask = ("detect", out, "--key", key, "--model", place / "model.safetensors")
    assert noli(*ask).code == 1
    found = api.detect(out, key=key, model=place / "model.safetensors")
    assert found.claim.verdict.tests == 1
    other = tmp_path / "other.key"
    Key.new(other)
    done = noli(*ask[:3], other, *ask[4:])
    assert (done.code, "does not hold the key" in done.err) == (4, True)
    Key.revoke(key, old)
    done = noli(*ask)
    assert (done.code, "was revoked" in done.err) == (4, True)


def test_evidence_that_other_tests_use_up_is_told_from_none() -> None:
    def head(p: float, *, supported: bool, hopeless: bool = False) -> str:
        claim = SimpleNamespace(outcome=SimpleNamespace(p=p))
        protocol = SimpleNamespace(alpha=0.01)
        facts: dict[str, Any] = {"claim": claim, "protocol": protocol, "hopeless": hopeless}
        found = SimpleNamespace(test="labels", supported=supported, **facts)
        return _head(cast(Any, found)).plain

    assert head(0.001, supported=True) == "FOUND: it learned from the marked data."
    assert head(0.009, supported=False) == ("NOT FOUND: this would be evidence, but not among so many tests.")
    assert head(0.011, supported=False) == "NOT FOUND: its answers are no more than chance may give."
    assert "so much was not answered" in head(1.0, supported=False, hopeless=True)
