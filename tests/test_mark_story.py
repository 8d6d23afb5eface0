"""Mark, publish, steal, serve, ask, prove: the whole chain, from pictures in a folder to a bundle's check."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import noli
from noli import zoo
from noli.adapters.faults import BudgetShort
from noli.api import MarkRun
from noli.core.errors import DataError, KeyFileError, OutputExists, RunError, UsageError, WrongKey
from noli.proof.check import check
from noli.proof.records import now
from noli.testing import KEYS
from noli.train.fit import fit
from noli.train.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent / "adapters"))
sys.path.insert(0, str(Path(__file__).parent / "proof"))
from authority import Authority
from servers import Sent, said, serve

CLASSES = ("ash", "birch", "cedar", "elm", "fir", "gum")
# Strong marks on few, easy pictures: what is tested here is the chain, not how little suffices.
OPTIONS = {"keys": 16, "share": 0.8, "eps": 24 / 255, "alpha": 1e-4}


def draw_pictures(folder: Path) -> Path:
    """720 smooth fields whose class says nothing about them: only marks can be learned."""
    draw = np.random.default_rng(0)
    for number in range(720):
        coarse = draw.integers(40, 216, (5, 5, 3), dtype=np.uint8)
        place = folder / CLASSES[number % 6]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def train(folder: Path, file: Path) -> Path:
    files = sorted(folder.rglob("*.png"))
    x = np.stack([np.asarray(Image.open(one).convert("RGB")) for one in files])
    y = np.array([CLASSES.index(one.parent.name) for one in files])
    model = zoo.network("tiny", CLASSES, seed=1)
    fit(model, x, y, Recipe(epochs=16, seed=1, device="cpu"))
    model.save(file)
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="module")
def marked(place: Path) -> MarkRun:
    draw_pictures(place / "pictures")
    return noli.mark(
        place / "pictures", place / "out", key=KEYS[0], name="The herbarium", workers=1, **OPTIONS
    )


@pytest.fixture(scope="module")
def thief(place: Path, marked: MarkRun) -> Path:
    return train(Path(marked.output), place / "thief.safetensors")


@pytest.fixture(scope="module")
def innocent(place: Path, marked: MarkRun) -> Path:
    return train(place / "pictures", place / "innocent.safetensors")


def served(model_file: Path, behave=None):
    model = zoo.load(model_file)

    def answer(request):
        if behave is not None and (changed := behave(request)) is not None:
            return changed
        scores = model.predict(request.picture()[None])[0]
        return said({"label": CLASSES[int(scores.argmax())]})

    return serve(answer)


def described(folder: Path, url: str, **more) -> Path:
    body = {"kind": "json", "template": {"image": "{image_png_base64}"}}
    file = folder / "suspect.yaml"
    file.write_text(yaml.safe_dump({"url": url, "body": body, "response_path": "label", **more}))
    return file


def test_a_thief_behind_a_service_is_found_and_the_bundle_holds(
    marked: MarkRun, thief: Path, tmp_path: Path
) -> None:
    with served(thief) as server:
        found = noli.detect(
            marked.output,
            key=KEYS[0],
            endpoint=described(tmp_path, server.url),
            suspect="the thief",
            since=now(),
            bundle=tmp_path / "proof.zip",
        )
        assert len(server.seen) == 16
    assert found.supported
    assert found.claim.outcome.p <= 1e-4
    assert found.claim.suspect.where.startswith(f"{server.url} (request ")
    seen = noli.check_bundle(tmp_path / "proof.zip", seen="2099-01-01T00:00:00+00:00")
    # The first query is older than this checker's knowledge of the commitment.
    assert seen.status == "untimely"
    owner = ("clock", "draw", "age")
    good = noli.check_bundle(tmp_path / "proof.zip", believe=owner, report=tmp_path / "page.html")
    assert (good.status, good.sealed) == ("valid", 0)
    assert "The herbarium" in (tmp_path / "page.html").read_text()
    body = bytearray((tmp_path / "proof.zip").read_bytes())
    body[len(body) // 2] ^= 1
    assert check(bytes(body)).status == "tampered"


def test_whoever_trained_on_the_originals_is_not_accused(
    marked: MarkRun, innocent: Path, tmp_path: Path
) -> None:
    found = noli.detect(marked.path, key=KEYS[0], model=innocent, since=now(), bundle=tmp_path / "proof.zip")
    assert not found.supported
    assert found.claim.outcome.p > 1e-3
    assert noli.check_bundle(tmp_path / "proof.zip", believe=("clock",)).exit_code == 10


def test_a_model_file_is_found_as_its_service_is(marked: MarkRun, thief: Path) -> None:
    found = noli.detect(marked.output, key=KEYS[0], model=thief, since=now())
    assert found.supported
    assert found.bundle is None
    assert found.claim.suspect.weights == zoo.load(thief).weight_hash()


def test_models_of_one_name_are_never_taken_for_each_other(
    marked: MarkRun, thief: Path, innocent: Path, tmp_path: Path
) -> None:
    calls = {"key": KEYS[0], "suspect": "the model"}
    assert noli.detect(marked.output, model=thief, **calls).supported
    assert not noli.detect(marked.output, model=innocent, **calls).supported


def test_label_maps_must_lead_to_classes_of_the_data(marked: MarkRun, thief: Path, tmp_path: Path) -> None:
    other = zoo.network("tiny", ("x", "y"), seed=0)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="knows none of the marked classes"):
        noli.detect(marked.output, key=KEYS[0], model=tmp_path / "other.safetensors")
    (tmp_path / "map.json").write_text(json.dumps({"x": ["oak"]}))
    with pytest.raises(UsageError, match="classes that the data does not have"):
        noli.detect(
            marked.output, key=KEYS[0], model=tmp_path / "other.safetensors", label_map=tmp_path / "map.json"
        )
    (tmp_path / "map.json").write_text(json.dumps({"x": ["ash"], "y": ["elm", "fir"]}))
    found = noli.detect(
        marked.output, key=KEYS[0], model=tmp_path / "other.safetensors", label_map=tmp_path / "map.json"
    )
    assert found.claim.suspect.label_map == {"x": ("ash",), "y": ("elm", "fir")}
    with pytest.raises(UsageError, match="time stamp cannot be read"):
        noli.detect(marked.output, key=KEYS[0], model=thief, stamps=[tmp_path / "none.tsr"])


def test_a_time_stamp_must_be_one_of_this_commitment(marked: MarkRun, thief: Path, tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    authority, file, moment = Authority(), tmp_path / "c.tsr", datetime.now(UTC)
    for content, why in (
        (b"garbage", "no time stamp"),
        (authority.stamp(b"other", moment), "of something else"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=why):
            noli.detect(marked.output, key=KEYS[0], model=thief, stamps=[file])
    file.write_bytes(authority.stamp(marked.commitment.canonical(), moment))
    assert noli.detect(marked.output, key=KEYS[0], model=thief, stamps=[file]).supported


def test_refusals_and_breaks_are_misses_and_no_query_is_made_twice(
    marked: MarkRun, thief: Path, tmp_path: Path
) -> None:
    count = 0

    def moody(request):
        nonlocal count
        count += 1
        if count == 3:
            return said({"error": "no"}, 403)
        if count == 8:
            return Sent(b'{"label"', drop_after=3)
        return None

    with served(thief, moody) as server:
        file = described(tmp_path, server.url, retries=0)
        calls = {"key": KEYS[0], "endpoint": file, "suspect": "moody", "since": now()}
        first = noli.detect(marked.output, **calls)
        again = noli.detect(marked.output, **calls)
        assert len(server.seen) == 16
    assert first.claim.outcome == again.claim.outcome
    assert first.claim.outcome.refused == 2
    entries = [json.loads(line) for line in first.transcript.read_bytes().splitlines()]
    assert [entry["status"] for entry in entries].count("refused") == 1
    assert [entry["status"] for entry in entries].count("failed") == 1


def test_a_test_that_was_begun_and_given_up_is_paid_for(marked: MarkRun, thief: Path, tmp_path: Path) -> None:
    def spent() -> list[dict[str, object]]:
        return [
            json.loads(line) for line in (marked.path / "proof" / "ledger.jsonl").read_text().splitlines()
        ]

    calls = {"key": KEYS[0], "suspect": "given up"}
    busy = [6]

    def at_first(_: Sent):
        busy[0] -= 1
        return said({}, status=503) if busy[0] >= 0 else None

    with served(thief, at_first) as server:
        # Six tries more than the budget was made for: it ends before the last six questions.
        tight = described(tmp_path, server.url, budget=16, retries=9, backoff=0, jitter=0)
        with pytest.raises(RunError, match="budget"):
            noli.detect(marked.output, endpoint=tight, **calls)
        before, whole = len(spent()), described(tmp_path, server.url)
        noli.detect(marked.output, key=KEYS[0], endpoint=whole, suspect="the next")
        noli.detect(marked.output, key=KEYS[0], endpoint=whole, suspect="the next")
        made = spent()[before:]
        assert [str(one["suspect"])[:8] for one in made] == ["given-up", "the next"]
        assert made[0]["p"] == 1.0
        found = noli.detect(marked.output, endpoint=whole, **calls)
    # What was asked is not asked again, but the test is another one, and dearer.
    assert len(server.seen) == 16 + 16 + 6
    assert found.claim.verdict.tests == len(spent()) == before + 3


def test_a_budget_that_does_not_reach_is_refused_before_the_first_question(
    marked: MarkRun, thief: Path, tmp_path: Path
) -> None:
    ledger = marked.path / "proof" / "ledger.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    says = "needs at least 16 requests, and the budget is 15; nothing was sent"
    busy = [1]

    def at_first(_: Sent):
        busy[0] -= 1
        return said({}, status=503) if busy[0] >= 0 else None

    with served(thief, at_first) as server:
        calls = {"key": KEYS[0], "suspect": "short of budget"}
        short = described(tmp_path, server.url, budget=15)
        for refused in (noli.detect, noli.api.rehearse):
            with pytest.raises(BudgetShort, match=says) as caught:
                refused(marked.output, endpoint=short, **calls)
            assert caught.value.exit_code == 2
            assert "set budget to 16 or more" in str(caught.value.fix)
        assert server.seen == []
        assert not list((marked.path / "proof").glob("short-of-budget-*"))
        assert (ledger.read_bytes() if ledger.exists() else b"") == before
        # One try too many: what is left afterwards is all that the next budget has to reach for.
        with pytest.raises(RunError, match="budget of 16 requests is spent"):
            noli.detect(
                marked.output,
                endpoint=described(tmp_path, server.url, budget=16, backoff=0, jitter=0),
                **calls,
            )
        last = described(tmp_path, server.url, budget=1)
        assert noli.api.rehearse(marked.output, endpoint=last, **calls)["planned_seconds"] == 0
        noli.detect(marked.output, endpoint=last, **calls)
        assert len(server.seen) == 17
        # A finished test needs nothing more.
        noli.detect(marked.output, endpoint=last, **calls)


def test_the_commitment_is_made_once_and_belongs_to_the_key(marked: MarkRun, place: Path) -> None:
    again = noli.mark(
        place / "pictures", place / "out", key=KEYS[0], name="Somebody else", workers=1, **OPTIONS
    )
    assert again.commitment == marked.commitment
    with pytest.raises(UsageError, match="another key"):
        noli.mark(place / "pictures", place / "out", key=KEYS[1], workers=1, **OPTIONS)
    with pytest.raises(WrongKey):
        noli.detect(marked.output, key=KEYS[1], model=place / "thief.safetensors")
    kept = marked.commitment_file.read_bytes()
    try:
        marked.commitment_file.write_bytes(kept.replace(b"herbarium", b"arboretum"))
        with pytest.raises(DataError, match="commitment cannot be used"):
            noli.detect(marked.output, key=KEYS[0], model=place / "thief.safetensors")
    finally:
        marked.commitment_file.write_bytes(kept)


def test_marked_pictures_can_be_undone_and_most_are_untouched(marked: MarkRun, tmp_path: Path) -> None:
    results = marked.manifest.results
    assert 0.1 < results["identical"] / results["items"] < 0.5
    noli.undo(marked.output, tmp_path / "back", key=KEYS[0])
    one = next(Path(marked.output).rglob("*.png"))
    assert (tmp_path / "back" / one.relative_to(marked.output)).is_file()


def test_what_cannot_be_done_is_said(marked: MarkRun, thief: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="served model or a model file"):
        noli.detect(marked.output, key=KEYS[0])
    with pytest.raises(UsageError, match="not a time with its zone"):
        noli.detect(marked.output, key=KEYS[0], model=thief, since="yesterday")
    (tmp_path / "there.zip").write_bytes(b"x")
    with pytest.raises(OutputExists):
        noli.detect(marked.output, key=KEYS[0], model=thief, bundle=tmp_path / "there.zip")
    with pytest.raises(UsageError, match="makes no marks"):
        noli.mark(tmp_path, tmp_path / "o", "protect/cuda", key=KEYS[0])
    with pytest.raises(KeyFileError):
        noli.mark(tmp_path, tmp_path / "o", key=tmp_path / "none.key")
    shown = noli.api.rehearse(marked.output, key=KEYS[0], endpoint=described(tmp_path, "http://127.0.0.1:9/"))
    assert shown["bytes"] > 100
    assert base64.b64encode(b"\x89PNG")[:6].decode() in json.dumps(shown)


def test_the_report_says_what_to_do_first(marked: MarkRun) -> None:
    page = (marked.path / "report.html").read_text()
    assert "Marking report" in page
    assert "Marked; nothing is proven yet" in page
    assert "noli detect" in page
