"""The demo set: what is in it, that it is always the same, that it is offline, whole or absent."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noli.core.errors import DataError, MissingPrerequisite, OutputExists, RunError, UsageError
from noli.data import demo

GREY = {"brick", "camera", "coins", "grass", "gravel", "moon"}
SMALL = {"per_class_train": 3, "per_class_test": 2}


def listing(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.photo_crops(tmp_path_factory.mktemp("demo") / "photos", **SMALL)


def test_all_fourteen_photographs_are_in_the_wheel() -> None:
    folder = demo.photo_folder()
    record = next(folder.parents[1].glob("scikit_image-*.dist-info/RECORD")).read_text(encoding="utf-8")
    assert len(demo.PHOTOS) == 14
    for name in demo.PHOTOS:
        assert f"skimage/data/{name}," in record


def test_tree_sizes_and_modes(small: Path) -> None:
    classes = {Path(name).stem for name in demo.PHOTOS}
    for split, count in (("train", 3), ("test", 2)):
        assert {p.name for p in (small / split).iterdir()} == classes
        for folder in (small / split).iterdir():
            files = sorted(folder.iterdir())
            assert [p.name for p in files] == [f"{i:04d}.png" for i in range(count)]
            for file in files:
                with Image.open(file) as crop:
                    assert (crop.size, crop.mode, crop.format) == ((32, 32), "RGB", "PNG")
                    pixels = np.asarray(crop)
                grey = bool((pixels == pixels[..., :1]).all())
                assert grey == (folder.name in GREY), file


def test_equalised_crops_are_the_same_ones_without_colour_and_exposure(small: Path, tmp_path: Path) -> None:
    plain = demo.photo_crops(tmp_path / "plain", **SMALL, equalised=True)
    assert sorted(listing(plain)) == sorted(listing(small))
    for file in plain.rglob("*.png"):
        with Image.open(file) as crop, Image.open(small / file.relative_to(plain)) as original:
            assert crop.mode == "L"
            grey, source = np.asarray(crop), np.asarray(original.convert("L"))
        order = np.argsort(source, axis=None, kind="stable")
        assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all(), "brighter stays brighter"
        assert grey.min() < 20, file
        assert grey.max() > 235, file
    with pytest.raises(OutputExists):
        demo.photo_crops(plain, **SMALL)


def test_no_crop_is_flat_and_none_appears_twice(tmp_path: Path) -> None:
    # Black sky and the black frame of the retina would give identical crops without the check.
    root = demo.photo_crops(tmp_path / "set", per_class_train=60, per_class_test=20)
    stack = [np.asarray(Image.open(p)) for p in sorted(root.rglob("*.png"))]
    assert all(x.min() < x.max() for x in stack)
    assert len({x.tobytes() for x in stack}) == len(stack) == 14 * 80


@pytest.mark.parametrize("size", [8, 32, 96])
@pytest.mark.parametrize("name", demo.PHOTOS)
def test_windows_of_the_splits_share_no_column(name: str, size: int) -> None:
    with Image.open(demo.photo_folder() / name) as photo:
        width, height = photo.size
    border = int(width * 0.75)
    for split, (low, high) in {"train": (0, border), "test": (border, width)}.items():
        for number in range(4):
            for left, top, side in demo._windows((low, high), height, size, f"{name}/{split}/{number}"):
                assert low <= left < left + side <= high
                assert 0 <= top < top + side <= height
                assert size <= side <= 3 * size


def test_the_test_side_never_reaches_training_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint the right quarter of a copy white: the training crops keep their bytes, the test crops do not."""
    for source, painted in (("plain", False), ("painted", True)):
        folder = tmp_path / source
        folder.mkdir()
        for name in demo.PHOTOS[:2]:
            with Image.open(demo.photo_folder() / name) as opened:
                photo = opened.convert("RGB")
            if painted:
                pixels = np.asarray(photo).copy()
                border = int(photo.width * 0.75)
                pixels[:, border:] = 255 - pixels[:, border:] // 2
                photo = Image.fromarray(pixels)
            photo.save(folder / name)
    trees = []
    for source in ("plain", "painted"):
        monkeypatch.setattr(demo, "photo_folder", lambda source=source: tmp_path / source)
        trees.append(
            listing(demo.photo_crops(tmp_path / f"{source}-set", per_class_train=30, per_class_test=5))
        )
    plain, painted_tree = trees
    for name, digest in plain.items():
        if name.startswith("train"):
            assert painted_tree[name] == digest
        elif name.startswith("test"):
            assert painted_tree[name] != digest
    assert any(name.startswith("test") for name in plain)


def test_same_bytes_again_and_in_another_process(small: Path, tmp_path: Path) -> None:
    code = f"from noli.data.demo import photo_crops; photo_crops({str(tmp_path / 'b')!r}, **{SMALL!r})"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert listing(tmp_path / "b") == listing(small)


def test_more_crops_keep_the_first_ones(small: Path, tmp_path: Path) -> None:
    bigger = listing(demo.photo_crops(tmp_path / "more", per_class_train=5, per_class_test=2))
    for name, digest in listing(small).items():
        if name.endswith(".png"):
            assert bigger[name] == digest


def test_second_call_does_nothing(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    monkeypatch.setattr(demo, "_cut_photo", lambda *a: pytest.fail("built again"))
    assert demo.photo_crops(small, **SMALL) == small
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before


def test_offline_and_without_importing_skimage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setitem(sys.modules, "skimage.data", None)  # importing it would now fail
    out = demo.photo_crops(tmp_path / "x", per_class_train=1, per_class_test=1)
    assert len(list(out.rglob("*.png"))) == 28


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="No space left"):
        demo.photo_crops(tmp_path / "x", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_over(tmp_path: Path, small: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert listing(demo.photo_crops(empty, **SMALL)) == listing(small)
    assert list(tmp_path.iterdir()) == [empty]


def test_foreign_folders_are_never_touched(tmp_path: Path, small: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("x")
    with pytest.raises(OutputExists, match="taken"):
        demo.photo_crops(tmp_path / "mine", **SMALL)
    with pytest.raises(OutputExists, match="taken"):
        demo.photo_crops(tmp_path / "mine" / "a.txt", **SMALL)
    with pytest.raises(OutputExists, match="other numbers"):
        demo.photo_crops(small, per_class_train=4, per_class_test=2)
    assert (tmp_path / "mine" / "a.txt").read_text() == "x"


def test_missing_photographs_are_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in demo.PHOTOS[:2]:
        (few / name).write_bytes((demo.photo_folder() / name).read_bytes())
    monkeypatch.setattr(demo, "photo_folder", lambda: few)
    out = demo.photo_crops(tmp_path / "x", **SMALL)
    assert len(list(out.rglob("*.png"))) == 10
    (few / demo.PHOTOS[0]).unlink()
    with pytest.raises(MissingPrerequisite, match="lacks the demo photographs"):
        demo.photo_crops(tmp_path / "y", **SMALL)


def test_no_scikit_image_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPrerequisite, match="pip install scikit-image"):
        demo.photo_folder()


def test_too_many_crops_for_a_photograph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in demo.PHOTOS[:2]:
        Image.new("RGB", (400, 100), (9, 9, 9)).save(flat / name)
    monkeypatch.setattr(demo, "photo_folder", lambda: flat)
    with pytest.raises(DataError, match="different crops"):
        demo.photo_crops(tmp_path / "x", **SMALL)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "numbers", [{"size": 7}, {"size": 97}, {"per_class_train": 0}, {"per_class_test": 0}]
)
def test_numbers_out_of_range(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="8 to 96"):
        demo.photo_crops(tmp_path / "x", **numbers)
