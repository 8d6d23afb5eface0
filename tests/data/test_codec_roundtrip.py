"""Pixels survive every lossless format; Pillow and a plain encoder are the oracles."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import file_bytes, noise, opened, raw_png, smooth
from PIL import Image

from noli.core.errors import DataError, UsageError
from noli.data import png
from noli.data.codec import Picture, decode, encode, from_array, output_format

SIDES = st.sampled_from([1, 2, 3, 5, 7, 16, 31])


def picture(height: int, width: int, channels: int, bits: int, seed: int = 0) -> Picture:
    return from_array(noise(height, width, channels, bits, seed), where="noise")


def same(left: Picture, right: Picture) -> bool:
    return left.pixels.dtype == right.pixels.dtype and np.array_equal(left.stacked(), right.stacked())


@given(SIDES, SIDES, st.integers(1, 4), st.sampled_from([8, 16]), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_png_holds_every_kind_of_picture(
    height: int, width: int, channels: int, bits: int, seed: int
) -> None:
    before = picture(height, width, channels, bits, seed)
    data = encode(before, format="PNG")
    after = decode(data, where="x")
    assert same(before, after)
    assert (after.format, after.bits, after.channels) == ("PNG", bits, before.channels)
    assert same(before, decode(png.encode_plain(before.stacked()), where="plain"))
    if bits == 8:
        assert np.array_equal(opened(data), before.stacked())


@given(
    SIDES,
    SIDES,
    st.sampled_from([(1, 8), (2, 8), (3, 8), (4, 8), (1, 16), (3, 16), (4, 16)]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_tiff_holds_grey_and_rgb_in_8_and_16_bit(
    height: int, width: int, kind: tuple[int, int], seed: int
) -> None:
    before = picture(height, width, *kind, seed)
    data = encode(before, format="TIFF")
    assert same(before, decode(data, where="x"))
    if kind[1] == 8:
        assert np.array_equal(opened(data), before.stacked())


@given(SIDES, SIDES, st.sampled_from([1, 3, 4]))
@settings(max_examples=40, deadline=None)
def test_bmp_holds_grey_rgb_and_alpha(height: int, width: int, channels: int) -> None:
    before = picture(height, width, channels, 8)
    data = encode(before, format="BMP")
    assert same(before, decode(data, where="x"))
    assert np.array_equal(opened(data), before.stacked())


@given(SIDES, SIDES, st.sampled_from([3, 4]))
@settings(max_examples=40, deadline=None)
def test_webp_is_lossless_even_under_transparent_pixels(height: int, width: int, channels: int) -> None:
    before = picture(height, width, channels, 8)
    if channels == 4:
        before.alpha[...] = 0
    after = decode(encode(before, format="WEBP"), where="x")
    assert after.format == "WEBP"
    assert np.array_equal(after.pixels, before.pixels)
    # An alpha plane that is opaque everywhere may be dropped by the format; ours is transparent everywhere.
    assert channels == 3 or np.array_equal(after.alpha, before.alpha)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"quality": 30}]
)
def test_jpeg_pixels_equal_the_oracles(mode: str, options: dict) -> None:
    data = file_bytes(Image.fromarray(smooth(37, 51)).convert(mode), "JPEG", **options)
    got = decode(data, where="x")
    assert np.array_equal(got.pixels, opened(data))
    assert (got.format, got.channels, got.alpha) == ("JPEG", 1 if mode == "L" else 3, None)


def test_jpeg_same_keeps_chroma_at_full_resolution() -> None:
    before = from_array(smooth(40, 40), where="x")
    data = encode(before, format="JPEG")
    image = Image.open(io.BytesIO(data))
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    error = np.abs(decode(data, where="x").pixels.astype(int) - before.pixels.astype(int)).mean()
    assert error < 2.0


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_of_both_kinds(lossless: bool) -> None:
    data = file_bytes(smooth(20, 30), "WEBP", lossless=lossless)
    got = decode(data, where="x")
    assert got.format == "WEBP"
    assert np.array_equal(got.pixels, opened(data))


def test_encoding_is_deterministic() -> None:
    before = picture(13, 17, 4, 8)
    for name in ("PNG", "TIFF", "BMP", "WEBP"):
        assert encode(before, format=name) == encode(before, format=name)


def test_interlaced_png() -> None:
    rng = noise(19, 23, 3)
    # Pillow cannot write interlace; an Adam7 file of one pixel is the smallest legal one.
    data = bytearray(raw_png(rng[:1, :1], 2, 8))
    data[28] = 1
    data[29:33] = __import__("zlib").crc32(bytes(data[12:29])).to_bytes(4, "big")
    assert np.array_equal(decode(bytes(data), where="x").pixels, rng[:1, :1])


def test_with_pixels_refuses_another_shape_or_type() -> None:
    before = picture(4, 4, 3, 8)
    with pytest.raises(DataError, match="shape and dtype"):
        before.with_pixels(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(DataError, match="shape and dtype"):
        before.with_pixels(np.zeros((4, 4, 3), np.uint16))
    assert before.with_pixels(255 - before.pixels).pixels[0, 0, 0] == 255 - before.pixels[0, 0, 0]


@given(SIDES, SIDES, st.integers(1, 4), st.sampled_from([8, 16]))
@settings(max_examples=20, deadline=None)
def test_arrays_round_trip(height: int, width: int, channels: int, bits: int) -> None:
    array = noise(height, width, channels, bits)
    wrapped = from_array(array, where="x")
    assert wrapped.format == "RAW"
    assert wrapped.channels in (1, 3)
    assert np.array_equal(wrapped.stacked(), array)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4, 3))]
)
def test_arrays_of_other_kinds_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8 or uint16") as caught:
        from_array(bad, where="row 3")
    assert caught.value.where == "row 3"
    assert caught.value.fix


def test_output_formats() -> None:
    assert output_format("JPEG", "png") == ("PNG", ".png")
    assert output_format("JPEG", "webp") == ("WEBP", ".webp")
    assert output_format("JPEG", "webp", channels=1) == ("PNG", ".png")
    assert output_format("JPEG", "same") == ("JPEG", ".jpg")
    for name in ("PNG", "TIFF", "BMP", "WEBP"):
        for policy in ("png", "webp", "same"):
            assert output_format(name, policy)[0] == name
    assert output_format("RAW", "png") == ("RAW", "")
    with pytest.raises(UsageError):
        output_format("JPEG", "gif")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        output_format("GIF", "png")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ((1, 8), "WEBP"),
        ((3, 16), "WEBP"),
        ((4, 8), "JPEG"),
        ((1, 16), "JPEG"),
        ((3, 16), "BMP"),
        ((2, 8), "BMP"),
    ],
)
def test_formats_that_would_lose_something_are_refused(kind: tuple[int, int], name: str) -> None:
    with pytest.raises(DataError, match="cannot hold") as caught:
        encode(picture(4, 4, *kind), format=name)
    assert "png" in str(caught.value.fix)


def test_unknown_output_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Unknown output format"):
        encode(picture(2, 2, 3, 8), format="GIF")
