"""Regions of interest: one mask per picture, all missing ones named together."""

import numpy as np
import pytest
from PIL import Image

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.data.regions import read


def mask(folder, name, inside, size=(24, 16)):
    pixels = np.zeros(size, np.uint8)
    pixels[inside] = 255
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def test_masks_follow_the_tree_and_are_squeezed(tmp_path):
    mask(tmp_path, "cat/1.png", np.s_[:12, :8])
    mask(tmp_path, "dog/2.png", np.s_[23:, 15:])
    found = read(str(tmp_path), [Item("a", "cat/1.jpg", "cat"), Item("b", "dog/2.dcm", "dog")], 8)
    assert found.shape == (2, 8, 8)
    assert np.array_equal(found[0], np.pad(np.ones((4, 4), bool), ((0, 4), (0, 4))))
    assert np.argwhere(found[1]).tolist() == [[7, 7]]


def test_missing_broken_and_empty_masks_are_named_together(tmp_path):
    mask(tmp_path, "1.png", np.s_[0, 0])
    mask(tmp_path, "2.png", np.s_[:0])
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="3 region") as caught:
        read(str(tmp_path), [Item(str(i), f"{i}.png") for i in range(1, 5)], 8)
    assert caught.value.items == ("2.png", "3.png", "4.png")
