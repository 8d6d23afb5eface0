"""Scramble pictures of every kind, bring them back bit for bit, and refuse what could not come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import noli
from noli.core.errors import DataError, UsageError, WrongKey
from noli.testing import KEYS

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("etc", {"block": 8}),
    ("etc", {"planes": "rgb", "block": 4}),
    ("etc", {"fresh": True}),
    ("le", {}),
    ("ele", {}),
    ("pixel", {}),
    ("pixel", {"fresh": False}),
    ("shuffle", {}),
    ("shuffle", {"kind": "np", "block": 4}),
    ("shuffle", {"kind": "ffx", "block": 8}),
]
KINDS: dict[str, tuple[str, tuple[int, int], Any]] = {
    "grey": ("L", (9, 20), np.uint8),
    "colour": ("RGB", (33, 17), np.uint8),
    "point": ("RGB", (1, 1), np.uint8),
    "clear": ("RGBA", (21, 30), np.uint8),
    "deep": ("I;16", (12, 7), np.uint16),
}


def picture(name: str) -> Image.Image:
    mode, (width, height), dtype = KINDS[name]
    channels = {"L": (), "I;16": (), "RGB": (3,), "RGBA": (4,)}[mode]
    draw = np.random.default_rng(sum(map(ord, name)))
    values = draw.integers(0, np.iinfo(dtype).max + 1, (height, width, *channels), dtype=dtype)
    return Image.fromarray(values)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for name in KINDS:
        picture(name).save(tmp_path / "photos" / "a" / f"{name}.png")
    return tmp_path / "photos"


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda v: v if isinstance(v, str) else "")
def test_pictures_of_every_kind_come_back_bit_for_bit(
    photos: Path, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    if options.get("planes") == "rgb":
        (photos / "a" / "clear.png").unlink()
    done = noli.lock(photos, tmp_path / "out", method, key=KEYS[0], workers=1, **options)
    assert done.manifest.verb == "lock"
    for file in sorted((photos / "a").iterdir()):
        before, after = pixels(file), pixels(tmp_path / "out" / "a" / file.name)
        assert after.dtype == before.dtype
        assert not (after.shape == before.shape and np.array_equal(after, before))
    back = noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)
    assert back.items == back.identical == len(list((photos / "a").iterdir()))
    for file in (photos / "a").iterdir():
        assert np.array_equal(pixels(tmp_path / "back" / "a" / file.name), pixels(file)), file.name
    with pytest.raises(WrongKey):
        noli.undo(tmp_path / "out", tmp_path / "wrong", key=KEYS[1], workers=1)

    # The files alone do as well, under other names and in another order.
    (tmp_path / "sent").mkdir()
    names = sorted((photos / "a").iterdir(), reverse=True)
    for number, file in enumerate(names):
        (tmp_path / "out" / "a" / file.name).rename(tmp_path / "sent" / f"{number}.png")
    noli.undo(tmp_path / "sent", tmp_path / "sent-back", key=KEYS[0], workers=1)
    for number, file in enumerate(names):
        restored = tmp_path / "sent-back" / f"{number}.png"
        assert np.array_equal(pixels(restored), pixels(file)), file.name
        assert b"noli-lock" not in restored.read_bytes()
    with pytest.raises(WrongKey, match="scrambled the picture"):
        noli.undo(tmp_path / "sent", tmp_path / "wrong", key=KEYS[1], workers=1)


def test_alpha_is_scrambled_too(photos: Path, tmp_path: Path) -> None:
    noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1, block=4)
    before, after = (pixels(place / "a" / "clear.png") for place in (photos, tmp_path / "out"))
    assert after.shape == (32, 24, 4)
    assert not np.array_equal(after[:30, :21, 3], before[..., 3])


def test_the_same_picture_is_scrambled_alike_unless_it_has_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    flat = np.zeros((32, 32, 3), np.uint8)
    for level in (10, 11):
        flat[:16] = level
        Image.fromarray(flat).save(tmp_path / "in" / f"{level}.png")
    made = {}
    for fresh in (False, True):
        out = tmp_path / f"out-{fresh}"
        noli.lock(tmp_path / "in", out, key=KEYS[0], workers=1, block=4, fresh=fresh)
        made[fresh] = [pixels(out / f"{level}.png") for level in (10, 11)]
    bright = {fresh: [np.isin(one, (0, 255)) for one in found] for fresh, found in made.items()}
    assert np.array_equal(*bright[False])
    assert not np.array_equal(*bright[True])


@pytest.mark.parametrize("planes", ["colour", "rgb", "ycbcr", "half"])
def test_jpeg_stays_jpeg_and_comes_back_nearly(tmp_path: Path, planes: str) -> None:
    from skimage.data import astronaut

    from noli.ops.metrics import psnr

    photo = astronaut()[:300, 100:404]
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in" / "x.jpg", quality=95, subsampling=0)
    first = pixels(tmp_path / "in" / "x.jpg")
    noli.lock(
        tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1, format="same", planes=planes,
        block=16 if planes == "colour" else 8,
    )  # fmt: skip
    made = Image.open(tmp_path / "out" / "x.jpg")
    assert made.format == "JPEG"
    assert made.mode == ("RGB" if planes == "colour" else "L")
    noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)
    (found,) = list((tmp_path / "back").iterdir())
    back = pixels(found)
    assert back.shape == first.shape
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    noli.undo(tmp_path / "out", tmp_path / "again", key=KEYS[0], workers=1)
    assert np.array_equal(pixels(tmp_path / "again" / "x.png"), back)
    # Chroma at half size is not what a JPEG of full chroma keeps.
    assert psnr(first, back) > (32 if planes == "half" else 36)


@pytest.mark.parametrize("with_run", [True, False])
def test_halved_chroma_is_refused_unless_the_loss_is_accepted(tmp_path: Path, with_run: bool) -> None:
    (tmp_path / "in").mkdir()
    values = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "in" / "x.jpg", quality=95, subsampling=0)
    noli.lock(tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1, format="same")
    file = tmp_path / "out" / "x.jpg"
    with Image.open(file) as image:
        image.load()
        image.save(file, quality=95, subsampling=2, comment=image.info["comment"])
    if not with_run:
        (tmp_path / "out.noli").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="halved"):
        noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)
    done = noli.undo(tmp_path / "out", tmp_path / "lossy", key=KEYS[0], workers=1, lossy=True)
    assert done.items == 1
    assert pixels(tmp_path / "lossy" / "x.png").shape == values.shape


TAMPERED: list[tuple[tuple[str, str], str, str]] = [
    (('"v":1', '"v":2'), "cannot be used", "v: Input should be 1"),
    (("lock/etc", "lock/abc"), "was changed", "check value"),
    (('"block":16', '"block":64'), "was changed", "check value"),
    (('"width":33', '"width":330'), "was changed", "check value"),
    (('"width":33', '"width":0'), "cannot be used", "width"),
    (('"fresh":false', '"fresh":true'), "was changed", "check value"),
    (('"channels":3', '"channels":1'), "was changed", "check value"),
    (('"key_id":', '"more":1,"key_id":'), "cannot be used", "more"),
    (("{", ""), "cannot be used", "JSON"),
    (('"check":"', '"nonce":"x","check":"'), "cannot be used", "nonce"),
]


@pytest.mark.parametrize(("swap", "match", "why"), TAMPERED, ids=lambda v: "" if isinstance(v, tuple) else v)
def test_headers_are_checked(
    photos: Path, tmp_path: Path, swap: tuple[str, str], match: str, why: str
) -> None:
    noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1)
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    colour = tmp_path / "out" / "a" / "colour.png"
    with Image.open(colour) as image:
        image.load()
        text = image.info["noli-lock"].replace(*swap)
        assert text != image.info["noli-lock"]
        info = PngInfo()
        info.add_text("noli-lock", text)
        image.save(colour, pnginfo=info)
    with pytest.raises(DataError, match=match) as caught:
        noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)
    assert why in str(caught.value.why)
    assert caught.value.where == "a/colour.png"
    done = noli.undo(tmp_path / "out", tmp_path / "rest", key=KEYS[0], workers=1, on_error="skip")
    assert done.items == len(KINDS) - 1


@pytest.mark.parametrize("planes", ["colour", "rgb"])
def test_a_header_of_another_picture_does_not_fit(tmp_path: Path, planes: str) -> None:
    (tmp_path / "in").mkdir()
    for name, size in (("a", (33, 17)), ("b", (60, 20)), ("c", (48, 17))):
        Image.new("RGB", size, (9, 8, 7)).save(tmp_path / "in" / f"{name}.png")
    noli.lock(tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1, planes=planes)
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    heads = {}
    for name in "abc":
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            heads[name] = image.info["noli-lock"]
    for number, (picture_of, header_of, fits) in enumerate(
        (("a", "b", False), ("b", "a", False), ("c", "a", True))
    ):
        folder = tmp_path / f"mixed-{number}"
        folder.mkdir()
        info = PngInfo()
        info.add_text("noli-lock", heads[header_of])
        with Image.open(tmp_path / "out" / f"{picture_of}.png") as image:
            image.save(folder / "x.png", pnginfo=info)
        if fits:  # scrambled, the two are of one size: pixels are not vouched for
            assert noli.undo(folder, tmp_path / f"back-{number}", key=KEYS[0], workers=1).items == 1
            continue
        with pytest.raises(DataError, match="do not fit"):
            noli.undo(folder, tmp_path / f"back-{number}", key=KEYS[0], workers=1)


def test_headers_are_found_behind_many_pictures_without(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        Image.new("L", (4, 4), number).save(
            tmp_path / "in" / f"{number:02d}.{'bmp' if number < 29 else 'png'}"
        )
    noli.lock(tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1, format="same")
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="says nothing"):
        noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)
    done = noli.undo(tmp_path / "out", tmp_path / "rest", key=KEYS[0], workers=1, on_error="skip")
    assert done.items == 1


def test_pictures_without_a_header_among_others(photos: Path, tmp_path: Path) -> None:
    noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1)
    with pytest.raises(DataError, match="scrambled already"):
        noli.lock(tmp_path / "out", tmp_path / "twice", "le", key=KEYS[0], workers=1)
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    picture("colour").save(tmp_path / "out" / "a" / "colour.png")
    with pytest.raises(DataError, match="says nothing"):
        noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0], workers=1)


def test_a_single_picture_with_a_damaged_header_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    info = PngInfo()
    info.add_text("noli-lock", "{" * 5000)
    picture("colour").save(tmp_path / "in" / "x.png", pnginfo=info)
    with pytest.raises(DataError, match="header of a scrambled picture cannot be used"):
        noli.undo(tmp_path / "in", tmp_path / "back", key=KEYS[0], workers=1)


def test_data_without_any_header_still_needs_its_run(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run belongs"):
        noli.undo(photos, tmp_path / "back", key=KEYS[0], workers=1)
    noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1)
    (tmp_path / "out.noli").rename(tmp_path / "gone")
    with pytest.raises(UsageError, match="needs the key"):
        noli.undo(tmp_path / "out", tmp_path / "back", key=None, workers=1)


def test_formats_without_a_place_for_the_header(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WebP"):
        noli.lock(photos, tmp_path / "out", key=KEYS[0], format="webp")
    picture("colour").save(photos / "a" / "x.bmp")
    done = noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1, format="same")
    notes = {record["path"]: record["notes"] for record in done.iter_records()}
    assert any("run folder" in note for note in notes["a/x.bmp"])
    assert not notes["a/colour.png"]


def test_what_could_not_come_back_is_refused(photos: Path, tmp_path: Path) -> None:
    for method, options in (("le", {}), ("pixel", {}), ("shuffle", {}), ("etc", {"block": 4})):
        with pytest.raises(UsageError, match="garble"):
            noli.lock(photos, tmp_path / "out", method, key=KEYS[0], format="same", **options)
    with pytest.raises(UsageError, match="locks no pictures"):
        noli.lock(photos, tmp_path / "out", "protect/cuda", key=KEYS[0])
    with pytest.raises(DataError, match="takes no alpha"):
        noli.lock(photos, tmp_path / "out", key=KEYS[0], workers=1, planes="rgb")
    np.savez(tmp_path / "odd.npz", x=np.zeros((2, 30, 30, 3), np.uint8), y=np.array([0, 1]))
    with pytest.raises(DataError, match="Arrays keep their shape"):
        noli.lock(tmp_path / "odd.npz", tmp_path / "odd-out.npz", key=KEYS[0], workers=1, block=16)


def test_arrays_of_whole_blocks(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "in.npz", x=x, y=np.arange(6))
    noli.lock(tmp_path / "in.npz", tmp_path / "out.npz", "le", key=KEYS[0], workers=1)
    with np.load(tmp_path / "out.npz") as found:
        assert found["x"].shape == x.shape
        assert not np.array_equal(found["x"], x)
    noli.undo(tmp_path / "out.npz", tmp_path / "back.npz", key=KEYS[0], workers=1)
    with np.load(tmp_path / "back.npz") as found:
        assert np.array_equal(found["x"], x)
