"""Learned noise on disk: bytes, bounds, sizes, damage."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.core.dataset import Item
from noli.core.errors import DataError, RunError
from noli.core.images import to_float, to_uint8
from noli.core.method import FOLDER
from noli.ops import noisestore
from noli.testing import KEYS

EPS = 8 / 255


def some_noise(n, side=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(-127, 128, (n, side, side, channels), np.int8)


def some_items(names):
    return [Item(name, f"{name}.png", "cat") for name in names]


def slow_resize(image, height, width):
    """Bilinear, pixel centres aligned, edges repeated: one output pixel at a time."""
    h, w, c = image.shape
    out = np.zeros((height, width, c))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = y - y0, x - x0
            top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
            bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
            out[i, j] = top * (1 - fy) + bottom * fy
    return out


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (13, 29), (5, 3), (1, 1), (64, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_stretching_equals_one_pixel_at_a_time(height, width, channels):
    noise = some_noise(2, channels=channels)
    found = noisestore.stretched(noise, EPS, height, width, channels)
    assert found.shape == (2, channels, height, width)
    assert np.abs(found).max() <= EPS
    for row in range(2):
        slow = slow_resize(noise[row].astype(float) * EPS / 127, height, width)
        np.testing.assert_allclose(found[row].transpose(1, 2, 0), slow, atol=2e-4)


def test_colour_and_grey_meet():
    colour = some_noise(1)
    grey = noisestore.stretched(colour, EPS, 8, 8, 1)
    np.testing.assert_allclose(grey[0, 0], colour[0].astype(float).mean(2) * EPS / 127, atol=1e-7)
    spread = noisestore.stretched(some_noise(1, channels=1), EPS, 8, 8, 3)
    assert np.array_equal(spread[:, 0], spread[:, 1])
    assert np.array_equal(spread[:, 0], spread[:, 2])


LEVELS_WITHIN = {4 / 255: 4, 8 / 255: 8, 0.1: 25, 0.03: 7, 0.0313: 7, 0.0314: 8, 0.0039: 1}


@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=30), st.sampled_from(sorted(LEVELS_WITHIN)))
def test_bytes_keep_the_bound_and_lose_little(values, eps):
    noise = np.array(values, np.float32).reshape(1, 1, -1, 1)
    stored = noisestore.quantised(noise, eps)
    back = noisestore.stretched(stored, eps, 1, len(values), 1)[0, 0, 0]
    whole = LEVELS_WITHIN[eps] / 255
    assert np.abs(back).max() <= np.float32(whole)
    np.testing.assert_allclose(back, np.clip(noise.ravel(), -whole, whole), atol=eps / 127)
    picture = np.full((1, 1, len(values), 1), 128, np.uint8)
    change = noisestore.published(picture, stored, eps).astype(int) - picture
    assert np.abs(change).max() <= LEVELS_WITHIN[eps]
    assert np.array_equal(change.ravel(), np.floor(back.astype(float) * 255 + 0.5))


def test_what_is_written_is_found_again_whatever_the_order(tmp_path):
    first, second = some_noise(3, seed=1), some_noise(2, seed=2)
    noisestore.write(tmp_path, "noise-0", ["a", "b", "c"], first)
    noisestore.write(tmp_path, "noise-1", ["d", "e"], second)
    files = ["noise-0", "noise-1"]
    found = noisestore.lookup(str(tmp_path), files, ["e", "a"], some_items("ea"))
    assert np.array_equal(found, np.stack([second[1], first[0]]))
    with pytest.raises(DataError, match="No noise was learned") as caught:
        noisestore.lookup(str(tmp_path), files, ["a", "z"], some_items("az"))
    assert caught.value.items == ("z.png",)
    noisestore.write(tmp_path, "noise-0", ["a"], second[:1])
    assert np.array_equal(noisestore.lookup(str(tmp_path), ["noise-0"], ["a"], some_items("a"))[0], second[0])


@pytest.mark.parametrize("damage", ["gone", "short", "empty", "archive", "type"])
def test_damage_is_noticed(tmp_path, damage):
    noisestore.write(tmp_path, "noise-0", ["a", "b"], some_noise(2))
    file = tmp_path / "noise-0.npy"
    if damage == "gone":
        file.unlink()
    elif damage == "short":
        file.write_bytes(file.read_bytes()[:-9])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "archive":
        with file.open("wb") as handle:
            np.savez(handle, some_noise(2))
    else:
        np.save(file, some_noise(2).astype(np.int16))
    with pytest.raises(RunError, match="learned noise"):
        noisestore.read(str(tmp_path), "noise-0")


@pytest.mark.parametrize("names", [["a"], 5, "ab", {"a": 0, "b": 1}, [["a"], ["b"]], None])
def test_damaged_names_are_noticed(tmp_path, names):
    noisestore.write(tmp_path, "noise-0", ["a", "b"], some_noise(2))
    (tmp_path / "noise-0.json").write_text(json.dumps(names))
    with pytest.raises(RunError, match="learned noise"):
        noisestore.read(str(tmp_path), "noise-0")


def test_adding_and_taking_off(tmp_path):
    noise = some_noise(4, side=6)
    noisestore.write(tmp_path, "noise-0", list("abcd"), noise)
    state = {"noise": ["noise-0"], FOLDER: str(tmp_path)}
    x = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), np.uint8)
    apply, invert = noisestore.hooks()
    context = (some_items("abcd"), KEYS[0], SimpleNamespace(eps=EPS))
    stored = to_uint8(apply(state, to_float(x), *context))
    assert np.abs(stored.astype(int) - x).max() <= 8
    assert np.abs(stored.astype(int) - x).mean() > 2
    back = to_uint8(invert(state, to_float(stored), *context, [{}] * 4))
    middle = (stored > 0) & (stored < 255)
    assert np.abs(back.astype(int) - x)[middle].max() <= 1
    assert np.abs(back.astype(int) - x).max() <= 8
    assert len(apply(state, to_float(x[:0]), [], *context[1:])) == 0
