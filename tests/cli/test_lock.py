"""``noli lock`` as a person or a script calls it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from noli.core.key import Key
from noli.data.demo import photo_folder
from noli.train import likening

Run = Callable[..., Any]


def test_the_size_of_a_key_is_told_and_not_as_its_strength(noli: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / "photos" / "x.png")
    Key.new(tmp_path / "k.key")
    words = (
        "lock",
        "shuffle",
        tmp_path / "photos",
        "-o",
        tmp_path / "out",
        "--key",
        tmp_path / "k.key",
        "--workers",
        "1",
    )
    done = noli(*words, "--block", "2")
    assert done.code == 0
    assert "obfuscation, not confidentiality" in done.err
    assert "what an attack takes is not measured here" in " ".join(done.out.split())
    assert "To bring them back: noli undo" in done.err
    assert "what comes back without the key: noli lock audit" in done.err
    assert "noli lock audit" in (tmp_path / "out.noli" / "report.html").read_text()
    back = noli(
        "undo", tmp_path / "out", "-o", tmp_path / "back", "--key", tmp_path / "k.key", "--workers", "1"
    )
    assert back.code == 0
    assert "obfuscation, not confidentiality" in back.err
    found = noli(*words, "--block", "2", "--json").json
    assert found["key_bits"]["nominal"] == found["key_bits"]["capped"] == pytest.approx(math.log2(479001600))


def test_the_command_says_what_came_of_it(noli: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("coffee.png", "chelsea.png"):
        pixels = cv2.imread(str(photo_folder() / name))[:300, :300]
        cv2.imwrite(str(photos / name), cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_AREA))
    Key.new(tmp_path / "k.key")
    out = tmp_path / "out"
    noli("lock", "shuffle", photos, "-o", out, "--key", tmp_path / "k.key", "--workers", "1", "--block", "4")
    done = noli("lock", "audit", out, "--clean", photos)
    assert done.code == 1
    words = " ".join(done.out.split())
    assert "statistics" in words
    assert "effective 0.0 bits" in words
    assert "obfuscation, not confidentiality" in done.err
    assert (tmp_path / "out.audit.html").exists()
    again = noli("verify", out, "--clean", photos, "--json")
    assert again.code == 1
    assert again.json["rows"][0]["name"] == "statistics"
    refused = noli("verify", out, "--clean", photos, "--battery", "full")
    assert "attacked, not trained on" in refused.err


def test_codes_are_audited_by_the_same_command(
    noli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likening, "STEPS", likening.STEPS.model_copy(update={"steps": 10}))
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = cv2.imread(str(photo_folder() / "coffee.png"))
    for number in range(40):
        top, left = 40 * (number // 10), 50 * (number % 10)
        cv2.imwrite(str(photos / f"{number}.png"), pixels[top : top + 40, left : left + 40])
    Key.new(tmp_path / "k.key")
    out = tmp_path / "out"
    made = noli(
        "lock", "neuracrypt", photos, "-o", out, "--key", tmp_path / "k.key", "--side", "32", "--patch", "4",
        "--width", "128", "--i-understand-this-is-broken",
    )  # fmt: skip
    assert made.code == 0
    assert "To see what that is worth: noli lock audit" in made.err
    done = noli("lock", "audit", out, "--clean", photos)
    assert done.code == 1
    words = " ".join(done.out.split())
    assert "boosted matching" in words
    assert "hides among" in words
    assert "which code belongs to which picture" in words
    assert "other codes: a demonstration" in " ".join(words.replace("│", " ").split())
    assert "bits" not in words.replace("256 bits", "")
    assert "protect nothing" in done.err
    assert (tmp_path / "out.audit.html").exists()
    again = noli("verify", out, "--clean", photos, "--json")
    assert again.code == 1
    assert again.json["rows"][0]["name"] == "linking"
    assert again.json["rows"][0]["has"] == "other codes: a demonstration"
