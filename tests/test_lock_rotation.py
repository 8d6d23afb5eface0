"""Scrambled pictures get another key, as if it had scrambled them, and the plain ones never appear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noli
from noli.core.errors import DataError, Interrupted, KeyFileError, UsageError, WrongKey
from noli.core.key import Key
from noli.engine import rotating
from noli.testing import KEYS

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("etc", {"block": 8}),
    ("etc", {"block": 4, "planes": "rgb"}),
    ("le", {}),
    ("ele", {}),
    ("pixel", {"fresh": False}),
    ("shuffle", {"kind": "np", "block": 4}),
    ("shuffle", {"kind": "ffx", "block": 4}),
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(4)
    (tmp_path / "photos").mkdir()
    for name, shape in (("a", (20, 9, 3)), ("b", (20, 9, 3)), ("grey", (7, 30)), ("clear", (12, 12, 4))):
        values = draw.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("workers", [1, 2])
def test_as_if_the_new_key_had_scrambled_them(
    photos: Path, tmp_path: Path, method: str, options: dict[str, Any], workers: int
) -> None:
    if options.get("planes") == "rgb":
        (photos / "clear.png").unlink()
    for name, key in (("old", KEYS[0]), ("new", KEYS[1])):
        noli.lock(photos, tmp_path / name, method, key=key, workers=1, **options)
    done = noli.rotate(tmp_path / "old", tmp_path / "turned", key=KEYS[1], former=KEYS[0], workers=workers)
    with pytest.raises(UsageError, match="about a rotation"):
        noli.write_report(done)
    assert done.manifest.args_resolved["former"] == KEYS[0].id
    for file in photos.iterdir():
        assert (tmp_path / "turned" / file.name).read_bytes() == (tmp_path / "new" / file.name).read_bytes()
    noli.undo(tmp_path / "turned", tmp_path / "back", key=KEYS[1], workers=1)
    for file in photos.iterdir():
        assert np.array_equal(pixels(tmp_path / "back" / file.name), pixels(file))
    with pytest.raises(WrongKey):
        noli.undo(tmp_path / "turned", tmp_path / "wrong", key=KEYS[0], workers=1)


@pytest.mark.parametrize("method", ["etc", "pixel", "shuffle"])
def test_fresh_keys_are_drawn_again(photos: Path, tmp_path: Path, method: str) -> None:
    noli.lock(photos, tmp_path / "old", method, key=KEYS[0], workers=1, fresh=True)
    noli.rotate(tmp_path / "old", tmp_path / "turned", key=KEYS[1], former=KEYS[0], workers=1)
    heads = [Image.open(tmp_path / where / "a.png").info["noli-lock"] for where in ("old", "turned")]
    assert heads[0] != heads[1]
    noli.undo(tmp_path / "turned", tmp_path / "back", key=KEYS[1], workers=1)
    for file in photos.iterdir():
        assert np.array_equal(pixels(tmp_path / "back" / file.name), pixels(file))


def test_the_plain_pictures_are_never_made(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [pixels(photos / name) for name in ("a.png", "b.png")]
    noli.lock(photos, tmp_path / "old", "etc", key=KEYS[0], workers=1, block=4)
    join, seen = rotating.scramble, []

    def watched(images: np.ndarray, how: Any) -> np.ndarray:
        made = join(images, how)
        seen.extend([*images, *made])
        return made

    def refused(*_: Any) -> np.ndarray:
        raise AssertionError("the plain pictures were made")

    monkeypatch.setattr(rotating, "scramble", watched)
    monkeypatch.setattr(rotating, "unscramble", refused)
    noli.rotate(tmp_path / "old", tmp_path / "turned", key=KEYS[1], former=KEYS[0], workers=1)
    assert seen
    for one in seen:
        assert not any(np.array_equal(one[:20, :9, :3], picture) for picture in plain)


def test_the_keys_of_one_file(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "owner.key"
    first = Key.new(file)
    noli.lock(photos, tmp_path / "old", key=file, workers=1)
    with pytest.raises(UsageError, match="have this key already"):
        noli.rotate(tmp_path / "old", tmp_path / "same", key=file, workers=1)
    second = Key.rotate(file)
    done = noli.rotate(tmp_path / "old", tmp_path / "turned", key=file, workers=1)
    assert (done.manifest.args_resolved["former"], done.manifest.key.id) == (first.id, second.id)
    # Both keys are in the file; the header says which one it takes.
    for name in ("old", "turned"):
        back = noli.undo(tmp_path / name, tmp_path / f"{name}-back", key=file, workers=1)
        assert back.items == 4
    Key.revoke(file, first.id)
    with pytest.raises(KeyFileError, match="revoked"):
        noli.rotate(tmp_path / "old", tmp_path / "late", key=file, workers=1)


def test_a_rotation_that_was_begun_is_ended_with_its_key(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "owner.key"
    Key.new(file)
    noli.lock(photos, tmp_path / "old", key=file, workers=1)
    second = Key.rotate(file)
    real = rotating.scramble

    def killed(*_: Any) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(rotating, "scramble", killed)
    with pytest.raises(Interrupted):
        noli.rotate(tmp_path / "old", tmp_path / "turned", key=file, workers=1)
    with pytest.raises(UsageError, match="not finished"):
        noli.undo(tmp_path / "turned", tmp_path / "early", key=file, workers=1)
    monkeypatch.setattr(rotating, "scramble", real)
    Key.rotate(file)
    done = noli.rotate(tmp_path / "old", tmp_path / "turned", key=file, workers=1)
    assert done.manifest.key.id == second.id


def test_what_cannot_be_rotated_is_refused(photos: Path, tmp_path: Path) -> None:
    for former in (KEYS[0], KEYS[1], None):
        with pytest.raises(UsageError, match="say nothing"):
            noli.rotate(photos, tmp_path / "x", key=KEYS[1], former=former)
    with pytest.raises(UsageError, match="two keys"):
        noli.rotate(photos, tmp_path / "x", key=None)
    noli.lock(photos, tmp_path / "old", key=KEYS[0], workers=1)
    third = Key.from_bytes(bytes(32))
    with pytest.raises(WrongKey):
        noli.rotate(tmp_path / "old", tmp_path / "y", key=KEYS[1], former=third, workers=1)
    Image.new("RGB", (8, 8)).save(tmp_path / "old" / "b.png")
    with pytest.raises(DataError, match="says nothing"):
        noli.rotate(tmp_path / "old", tmp_path / "z", key=KEYS[1], former=KEYS[0], workers=1)
    done = noli.rotate(
        tmp_path / "old", tmp_path / "rest", key=KEYS[1], former=KEYS[0], workers=1, on_error="skip"
    )
    assert done.manifest.results["items"] == 3


def test_jpeg_stays_jpeg(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    values = np.kron(np.random.default_rng(0).integers(40, 216, (4, 6, 3)), np.ones((16, 16, 1)))
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "in" / "x.jpg", quality=95, subsampling=0)
    noli.lock(tmp_path / "in", tmp_path / "old", key=KEYS[0], workers=1, format="same")
    noli.rotate(tmp_path / "old", tmp_path / "turned", key=KEYS[1], former=KEYS[0], workers=1)
    assert Image.open(tmp_path / "turned" / "x.jpg").format == "JPEG"
    noli.undo(tmp_path / "turned", tmp_path / "back", key=KEYS[1], workers=1)
    off = pixels(tmp_path / "back" / "x.png").astype(int) - pixels(tmp_path / "in" / "x.jpg")
    assert np.abs(off).mean() < 2
