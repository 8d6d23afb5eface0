"""The pre-flight scan finds every bad item before any work starts, and says so in one error."""

from pathlib import Path

import numpy as np
import pytest
from making import exif_block, file_bytes, noise, raw_png, smooth, tree
from PIL import Image

from noli.core.dataset import content_id
from noli.core.errors import DataError
from noli.data.codec import decode
from noli.data.scan import ScanRow, scan, summarise
from noli.data.sources import open_source


class Counting:
    """Counts reads of a source, and steps of a progress display."""

    def __init__(self, source) -> None:
        self.source, self.reads, self.steps = source, [], 0
        self.uri, self.layout = source.uri, source.layout
        self.refs, self.stat = source.refs, source.stat

    def read(self, ref):
        self.reads.append(ref.path)
        return self.source.read(ref)

    def advance(self, n: int = 1) -> None:
        self.steps += n


def mixed(root: Path) -> Path:
    """Good files of every format, and one of every kind of bad file."""
    tree(root, ["a/1.png", "a/2.jpg", "b/3.webp", "b/4.tif", "b/5.bmp"])
    good = file_bytes(smooth(20, 20), "JPEG")
    bad = {
        "a/cut.jpg": good[:-40],
        "a/empty.png": b"",
        "a/text.png": b"this is no picture",
        "b/moving.gif": file_bytes(smooth(4, 4), "GIF"),
        "b/bomb.png": raw_png(smooth(2, 2), 2, 8, width=2)[:16] + b"",
        "unlabelled.png": file_bytes(smooth(4, 4), "PNG"),
    }
    for name, data in bad.items():
        (root / name).write_bytes(data)
    return root


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_agree_with_a_full_decode(tmp_path: Path, workers: int) -> None:
    source = open_source(mixed(tmp_path))
    rows = list(scan(source, workers=workers))
    assert [row.ref for row in rows] == list(source.refs())
    for row in rows:
        data = source.read(row.ref)
        try:
            picture = decode(data, where=row.ref.path)
        except DataError as error:
            assert row.item is None, row.ref.path
            assert row.reason == error.what  # noqa: PT017 - the oracle's verdict
            continue
        assert row.error is None
        assert row.shape == picture.pixels.shape
        assert (row.bits, row.format, row.has_gps) == (picture.bits, picture.format, picture.has_gps)
        assert (row.item.id, row.item.sha256) == content_id(data)
        assert (row.item.path, row.item.label) == (row.ref.path, row.ref.label)
        assert (row.size, row.mtime_ns) == source.stat(row.ref)


