"""Every layout is read, written and read back equal; names, tables, companions and refusals."""

import base64
import csv
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import file_bytes, noise, open_writer, pickled, snapshot, tree
from test_sources import hf_file

from noli.core.dataset import Ref
from noli.core.errors import DataError, OutputExists, RunError
from noli.data.codec import decode, encode, from_array, output_format
from noli.data.sources import open_source
from noli.data.writers import Writer, check_paths


def invert(content, policy: str):
    """Stand-in for a method: the negative of a picture, encoded as the policy says."""
    if isinstance(content, np.ndarray):
        picture = from_array(content, where="x")
        return "RAW", picture.with_pixels(np.iinfo(content.dtype).max - picture.pixels).stacked()
    picture = decode(content, where="x")
    negative = picture.with_pixels(np.iinfo(picture.pixels.dtype).max - picture.pixels)
    name, _ = output_format(picture.format, policy, channels=picture.channels)
    return picture.format, encode(negative, format=name)


def done_of(written: list) -> list[tuple[str, str]]:
    return [(ref.path, out) for ref, out, _ in written]


def run(
    source, writer: Writer, *, policy: str = "png", shard: int = 3, skip=(), only=None, first: int = 0
) -> list:
    """What the engine does: shards of items, then the end."""
    refs = [ref for ref in source.refs() if ref.path not in skip and (only is None or ref.path in only)]
    written = []
    for at in range(0, len(refs), shard):
        items = []
        for ref in refs[at : at + shard]:
            kind, content = invert(source.read(ref), policy)
            items.append((ref, writer.target(ref, kind), content))
        pickled(writer).write_shard(first + at // shard, items)
        written += items
    writer.finalise(done_of(written))
    return written


def pixels(content) -> np.ndarray:
    return content if isinstance(content, np.ndarray) else decode(content, where="x").pixels


def rows(source) -> list[tuple]:
    return [(ref.label, ref.split, ref.text) for ref in source.refs()]


def make(layout: str, root: Path) -> Path:
    root.mkdir()
    if layout == "flat":
        tree(root, ["1.png", "b 2.png", "3.bmp", "sub/4.webp", "5.tif"])
        (root / "README.md").write_text("about")
        return root
    if layout == "class-folders":
        return tree(root, ["train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/ü dog/4.png"])
    if layout == "metadata":
        tree(root, ["a.png", "s/b.jpg"])
        (root / "metadata.csv").write_text("file_name,label,text\na.png,x,hello\ns/b.jpg,y,world\n")
        return root
    if layout == "jsonl":
        tree(root, ["train/a.jpg", "test/b.png"])
        (root / "train/metadata.jsonl").write_text('{"file_name": "a.jpg", "label": 1, "box": [1, 2]}\n')
        (root / "test/metadata.jsonl").write_text('{"file_name": "b.png", "label": 0, "box": []}\n')
        return root
    if layout == "csv":
        tree(root, ["i/a.png", "i/b.jpg", "i/c.png"])
        (root / "list.csv").write_text("id;path;label;split\n1;i/a.png;x;train\n2;i/b.jpg;y;test\n")
        return root / "list.csv"
    if layout == "npz":
        x = np.stack([noise(5, 4, 3, seed=i) for i in range(5)])
        np.savez(
            root / "d.npz", x=x, y=np.arange(5), class_names=np.array(list("abcde")), note=np.array("kept")
        )
        return root / "d.npz"
    if layout == "npz-splits":
        x = noise(5, 4, 1, 16)[None].repeat(4, 0)
        np.savez_compressed(
            root / "d.npz", x_train=x, y_train=np.arange(4), x_test=x[:2, ..., 0], y_test=np.arange(2)
        )
        return root / "d.npz"
    hf_file(root / "data/train-0.parquet", 5, [0, 1, 0, 1, 0], ["cat", "dog"])
    hf_file(root / "data/test-0.parquet", 2, [1, 0], ["cat", "dog"], compression="zstd")
    (root / "README.md").write_text("card")
    return root if layout == "parquet" else root / "data/train-0.parquet"


LAYOUTS = [
    "flat",
    "class-folders",
    "metadata",
    "jsonl",
    "csv",
    "npz",
    "npz-splits",
    "parquet",
    "parquet-file",
]


def output_of(layout: str, tmp_path: Path) -> Path:
    suffix = {"npz": ".npz", "npz-splits": ".npz"}.get(layout, "")
    return tmp_path / (f"out{suffix}" if layout != "parquet-file" else "train.parquet")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_write_read_back(layout: str, tmp_path: Path) -> None:
    source = open_source(make(layout, tmp_path / "in"))
    before = snapshot(tmp_path / "in")
    out = output_of(layout, tmp_path)
    writer = open_writer(out, source)
    written = run(source, writer)
    back = open_source(out if layout != "csv" else out / "list.csv")
    assert back.layout == source.layout
    assert rows(back) == rows(source)
    for ref, again, (_, out_path, content) in zip(source.refs(), back.refs(), written, strict=True):
        old, new = pixels(source.read(ref)), pixels(back.read(again))
        assert np.array_equal(new, np.iinfo(old.dtype).max - old)
        assert writer.state(out_path) == "ok"
        assert np.array_equal(np.array(writer.read(out_path)), np.array(content))
        assert again.path == out_path
    assert snapshot(tmp_path / "in") == before
    assert not list(tmp_path.rglob(".noli*"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_repeating_everything_gives_identical_bytes(layout: str, tmp_path: Path) -> None:
    source = open_source(make(layout, tmp_path / "in"))
    results = []
    for name in ("one", "two"):
        out = output_of(layout, tmp_path / name)
        out.parent.mkdir()
        writer = open_writer(out, source, work=tmp_path / name / "work")
        run(source, writer)
        if name == "two":  # again, in other shards, then a useless close
            again = open_writer(out, source, work=tmp_path / name / "work")
            assert writer.finalise(done_of(run(source, again, shard=2))) == []
        shutil.rmtree(tmp_path / name / "work", ignore_errors=True)
        results.append(snapshot(tmp_path / name))
    assert results[0] == results[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_skipped_items_are_absent_with_their_labels(layout: str, tmp_path: Path) -> None:
    source = open_source(make(layout, tmp_path / "in"))
    refs = list(source.refs())
    left_out = refs[1]
    out = output_of(layout, tmp_path)
    writer = open_writer(out, source)
    written = run(source, writer, skip={left_out.path})
    back = open_source(out if layout != "csv" else out / "list.csv")
    kept = [ref for ref in refs if ref != left_out]
    assert [(r.label, r.split, r.text) for r in back.refs()] == [(r.label, r.split, r.text) for r in kept]
    for ref, again, (_, out_path, _) in zip(kept, back.refs(), written, strict=True):
        assert np.array_equal(
            pixels(back.read(again)), np.iinfo(pixels(source.read(ref)).dtype).max - pixels(source.read(ref))
        )
        assert np.array_equal(pixels(writer.read(out_path)), pixels(back.read(again)))
    assert writer.state(left_out.path) == "missing"
    with pytest.raises(DataError):
        writer.read(left_out.path)


@pytest.mark.parametrize("layout", ["npz", "npz-splits", "parquet", "parquet-file"])
def test_a_finished_output_is_extended_without_its_parts(layout: str, tmp_path: Path) -> None:
    source = open_source(make(layout, tmp_path / "in"))
    paths = [ref.path for ref in source.refs()]
    out = output_of(layout, tmp_path)
    run(source, open_writer(out, source), only=set(paths[1::2]))
    assert not list((tmp_path / f"{out.name}.noli/parts").glob("*.zip"))
    run(source, open_writer(out, source), only=set(paths[0::2]), first=10)
    whole = output_of(layout, tmp_path / "whole")
    whole.parent.mkdir()
    run(source, open_writer(whole, source, work=tmp_path / "w"))
    if whole.is_file():
        assert out.read_bytes() == whole.read_bytes()
    else:
        assert snapshot(out) == snapshot(whole)


@pytest.mark.parametrize("layout", ["npz", "parquet"])
def test_a_kill_while_closing_an_extension_loses_nothing(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(make(layout, tmp_path / "in"))
    paths = [ref.path for ref in source.refs()]
    out = output_of(layout, tmp_path)
    run(source, open_writer(out, source), only=set(paths[1::2]))
    writer = open_writer(out, source)
    monkeypatch.setattr(Path, "unlink", _killed)  # the output is in place, its parts are still there
    with pytest.raises(KeyboardInterrupt):
        run(source, writer, only=set(paths[0::2]), first=10)
    monkeypatch.undo()
    open_writer(out, source).finalise([])
    back = open_source(out)
    for ref, again in zip(source.refs(), back.refs(), strict=True):
        assert np.array_equal(pixels(back.read(again)), 255 - pixels(source.read(ref)))


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_caption_beside_a_picture_keeps_its_name(tmp_path: Path) -> None:
    source = open_source(tree(tmp_path / "in", ["a/1.jpg", "a/2.png"]))
    for name in ("1.txt", "1.json", "1.xmp"):
        (tmp_path / "in/a" / name).write_text("a cat")
    writer = open_writer(tmp_path / "out", source)
    assert next(writer.target(ref, "JPEG") for ref in source.refs()) == "a/1.png"


def test_new_names_never_collide(tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "a.png",
        "A.jpeg",
        "b.jpg",
        "c.jpg",
        "c.jpg.png",
        "d.png",
        "e.jpg",
        "e.png.jpg",
        "e.png",
    ]
    source = open_source(tree(tmp_path / "in", names))
    (tmp_path / "in/f.png").mkdir()
    tree(tmp_path / "in", ["f.jpg"])
    writer = open_writer(tmp_path / "out", source)
    kinds = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    got = {ref.path: writer.target(ref, kinds[Path(ref.path).suffix.lower()]) for ref in source.refs()}
    assert got["b.jpg"] == "b.png"
    assert got["a.png"] == "a.png"
    assert got["a.jpg"] == "a.jpg.png"
    assert got["A.jpeg"] == "A.jpeg.png"
    assert got["f.jpg"] == "f.jpg.png"
    assert all(got[name] == name for name in names if name.endswith(".png"))
    assert len({out.casefold() for out in got.values()}) == len(got)
    assert got == {
        ref.path: pickled(writer).target(ref, kinds[Path(ref.path).suffix.lower()]) for ref in source.refs()
    }


STEMS = st.sampled_from(["a", "A", "b", "a.jpg", "a.png", "b.jpg.png"])


@given(
    st.sets(
        st.tuples(STEMS, st.sampled_from([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".JPG"])),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_new_names_are_unique_for_any_folder(tmp_path_factory, names) -> None:
    root = tmp_path_factory.mktemp("c")
    (root / "in").mkdir()
    for stem, suffix in names:
        (root / "in" / (stem + suffix)).write_bytes(b"x")
    source = open_source(root / "in")
    writer = open_writer(root / "out", source)
    kinds = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
    outs = [writer.target(ref, kinds[Path(ref.path).suffix.lower()]) for ref in source.refs()]
    assert len(set(outs)) == len(names)
    assert all(Path(out).suffix.lower() in (".png", ".bmp", ".webp") for out in outs)


def test_names_given_away_earlier_stay_taken(tmp_path: Path) -> None:
    source = open_source(tree(tmp_path / "in", ["a.jpg"]))
    writer = open_writer(tmp_path / "out", source)
    assert writer.target(Ref("a.jpg"), "JPEG") == "a.png"
    tree(tmp_path / "in", ["a.jpg", "a.png"])  # the newcomer
    writer = open_writer(tmp_path / "out", open_source(tmp_path / "in"))
    writer.reserve([("a.jpg", "a.png"), ("z.png", "z.png")])
    assert writer.target(Ref("a.png"), "PNG") == "a.png.png"


def test_same_and_webp_policies(tmp_path: Path) -> None:
    source = open_source(tree(tmp_path / "in", ["a.jpg", "b.png"]))
    same, webp = (open_writer(tmp_path / name, source, format=name) for name in ("same", "webp"))
    assert [same.target(ref, kind) for ref, kind in zip(source.refs(), ("JPEG", "PNG"), strict=True)] == [
        "a.jpg",
        "b.png",
    ]
    assert [webp.target(ref, kind) for ref, kind in zip(source.refs(), ("JPEG", "PNG"), strict=True)] == [
        "a.webp",
        "b.png",
    ]
    assert webp.target(Ref("a.jpg"), "JPEG", channels=1) == "a.png"


def test_tables_are_copied_verbatim_when_no_name_changes(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png", "b.png"])
    text = '\ufefffile_name,"label"\r\n"./a.png",x\r\nb.png,"y"\r\n'
    (tmp_path / "in/metadata.csv").write_bytes(text.encode())
    source = open_source(tmp_path / "in")
    run(source, open_writer(tmp_path / "out", source))
    assert (tmp_path / "out/metadata.csv").read_bytes() == text.encode()


def test_tables_follow_new_names_and_skips(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["s/a.jpg", "s/b.png", "s/c.png"])
    (tmp_path / "in/metadata.csv").write_text("label,file_name,n\nx,./s/a.jpg,1\ny,s/b.png,2\nz,s/c.png,3\n")
    source = open_source(tmp_path / "in")
    run(source, open_writer(tmp_path / "out", source), skip={"s/c.png"})
    assert list(csv.reader((tmp_path / "out/metadata.csv").open())) == [
        ["label", "file_name", "n"], ["x", "s/a.png", "1"], ["y", "s/b.png", "2"]
    ]  # fmt: skip
    make("jsonl", tmp_path / "in2")
    source = open_source(tmp_path / "in2")
    run(source, open_writer(tmp_path / "out2", source))
    line = json.loads((tmp_path / "out2/train/metadata.jsonl").read_text())
    assert line == {"file_name": "a.png", "label": 1, "box": [1, 2]}


def test_companions_travel_and_bad_pictures_do_not(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a/1.png"])
    for name in ("README.md", "a/notes.txt", ".hidden"):
        (tmp_path / "in" / name).write_text(name)
    (tmp_path / "in/a/bad.gif").write_bytes(b"GIF89a")
    source = open_source(tmp_path / "in")
    run(source, open_writer(tmp_path / "out", source), skip={"a/bad.gif"})
    assert sorted(snapshot(tmp_path / "out")) == ["README.md", "a/1.png", "a/notes.txt"]


def test_companions_are_copied_once_and_never_replaced(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    for name in ("same", "touched", "edited", "longer"):
        (tmp_path / "in" / f"{name}.txt").write_text("text")
    source = open_source(tmp_path / "in")
    written = run(source, open_writer(tmp_path / "out", source))
    for name, text in (("touched", "text"), ("edited", "TEXT"), ("longer", "text and more")):
        (tmp_path / "in" / f"{name}.txt").write_text(text)
        os.utime(tmp_path / "in" / f"{name}.txt", (2e9, 2e9))
    kept = open_writer(tmp_path / "out", source).finalise(done_of(written))
    assert kept == ["edited.txt", "longer.txt"]
    assert all((tmp_path / "out" / name).read_text() == "text" for name in kept)


def test_thumbnail_caches_never_travel_and_xmp_files_only_under_keep(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    for name in ("Thumbs.db", "desktop.ini", "a.xmp", "@eaDir/a.jpg", "__MACOSX/a.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    source = open_source(tmp_path / "in")
    run(source, open_writer(tmp_path / "keep", source))
    run(source, open_writer(tmp_path / "strip", source, metadata="strip"))
    assert sorted(snapshot(tmp_path / "keep")) == ["a.png", "a.xmp"]
    assert sorted(snapshot(tmp_path / "strip")) == ["a.png"]


def test_companions_with_pictures_inside_never_travel(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    picture = file_bytes(noise(12, 12, 3), "JPEG")
    coded, digits = base64.b64encode(picture), file_bytes(noise(12, 12, 3), "PNG").hex().encode()
    digests = b"\n".join(hashlib.sha256(bytes([i])).hexdigest().encode() for i in range(99))
    files = {
        "labelme.json": b'{"shapes": [], "imageData": "' + coded + b'"}',
        "view.html": b'<img src="data:image/png;base64,AAAA">',
        "a.xmp": b"<xmpGImg:image>" + b"&#xA;".join(coded[i : i + 76] for i in range(0, len(coded), 76)),
        "big.txt": b"word " * 300_000 + coded,
        "web.json": b'{"img": "' + base64.urlsafe_b64encode(picture) + b'"}',
        "hex.json": b'{"img": "' + digits + b'"}',
        "dump.csv": b"id,img\n1,\\x" + digits.upper(),
        "lines.txt": b"\n".join(digits[i : i + 60] for i in range(0, len(digits), 60)),
        "bmp.txt": file_bytes(noise(12, 12, 3), "BMP").hex().encode(),
        "scan.md": b"P6\n# made by hand\n4 4\n255\n" + b"pixels" * 8,
        "scan": b"P3 2 2 255\n1 2 3 4 5 6 7 8 9 10 11 12",
        "notes.txt": b"-" * 900 + b"\nP2 is a bus\n" + digests,
        "patients.csv": b"BMI,age\n24,60\n",
        "keys.txt": b"0x" + b"".join(digests.split()) + b"\n424d" + b"".join(digests.split()),
        "ruler.md": b"-_" * 450 + b"\nstem-of_a-file\n" + b"_" * 900,
        "shapes.json": json.dumps({"boxes": list(range(2000)), "file": "a/" * 40}).encode(),
    }
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    source = open_source(tmp_path / "in")
    kept = ["keys.txt", "notes.txt", "patients.csv", "ruler.md", "shapes.json"]
    assert sorted(source.companions()) == kept
    assert sorted(source.left_out()) == sorted(files.keys() - {*kept, "scan"})
    assert [ref.path for ref in source.refs()] == ["a.png", "scan"]  # a picture noli cannot read is said


def test_hidden_pictures_are_counted_as_left_out(tmp_path: Path) -> None:
    names = ["cat/1.png", "cat/.7.png", "cat/._1.png", ".fox/2.png", "owl.noli/3.png", ".git/4.png"]
    tree(tmp_path / "in", [*names, "safe.noli/5.png"])
    (tmp_path / "in" / "safe.noli" / "run.json").write_text("{}")
    source = open_source(tmp_path / "in")
    assert [ref.path for ref in source.refs()] == ["cat/1.png"]
    assert sorted(source.left_out()) == [".fox/2.png", "cat/.7.png", "owl.noli/3.png"]


def test_positions_beside_the_pictures_travel_only_under_keep(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    (tmp_path / "in" / "a.png.json").write_text('{"geoData": {"latitude": 48.1}}')
    (tmp_path / "in" / "b.json").write_text('{"late": 1}')
    source = open_source(tmp_path / "in")
    assert list(source.companions()) == ["a.png.json", "b.json"]
    assert list(source.left_out(strip=True)) == ["a.png.json"]
    run(source, open_writer(tmp_path / "strip", source, metadata="strip"))
    assert sorted(snapshot(tmp_path / "strip")) == ["a.png", "b.json"]


def test_stripped_parquet_has_no_xmp_and_no_positions_beside_it(tmp_path: Path) -> None:
    hf_file(tmp_path / "in/t.parquet", 2, [0, 1], ["cat", "dog"])
    for name, text in (("site.txt", "latitude 47.1"), ("t.xmp", "<x/>"), ("README.md", "card")):
        (tmp_path / "in" / name).write_text(text)
    source = open_source(tmp_path / "in")
    assert sorted(source.left_out(strip=True)) == ["site.txt", "t.xmp"]
    run(source, open_writer(tmp_path / "keep", source))
    run(source, open_writer(tmp_path / "strip", source, metadata="strip"))
    assert sorted(snapshot(tmp_path / "keep")) == ["README.md", "site.txt", "t.parquet", "t.xmp"]
    assert sorted(snapshot(tmp_path / "strip")) == ["README.md", "t.parquet"]


def test_parquet_keeps_schema_metadata_and_renames_paths(tmp_path: Path) -> None:
    blobs = [file_bytes(noise(8, 8, 3), "JPEG"), file_bytes(noise(4, 4, 3), "PNG")]
    hf_file(tmp_path / "d.parquet", 2, [0, 1], ["cat", "dog"], compression="gzip")
    table = pq.read_table(tmp_path / "d.parquet")
    image = [{"bytes": blobs[0], "path": "x/one.JPG"}, {"bytes": blobs[1], "path": None}]
    table = table.set_column(0, table.schema.field("image"), [image])
    pq.write_table(table, tmp_path / "d.parquet", compression="gzip")
    source = open_source(tmp_path / "d.parquet")
    run(source, open_writer(tmp_path / "out.parquet", source))
    back = pq.read_table(tmp_path / "out.parquet")
    assert back.schema.equals(table.schema, check_metadata=True)
    assert [row["path"] for row in back["image"].to_pylist()] == ["x/one.png", None]
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0).column(0).compression == "GZIP"


def test_single_parquet_into_a_folder(tmp_path: Path) -> None:
    hf_file(tmp_path / "train.parquet", 3, [0, 1, 0], ["a", "b"])
    source = open_source(tmp_path / "train.parquet")
    run(source, open_writer(tmp_path / "out", source))
    assert sorted(snapshot(tmp_path / "out")) == ["train.parquet"]
    assert rows(open_source(tmp_path / "out")) == rows(source)


def test_npz_keeps_other_arrays_and_filters_those_beside_the_images(tmp_path: Path) -> None:
    x = np.stack([noise(3, 3, 3, seed=i) for i in range(4)])
    extra = {
        "ids": np.arange(4) * 10,
        "class_names": np.array(list("abcd")),
        "mean": np.zeros(3),
        "f": np.asfortranarray(np.eye(3)),
    }
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(4), **extra)
    source = open_source(tmp_path / "d.npz")
    run(source, open_writer(tmp_path / "out.npz", source), skip={"x#1"})
    with np.load(tmp_path / "out.npz", allow_pickle=False) as got:
        assert np.array_equal(got["x"], 255 - x[[0, 2, 3]])
        assert got["ids"].tolist() == [0, 20, 30]
        assert got["y"].tolist() == [0, 2, 3]
        assert got["class_names"].tolist() == list("abcd")
        assert np.array_equal(got["f"], np.eye(3))
        assert list(got) == ["x", "y", *extra]


def test_npz_members_that_hold_no_rows_are_copied_as_they_are(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", x=noise(3, 3, 3)[None].repeat(4, 0), notes=["a", "b", "c"])
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    source = open_source(tmp_path / "d.npz")
    run(source, open_writer(tmp_path / "out.npz", source), skip={"x#1"})
    with zipfile.ZipFile(tmp_path / "d.npz") as old, zipfile.ZipFile(tmp_path / "out.npz") as new:
        assert new.namelist() == old.namelist()
        assert all(new.read(name) == old.read(name) for name in ("notes.npy", "readme.txt"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cat.png", file_bytes(noise(4, 4, 3), "PNG")),
        ("cat", file_bytes(noise(4, 4, 3), "JPEG")),
        ("cat.txt", file_bytes(noise(4, 4, 3), "PNG")),
        ("more/cat.json", b'{"img": "' + base64.b64encode(file_bytes(noise(12, 12, 3), "JPEG")) + b'"}'),
        ("model.bin", b"weights"),
    ],
)
def test_npz_members_that_may_hold_pictures_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=noise(3, 3, 3)[None], y=[0])
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.mkdir("more")
        archive.writestr("readme.txt", "hello")
        archive.writestr(name, content)
    with pytest.raises(DataError, match="further files") as caught:
        open_source(tmp_path / "d.npz")
    assert caught.value.items == (name,)
    assert caught.value.fix


def test_npz_members_of_one_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=noise(3, 3, 3)[None])
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.writestr("a.txt", file_bytes(noise(4, 4, 3), "PNG"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.txt", "hello")
    with pytest.raises(DataError, match="same name"):
        open_source(tmp_path / "d.npz")


def test_stripped_archives_have_no_positions(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=noise(3, 3, 3)[None], y=[0])
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("site.txt", "Latitude 47.1")
    source = open_source(tmp_path / "d.npz")
    assert list(source.left_out(strip=True)) == ["site.txt"]
    for metadata, names in (("keep", ["readme.txt", "site.txt"]), ("strip", ["readme.txt"])):
        out = tmp_path / f"{metadata}.npz"
        run(source, open_writer(out, source, metadata=metadata))
        assert zipfile.ZipFile(out).namelist() == ["x.npy", "y.npy", *names]


def test_a_damaged_part_names_the_remedy(tmp_path: Path) -> None:
    source = open_source(make("npz", tmp_path / "in"))
    writer = open_writer(tmp_path / "out.npz", source, work=tmp_path / "work")
    items = [(ref, ref.path, source.read(ref)) for ref in source.refs()]
    writer.write_shard(0, items[:3])
    writer.write_shard(1, items[3:])
    assert [writer.state(ref.path) for ref, _, _ in items] == ["ok"] * 5
    (tmp_path / "work/000001.zip").write_bytes(b"PK")
    with pytest.raises(RunError, match="damaged") as caught:
        writer.finalise([])
    assert "000001.zip" in caught.value.where
    (tmp_path / "work/000001.zip").unlink()
    again = open_writer(tmp_path / "out.npz", source, work=tmp_path / "work")
    assert [again.state(ref.path) for ref, _, _ in items] == ["ok"] * 3 + ["missing"] * 2


def test_rows_of_a_file_that_left_the_source_stay(tmp_path: Path) -> None:
    source = open_source(make("parquet", tmp_path / "in"))
    written = run(source, open_writer(tmp_path / "out", source))
    (tmp_path / "in/data/test-0.parquet").unlink()
    writer = open_writer(tmp_path / "out", open_source(tmp_path / "in"))
    assert [writer.state(out) for _, out, _ in written] == ["ok"] * 7
    (tmp_path / "out/data/train-0.parquet").write_bytes(b"mine")
    writer = open_writer(tmp_path / "out", open_source(tmp_path / "in"))
    assert [writer.state(out) for _, out, _ in written] == ["ok"] * 2 + ["changed"] * 5
    assert writer.foreign("data/train-0.parquet#0")


def test_memory_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    monkeypatch.chdir(tmp_path)
    for layout in ("class-folders", "metadata", "parquet", "npz"):
        make(layout, tmp_path / layout)
        name = "d.npz" if layout == "npz" else ""
        fs.put(str(tmp_path / layout), f"memory://in-{layout}", recursive=True)
        source = open_source(f"memory://in-{layout}/{name}".rstrip("/"))
        out = f"memory://out-{layout}" + (".npz" if name else "")
        run(source, open_writer(out, source))
        back = open_source(out)
        assert rows(back) == rows(source)
        for ref, again in zip(source.refs(), back.refs(), strict=True):
            assert np.array_equal(pixels(back.read(again)), 255 - pixels(source.read(ref)))
    fs.store.clear()


def test_paths_that_touch_the_input_are_refused(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    source = open_source(tmp_path / "in")
    for out, word in (
        ("in", "is the input"),
        ("in/out", "inside the input"),
        ("", "inside the output"),
        ("link/x", "inside the input"),
    ):
        with pytest.raises(OutputExists, match="refused") as caught:
            check_paths(source.uri, tmp_path / out)
        assert word in str(caught.value.why)
        assert caught.value.exit_code == 2
    check_paths(tmp_path / "in", tmp_path / "in2")  # a common prefix is no containment
    for out in ("memory://b/in", "memory://b/in/", "memory://b//in/x", "memory://b"):
        with pytest.raises(OutputExists):
            check_paths("memory://b/in", out)


def test_outputs_in_the_folder_of_a_csv_are_refused_with_the_reason(tmp_path: Path, monkeypatch) -> None:
    tree(tmp_path / "in", ["a.png"])
    listing = tmp_path / "in/list.csv"
    listing.write_text("path,label\na.png,x\n")
    source = open_source(listing)
    monkeypatch.chdir(tmp_path / "in")
    for uri in (listing, "list.csv", source.uri):
        with pytest.raises(OutputExists, match="refused") as caught:
            check_paths(uri, "safe")
        assert "the output lies inside the folder of list.csv" in caught.value.why
        assert f"outside {tmp_path}/in," in caught.value.fix
    with pytest.raises(OutputExists, match="inside the folder of list"):
        check_paths(source.uri, tmp_path / "in/safe")
    check_paths(listing, tmp_path / "safe")


def test_existing_outputs_are_refused_unless_owned(tmp_path: Path) -> None:
    tree(tmp_path / "in", ["a.png"])
    source = open_source(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    check_paths(source.uri, tmp_path / "empty")
    (tmp_path / "full/.git").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(OutputExists, match="exists already") as caught:
            check_paths(source.uri, tmp_path / name)
        assert caught.value.fix
        check_paths(source.uri, tmp_path / name, owned=True)


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    source = open_source(tree(tmp_path / "in", ["a.png", "b.png"]))
    writer = open_writer(tmp_path / "out", source)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.png").mkdir()
    items = [(ref, ref.path, source.read(ref)) for ref in source.refs()]
    with pytest.raises(RunError, match="cannot be written"):
        writer.write_shard(0, items)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] in ([], ["a.png"])
    with pytest.raises(DataError, match="arrays"):
        writer.write_shard(0, [(items[0][0], "a.png", np.zeros((2, 2, 3), np.uint8))])
    with pytest.raises(DataError, match="outside"):
        writer.write_shard(0, [(items[0][0], "../a.png", b"x")])
