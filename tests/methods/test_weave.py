"""The weave against a slow version, its budget, its variation, and its undo."""

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import weave
from noli.ops.classfilters import keyed_filters
from noli.ops.metrics import psnr

KEY = Key.from_bytes(bytes(range(32)))
CLASSES = ("cat", "dog", "eel")


def prepared(cfg):
    return weave.prepare(DataSummary(9, CLASSES, {(32, 32, 3): 9}), KEY, cfg)


def some(n=6, height=32, width=32, channels=3):
    x = np.random.default_rng(0).integers(0, 256, (n, height, width, channels), np.uint8)
    return x, [Item(f"{i:020x}", f"{i}.png", CLASSES[i % 3]) for i in range(n)]


def mirrored(place, size):
    """The place that a mirror on the first or last pixel shows."""
    return -place if place < 0 else 2 * (size - 1) - place if place >= size else place


def slow(state, x, items, cfg):
    """One pixel at a time: filter, then colour and brightness of the cell it lies in."""
    out = []
    for image, item in zip(x / 255.0, items, strict=True):
        height, width, channels = image.shape
        parts = keyed_filters(state, [item], KEY, cfg, height, width, weave.SPEC.name).parts()
        result = np.zeros_like(image)
        code = KEY.stream("protect/weave/code", item.id).choice(cfg.codes)
        pattern_of = item.label if cfg.codes == 1 else f"{code}:{item.label}"
        for i in range(height):
            for j in range(width):
                for kernels, anchors in parts:
                    row, column = anchors[0]
                    for (a, b), tap in np.ndenumerate(kernels[0].astype(float)):
                        y, z = i + a - row, j + b - column
                        if cfg.border == "reflect":
                            y, z = mirrored(y, height), mirrored(z, width)
                        if 0 <= y < height and 0 <= z < width:
                            result[i, j] += tap * image[y, z]
                cell = (i * 4 // height, j * 4 // width)
                share = 1 / (1 + cfg.colour_jitter)
                for purpose, name, part in (
                    ("class", pattern_of, share),
                    ("colour-of-item", item.id, 1 - share),
                ):
                    if channels == 3:
                        result[i, j] += (
                            part * cfg.colour * weave.colours(KEY, purpose, name)[cell].astype(float)
                        )
                    result[i, j] += (
                        part * cfg.brightness * weave.lights(KEY, purpose, name)[cell].astype(float)
                    )
        out.append(np.clip(result, 0, 1))
    return np.stack(out)


@pytest.mark.parametrize(
    ("shape", "codes", "border"),
    [((8, 8, 3), 1, "zero"), ((12, 16, 3), 3, "reflect"), ((8, 12, 1), 3, "reflect")],
)
def test_it_equals_one_pixel_at_a_time(shape, codes, border):
    cfg = weave.Config(jitter=1.0, colour_jitter=1.0, brightness=0.05, codes=codes, border=border)
    state, (x, items) = prepared(cfg), some(3, *shape)
    found = weave.apply(state, to_float(x), items, KEY, cfg).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, slow(state, x, items, cfg), atol=2e-5)


@pytest.mark.parametrize("change", [{}, {"colour_jitter": 0}, {"codes": 4}])
def test_colours_keep_their_bound_and_have_no_brightness(change):
    cfg = weave.Config(brightness=0, **change)
    shifts = weave.veils(some(24)[1], KEY, cfg, 3, 33, 17)
    assert np.abs(shifts).max() <= cfg.colour + 1e-7
    luma = np.einsum("nchw,c->nhw", shifts, [0.299, 0.587, 0.114])
    assert np.abs(luma).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_is_as_strong_everywhere_and_leaves_the_mean(channels):
    cfg = weave.Config(colour=0, codes=1, colour_jitter=0, brightness=0.04)
    shifts = weave.veils(some(24)[1], KEY, cfg, channels, 16, 32)
    np.testing.assert_allclose(np.abs(shifts), 0.04, atol=1e-7)
    np.testing.assert_allclose(shifts.mean((1, 2, 3)), 0, atol=1e-7)
    assert len(np.unique(shifts.reshape(24, -1), axis=0)) == len(CLASSES)


def test_pictures_of_a_class_share_a_part_and_vary_in_the_rest():
    items = [Item(f"{i:020x}", f"{i}.png", "cat") for i in range(400)]
    plain = weave.veils(items, KEY, weave.Config(codes=1, colour_jitter=0.0, brightness=0), 3, 8, 8)
    assert np.abs(plain - plain[0]).max() == 0
    varied = weave.veils(items, KEY, weave.Config(codes=1, colour_jitter=1.0, brightness=0), 3, 8, 8)
    assert np.abs(varied - varied[0]).max() > 0.01
    # Averaging finds the class's part: that is what the card warns of.
    np.testing.assert_allclose(varied.mean(0), plain[0] / 2, atol=0.15 * 24 / 255)
    coded = weave.veils(items, KEY, weave.Config(colour_jitter=0.0, codes=4, brightness=0), 3, 8, 8)
    assert len(np.unique(coded.reshape(400, -1).round(5), axis=0)) == 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("more", [{}, {"brightness": 8 / 255, "codes": 3, "border": "reflect"}])
def test_undo_gives_close_copies_back(more, channels):
    cfg = weave.Config(jitter=0.5, colour=8 / 255, **more)
    y, x = np.indices((32, 32))
    smooth = np.stack([128 + 60 * np.sin(x / 5 + c) + 40 * np.cos(y / 7) for c in range(channels)], axis=2)
    x, items = np.repeat(smooth[None].astype(np.uint8), 3, 0), some(3)[1]
    state = prepared(cfg)
    stored = to_uint8(weave.apply(state, to_float(x), items, KEY, cfg))
    back = to_uint8(weave.invert(state, to_float(stored), items, KEY, cfg, [{}] * 3))
    for original, protected, restored in zip(x, stored, back, strict=True):
        assert psnr(original, restored) > 35 > psnr(original, protected)


def test_other_classes_and_other_items_have_other_colours():
    cat, dog = weave.colours(KEY, "class", "cat"), weave.colours(KEY, "class", "dog")
    assert np.abs(cat - dog).max() > 0.5
    assert np.abs(cat - weave.colours(KEY, "colour-of-item", "cat")).max() > 0.5
    assert np.abs(cat).max() == 1
