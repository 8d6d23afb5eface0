"""Attacks on perceptual encryption: on photographs by the true key, and on noise, where none may claim."""

from __future__ import annotations

import math
import random
from typing import Any

import cv2
import numpy as np
import pytest

from noli.core.errors import DataError, UsageError
from noli.core.keystream import Stream
from noli.data.demo import photo_folder
from noli.ops import schemes
from noli.ops.decipher import brightness, jigsaw, pairs, seeds, statistics
from noli.ops.decipher.scores import jigsaw_scores, left_bits, places_recovered, symmetries
from noli.ops.decipher.suite import shifted, whole_pictures
from noli.ops.metrics import ssim
from noli.ops.schemes import numbered
from noli.ops.scramble import Scramble, scramble, unscramble
from noli.testing import KEYS

SEEN = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
OTHER = ("chelsea.png", "ihc.png", "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg")
BLOCKWISE: dict[str, Any] = {
    "etc": schemes.etc, "le": schemes.le, "ele": schemes.ele, "shf": schemes.shf, "np": schemes.negation,
    "ffx": schemes.ffx,
}  # fmt: skip


def photos(names: tuple[str, ...], side: int) -> np.ndarray:
    found = []
    for name in names:
        if (photo_folder() / name).exists():
            pixels = cv2.cvtColor(cv2.imread(str(photo_folder() / name)), cv2.COLOR_BGR2RGB)
            short = min(pixels.shape[:2])
            found.append(cv2.resize(pixels[:short, :short], (side, side), interpolation=cv2.INTER_AREA))
    return np.stack(found)


def made(name: str, shape: tuple[int, ...], block: int, number: int = 0) -> Scramble:
    def draw(purpose: str, told: str = "") -> Stream:
        return KEYS[number].stream(f"test/decipher/{purpose}", told)

    size = (shape[0], shape[1], shape[2])
    return schemes.pixel(size, draw) if name == "pixel" else BLOCKWISE[name](size, block, draw)


def grey(x: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)[..., None] for one in x])


def likeness(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean([ssim(a, b) for a, b in zip(x, y, strict=True)]))


def test_leading_bit_value_by_value() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert brightness.leading_bit(x).ravel().tolist() == [min(v, 255 - v) for v in range(256)]
    assert brightness.leading_bit(x, bright=True).ravel().tolist() == [max(v, 255 - v) for v in range(256)]


def test_leading_bit_brings_shapes_back_from_one_picture() -> None:
    x = photos(SEEN, 128)
    s = scramble(x, made("pixel", x.shape[1:], 1))
    back = grey(brightness.leading_bit(s))
    # Published elsewhere: from 0.02 to 0.38 with colours in another order.
    assert likeness(grey(x), grey(s)) < 0.1
    assert max(likeness(grey(x), back), likeness(grey(x), 255 - back)) > 0.3


def slow_least_difference(image: np.ndarray) -> np.ndarray:
    """Pixel by pixel, all signs and orders; ties go to the first in the order of `candidates_of`."""
    back = image.astype(int)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            around = [back[row, column - 1]] * (column > 0) + [back[row - 1, column]] * (row > 0)
            if around:
                given = image[row, column].astype(np.int16)[None, None]
                options = brightness.candidates_of(given)[0][0, 0].astype(int)
                costs = [sum(np.abs(one - other).sum() for other in around) for one in options]
                back[row, column] = options[int(np.argmin(costs))]
    return back.astype(np.uint8)


