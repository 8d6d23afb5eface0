"""Every layout is detected and listed in a fixed order with the right labels, splits and captions."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import file_bytes, noise, pickled, tree

from noli.core.dataset import Source
from noli.core.errors import DataError
from noli.data.sources import open_source


def table_of(source: Source) -> list[tuple]:
    return [(ref.path, ref.label, ref.split) for ref in source.refs()]


def test_flat_folder(tmp_path: Path) -> None:
    tree(tmp_path, ["b.png", "a.jpg", "C.PNG"])
    (tmp_path / "README.md").write_text("hello")
    source = open_source(tmp_path)
    assert isinstance(source, Source)
    assert source.layout == "flat"
    assert table_of(source) == [("C.PNG", None, None), ("a.jpg", None, None), ("b.png", None, None)]
    assert [ref.index for ref in source.refs()] == [0, 1, 2]
    assert list(source.companions()) == ["README.md"]
    ref = next(iter(source.refs()))
    assert source.read(ref) == (tmp_path / "C.PNG").read_bytes()
    assert source.stat(ref) == ((tmp_path / "C.PNG").stat().st_size, (tmp_path / "C.PNG").stat().st_mtime_ns)


def test_class_folders(tmp_path: Path) -> None:
    tree(tmp_path, ["cat/1.png", "cat/deep/2.png", "dog/1.png", "stray.png"])
    source = open_source(tmp_path)
    assert source.layout == "class-folders"
    assert table_of(source) == [
        ("stray.png", None, None), ("cat/1.png", "cat", None),
        ("cat/deep/2.png", "cat", None), ("dog/1.png", "dog", None),
    ]  # fmt: skip


def test_class_folders_with_splits(tmp_path: Path) -> None:
    tree(tmp_path, ["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "Val/dog/3.png"])
    source = open_source(tmp_path)
    assert source.layout == "class-folders"
    assert set(table_of(source)) == {
        ("train/cat/1.png", "cat", "train"), ("train/dog/1.png", "dog", "train"),
        ("test/cat/2.png", "cat", "test"), ("Val/dog/3.png", "dog", "Val"),
    }  # fmt: skip


def test_splits_without_classes_are_flat(tmp_path: Path) -> None:
    tree(tmp_path, ["train/1.png", "test/2.png"])
    source = open_source(tmp_path)
    assert source.layout == "flat"
    assert table_of(source) == [("test/2.png", None, "test"), ("train/1.png", None, "train")]


def test_hidden_files_and_run_folders_are_ignored(tmp_path: Path) -> None:
    tree(tmp_path, ["a.png", ".b.png", ".cache/c.png", "out.noli/d.png"])
    assert [row[0] for row in table_of(open_source(tmp_path))] == ["a.png"]


def test_foreign_and_unnamed_pictures_are_items_not_companions(tmp_path: Path) -> None:
    tree(tmp_path, ["a.png"])
    (tmp_path / "b.gif").write_bytes(file_bytes(noise(4, 4, 3), "GIF"))
    (tmp_path / "photo").write_bytes(file_bytes(noise(4, 4, 3), "JPEG"))
    (tmp_path / "notes").write_text("plain words")
    (tmp_path / "scan.dat").write_bytes(file_bytes(noise(4, 4, 3), "PNG"))
    for name in ("drawing.xcf", "volume.nii", "catalog.db", "notes~"):
        (tmp_path / name).write_bytes(b"whatever\x00an original")
    (tmp_path / "owner.json").write_text('{\n  "format": "noli-key",\n  "keys": ["secret"]}')
    (tmp_path / "owner.key").write_text("anything")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    source = open_source(tmp_path)
    assert [row[0] for row in table_of(source)] == ["a.png", "b.gif", "photo", "scan.dat"]
    assert list(source.companions()) == ["notes"]
    left = ["catalog.db", "dangling.txt", "drawing.xcf", "notes~", "owner.json", "owner.key", "volume.nii"]
    assert list(source.left_out()) == left


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["car/1.png", "plane/1.png", "train/1.png"], [("car", None), ("plane", None), ("train", None)]),
        (["train/1.png", "test/1.png"], [(None, "test"), (None, "train")]),
        (["train/1.png", "test/1.png", "docs/readme.md"], [(None, "test"), (None, "train")]),
        (["train/car/1.png", "test/car/1.png"], [("car", "test"), ("car", "train")]),
        (["extra/1.png", "train/car/1.png"], [("extra", None), ("car", "train")]),
        (["Train/car/1.png"], [("car", "Train")]),
    ],
    ids=str,
)
def test_a_folder_named_like_a_split_may_be_a_class(names: list, expected: list, tmp_path: Path) -> None:
    tree(tmp_path, [name for name in names if name.endswith(".png")])
    for name in names:
        if name.endswith(".md"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_text("words")
    assert [row[1:] for row in table_of(open_source(tmp_path))] == expected


def test_a_column_that_the_first_line_lacks_counts(tmp_path: Path) -> None:
    tree(tmp_path, ["cat/0.png", "cat/1.png", "dog/2.png"])
    rows = [{"file_name": "cat/0.png"}, {"file_name": "cat/1.png", "label": "A"}]
    rows.append({"file_name": "dog/2.png", "label": "B", "text": "a dog"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = list(open_source(tmp_path).refs())
    assert [(ref.label, ref.text) for ref in found] == [(None, None), ("A", None), ("B", "a dog")]


def test_odd_names(tmp_path: Path) -> None:
    names = ["ä ö/new\nline.png", "ä ö/a#b%20.png", "日本/ .png"]
    tree(tmp_path, names)
    source = open_source(tmp_path)
    assert sorted(row[0] for row in table_of(source)) == sorted(names)
    assert all(source.read(ref) for ref in source.refs())


def test_metadata_csv(tmp_path: Path) -> None:
    tree(tmp_path, ["x.png", "sub/y.jpg", "unlisted.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label,text\nsub/y.jpg,dog,a dog\nx.png,cat,\n")
    source = open_source(tmp_path)
    assert source.layout == "metadata"
    assert [(r.path, r.label, r.text) for r in source.refs()] == [
        ("sub/y.jpg", "dog", "a dog"), ("x.png", "cat", None), ("unlisted.png", None, None)
    ]  # fmt: skip
    assert list(source.companions()) == []


def test_metadata_in_split_folders_and_both_formats(tmp_path: Path) -> None:
    tree(tmp_path, ["train/x.png", "test/y.png"])
    (tmp_path / "train/metadata.jsonl").write_text(json.dumps({"file_name": "x.png", "text": "words"}) + "\n")
    (tmp_path / "test/metadata.csv").write_text("file_name,label\ny.png,cat\n")
    assert [(r.path, r.label, r.text, r.split) for r in open_source(tmp_path).refs()] == [
        ("test/y.png", "cat", None, "test"), ("train/x.png", None, "words", "train")
    ]  # fmt: skip


def test_a_label_column_without_a_table_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, ["cat/1.png"])
    assert open_source(tmp_path).layout == "class-folders"
    with pytest.raises(DataError, match="column 'species'"):
        open_source(tmp_path, labels="species")


def test_metadata_without_label_column_uses_class_folders(tmp_path: Path) -> None:
    tree(tmp_path, ["cat/x.png"])
    (tmp_path / "metadata.csv").write_text("file_name,text\ncat/x.png,hello\n")
    assert table_of(open_source(tmp_path)) == [("cat/x.png", "cat", None)]


def test_metadata_naming_a_missing_file_fails_at_reading_not_listing(tmp_path: Path) -> None:
    tree(tmp_path, ["x.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label\nx.png,a\ngone.png,b\n")
    source = open_source(tmp_path)
    refs = list(source.refs())
    assert [ref.path for ref in refs] == ["x.png", "gone.png"]
    with pytest.raises(DataError, match="missing"):
        source.read(refs[1])


def test_repeated_rows(tmp_path: Path) -> None:
    tree(tmp_path, ["x.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label\nx.png,a\n./x.png,a\n")
    assert len(list(open_source(tmp_path).refs())) == 1
    (tmp_path / "metadata.csv").write_text("file_name,label\nx.png,a\nx.png,b\n")
    with pytest.raises(DataError, match="different labels") as caught:
        list(open_source(tmp_path).refs())
    assert caught.value.items == ("x.png",)


def test_csv_of_paths(tmp_path: Path) -> None:
    tree(tmp_path, ["img/a.png", "img/b.png", "img/unlisted.png"])
    listing = tmp_path / "list.csv"
    listing.write_text(f"id;path;label;split\n1;img/b.png;dog;train\n2;{tmp_path}/img/a.png;;test\n")
    source = open_source(listing)
    assert source.layout == "csv"
    assert table_of(source) == [("img/b.png", "dog", "train"), ("img/a.png", None, "test")]
    assert list(source.companions()) == []
    listing.write_text("path,label\n../outside.png,x\n")
    with pytest.raises(DataError, match="lists a picture outside its own folder") as caught:
        list(open_source(listing).refs())
    assert "'../outside.png'" in caught.value.why
    assert str(tmp_path) in caught.value.why
    assert "'path'" in caught.value.fix
    assert caught.value.items == ("../outside.png",)
    listing.write_text("path,label\n,x\n")
    with pytest.raises(DataError, match="names no picture"):
        list(open_source(listing).refs())


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_with_names(tmp_path: Path) -> None:
    x = np.stack([noise(4, 5, 3, seed=i) for i in range(3)])
    source = open_source(
        npz(tmp_path / "d.npz", x=x, y=np.array([1, 0, 7]), class_names=np.array(["cat", "dog"]))
    )
    assert source.layout == "npz"
    assert table_of(source) == [("x#0", "dog", None), ("x#1", "cat", None), ("x#2", "7", None)]
    assert all(np.array_equal(source.read(ref), x[i]) for i, ref in enumerate(source.refs()))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_splits_grey_and_compressed(tmp_path: Path, save) -> None:
    train, test = noise(6, 8, 1)[None, ..., 0].repeat(2, 0), noise(6, 8, 1, seed=1)[None, ..., 0]
    save(
        tmp_path / "d.npz",
        x_train=train,
        y_train=np.array([["a"], ["b"]]),
        x_test=test,
        y_test=np.array([b"c"]),
    )
    source = pickled(open_source(tmp_path / "d.npz"))
    assert table_of(source) == [
        ("x_train#0", "a", "train"),
        ("x_train#1", "b", "train"),
        ("x_test#0", "c", "test"),
    ]
    refs = list(source.refs())
    assert source.read(refs[2]).shape == (6, 8, 1)
    assert np.array_equal(source.read(refs[2])[..., 0], test[0])
    assert isinstance(source.array("x_train"), np.memmap)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"z": np.zeros((2, 4, 4, 3), np.uint8)}, "no image array"),
        ({"x": np.zeros((2, 4, 4, 3), np.float32)}, "uint8 or uint16"),
        ({"x": np.zeros((2, 3, 8, 8), np.uint8)}, "uint8 or uint16"),
        ({"x": np.zeros((2, 4, 4, 3), np.uint8), "y": np.zeros(3, int)}, "one for each image"),
        ({"x": np.zeros((2, 4, 4, 3), np.uint8), "y": np.zeros(2)}, "integers or text"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path: Path, arrays: dict, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        open_source(npz(tmp_path / "d.npz", **arrays))
    assert caught.value.fix


def test_npz_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(DataError):
        open_source(tmp_path / "d.npz")
    np.savez(
        tmp_path / "e.npz", x=np.zeros((1, 2, 2, 3), np.uint8), class_names=np.array([object()], dtype=object)
    )
    assert table_of(open_source(tmp_path / "e.npz")) == [("x#0", None, None)]
    with pytest.raises(DataError, match="never read"):
        open_source(tmp_path / "e.npz").array("class_names")


def test_damaged_npz(tmp_path: Path) -> None:
    whole = npz(tmp_path / "d.npz", x=np.zeros((1, 2, 2, 3), np.uint8)).read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[:-30])
    with pytest.raises(DataError, match="damaged"):
        open_source(tmp_path / "d.npz")


@pytest.mark.parametrize(("at", "value"), [(6, 1), (8, 98)], ids=["encrypted", "packed by a rare method"])
def test_npz_of_a_kind_that_is_not_read(at: int, value: int, tmp_path: Path) -> None:
    data = bytearray(npz(tmp_path / "d.npz", x=np.zeros((1, 2, 2, 3), np.uint8)).read_bytes())
    data[at] = data[data.index(b"PK\1\2") + at + 2] = value
    (tmp_path / "d.npz").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read") as caught:
        open_source(tmp_path / "d.npz")
    assert caught.value.fix


def hf_schema(names: list[str] | None = None) -> pa.Schema:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names or []}}
    fields = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())]
    meta = {b"huggingface": json.dumps({"info": {"features": features if names else {}}}).encode()}
    return pa.schema(fields, metadata=meta)


def hf_file(path: Path, count: int, labels: list, names: list[str] | None = None, **options) -> list[bytes]:
    data = [file_bytes(noise(4, 4, 3, seed=i), "PNG") for i in range(count)]
    rows = {"image": [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(data)], "label": labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows, schema=hf_schema(names)), path, **options)
    return data


def test_parquet_folder_with_class_names(tmp_path: Path) -> None:
    hf_file(tmp_path / "data/train-00000-of-00001.parquet", 3, [0, 1, -1], ["cat", "dog"])
    hf_file(tmp_path / "data/test-00000-of-00001.parquet", 1, [1], ["cat", "dog"])
    source = open_source(tmp_path)
    assert source.layout == "parquet"
    assert table_of(source) == [
        ("data/test-00000-of-00001.parquet#0", "dog", "test"),
        ("data/train-00000-of-00001.parquet#0", "cat", "train"),
        ("data/train-00000-of-00001.parquet#1", "dog", "train"),
        ("data/train-00000-of-00001.parquet#2", None, "train"),
    ]


def test_parquet_reads_in_and_out_of_order(tmp_path: Path) -> None:
    data = hf_file(tmp_path / "d.parquet", 700, list(range(700)), row_group_size=300)
    source = pickled(open_source(tmp_path / "d.parquet"))
    refs = list(source.refs())
    assert [source.read(ref) for ref in refs] == data
    order = np.random.default_rng(0).permutation(700)[:60]
    assert [source.read(refs[i]) for i in order] == [data[i] for i in order]
    assert refs[5].label == "5"
    with pytest.raises(DataError, match="no such item"):
        source.read(type(refs[0])("d.parquet#700"))


def test_parquet_of_plain_bytes(tmp_path: Path) -> None:
    blob = file_bytes(noise(3, 3, 3), "PNG")
    pq.write_table(
        pa.table({"img": pa.array([blob], pa.large_binary()), "class": ["x"], "caption": ["hi"]}),
        tmp_path / "d.parquet",
    )
    source = open_source(tmp_path / "d.parquet")
    (ref,) = source.refs()
    assert (ref.label, ref.text) == ("x", "hi")
    assert source.read(ref) == blob


def test_parquet_rows_without_bytes_fail_one_by_one(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": None, "path": "far/away.png"}, None], "label": [0, 1]}
    pq.write_table(pa.table(rows, schema=hf_schema()), tmp_path / "d.parquet")
    source = open_source(tmp_path / "d.parquet")
    for ref in source.refs():
        with pytest.raises(DataError, match="no embedded image"):
            source.read(ref)


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    "others",
    [
        {"thumb": pa.binary()},
        {"thumbnail": pa.large_binary()},
        {"views": pa.list_(_IMAGE)},
        {"deep": pa.struct([("a", pa.list_(pa.binary()))])},
        {"raw": pa.binary(3072)},
        {"pixels": pa.list_(pa.uint8())},
        {"rows": pa.list_(pa.list_(pa.int16()))},
        {"names": pa.dictionary(pa.int32(), pa.binary())},
        {"views": pa.map_(pa.string(), pa.binary())},
        {"view": pa.binary_view()},
        {"tensor": pa.fixed_shape_tensor(pa.uint8(), [4, 4])},
    ],
    ids=str,
)
@pytest.mark.parametrize("image", [_IMAGE, pa.binary()], ids=["struct", "binary"])
def test_a_second_column_that_can_hold_pictures_is_never_published(
    others: dict, image: pa.DataType, tmp_path: Path
) -> None:
    fields = {
        "image": image,
        "label": pa.int64(),
        "md5": pa.binary(16),
        "box": pa.list_(pa.int64()),
        "embedding": pa.list_(pa.float32(), 1024),
        "objects": pa.list_(pa.struct([("kind", pa.uint8()), ("corners", pa.list_(pa.list_(pa.float32())))])),
        "breed": pa.dictionary(pa.int16(), pa.string()),
        **others,
    }
    pq.write_table(pa.schema(list(fields.items())).empty_table(), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="one image column") as caught:
        open_source(tmp_path / "d.parquet")
    assert next(iter(others)) in str(caught.value.why)


def test_a_preview_inside_the_image_column_is_never_published(tmp_path: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("preview", pa.binary())])
    pq.write_table(pa.schema([("image", image)]).empty_table(), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="one image column"):
        open_source(tmp_path / "d.parquet")


def test_a_column_described_as_picture_arrays_is_never_published(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "pixels": {"_type": "Array3D", "shape": [32, 32, 3]}}
    fields = [("image", _IMAGE), ("pixels", pa.list_(pa.list_(pa.list_(pa.float32()))))]
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.schema(fields, metadata=meta).empty_table(), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="image columns: image, pixels"):
        open_source(tmp_path / "d.parquet")


@pytest.mark.parametrize("name", ["originals", "x_hires", "thumbs"])
def test_a_second_array_that_can_hold_pictures_is_never_published(name: str, tmp_path: Path) -> None:
    x = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1], ids=[7, 8], boxes=np.zeros((2, 4)), **{name: x})
    with pytest.raises(DataError, match="further arrays") as caught:
        open_source(tmp_path / "d.npz")
    assert name in str(caught.value.why)


@pytest.mark.parametrize(
    "flat", [np.zeros((2, 784), np.float32), np.array([b"x" * 900] * 2)], ids=["rows", "bytes"]
)
def test_long_rows_and_texts_of_an_archive_can_hold_pictures(flat: np.ndarray, tmp_path: Path) -> None:
    x = np.zeros((2, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1], features=np.zeros((2, 512), np.float32), flat=flat)
    with pytest.raises(DataError, match="further arrays") as caught:
        open_source(tmp_path / "d.npz")
    assert str(caught.value.why).startswith("flat would")


def coded_picture() -> str:
    return base64.b64encode(file_bytes(noise(12, 12, 3), "JPEG")).decode()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.string(), lambda text: text),
        (pa.large_string(), lambda text: text),
        (pa.string_view(), lambda text: text),
        (pa.string(), lambda text: text.replace("+", "-").replace("/", "_")),
        (pa.string(), lambda _: "data:image/gif;base64,R0lGODlhAQABAAAAACw="),
        (pa.struct([("preview", pa.string())]), lambda text: {"preview": text}),
        (pa.list_(pa.string()), lambda text: ["short", text]),
        (pa.map_(pa.string(), pa.list_(pa.string())), lambda text: [("a", [text])]),
        (pa.dictionary(pa.int32(), pa.string()), lambda text: text),
    ],
)
def test_pictures_as_text_in_parquet_are_refused(
    kind: pa.DataType, value: Callable[[str], object], tmp_path: Path
) -> None:
    columns = {
        "image": pa.array([b"x"], pa.binary()),
        "caption": ["a long story, " * 99],
        "ruler": ["-" * 999],
    }
    columns["view"] = pa.array([value(coded_picture())], kind)
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="text column") as caught:
        list(open_source(tmp_path / "d.parquet").refs())
    assert "'view" in str(caught.value.why)
    pq.write_table(pa.table(columns).drop_columns("view"), tmp_path / "d.parquet")
    assert len(list(open_source(tmp_path / "d.parquet").refs())) == 1


NUMBERS = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(pa.int64()), NUMBERS.integers(0, 256, 1200)),
        (pa.large_list(pa.int32()), NUMBERS.integers(0, 256, 784)),
        (pa.list_(pa.float32(), 1200), NUMBERS.integers(0, 256, 1200) / 255),
        (pa.list_(pa.float64()), NUMBERS.integers(0, 256, 1200).astype(float)),
        (pa.list_(pa.list_(pa.int64())), NUMBERS.integers(0, 256, (28, 28))),
        (pa.struct([("raw", pa.list_(pa.list_(pa.float32())))]), NUMBERS.integers(0, 256, (28, 84)) / 255),
    ],
    ids=str,
)
def test_pixels_in_lists_of_wide_numbers_are_refused(
    kind: pa.DataType, value: np.ndarray, tmp_path: Path
) -> None:
    cell = {"raw": value.tolist()} if pa.types.is_struct(kind) else value.tolist()
    columns = {"image": pa.array([b"x"] * 3, pa.binary()), "view": pa.array([None, cell, cell], kind)}
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="holds pictures") as caught:
        list(open_source(tmp_path / "d.parquet").refs())
    assert "'view" in str(caught.value.why)
    assert "numbers like pixels" in str(caught.value.why)


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS.normal(size=1280),
        NUMBERS.random(1280),
        NUMBERS.integers(0, 50_000, 2048),
        NUMBERS.integers(0, 21, 4096),
        NUMBERS.integers(0, 256, 783),
        np.full(1024, np.nan),
        np.zeros(0),
    ],
    ids=["embedding", "shares", "tokens", "segmentation", "short", "nan", "empty"],
)
def test_other_lists_of_numbers_travel(value: np.ndarray, tmp_path: Path) -> None:
    columns = {"image": pa.array([b"x"] * 2, pa.binary()), "more": [value.tolist(), value.tolist()]}
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    assert len(list(open_source(tmp_path / "d.parquet").refs())) == 2


def test_pictures_as_text_beside_the_bytes_of_a_parquet_image_are_refused(tmp_path: Path) -> None:
    image = [{"bytes": b"x", "path": coded_picture()}]
    pq.write_table(pa.table({"image": pa.array(image, _IMAGE)}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"'image\.path'"):
        list(open_source(tmp_path / "d.parquet").refs())


def test_pictures_in_a_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(file_bytes(noise(4, 4, 3), "PNG"))
    (tmp_path / "metadata.csv").write_text(f"file_name,label,view\n1.png,a,{coded_picture()}\n")
    with pytest.raises(DataError, match="cannot be used") as caught:
        open_source(tmp_path / "metadata.csv")
    assert "base64" in str(caught.value.why)


def test_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="one image column"):
        open_source(tmp_path / "none.parquet")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"a": pa.array([None], kind), "b": pa.array([None], kind)}), tmp_path / "two.parquet"
    )
    with pytest.raises(DataError, match="one image column") as caught:
        open_source(tmp_path / "two.parquet")
    assert "a, b" in str(caught.value.why)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="damaged"):
        open_source(tmp_path / "bad.parquet")
    hf_file(tmp_path / "ok.parquet", 1, [0])
    with pytest.raises(DataError, match="no column"):
        open_source(tmp_path / "ok.parquet", labels="colour")


def test_things_that_are_no_dataset(tmp_path: Path) -> None:
    for make, word in (
        (lambda p: None, "no data"),
        (lambda p: p.mkdir(), "no images"),
        (lambda p: p.write_text("x"), "no dataset"),
    ):
        place = tmp_path / word.replace(" ", "")
        make(place)
        with pytest.raises(DataError, match=word) as caught:
            open_source(place)
        assert "metadata.csv" in str(caught.value.fix)
    tree(tmp_path / "mixed", ["a.png"])
    hf_file(tmp_path / "mixed/d.parquet", 1, [0])
    with pytest.raises(DataError, match="images and Parquet"):
        open_source(tmp_path / "mixed")


def test_memory_urls_hold_every_layout(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    tree(tmp_path / "t", ["train/cat/1.png", "test/dog/2.png"])
    np.savez(tmp_path / "t.npz", x=np.zeros((2, 3, 3, 1), np.uint8), y=np.arange(2))
    hf_file(tmp_path / "t.parquet", 2, [0, 1])
    (tmp_path / "list.csv").write_text("path,label\nt/train/cat/1.png,a\n")
    fs.put(str(tmp_path), "memory://in", recursive=True)
    for name in ("t", "t.npz", "t.parquet", "list.csv"):
        local, remote = open_source(tmp_path / name), open_source(f"memory://in/{name}")
        assert local.layout == remote.layout
        assert list(local.refs()) == list(remote.refs())
        for left, right in zip(local.refs(), remote.refs(), strict=True):
            assert np.array_equal(np.array(local.read(left)), np.array(remote.read(right)))
    fs.store.clear()
