"""CSV and JSON-lines tables: columns, dialects, rewriting."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError
from noli.data.place import Place
from noli.data.tables import CSV_PATHS, METADATA_PATHS, Table, cell


def table(folder: Path, text: str | bytes, name: str = "metadata.csv", **options) -> Table:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Table(Place(folder), name, options.pop("paths", METADATA_PATHS), **options)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_delimiters_are_found(tmp_path: Path, mark: str) -> None:
    got = table(
        tmp_path,
        f"file_name{mark}label\na.png{mark}cat, tabby\n" if mark != "," else "file_name,label\na.png,cat\n",
    )
    (row,) = got.rows()
    assert cell(row, got.path) == "a.png"
    assert cell(row, got.label).startswith("cat")


def test_columns_are_found_whatever_their_case(tmp_path: Path) -> None:
    got = table(tmp_path, "Caption,Class,SPLIT,Image\nhello,dog,train,x.png\n", "list.csv", paths=CSV_PATHS)
    assert (got.path, got.label, got.text, got.split) == (
        "Image",
        "Class",
        "Caption",
        "SPLIT",
    )


def test_a_named_label_column_wins_and_must_exist(tmp_path: Path) -> None:
    text = "file_name,label,breed\na.png,dog,poodle\n"
    got = table(tmp_path, text, label="breed")
    assert cell(next(got.rows()), got.label) == "poodle"
    with pytest.raises(DataError, match="cannot be used") as caught:
        table(tmp_path, text, label="colour")
    assert "breed" in str(caught.value.fix)


def test_no_path_column_names_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, "name,label\na.png,dog\n")
    assert "'name'" in str(caught.value.why)
    assert "file_name" in str(caught.value.fix)
    with pytest.raises(DataError):
        table(tmp_path, "")


def test_two_path_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used") as caught:
        table(tmp_path, "file_name,label,file_name\na.png,dog,b.png\n")
    assert "2 columns are called 'file_name'" in str(caught.value.why)
    assert caught.value.fix


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    got = table(
        tmp_path,
        '{"file_name": "a.png", "label": 3, "box": [1, 2]}\n\n{"file_name": "b.png", "label": null}\n',
        "metadata.jsonl",
    )
    rows = list(got.rows())
    assert rows[0]["box"] == [1, 2]
    assert cell(rows[0], "label") == "3"
    assert cell(rows[1], "label") is None


@pytest.mark.parametrize("text", ["{broken\n", "[1, 2]\n"])
def test_broken_json_lines_name_the_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="cannot be used") as caught:
        list(table(tmp_path, '{"file_name": "a.png"}\n' + text, "metadata.jsonl").rows())
    assert "line 2" in str(caught.value.why)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(table(tmp_path, b"file_name,label\na.png," + b"\xff\xfe\n").rows())
    assert "UTF-8" in str(caught.value.fix)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rewriting_changes_names_and_nothing_else(tmp_path_factory, cells, mark, end, bom) -> None:
    folder = tmp_path_factory.mktemp("t")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=mark, lineterminator=end)
    writer.writerow(["note", "file_name", "label"])
    rows = [[note, f"{i}.jpg", label] for i, (note, label) in enumerate(cells)]
    writer.writerows(rows)
    got = table(folder, (b"\xef\xbb\xbf" if bom else b"") + buffer.getvalue().encode())
    new = b"".join(
        got.rewritten(
            lambda row: (
                None
                if row["file_name"] == "0.jpg" and len(rows) > 1
                else row["file_name"].replace("jpg", "png")
            )
        )
    )
    assert new.startswith(b"\xef\xbb\xbf") is bom
    back = list(csv.reader(io.StringIO(new.decode("utf-8-sig"), newline=""), delimiter=mark))
    kept = rows[1:] if len(rows) > 1 else rows
    assert back == [["note", "file_name", "label"]] + [
        [note, name.replace("jpg", "png"), label] for note, name, label in kept
    ]


def test_rewriting_json_lines(tmp_path: Path) -> None:
    got = table(
        tmp_path, '{"text": "日本", "file_name": "a.jpg"}\n{"file_name": "b.jpg"}\n', "metadata.jsonl"
    )
    lines = (
        b"".join(got.rewritten(lambda row: "a.png" if row["file_name"] == "a.jpg" else None))
        .decode()
        .splitlines()
    )
    assert [json.loads(line) for line in lines] == [{"text": "日本", "file_name": "a.png"}]
    assert "日本" in lines[0]


def test_long_tables_are_rewritten_in_pieces(tmp_path: Path) -> None:
    body = "".join(f"{i}.jpg,{'x' * 100}\n" for i in range(12_000))
    got = table(tmp_path, "file_name,label\n" + body)
    pieces = list(got.rewritten(lambda row: row["file_name"]))
    assert len(pieces) > 1
    assert b"".join(pieces) == b"file_name,label\n" + body.encode()


def test_rewriting_keeps_columns_of_one_name_and_cells_beyond_the_last(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text('file_name,note,note\n1.jpg,a,b\n2.jpg,c,d,"e, f"\n3.jpg\n')
    table = Table(Place(tmp_path), "metadata.csv", METADATA_PATHS)
    made = b"".join(table.rewritten(lambda row: row["file_name"].replace("jpg", "png"))).decode()
    assert made == 'file_name,note,note\n1.png,a,b\n2.png,c,d,"e, f"\n3.png\n'