@pytest.mark.parametrize("shape", [(5, 7, 3), (6, 4, 1), (1, 1, 3), (3, 1, 4), (4, 5, 2)])
def test_least_difference_is_what_it_says(shape: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    found = brightness.least_difference(x)
    for one, slow in zip(found, x, strict=True):
        assert np.array_equal(one, slow_least_difference(slow))
    options = brightness.candidates_of(x.astype(np.int16).reshape(2, -1, shape[2]))[0]
    assert options.shape[2] == {1: 2, 2: 4, 3: 48, 4: 96}[shape[2]]
    assert brightness.least_difference(x[:0]).shape == (0, *shape)


def test_a_permutation_of_small_blocks_falls_to_statistics() -> None:
    x, public = photos(SEEN, 128), photos(OTHER, 128)
    how = made("shf", x.shape[1:], 4)
    found = statistics.recover("shf", scramble(x, how), public, 4, np.random.default_rng(0))
    truth = numbered((4, 4, 3), 4)[0]
    order = made("shf", (4, 4, 3), 4).order[truth]
    own = found.alike[0].order.reshape(128, 128, 3)[:4, :4].reshape(-1)
    block = np.array([(v // 384) * 12 + v % 384 for v in own])
    # Published elsewhere: all of them from 300 blocks, up to 48 symmetries; here are 4,096.
    assert places_recovered(block, order, symmetries(4, 3)) == 1.0
    assert found.claims
    best = max(likeness(x, statistics.put_back(scramble(x, how), one)) for one in found.alike)
    assert best == pytest.approx(1.0)
    assert len(found.alike) == 48


def test_half_negated_blocks_fall_to_statistics() -> None:
    x, public = photos(SEEN, 128), photos(OTHER, 128)
    s = scramble(x, made("np", x.shape[1:], 4))
    found = statistics.recover("np", s, public, 4, np.random.default_rng(0))
    assert max(likeness(x, statistics.put_back(s, one)) for one in found.alike) == pytest.approx(1.0)


def test_statistics_claim_nothing_about_noise() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    public = photos(OTHER, 64)
    for scheme in ("shf", "np", "le"):
        found = statistics.recover(scheme, noise, public, 4, np.random.default_rng(0))  # type: ignore[arg-type]
        assert not found.claims, scheme


@pytest.mark.parametrize("name", ["etc", "le", "ele", "shf", "np", "pixel"])
@pytest.mark.parametrize("shape", [(16, 24, 3), (8, 8, 1), (8, 16, 4)])
def test_chosen_pictures_give_the_key_away(name: str, shape: tuple[int, int, int]) -> None:
    how, asked = made(name, shape, 4), []

    def oracle(images: np.ndarray) -> np.ndarray:
        asked.extend(images)
        return scramble(images, how)

    found = pairs.chosen(oracle, shape, halves=how.halves)
    assert np.array_equal(found.order, how.order)
    assert np.array_equal(found.negated, how.negated)
    base = 8 if how.halves else 128
    assert len(asked) == math.ceil(math.log(how.units, base))


def test_chosen_pictures_find_a_table() -> None:
    for shape in ((64, 64, 3), (8, 8, 1)):
        how = made("ffx", shape, 4)
        found = pairs.chosen_table(lambda images, how=how: scramble(images, how), shape, 4)
        x = np.random.default_rng(2).integers(0, 256, (3, *shape), dtype=np.uint8)
        assert np.array_equal(unscramble(scramble(x, how), found), x)


def test_an_oracle_with_fresh_keys_is_noticed() -> None:
    number = iter(range(1000))

    def oracle(images: np.ndarray) -> np.ndarray:
        hows = [made("pixel", images.shape[1:], 1, next(number) % 2) for _ in images]
        return np.concatenate([scramble(one[None], how) for one, how in zip(images, hows, strict=True)])

    with pytest.raises(DataError, match="no permutation"):
        pairs.chosen(oracle, (24, 24, 3))


@pytest.mark.parametrize(("name", "block"), [("le", 4), ("shf", 4), ("shf", 16), ("np", 4), ("ffx", 8)])
def test_one_photograph_in_plain_gives_the_others(name: str, block: int) -> None:
    x = photos(SEEN, 128)
    s = scramble(x, made(name, x.shape[1:], block))
    found = pairs.known(name, x[:1], s[:1], block)  # type: ignore[arg-type]
    assert np.array_equal(unscramble(s[1:], found), x[1:]) or name == "ffx"
    # Of a table, values that the first photograph lacks stay unknown.
    assert (unscramble(s[1:], found) == x[1:]).mean() > 0.99


@pytest.mark.parametrize(("name", "block", "share"), [("etc", 16, 0.9), ("pixel", 1, 0.9)])
def test_one_photograph_gives_most_where_flat_parts_look_alike(name: str, block: int, share: float) -> None:
    x = photos(SEEN, 128)
    s = scramble(x, made(name, x.shape[1:], block))
    found = pairs.known(name, x[:1], s[:1], block)  # type: ignore[arg-type]
    assert np.array_equal(unscramble(s[:1], found), x[:1])
    assert (unscramble(s[1:], found) == x[1:]).mean() > share


def test_a_jigsaw_of_large_blocks_is_solved() -> None:
    x = photos(("coffee.png",), 224)[0]
    how = made("etc", x.shape, 32)
    s = scramble(x[None], how)
    found = jigsaw.solve(s[0], 32)
    scores = jigsaw_scores(found, how, 32)
    assert scores.neighbours > 0.5
    best = max(ssim(one[0], x) for one in whole_pictures(unscramble(s, found)))
    assert best > 3 * max(ssim(s[0], x), 0.05)


def test_jigsaws_of_all_sizes_are_permutations() -> None:
    for shape, block in (((8, 8, 3), 8), ((16, 8, 1), 4), ((4, 12, 4), 4), ((6, 6, 2), 2), ((2, 2, 3), 2)):
        x = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
        found = jigsaw.solve(x, block)
        assert sorted(found.order.tolist()) == list(range(x.size))
        assert np.array_equal(unscramble(scramble(x[None], found), found)[0], x)


def test_a_quarter_turn_of_every_way() -> None:
    ways = pairs.ways_of(3, 3)
    block = np.arange(27).reshape(3, 3, 3)
    for way, after in enumerate(jigsaw.pieces_turned(len(ways))):
        seen = block.reshape(-1)[ways[way][0]].reshape(3, 3, 3)
        assert np.array_equal(np.rot90(seen).reshape(-1), block.reshape(-1)[ways[after][0]])
        assert ways[way][1] == ways[after][1]


def test_pictures_are_shifted_to_where_they_suit() -> None:
    x = photos(SEEN[:2], 64)
    for down, right in ((0, 0), (16, 48), (32, 8)):
        assert np.array_equal(shifted(np.roll(x, (down, right), axis=(1, 2)), x, 8), x)
    assert len(list(whole_pictures(x))) == 96
    assert len(list(whole_pictures(x[:, :32, :, :1]))) == 8


def test_integer_seeds_are_found() -> None:
    x = photos(SEEN[:1], 64)
    rows = numbered(x.shape[1:], 4)

    def by_numpy(seed: int) -> np.ndarray:
        return np.random.RandomState(seed).permutation(48)

    def by_python(seed: int) -> np.ndarray:
        order = list(range(48))
        random.Random(seed).shuffle(order)
        return np.array(order)

    for maker, seed in ((by_numpy, 1234), (by_python, 30)):
        s = np.empty_like(x).reshape(1, -1)
        s[:, rows] = x.reshape(1, -1)[:, rows[:, maker(seed)]]
        found = seeds.search(s.reshape(x.shape), 4, maker, range(2000))
        assert found[0].seed == seed
        assert found[0].roughness < found[1].roughness / 1.2
    with pytest.raises(DataError, match="does not fit"):
        seeds.search(x, 8, by_numpy, [1])


def test_bits_that_are_left() -> None:
    assert left_bits(48, 48) == 0
    assert left_bits(48, 48, alike=48) == pytest.approx(math.log2(48))
    assert left_bits(45, 48) == pytest.approx(math.log2(6))
    assert left_bits(0, 3, choices=2) == pytest.approx(math.log2(6) + 3)
    with pytest.raises(UsageError):
        left_bits(4, 3)


def test_bad_input_is_named() -> None:
    x = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="8-bit"):
        brightness.leading_bit(x.astype(np.uint16))
    with pytest.raises(DataError, match="whole blocks"):
        jigsaw.solve(x[0], 3)
    with pytest.raises(DataError, match="no pairs"):
        pairs.known("shf", x, x[:, :4], 4)
    with pytest.raises(DataError, match="no pairs"):
        pairs.known("shf", x[:0], x[:0], 4)
    with pytest.raises(UsageError, match="no attack by given"):
        pairs.known("ele", x, x, 4)
    with pytest.raises(UsageError, match="under one key"):
        statistics.recover("ele", x, x, 4, np.random.default_rng(0))  # type: ignore[arg-type]