def test_modes_and_gps_as_decode_sees_them(tmp_path: Path) -> None:
    exif = b"Exif\0\0" + exif_block(6, gps=True)
    files = {
        "gps.jpg": file_bytes(smooth(9, 7), "JPEG", exif=exif),
        "gps.png": file_bytes(smooth(9, 7), "PNG", exif=exif),
        "grey.jpg": file_bytes(smooth(9, 7, 1), "JPEG"),
        "cmyk.jpg": file_bytes(Image.fromarray(smooth(9, 7)).convert("CMYK"), "JPEG"),
        "grey-palette.png": file_bytes(Image.new("P", (3, 3)), "PNG"),
        "wide.png": raw_png(noise(3, 4, 3, 16), 2, 16),
        "alpha.png": file_bytes(noise(3, 4, 4), "PNG"),
        "wide.tif": file_bytes(Image.fromarray(noise(3, 4, 1, 16)[..., 0]), "TIFF"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for row in scan(open_source(tmp_path)):
        picture = decode(files[row.ref.path], where="x")
        assert (row.shape, row.bits, row.has_gps) == (picture.pixels.shape, picture.bits, picture.has_gps)


def test_labels_are_required_on_request(tmp_path: Path) -> None:
    source = open_source(mixed(tmp_path))
    bad = {row.ref.path: row.reason for row in scan(source, require_labels=True) if row.error}
    assert bad["unlabelled.png"] == "The item has no label."
    assert "unlabelled.png" not in {row.ref.path for row in scan(source) if row.error}


def test_the_error_about_missing_labels_names_the_ways_to_give_them(tmp_path: Path) -> None:
    tree(tmp_path, ["a.png", "b.png"])
    with pytest.raises(DataError, match=r"2 of 2") as caught:
        list(summarise(scan(open_source(tmp_path), require_labels=True), on_error="fail"))
    for way in ("one folder per class", "metadata.csv", "--labels"):
        assert way in caught.value.fix
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/c.png").write_bytes(b"")
    tree(tmp_path / "cat", ["d.png"])
    with pytest.raises(DataError) as caught:
        list(summarise(scan(open_source(tmp_path), require_labels=True), on_error="fail"))
    assert "repair or remove the others, or leave them out with --on-error skip" in caught.value.fix


def test_missing_files_of_a_table_are_rows(tmp_path: Path) -> None:
    tree(tmp_path, ["x.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label\nx.png,a\ngone.png,b\n")
    rows = list(scan(open_source(tmp_path)))
    assert [row.reason for row in rows] == ["", "The file is missing."]


@pytest.mark.parametrize("workers", [1, 2])
def test_known_items_are_not_read_again(tmp_path: Path, workers: int) -> None:
    source = Counting(open_source(tree(tmp_path, ["1.png", "2.png", "3.png"])))
    first = list(scan(source, workers=workers))
    known = {row.ref.path: (row.size, row.mtime_ns, row.item.sha256) for row in first}
    (tmp_path / "2.png").write_bytes(file_bytes(noise(9, 9, 3), "PNG"))
    source.reads.clear()
    second = list(scan(source, workers=workers, known=known.get))
    assert source.reads == ["2.png"]
    assert second[0].item == first[0].item
    assert second[0].shape is None
    assert second[1].shape == (9, 9, 3)
    assert second[1].item.id != first[1].item.id


def test_progress_counts_every_item(tmp_path: Path) -> None:
    source = Counting(open_source(tree(tmp_path, [f"{i}.png" for i in range(50)])))
    rows = list(scan(source, workers=2, progress=source.advance))
    assert source.steps == 50
    assert [row.ref.index for row in rows] == list(range(50))


def test_fail_lists_the_first_twenty_with_counts(tmp_path: Path) -> None:
    tree(tmp_path, ["good.png"])
    for i in range(30):
        (tmp_path / f"bad{i:02d}.png").write_bytes(b"" if i % 3 else b"text, not a picture")
    with pytest.raises(DataError) as caught:
        list(summarise(scan(open_source(tmp_path)), on_error="fail"))
    error = caught.value
    assert error.what.startswith("30 of 31")
    assert len(error.items) == 20
    assert "20 x The file is empty." in error.why
    assert "10 x The file is not an image." in error.why
    assert "27 more" in error.where
    assert "--on-error skip" in error.fix


def test_skip_passes_everything_on(tmp_path: Path) -> None:
    tree(tmp_path, ["good.png"])
    (tmp_path / "bad.png").write_bytes(b"")
    rows = list(summarise(scan(open_source(tmp_path)), on_error="skip"))
    assert [row.error is None for row in rows] == [False, True]


def test_nothing_usable_is_an_error_under_both_policies(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    for policy in ("fail", "skip"):
        with pytest.raises(DataError, match="1 of 1"):
            list(summarise(scan(open_source(tmp_path)), on_error=policy))
    with pytest.raises(DataError, match="no items"):
        list(summarise(iter([]), on_error="skip"))


@pytest.mark.parametrize("workers", [1, 2])
def test_array_sources(tmp_path: Path, workers: int) -> None:
    x = np.stack([noise(5, 4, 4, seed=i) for i in range(40)])
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(40))
    rows: list[ScanRow] = list(scan(open_source(tmp_path / "d.npz"), workers=workers))
    assert {(row.shape, row.bits, row.format) for row in rows} == {((5, 4, 3), 8, "RAW")}
    assert [row.item.id for row in rows] == [content_id(image)[0] for image in x]
