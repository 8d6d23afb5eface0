"""A detector is locked, opened with its key only, resumed after a kill, and told for what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noli
from boxes_making import scenes
from noli.core.errors import DataError, Interrupted, UsageError, WrongKey
from noli.core.theft import BOXED, Theft
from noli.methods.lock import detector
from noli.report.build import write_report
from noli.report.words import percent
from noli.testing import KEYS, tree
from noli.zoo.locked_detector import FILE, load_locked

FEW: dict[str, Any] = {
    "side": 64,
    "width": 16,
    "epochs": 2,
    "wrong_keys": 2,
    "held_out": 0.3,
    "thief_pictures": 5,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("scenes") / "shapes.zip", 24, side=64)


def locked(data: Path, output: Path, **more: Any) -> Any:
    return noli.lock_model(data, output, "detector", key=KEYS[0], **{**FEW, **more})


def test_a_detector_is_locked_and_opened_with_its_key_only(shapes: Path, tmp_path: Path) -> None:
    done = locked(shapes, tmp_path / "out")
    found = done.manifest.results
    assert set(found["map50"]) == set(found["map"]) == set(detector.MEANINGS)
    assert found["map50"]["key"] == found["map50"]["plain"]
    assert found["items"] == found["training"] + found["held_out"] == 24
    assert list(found["displaced"]) == ["2", "4", "8", "16"]
    theft = Theft.model_validate(found["theft"])
    assert (theft.unit, theft.labels, theft.size) == (BOXED, (5,), found["places"])
    assert theft.score == found["map50"]["key"]
    rows = [found["map50"][name] for name in ("no key", "wrong keys", "worst wrong key")]
    assert [theft.no_key, theft.wrong_mean, theft.wrong_most] == rows
    page = noli.write_report(done).read_text()
    assert "not an encrypted one" in page
    assert theft.words[0] in page
    assert page.count("Found without the key") == 2 * 3  # caption and words for those who cannot see it
    for name, value in found["map50"].items():
        assert f"{name}<span" in page
        assert percent(value) in page
    public = write_report(done.path, pictures=False).read_text()
    assert "worst wrong key" in public
    assert "Found without" not in public
    assert "disc" not in public
    again = load_locked(tmp_path / "out" / FILE)
    assert len(again.opened(KEYS[0]).detect(np.zeros((2, 64, 64, 3), np.uint8))) == 2
    with pytest.raises(WrongKey):
        again.opened(KEYS[1])
    assert locked(shapes, tmp_path / "out").manifest.run_id == done.manifest.run_id


@pytest.mark.parametrize("where", ["public_network", "transform", "matrix", "stolen"])
def test_killed_and_run_again_gives_the_same_detector(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    more = {"mode": "paper", "transform": "np", "negation": "max"}
    locked(shapes, tmp_path / "whole", **more)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(detector, where, killed)
        with pytest.raises(Interrupted):
            locked(shapes, tmp_path / "parts", **more)
    locked(shapes, tmp_path / "parts", **more)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


def test_a_detector_of_ones_own_is_locked_as_it_is(shapes: Path, tmp_path: Path) -> None:
    first = locked(shapes, tmp_path / "one")
    public = first.artifact("public.safetensors")
    second = locked(shapes, tmp_path / "two", model=public, transform="np", layers=("body.1", "body.5"))
    assert second.manifest.results["layers"] == ["body.1", "body.5"]
    assert second.manifest.results["map50"]["key"] == first.manifest.results["map50"]["plain"]
    moons = scenes(tmp_path / "moons.zip", 24, side=64, names=("moon", "square"))
    with pytest.raises(UsageError, match="does not know") as caught:
        locked(moons, tmp_path / "three", model=public)
    assert caught.value.where == "moon"


def test_what_cannot_be_locked_is_refused(shapes: Path, tmp_path: Path) -> None:
    for more, why in (
        ({"transform": "pp"}, "mode=paper"),
        ({"transform": "np", "negation": "max"}, "mode=paper"),
        ({"layers": ("body.9",)}, "no layer"),
        ({"layers": ("body", "body")}, "folded"),
        ({"mode": "paper", "transform": "pp", "block": 3}, "does not fit"),
        ({"side": 50}, "multiple"),
    ):
        with pytest.raises(UsageError, match=why):
            locked(shapes, tmp_path / "x", **more)
    with pytest.raises(DataError):
        locked(scenes(tmp_path / "few.zip", 2, side=64), tmp_path / "y")
