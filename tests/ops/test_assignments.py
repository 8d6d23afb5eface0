import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.errors import DataError, RunError
from noli.core.method import FOLDER
from noli.methods.protect import uc
from noli.ops import assignments, noisestore
from noli.testing import KEYS


def shifts(folder, files, items):
    """Return how many levels UC adds to every item, with noise x of 1 level and noise y of 2 levels."""
    noise = np.broadcast_to(np.array([1, 2], np.int8)[:, None, None, None], (2, 4, 4, 3))
    noisestore.write(folder, "noise", ["x", "y"], noise)
    state = {"noise": ["noise"], "assigned": files, FOLDER: str(folder)}
    batch = np.full((len(items), 3, 4, 4), 0.5, np.float32)
    change = uc.apply(state, batch, items, KEYS[0], uc.Config(eps=127 / 255)) - batch
    return np.rint(change[:, 0, 0, 0] * 255).astype(int).tolist()


def test_items_are_found_in_any_file_and_in_order(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x", "2": "y"})
    assignments.write(tmp_path, "b", {"3": "x"})
    items = [Item(name, f"{name}.png", None) for name in ("3", "1", "1", "2")]
    assert shifts(tmp_path, ["a", "b"], items) == [1, 1, 1, 2]
    assert shifts(tmp_path, ["a"], []) == []


def test_a_picture_that_was_not_there_is_named(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x"})
    with pytest.raises(DataError, match="No noise was learned") as found:
        shifts(tmp_path, ["a"], [Item("1", "old.png", None), Item("9", "new.png", None)])
    assert found.value.items == ("new.png",)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"1": ["x"]}'])
def test_missing_and_damaged_files(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match="assignment"):
        shifts(tmp_path, ["a"], [Item("1", "p", None)])


def test_writing_again_is_read_again(tmp_path):
    assignments.write(tmp_path, "a", {"1": "x"})
    assert assignments.read(str(tmp_path), "a") == {"1": "x"}
    assignments.write(tmp_path, "a", {"1": "z"})
    assert assignments.read(str(tmp_path), "a") == {"1": "z"}
