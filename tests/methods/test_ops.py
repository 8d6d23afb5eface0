"""One-pixel shortcut against a slow search, one candidate at a time."""

from itertools import product

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.core.images import to_float, to_uint8
from noli.core.method import DataSummary
from noli.data.study import ArrayStudy
from noli.methods.protect import ops
from noli.testing import KEYS

CLASSES = ("cat", "dog", "eel")


def study(folder, n=12, side=8, channels=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), np.uint8)
    items = [Item(f"{i}", f"{i}.png", CLASSES[i % 3]) for i in range(n)]
    return ArrayStudy(items, list(images), folder), images, items


def prepared(found, cfg, classes=CLASSES, previous=None):
    shapes = {found.pixels[0].shape: len(found.items)}
    return ops.prepare(DataSummary(len(found.items), classes, shapes, study=found), KEYS[0], cfg, previous)


def slow_best(images, cfg, taken):
    best = None
    n, side, _, channels = images.shape
    for row, column in product(range(side), repeat=2):
        if (row, column) in taken:
            continue
        for colour in product((0.0, 1.0), repeat=channels):
            distances = [np.mean(np.abs(images[i, row, column] / 255.0 - colour)) for i in range(n)]
            spread = np.var(distances) if cfg.spread == "variance" else np.std(distances)
            score = np.mean(distances) / (spread + 1e-4)
            if best is None or score > best[0] + 1e-9:
                best = (score, row, column, list(colour))
    return best[1:]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("spread", ["variance", "deviation"])
def test_the_search_equals_one_candidate_at_a_time(tmp_path, channels, spread):
    found, images, _ = study(tmp_path, channels=channels)
    cfg = ops.Config(spread=spread)
    state = prepared(found, cfg)
    taken = set()
    for number, label in enumerate(CLASSES):
        row, column, colour = slow_best(images[number::3], cfg, taken)
        assert state["pixels"][label] == [(row, column, colour)]
        taken.add((row, column))


def test_exactly_the_pixel_changes_and_larger_pictures_get_a_block(tmp_path):
    found, images, items = study(tmp_path)
    state = prepared(found, ops.Config())
    made = to_uint8(ops.apply(state, to_float(images), items, KEYS[0], ops.Config()))
    changed = (made != images).any(axis=3)
    assert changed.reshape(12, -1).sum(1).max() == 1
    for number, item in enumerate(items):
        row, column, colour = state["pixels"][item.label][0]
        assert made[number, row, column].tolist() == [255 * c for c in colour]
    large = np.full((1, 3, 32, 24), 0.5, np.float32)
    block = ops.apply(state, large, items[:1], KEYS[0], ops.Config()) != large
    assert block.any(axis=1).sum() == 4 * 3
    tiny = np.full((1, 1, 1, 1), 0.5, np.float32)
    assert ops.apply(state, tiny, items[:1], KEYS[0], ops.Config()).shape == tiny.shape


def test_no_two_classes_share_a_position_and_later_classes_keep_away(tmp_path):
    found, _, _ = study(tmp_path, n=6)
    flat = ArrayStudy(found.items, [np.full((8, 8, 3), 9, np.uint8)] * 6, tmp_path)
    state = prepared(flat, ops.Config(pixels=4))
    spots = [tuple(spot[:2]) for pixels in state["pixels"].values() for spot in pixels]
    assert len(set(spots)) == len(spots) == 12
    items = [*flat.items, Item("9", "9.png", "yak")]
    grown = ArrayStudy(items, [*flat.pixels, flat.pixels[0]], tmp_path)
    later = prepared(grown, ops.Config(pixels=4), (*CLASSES, "yak"), state)
    assert {label: later["pixels"][label] for label in CLASSES} == state["pixels"]
    assert not {tuple(s[:2]) for s in later["pixels"]["yak"]} & set(spots)


def test_more_classes_than_positions_are_refused(tmp_path):
    found, _, _ = study(tmp_path)
    with pytest.raises(DataError, match="fewer free positions"):
        prepared(found, ops.Config(pixels=30))


@pytest.mark.parametrize(("height", "width"), [(12, 16), (8, 9), (100, 20)])
def test_classes_stay_apart_on_smaller_pictures_too(tmp_path, height, width):
    dark = [np.full((64, 64, 3), 9, np.uint8)] * 12  # every position is as good: the first ones are taken
    found = ArrayStudy(study(tmp_path)[2], dark, tmp_path)
    summary = DataSummary(13, CLASSES, {(64, 64, 3): 12, (height, width, 3): 1, (1, 5, 3): 1}, study=found)
    state = ops.prepare(summary, KEYS[0], ops.Config(pixels=3))
    grey = np.full((1, 3, height, width), 0.5, np.float32)
    changed = [
        (ops.apply(state, grey, [Item("1", "1.png", name)], KEYS[0], ops.Config()) != grey)[0].any(0)
        for name in CLASSES
    ]
    assert np.sum(changed, axis=0).max() == 1
    assert all(place.any() for place in changed)


def test_unknown_classes_are_named(tmp_path):
    found, images, _ = study(tmp_path)
    state = prepared(found, ops.Config())
    with pytest.raises(DataError, match="known class") as caught:
        ops.apply(state, to_float(images[:1]), [Item("1", "a.png", "yak")], KEYS[0], ops.Config())
    assert caught.value.items == ("a.png",)
