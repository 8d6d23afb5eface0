"""Every odd kind of file becomes grey or RGB with alpha, with a note, or is refused with a remedy."""

import io

import numpy as np
import pytest
from making import cmyk_profile, file_bytes, noise, opened, pil, png_chunk, raw_png, smooth
from PIL import Image, ImageCms

from noli.core.errors import DataError
from noli.data.codec import decode, encode


def test_grey_stays_grey() -> None:
    for name in ("PNG", "JPEG", "TIFF", "BMP"):
        got = decode(file_bytes(smooth(9, 11, 1), name), where="x")
        assert got.pixels.shape == (9, 11, 1)
        assert got.notes == ()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_all_bits(channels: int) -> None:
    array = noise(6, 5, channels, 16)
    data = raw_png(array, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 16)
    got = decode(data, where="x")
    assert got.bits == 16
    assert np.array_equal(got.stacked(), array)


def test_16_bit_grey_tiff_from_pillow() -> None:
    array = noise(6, 5, 1, 16)
    data = file_bytes(Image.fromarray(array[..., 0]), "TIFF")
    assert np.array_equal(decode(data, where="x").pixels, array)


@pytest.mark.parametrize("alpha", [False, True])
def test_palette_is_expanded(alpha: bool) -> None:
    image = pil(smooth(8, 8)).quantize(16)
    if alpha:
        image.info["transparency"] = bytes([0, 128] + [255] * 14)
    data = file_bytes(image, "PNG", **({"transparency": image.info["transparency"]} if alpha else {}))
    got = decode(data, where="x")
    assert np.array_equal(
        got.stacked(), np.asarray(Image.open(io.BytesIO(data)).convert("RGBA" if alpha else "RGB"))
    )
    assert any("palette" in note for note in got.notes)


def test_grey_palette_becomes_exact_grey() -> None:
    image = Image.fromarray(smooth(8, 8, 1)[..., 0], "L").convert("P")
    palette = [value for i in range(256) for value in (i, i, i)]
    image.putpalette(palette)
    got = decode(file_bytes(image, "PNG"), where="x")
    assert got.channels == 1
    assert np.array_equal(got.pixels[..., 0], np.asarray(image))


def test_one_bit_becomes_grey() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (7, 13)).astype(bool)
    for name in ("PNG", "TIFF", "BMP"):
        got = decode(file_bytes(Image.fromarray(bits), name), where="x")
        assert np.array_equal(got.pixels[..., 0], bits * np.uint8(255))
        assert any("1-bit" in note or "palette" in note for note in got.notes)


