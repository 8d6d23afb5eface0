"""Corners of the data layer that other tests do not turn: odd containers, threads, processes, full disks."""

import multiprocessing
import shutil
import struct
import subprocess
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from making import (
    exif_block,
    file_bytes,
    noise,
    open_writer,
    pil,
    png_chunk,
    raw_png,
    smooth,
    snapshot,
    tree,
    with_tag,
)
from PIL import Image
from test_writers import run

from noli.core.dataset import Ref
from noli.core.errors import DataError, RunError, UsageError
from noli.data import exif
from noli.data.codec import decode, encode, from_array
from noli.data.parquet import ParquetSource
from noli.data.place import Place
from noli.data.scan import scan
from noli.data.sources import open_source
from noli.data.writers import check_paths


def test_decoding_is_the_same_in_threads() -> None:
    files = [
        file_bytes(smooth(30 + i, 40), name)
        for i in range(4)
        for name in ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
    ]
    alone = [decode(data, where="x").pixels for data in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: decode(data, where="x").pixels, files * 3))
    assert all(np.array_equal(left, right) for left, right in zip(alone * 3, together, strict=True))


def _write_part(job: tuple) -> int:
    writer, index, items = job
    writer.write_shard(index, items)
    return index


def test_workers_write_shards_of_every_kind(tmp_path: Path) -> None:
    x = np.stack([noise(4, 4, 3, seed=i) for i in range(6)])
    np.savez(tmp_path / "d.npz", x=x)
    tree(tmp_path / "in", [f"{i}.png" for i in range(6)])
    for name, out in (("d.npz", "o.npz"), ("in", "o")):
        source = open_source(tmp_path / name)
        writer = open_writer(tmp_path / out, source)
        refs = list(source.refs())
        jobs = [
            (writer, i, [(ref, ref.path, source.read(ref)) for ref in refs[i * 2 : i * 2 + 2]])
            for i in range(3)
        ]
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            assert sorted(pool.map(_write_part, jobs)) == [0, 1, 2]
        writer.finalise([])
        back = open_source(tmp_path / out)
        assert all(np.array_equal(np.array(source.read(ref)), np.array(back.read(ref))) for ref in refs)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount command")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip("mounting needs rights this machine does not give")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_typed_and_nothing_half_written_stays(tmp_path: Path, small_disk: Path) -> None:
    source = open_source(tree(tmp_path / "in", [f"{i}.png" for i in range(9)], size=(150, 150)))
    writer = open_writer(small_disk / "out", source)
    items = [(ref, ref.path, source.read(ref)) for ref in source.refs()]
    writer.write_shard(0, items[:2])
    before = snapshot(small_disk)
    with pytest.raises(RunError, match="disk is full") as caught:
        writer.write_shard(1, items[2:])
    assert "space" in str(caught.value.fix)
    assert snapshot(small_disk) == before
    with pytest.raises(RunError), Place(small_disk).create("big") as handle:
        handle.write(bytes(1 << 20))
    assert snapshot(small_disk) == before


def test_exif_that_lies_about_its_size_is_survived() -> None:
    block = bytearray(exif_block(6, gps=True, thumbnail=file_bytes(smooth(4, 4), "JPEG")))
    for at in range(8, len(block)):
        broken = bytes(block[:at])
        exif.has_gps(broken)
        assert 1 <= exif.orientation(broken) <= 8
        assert len(exif.without_thumbnails(broken)) == at
    assert exif.orientation(None) == 1


def test_an_uncompressed_thumbnail_is_wiped_too() -> None:
    block = exif_block(1, thumbnail=b"RAW THUMBNAIL PIXELS")
    cleaned = exif.without_thumbnails(block)
    assert b"THUMBNAIL" not in cleaned
    assert exif.orientation(cleaned) == 1


def test_a_gps_directory_with_only_a_version_is_no_position() -> None:
    tags = Image.Exif()
    tags[0x8825] = {0: b"\2\3\0\0"}
    assert not exif.has_gps(tags.tobytes().removeprefix(b"Exif\0\0"))


def test_transparent_colour_of_the_wrong_size() -> None:
    with pytest.raises(DataError, match="damaged"):
        decode(raw_png(noise(3, 3, 3), 2, 8, png_chunk(b"tRNS", b"\0\1")), where="x")


