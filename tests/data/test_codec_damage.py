"""Damaged, hostile and absurd files raise one typed error, quickly, and nothing else."""

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import exif_block, file_bytes, pil, png_chunk, raw_png, smooth
from PIL import Image

from noli.core.errors import DataError
from noli.data.codec import decode, inspect

BLOCK = b"Exif\0\0" + exif_block(6, gps=True, thumbnail=file_bytes(smooth(4, 4), "JPEG"))
SAMPLES = {
    "png": file_bytes(smooth(21, 17), "PNG", exif=BLOCK),
    "png-palette": file_bytes(pil(smooth(21, 17)).convert("P"), "PNG"),
    "jpeg": file_bytes(smooth(21, 17), "JPEG", exif=BLOCK),
    "jpeg-progressive": file_bytes(smooth(21, 17), "JPEG", progressive=True),
    "jpeg-cmyk": file_bytes(pil(smooth(21, 17)).convert("CMYK"), "JPEG"),
    "webp": file_bytes(smooth(21, 17), "WEBP", lossless=True, exif=BLOCK),
    "webp-lossy": file_bytes(smooth(21, 17), "WEBP"),
    "tiff": file_bytes(smooth(21, 17), "TIFF"),
    "tiff-deflate": file_bytes(smooth(21, 17), "TIFF", compression="tiff_adobe_deflate"),
    "bmp": file_bytes(smooth(21, 20), "BMP"),  # 20: no padding, which nobody misses, at the end of rows
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_cut_of_a_file_is_noticed(name: str) -> None:
    data = SAMPLES[name]
    for length in range(len(data)):
        for look in (decode, inspect):
            with pytest.raises(DataError) as caught:
                look(data[:length], where="cut")
            assert caught.value.where == "cut"


@pytest.mark.parametrize("name", SAMPLES)
def test_random_damage_gives_a_picture_or_a_data_error(name: str) -> None:
    rng = random.Random(name)
    for _ in range(150):
        data = bytearray(SAMPLES[name])
        for _ in range(rng.choice((1, 3, 9))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        fix = None
        try:
            shape = decode(bytes(data), where="x", max_pixels=1_000_000).pixels.shape
        except DataError as error:
            shape, fix = (0, 0, 0), error.fix
        assert fix if shape == (0, 0, 0) else shape[2] in (1, 3)


def test_a_flipped_bit_in_png_pixels_is_noticed() -> None:
    data = bytearray(SAMPLES["png"])
    data[-40] ^= 1
    with pytest.raises(DataError, match="damaged"):
        decode(bytes(data), where="x")


@given(
    st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP", b"II*\0", b"MM\0*", b"BM"]
    ),
    st.binary(max_size=200),
)
@settings(max_examples=150, deadline=None)
def test_noise_behind_magic_bytes_is_a_data_error(head: bytes, tail: bytes) -> None:
    with pytest.raises(DataError):
        decode(head + tail, where="x")


def test_empty_and_foreign_files() -> None:
    with pytest.raises(DataError, match="empty"):
        decode(b"", where="x")
    with pytest.raises(DataError, match="not an image"):
        decode(b"hello world, this is text", where="x")


def _claims(name: str, side: int) -> bytes:
    """A small file whose header claims a huge picture."""
    if name == "png":
        head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    if name == "jpeg":
        data = bytearray(SAMPLES["jpeg-progressive"])
        at = data.index(b"\xff\xc2")
        data[at + 5 : at + 9] = struct.pack(">HH", min(side, 65535), min(side, 65535))
        return bytes(data)
    data = bytearray(SAMPLES["tiff"])
    for tag in (256, 257):
        at = (
            data.index(struct.pack("<HHI", tag, 4, 1))
            if struct.pack("<HHI", tag, 4, 1) in data
            else data.index(struct.pack("<HHI", tag, 3, 1))
        )
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff"])
def test_bombs_are_refused_from_the_header(name: str) -> None:
    with pytest.raises(DataError, match="larger than the limit") as caught:
        decode(_claims(name, 60_000), where="bomb")
    assert "60000" in str(caught.value.why)


def test_the_limit_can_be_lowered_and_is_exact() -> None:
    data = SAMPLES["png"]
    assert decode(data, where="x", max_pixels=21 * 17).pixels.shape == (21, 17, 3)
    with pytest.raises(DataError, match="larger"):
        decode(data, where="x", max_pixels=21 * 17 - 1)


def test_large_but_allowed_pictures_raise_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # Pillow would warn from here on
    for name in ("bmp", "webp", "tiff", "png-palette"):
        assert decode(SAMPLES[name], where="x").pixels.shape[0] == 21


def test_jpeg_processes_nobody_decodes_are_named() -> None:
    data = file_bytes(smooth(9, 9), "JPEG").replace(b"\xff\xc0", b"\xff\xc3", 1)
    for look in (decode, inspect):
        with pytest.raises(DataError, match="damaged") as caught:
            look(data, where="x")
        assert "lossless" in str(caught.value.why)
    data = bytearray(file_bytes(smooth(9, 9), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(DataError, match="not supported") as caught:
        decode(bytes(data), where="x")
    assert "12-bit" in str(caught.value.why)


def test_png_structure_errors() -> None:
    good = raw_png(smooth(4, 4), 2, 8)
    no_data = good[:33] + png_chunk(b"IEND", b"")
    with pytest.raises(DataError, match="damaged"):
        decode(no_data, where="x")
    twice = good[:33] + good[8:]
    with pytest.raises(DataError, match="damaged"):
        decode(twice, where="x")
    zero = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes(8) + b"\x08\x02\0\0\0") + good[33:]
    with pytest.raises(DataError, match="damaged"):
        decode(zero, where="x")
    short = good[:33] + png_chunk(b"IDAT", zlib.compress(b"\0" * 5)) + png_chunk(b"IEND", b"")
    with pytest.raises(DataError, match="damaged"):
        decode(short, where="x")


def test_inspect_says_what_is_inside() -> None:
    header = inspect(SAMPLES["jpeg"], where="x")
    assert header == ("JPEG", (21, 17, 3), 8, True)


def test_data_after_the_end_of_a_jpeg_is_dropped_with_a_note() -> None:
    plain, trailing = decode(SAMPLES["jpeg"], where="x"), decode(SAMPLES["jpeg"] + bytes(100), where="x")
    assert len(trailing.notes) == len(plain.notes) + 1
    assert np.array_equal(trailing.pixels, plain.pixels)
