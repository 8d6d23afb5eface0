"""Regions of interest: one mask per picture, all missing ones named together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.data.formats import stem
from noli.data.regions import read, within
from noli.ops.noisestore import stretched

SHAPE = (24, 16, 3)


def mask(folder, name, inside, size=(24, 16)):
    pixels = np.zeros(size, np.uint8)
    pixels[inside] = 255
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def test_masks_follow_the_tree_and_keep_away_from_the_edge(tmp_path):
    mask(tmp_path, "cat/1.png", np.s_[:12, :8])
    mask(tmp_path, "dog/2.png", np.s_[18:, 12:])
    items = [Item("a", "cat/1.jpg", "cat"), Item("b", "dog/2.dcm", "dog")]
    found = read(str(tmp_path), items, [SHAPE] * 2, 8)
    assert found.shape == (2, 8, 8)
    # Stretched, the fourth row and column would reach over the edge.
    assert np.array_equal(found[0], np.pad(np.ones((3, 3), bool), ((0, 5), (0, 5))))
    assert np.argwhere(found[1]).tolist() == [[7, 7]]
    mask(tmp_path, "dog/2.png", np.s_[23:, 15:])
    with pytest.raises(DataError, match="too narrow") as caught:
        read(str(tmp_path), items, [SHAPE] * 2, 8)
    assert caught.value.items == ("dog/2.png",)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_stretched_noise_stays_inside(height, width, side, seed):
    rng = np.random.default_rng(seed)
    inside = np.zeros((height, width), bool)
    top, left = rng.integers(height), rng.integers(width)
    inside[top : rng.integers(top, height) + 1, left : rng.integers(left, width) + 1] = True
    allowed = within(inside, side)
    noise = np.where(allowed[None, :, :, None], np.int8(127), np.int8(0))
    published = stretched(noise, 8 / 255, height, width, 1)[0, 0]
    assert not published[~inside].any()
    if inside.all():
        assert allowed.all()


def test_missing_broken_and_empty_masks_are_named_together(tmp_path):
    mask(tmp_path, "1.png", np.s_[0, 0])
    mask(tmp_path, "2.png", np.s_[:0])
    (tmp_path / "3.png").write_bytes(b"no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(tmp_path / "5.png")
    with pytest.raises(DataError, match="4 region") as caught:
        read(str(tmp_path), [Item(str(i), f"{i}.png") for i in range(1, 6)], [SHAPE] * 5, 8)
    assert caught.value.items == ("2.png", "3.png", "4.png", "5.png")


def test_masks_that_mask_nothing_and_a_wrong_folder_are_said(tmp_path):
    for name in ("1.png", "2.png"):
        mask(tmp_path, name, np.s_[:])
    items = [Item("a", "1.png"), Item("b", "2.png")]
    with pytest.raises(DataError, match="leave nothing out"):
        read(str(tmp_path), items, [SHAPE] * 2, 8)
    mask(tmp_path, "2.png", np.s_[:12])
    assert read(str(tmp_path), items, [SHAPE] * 2, 8)[0].all()
    with pytest.raises(DataError, match="no such folder"):
        read(str(tmp_path / "none"), items, [SHAPE] * 2, 8)


def test_masks_of_another_size_are_named(tmp_path):
    mask(tmp_path, "1.png", np.s_[:12, :8])
    mask(tmp_path, "2.png", np.s_[:12, :8], size=(16, 24))
    mask(tmp_path, "3.png", np.s_[:12, :8], size=(12, 8))
    with pytest.raises(DataError, match="2 region-of-interest masks are not of the size") as caught:
        read(str(tmp_path), [Item(str(i), f"{i}.jpg") for i in (1, 2, 3)], [SHAPE] * 3, 8)
    assert caught.value.items == (
        "2.png (24 x 16, its picture is 16 x 24)",
        "3.png (8 x 12, its picture is 16 x 24)",
    )


UIDS = ("a/1.2.840.113619.2.1", "a/1.2.840.113619.2.2")


@pytest.mark.parametrize("paths", [UIDS, ("a/x.jpg", "a/x.png"), ("a/x.y/1.tif", "a/x.y/1.JPG")])
def test_pictures_never_share_a_mask(tmp_path, paths):
    items = [Item(str(k), path) for k, path in enumerate(paths)]
    short = [f"{stem(path)}.png" for path in paths]
    for name in {*short, "a/1.2.840.113619.2.png"}:
        mask(tmp_path, name, np.s_[:12, :8])
    if len(set(short)) == 1:
        with pytest.raises(DataError, match="2 region") as caught:
            read(str(tmp_path), items, [SHAPE] * 2, 8)
        assert caught.value.items == tuple(f"{path}.png" for path in paths)
    mask(tmp_path, f"{paths[0]}.png", np.s_[:, :8])
    mask(tmp_path, f"{paths[1]}.png", np.s_[:, 8:])
    first, second = read(str(tmp_path), items, [SHAPE] * 2, 8)
    assert first.any()
    assert second.any()
    assert not (first & second).any()