@pytest.mark.parametrize("depth", [2, 4])
def test_shallow_grey_png(depth: int) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (5, 2)).astype(np.uint8)
    width = 16 // depth
    data = raw_png(packed, 0, depth, width=width)
    values = [
        [
            (int.from_bytes(row.tobytes(), "big") >> (16 - depth * (i + 1))) % (1 << depth)
            for i in range(width)
        ]
        for row in packed
    ]
    expected = np.array(values) * (255 // ((1 << depth) - 1))
    assert np.array_equal(decode(data, where="x").pixels[..., 0], expected)


@pytest.mark.parametrize(("colour", "depth"), [(0, 8), (2, 8), (0, 16), (2, 16)])
def test_single_transparent_colour_becomes_alpha(colour: int, depth: int) -> None:
    channels = 1 if colour == 0 else 3
    array = noise(6, 6, channels, depth)
    key = array[2, 3]
    chunk = png_chunk(b"tRNS", key.astype(">u2").tobytes())
    got = decode(raw_png(array, colour, depth, chunk), where="x")
    top = 255 if depth == 8 else 65535
    expected = np.array([[0 if (array[y, x] == key).all() else top for x in range(6)] for y in range(6)])
    assert np.array_equal(got.pixels, array)
    assert np.array_equal(got.alpha, expected)
    assert any("transparent" in note for note in got.notes)


def test_cmyk_without_profile_uses_the_naive_formula() -> None:
    image = pil(smooth(16, 16)).convert("CMYK")
    for name in ("JPEG", "TIFF"):
        data = file_bytes(image, name)
        got = decode(data, where="x")
        assert np.array_equal(got.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        assert any("CMYK" in note and "without" in note for note in got.notes)


def test_cmyk_goes_through_its_profile_and_loses_it() -> None:
    profile = cmyk_profile()
    image = Image.merge("CMYK", [Image.new("L", (8, 8), value) for value in (255, 0, 0, 0)])
    data = file_bytes(image, "TIFF", icc_profile=profile)
    got = decode(data, where="x")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert np.array_equal(got.pixels, np.asarray(expected))
    spread = got.pixels[0, 0].astype(int)
    assert (
        spread.max() - spread.min() < 8
    )  # this profile maps cyan to grey; the naive formula gives (0, 255, 255)
    assert got.icc is None
    assert any("profile" in note for note in got.notes)


def test_cmyk_with_a_broken_profile_falls_back_with_a_note() -> None:
    image = pil(smooth(8, 8)).convert("CMYK")
    got = decode(file_bytes(image, "JPEG", icc_profile=b"no profile at all"), where="x")
    assert any("without a usable profile" in note for note in got.notes)
    assert got.icc is None


def test_white_is_zero_tiff_is_inverted_once() -> None:
    array = noise(5, 7, 1)
    data = bytearray(file_bytes(array, "TIFF"))
    at = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01")  # photometric interpretation: black is zero
    data[at + 8] = 0
    assert np.array_equal(decode(bytes(data), where="x").pixels, 255 - array)


def test_bottom_up_and_top_down_bmp() -> None:
    array = smooth(5, 6)
    data = bytearray(file_bytes(array, "BMP"))
    assert np.array_equal(decode(bytes(data), where="x").pixels, array)
    data[22:26] = (-5).to_bytes(4, "little", signed=True)
    assert np.array_equal(decode(bytes(data), where="x").pixels, array[::-1])


@pytest.mark.parametrize("mode", ["F", "I"])
def test_float_and_integer_tiff_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match="not supported") as caught:
        decode(file_bytes(Image.new(mode, (4, 4)), "TIFF"), where="scan.tif")
    assert caught.value.where == "scan.tif"
    assert "convert" in str(caught.value.fix)


def test_lab_tiff_is_refused() -> None:
    with pytest.raises(DataError, match="not supported"):
        decode(file_bytes(Image.new("LAB", (4, 4)), "TIFF"), where="x")


def _gif() -> bytes:
    return file_bytes(smooth(4, 4), "GIF")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (_gif(), "GIF"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
        (b"8BPS" + bytes(40), "Photoshop"),
        (b"%PDF-1.4" + bytes(40), "PDF"),
        (b"<!DOCTYPE html><html>", "HTML"),
    ],
)
def test_foreign_formats_are_named(data: bytes, word: str) -> None:
    with pytest.raises(DataError, match="not supported") as caught:
        decode(data, where="x")
    assert word in str(caught.value.why)
    assert caught.value.fix


def test_animated_and_multi_page_files_are_refused() -> None:
    frames = [pil(smooth(6, 6)), pil(255 - smooth(6, 6))]
    for name in ("PNG", "WEBP", "TIFF"):
        data = file_bytes(frames[0], name, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match="multi-page") as caught:
            decode(data, where="x")
        assert "frame" in str(caught.value.fix)


def test_multi_picture_jpeg_gives_its_main_picture() -> None:
    frames = [pil(smooth(16, 16)), pil(255 - smooth(16, 16))]
    data = file_bytes(frames[0], "MPO", save_all=True, append_images=frames[1:])
    got = decode(data, where="x")
    assert got.format == "JPEG"
    assert np.array_equal(got.pixels, opened(data))
    assert any("dropped" in note for note in got.notes)


def test_lossy_webp_written_losslessly_keeps_its_pixels() -> None:
    before = decode(file_bytes(smooth(12, 12), "WEBP", quality=60), where="x")
    after = decode(encode(before, format="WEBP"), where="y")
    assert np.array_equal(before.pixels, after.pixels)
