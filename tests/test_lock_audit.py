"""Audits of scrambled pictures: what is brought back, by whom, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import noli
from noli.cli.main import main
from noli.core.errors import DataError, OutputExists, UsageError
from noli.data.demo import photo_folder
from noli.ops.decipher import suite
from noli.testing import KEYS

Run = Callable[..., Any]
SEEN = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "photos"
    folder.mkdir()
    for name in SEEN:
        pixels = cv2.imread(str(photo_folder() / name))
        short = min(pixels.shape[:2])
        small = cv2.resize(pixels[:short, :short], (96, 96), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{name.split('.')[0]}.png"), small)
    return folder


@pytest.fixture
def audited(photos: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(method: str, **options: Any) -> Any:
        noli.lock(photos, tmp_path / "out", method, key=KEYS[0], workers=1, **options)
        return noli.audit(tmp_path / "out", clean=photos, seconds=20)

    return run


def rows(found: Any) -> dict[str, Any]:
    return {row.name: row for row in found.rows}


def test_shuffled_small_blocks_need_public_pictures_only(audited: Run) -> None:
    found = audited("shuffle", block=4)
    assert list(rows(found)) == ["statistics", "one pair", "chosen pictures"]
    assert found.pictures == 4
    assert found.nominal == pytest.approx(202.9, abs=0.1)
    for name in ("one pair", "chosen pictures"):
        assert rows(found)[name].ssim == pytest.approx(1.0)
        assert rows(found)[name].left_bits == 0
    assert rows(found)["one pair"].pictures == 3
    # Exact or not, the pictures come back; the scrambled ones show less.
    assert rows(found)["statistics"].back == 1.0
    assert found.least == "pictures like these"
    assert found.effective == 0
    assert found.scrambled_ssim < rows(found)["statistics"].ssim
    assert "pictures like these can bring them back" in found.words[0]


def test_pixels_need_nothing_more(audited: Run) -> None:
    found = audited("pixel")
    assert list(rows(found)) == ["leading bit", "least difference"]
    assert rows(found)["leading bit"].ssim > found.scrambled_ssim + 0.2
    assert found.effective == found.capped == 256


@pytest.mark.parametrize(
    ("method", "options", "names"),
    [
        ("etc", {"block": 16}, ["jigsaw", "one pair", "chosen pictures"]),
        ("etc", {"block": 16, "planes": "half"}, ["jigsaw", "one pair", "chosen pictures"]),
        ("etc", {"block": 16, "fresh": True}, ["jigsaw"]),
        ("le", {}, ["statistics", "one pair", "chosen pictures"]),
        ("ele", {"block": 8}, ["chosen pictures"]),
        ("ele", {"fresh": True}, []),
        ("shuffle", {"kind": "np", "block": 4}, ["statistics", "one pair", "chosen pictures"]),
        ("shuffle", {"kind": "ffx", "block": 4}, ["one pair", "chosen pictures"]),
        ("shuffle", {"block": 32}, ["one pair", "chosen pictures"]),
        ("pixel", {"fresh": False}, ["leading bit", "least difference", "one pair", "chosen pictures"]),
    ],
)
def test_every_scheme_has_its_attacks(
    audited: Run, method: str, options: dict[str, Any], names: list[str]
) -> None:
    found = audited(method, **options)
    assert list(rows(found)) == names
    assert all(row.left_bits is None or row.left_bits <= found.nominal for row in found.rows)
    if "chosen pictures" in names:
        assert rows(found)["chosen pictures"].ssim == pytest.approx(1.0)
        assert found.least is not None
    if not names:
        assert "Others may" in found.words[0]


def test_headers_are_enough_and_the_page_shows_what_came_back(photos: Path, tmp_path: Path) -> None:
    noli.lock(photos, tmp_path / "out", "shuffle", key=KEYS[0], workers=1, block=4)
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    page = tmp_path / "page.html"
    with pytest.raises(DataError, match="none of the originals"):
        noli.audit(tmp_path / "out", clean=photos, public=photos, html=page)
    assert not page.exists()
    found = noli.audit(tmp_path / "out", clean=photos, pictures=2, html=page)
    assert found.pictures == 2
    text = page.read_text()
    assert text.count("<img") == 2 * 5
    assert "effective" in text
    assert "obfuscation, not confidentiality" in text
    with pytest.raises(OutputExists):
        noli.audit(tmp_path / "out", clean=photos, html=photos / "page.html")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(OutputExists):
        noli.audit(tmp_path / "out", clean=photos, html=tmp_path / "mine.html")


def test_the_command_gives_attacks_their_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noli.lock(photos, tmp_path / "out", "etc", key=KEYS[0], workers=1)
    real, asked = suite._within, []
    monkeypatch.setattr(suite, "_within", lambda seconds, work: asked.append(seconds) or real(seconds, work))
    words = ["lock", "audit", str(tmp_path / "out"), "--clean", str(photos), "--pictures", "2"]
    assert main([*words, "--seconds", "7"]) in (0, 1)
    assert asked == [7]
    assert main([*words, "--seconds", "0"]) == 2


def test_what_cannot_be_audited_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        noli.audit(tmp_path / "nowhere", clean=photos)
    with pytest.raises(UsageError, match="not scrambled"):
        noli.audit(photos, clean=photos)
    noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1)
    with pytest.raises(UsageError, match="attacked, not trained on"):
        noli.verify(tmp_path / "out", clean=photos)
    (tmp_path / "others").mkdir()
    cv2.imwrite(str(tmp_path / "others" / "z.png"), np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(DataError, match="its original"):
        noli.audit(tmp_path / "out", clean=tmp_path / "others")
    (tmp_path / "small").mkdir()
    cv2.imwrite(str(tmp_path / "small" / "z.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match="public"):
        noli.audit(tmp_path / "out", clean=photos, public=tmp_path / "small")
    with pytest.raises(UsageError, match="at least one"):
        noli.audit(tmp_path / "out", clean=photos, pictures=0)
