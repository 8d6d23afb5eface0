"""The demo's last chapter: the thief is found through a service, the innocent is not, the bundle holds."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import noli
from noli import zoo
from noli.api import _demo_proof
from noli.api._demo_proof import DemoProof, prove
from noli.api._loopback import served
from noli.cli.demo import _outcome
from noli.core.run import Run
from noli.engine.progress import Progress
from noli.testing import KEYS

CLASSES = ("ash", "birch", "cedar", "elm", "fir", "gum")
# Strong marks on few, easy pictures: what is tested here is the chain, not how little suffices.
OPTIONS = {"keys": 16, "share": 0.8, "eps": 24 / 255, "alpha": 1e-4}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth fields whose class says nothing about them: only marks can be learned."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(672):
        coarse = draw.integers(40, 216, (5, 5, 3), dtype=np.uint8)
        place = folder / ("train" if number < 600 else "test") / CLASSES[number % 6]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def chapter(folder: Path, pictures: Path, said: list[str] | None = None) -> DemoProof:
    tell = said.append if said is not None else (lambda _: None)
    return prove(folder, pictures, KEYS[0], workers=1, bar=Progress(), tell=tell, options=OPTIONS)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> tuple[Path, DemoProof]:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_demo_proof, "RECIPE", {"epochs": 12})
        return folder, chapter(folder, pictures)


def test_the_thief_is_found_and_the_innocent_is_not(proven: tuple[Path, DemoProof]) -> None:
    folder, found = proven
    assert (found.status, found.reasons) == ("valid", ())
    assert found.thief.found
    assert found.thief.hits >= found.needed
    assert found.thief.p <= found.alpha / 2
    assert not found.innocent.found
    assert found.innocent.p > 1e-3
    assert found.innocent.hits < found.needed
    assert (found.pictures, found.questions) == (672, 16)
    assert 350 < found.marked < 672
    assert found.psnr is not None
    assert found.bundle == folder / "proof.zip"
    assert "noli demo" in found.certificate.read_text()


def test_anybody_can_check_the_bundle(proven: tuple[Path, DemoProof]) -> None:
    folder, found = proven
    seen = (folder / "prove/commitment-seen.txt").read_text()
    assert noli.check_bundle(found.bundle, seen=seen).status == "on trust"
    checked = noli.check_bundle(found.bundle, seen=seen, believe=("draw", "age"))
    assert (checked.status, checked.sealed) == ("valid", 0)
    assert checked.claim is not None
    assert checked.claim.outcome.p == found.thief.p
    assert checked.claim.verdict.tests == 2
    # Whoever saw the commitment only after the thief was there cannot know that it came first.
    since = (folder / "prove/thief-since.txt").read_text()
    assert noli.check_bundle(found.bundle, seen=since).status == "untimely"
    assert noli.check_bundle(found.bundle).status == "untimely"


def test_the_same_call_again_repeats_nothing(
    proven: tuple[Path, DemoProof], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = proven
    ledger = folder / "prove/marked.noli/proof/ledger.jsonl"
    before = ledger.read_bytes()
    # Nothing may be trained or asked again, not even after an interruption before the bundle was kept.
    monkeypatch.setattr("noli.train.fit.fit", None)
    assert chapter(folder, pictures) == found
    found.bundle.unlink()
    again = chapter(folder, pictures)
    assert again.model_dump(exclude={"seconds"}) == found.model_dump(exclude={"seconds"})
    assert ledger.read_bytes() == before
    assert len(before.splitlines()) == 2


def test_a_thief_that_was_not_found_is_no_error(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_demo_proof, "RECIPE", {"epochs": 1, "max_steps": 1})
    said: list[str] = []
    found = chapter(tmp_path, pictures, said)
    assert not found.thief.found
    assert found.status == "not significant"
    assert found.certificate.is_file()
    assert "no evidence" in _outcome(found)
    assert len(said) == 4
    assert Run.exists(tmp_path / "prove/marked.noli")


def test_the_demo_asks_two_suspects_and_says_so_beforehand() -> None:
    assert _demo_proof.MARK["tests"] == 2


def test_the_service_answers_pictures_and_refuses_the_rest() -> None:
    model, picture = zoo.network("tiny", CLASSES, seed=0), io.BytesIO()
    Image.new("RGB", (32, 32), (9, 120, 60)).save(picture, "PNG")
    good = base64.b64encode(picture.getvalue()).decode()
    with served(model) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.post(url, json={"image": good}).json()["label"] in CLASSES
        for body in (b"", b"[]", b"{}", b'{"image": 3}', b'{"image": "no"}', b'{"image": "bm8="}'):
            assert httpx.post(url, content=body).status_code == 400


def test_a_taken_port_is_no_obstacle() -> None:
    model = zoo.network("tiny", CLASSES, seed=0)
    with served(model) as first, served(model, int(first.split(":")[2].split("/")[0])) as second:
        assert first != second