def test_unreadable_png_profiles_and_text_are_left_out() -> None:
    extra = [png_chunk(b"iCCP", b"name\0\0not deflate"), png_chunk(b"zTXt", b"Key\0\0not deflate")]
    extra.append(png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz"))
    got = decode(raw_png(noise(3, 3, 3), 2, 8, *extra), where="x")
    assert (got.icc, got.exif) == (None, None)
    assert got.chunks == ()


def test_png_resolution_without_unit_is_no_resolution() -> None:
    data = raw_png(noise(3, 3, 3), 2, 8, png_chunk(b"pHYs", bytes(8) + b"\0"))
    assert decode(data, where="x").dpi is None


def test_jpeg_resolution_units() -> None:
    data = bytearray(file_bytes(smooth(8, 8), "JPEG", dpi=(100, 100)))
    assert decode(bytes(data), where="x").dpi == (100, 100)
    at = data.index(b"JFIF\0") + 7
    data[at] = 2  # per centimetre
    assert decode(bytes(data), where="x").dpi == (254, 254)
    data[at] = 0  # an aspect ratio
    assert decode(bytes(data), where="x").dpi is None


def test_a_tiff_resolution_that_divides_by_zero_is_none() -> None:
    data = file_bytes(smooth(4, 4), "TIFF", dpi=(75, 75))
    bad = data.replace(struct.pack("<II", 75, 1), struct.pack("<II", 75, 0))
    assert decode(data, where="x").dpi == (75, 75)
    assert decode(bad, where="x").dpi is None


def test_of_two_exif_segments_the_first_counts() -> None:
    data = file_bytes(smooth(8, 8), "JPEG")
    body = b"Exif\0\0" + exif_block(6) + bytes(60_000)
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    got = decode(data[:2] + segment + segment + data[2:], where="x")
    assert got.exif == body[6:]
    assert decode(encode(got, format="JPEG"), where="y").exif == got.exif


@pytest.mark.parametrize(
    "tail", [b"\xff\xd9", b"\xff\xda\0\4\0\0\xff\xd9", b"\x12\x34\xff\xd9", b"\xff\xc0\0\3\x08\xff\xd9"]
)
def test_jpeg_without_a_picture(tail: bytes) -> None:
    with pytest.raises(DataError, match=r"damaged|truncated|not an image"):
        decode(b"\xff\xd8" + tail, where="x")


def test_bmp_headers_that_cannot_be() -> None:
    good = bytearray(file_bytes(smooth(4, 4), "BMP"))
    for at, value, word in ((14, 13, "not supported"), (18, 0, "damaged"), (28, 48, "not supported")):
        data = bytearray(good)
        data[at : at + (4 if at == 18 else 2)] = value.to_bytes(4 if at == 18 else 2, "little")
        with pytest.raises(DataError, match=word):
            decode(bytes(data), where="x")


def test_tiff_kinds_that_are_refused_by_name() -> None:
    data = file_bytes(smooth(4, 4, 1), "TIFF")
    for tag, value in ((258, 12), (262, 32803)):
        with pytest.raises(DataError, match="not supported") as caught:
            decode(with_tag(data, tag, value), where="x")
        assert caught.value.fix
    with pytest.raises(DataError, match="damaged"):
        decode(with_tag(data, 256, 0), where="x")
    with pytest.raises(DataError, match="truncated"):
        decode(with_tag(data, 273, 60_000), where="x")


def test_tiff_with_an_unknown_fourth_channel_says_that_it_is_dropped() -> None:
    rgba = encode(from_array(noise(4, 4, 4), where="x"), format="TIFF")
    got = decode(with_tag(rgba, 338, 0), where="x")  # unspecified
    assert got.channels == 3
    assert got.alpha is not None or any("unknown meaning" in note for note in got.notes)


def test_ycbcr_tiff_becomes_rgb() -> None:
    got = decode(file_bytes(pil(smooth(16, 16)).convert("YCbCr"), "TIFF"), where="x")
    assert got.pixels.shape == (16, 16, 3)
    assert np.abs(got.pixels.astype(int) - smooth(16, 16).astype(int)).mean() < 3


def test_npz_with_named_labels_bytes_and_nothing_inside(tmp_path: Path) -> None:
    x = np.zeros((2, 3, 3, 1), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(2), kind=np.array([b"\xc3\xa4", b""]))
    assert [ref.label for ref in open_source(tmp_path / "d.npz", labels="kind").refs()] == ["ä", None]
    with pytest.raises(DataError, match="no array"):
        open_source(tmp_path / "d.npz", labels="nothing")
    np.savez(tmp_path / "e.npz", x=x[:0], y=np.arange(0))
    assert list(open_source(tmp_path / "e.npz").refs()) == []
    with pytest.raises(DataError, match="no such item"):
        open_source(tmp_path / "d.npz").read(Ref("x#2"))


def test_npz_in_the_other_word_order_with_a_foreign_member(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images_train=np.zeros((1, 2, 2), np.uint8), train_labels=np.array([3]))
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert [(r.label, r.split) for r in open_source(tmp_path / "d.npz").refs()] == [("3", "train")]


def test_fortran_images_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(np.zeros((2, 3, 4, 3), np.uint8)))
    with pytest.raises(DataError) as caught:
        open_source(tmp_path / "d.npz")
    assert "Fortran" in str(caught.value.why)


def test_parquet_row_references_are_checked(tmp_path: Path) -> None:
    from test_sources import hf_file

    hf_file(tmp_path / "a.parquet", 2, [0, 1])
    source = open_source(tmp_path)
    assert isinstance(source, ParquetSource)
    for path in ("b.parquet#0", "a.parquet#x", "a.parquet"):
        with pytest.raises(DataError, match="no such item"):
            source.read(Ref(path))
    (tmp_path / "README.md").write_text("card")
    assert list(source.companions()) == ["README.md"]


def test_a_damaged_parquet_page_is_one_bad_row_not_a_crash(tmp_path: Path) -> None:
    from test_sources import hf_file

    hf_file(tmp_path / "a.parquet", 40, list(range(40)), compression="gzip")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    for at in range(200, 600):
        data[at] ^= 0x5A
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    reasons = {row.reason for row in scan(open_source(tmp_path / "a.parquet"))}
    assert reasons
    assert all(reasons)


def test_remote_outputs_that_exist(tmp_path: Path) -> None:
    Place("memory://taken").write("x", b"1")
    with pytest.raises(UsageError, match="exists already"):
        check_paths(tmp_path, "memory://taken")
    check_paths(tmp_path, "memory://taken", owned=True)
    check_paths(tmp_path, "memory://free")


def test_links_to_files_are_stored_as_files(tmp_path: Path) -> None:
    tree(tmp_path / "real", ["a.png"])
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.png").symlink_to(tmp_path / "real/a.png")
    source = open_source(tmp_path / "in")
    run(source, open_writer(tmp_path / "out", source))
    assert not (tmp_path / "out/b.png").is_symlink()
    assert decode((tmp_path / "out/b.png").read_bytes(), where="x").pixels.shape == (6, 5, 3)
