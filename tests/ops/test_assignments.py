import pytest

from noli.core.dataset import Item
from noli.core.errors import DataError, RunError
from noli.ops import assignments


def test_items_are_found_in_any_file_and_in_order(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x", "2": "y"})
    assignments.write(tmp_path, "b", {"3": "x"})
    items = [Item(name, f"{name}.png", None) for name in ("3", "1", "1", "2")]
    assert assignments.rows_of(str(tmp_path), ["a", "b"], items) == ["x", "x", "x", "y"]
    assert assignments.rows_of(str(tmp_path), ["a"], []) == []


def test_a_picture_that_was_not_there_is_named(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x"})
    with pytest.raises(DataError, match="No noise was learned") as found:
        assignments.rows_of(str(tmp_path), ["a"], [Item("1", "old.png", None), Item("9", "new.png", None)])
    assert found.value.items == ("new.png",)


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_missing_and_damaged_files(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match="assignment"):
        assignments.rows_of(str(tmp_path), ["a"], [Item("1", "p", None)])


def test_writing_again_is_read_again(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x"})
    assert assignments.read(str(tmp_path), "a") == {"1": "x"}
    assignments.write(tmp_path, "a", {"1": "z"})
    assert assignments.read(str(tmp_path), "a") == {"1": "z"}
