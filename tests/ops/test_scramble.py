"""Scrambling against the schemes written out block by block, exact inverses, composition, bad input."""

from __future__ import annotations

import io
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from noli.core.errors import DataError, UsageError
from noli.core.keystream import Stream
from noli.ops import schemes
from noli.ops.planes import from_planes, to_planes
from noli.ops.scramble import Scramble, in_halves, inverse, padded, scramble, then, unscramble
from noli.testing import KEYS

BLOCKWISE = {
    "etc": schemes.etc, "le": schemes.le, "ele": schemes.ele, "shf": schemes.shf, "np": schemes.negation,
    "ffx": schemes.ffx,
}  # fmt: skip
COLOURS = list(permutations(range(3)))
SHAPES = [(8, 8, 3), (16, 8, 1), (8, 24, 4), (24, 16, 3), (16, 16, 2)]


def draw(purpose: str, _told: str = "") -> Stream:
    return KEYS[0].stream("test/scramble", purpose)


def other(purpose: str, _told: str = "") -> Stream:
    return KEYS[1].stream("test/scramble", purpose)


def made(name: str, shape: tuple[int, int, int], block: int = 4, by: Any = draw) -> Scramble:
    return schemes.pixel(shape, by) if name == "pixel" else BLOCKWISE[name](shape, block, by)


def images(shape: tuple[int, ...], dtype: Any = np.uint8, number: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, np.iinfo(dtype).max + 1, (number, *shape), dtype=dtype)


def blocks_of(image: np.ndarray, block: int) -> list[np.ndarray]:
    """Blocks row by row, each ``[block, block, C]``."""
    rows, columns = image.shape[0] // block, image.shape[1] // block
    return [image[r * block : (r + 1) * block, c * block : (c + 1) * block]
            for r in range(rows) for c in range(columns)]  # fmt: skip


def image_of(blocks: list[np.ndarray], shape: tuple[int, int, int], block: int) -> np.ndarray:
    across = shape[1] // block
    rows = [np.concatenate(blocks[i : i + across], axis=1) for i in range(0, len(blocks), across)]
    return np.concatenate(rows, axis=0)


def slow_etc(image: np.ndarray, block: int) -> np.ndarray:
    cut = blocks_of(image, block)
    source, turned = draw("places").permutation(len(cut)), draw("turns").integers(len(cut), 8)
    negated, colours = draw("negation").bits(len(cut)), draw("colours").integers(len(cut), 6)
    done = []
    for place in range(len(cut)):
        one = cut[source[place]]
        if turned[place] >= 4:
            one = one[:, ::-1]
        one = np.rot90(one, turned[place] % 4).copy()
        if one.shape[2] >= 3:
            one[..., :3] = one[..., COLOURS[colours[place]]]
        done.append(np.iinfo(one.dtype).max - one if negated[place] else one)
    return image_of(done, image.shape, block)


def slow_halves(block: np.ndarray, order: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Split into halves, negate, permute, negate again, join."""
    values, base = block.reshape(-1).tolist(), 16 if block.dtype == np.uint8 else 256
    halves = [v // base for v in values] + [v % base for v in values]
    halves = [base - 1 - v if flag else v for v, flag in zip(halves, flags, strict=True)]
    halves = [halves[i] for i in order]
    halves = [base - 1 - v if flag else v for v, flag in zip(halves, flags, strict=True)]
    joined = zip(halves[: len(values)], halves[len(values) :], strict=True)
    return np.array([base * high + low for high, low in joined], block.dtype).reshape(block.shape)


def slow_le(image: np.ndarray, block: int, mask: str = "drawn") -> np.ndarray:
    units = 2 * block * block * image.shape[2]
    order = draw("halves").permutation(units)
    flags = order > units // 2 if mask == "published" else draw("negation").bits(units)
    return image_of([slow_halves(one, order, flags) for one in blocks_of(image, block)], image.shape, block)


def slow_ele(image: np.ndarray, block: int) -> np.ndarray:
    cut, units = blocks_of(image, block), 2 * block * block * image.shape[2]
    order = draw("halves").permutations(len(cut), units)
    flags = draw("negation").bits(len(cut) * units).reshape(len(cut), units)
    done = [slow_halves(one, order[i], flags[i]) for i, one in enumerate(cut)]
    return image_of([done[i] for i in draw("places").permutation(len(cut))], image.shape, block)


def slow_pixel(image: np.ndarray, _block: int) -> np.ndarray:
    out = image.copy()
    height, width, channels = image.shape
    colours = draw("colours").integers(height * width, 6)
    flags = draw("negation").bits(height * width * channels).reshape(image.shape)
    for row in range(height):
        for column in range(width):
            if channels >= 3:
                out[row, column, :3] = image[row, column, list(COLOURS[colours[row * width + column]])]
    return np.where(flags, np.iinfo(image.dtype).max - out, out)


def slow_values(image: np.ndarray, block: int, name: str) -> np.ndarray:
    n = block * block * image.shape[2]
    order, table = draw("values").permutation(n), draw("table").permutation(256)
    done = []
    for one in blocks_of(image, block):
        values = one.reshape(-1)
        if name == "shf":
            values = values[order]
        elif name == "np":
            values = np.where(order < n // 2, np.iinfo(image.dtype).max - values, values)
        else:
            through = (
                table[values] if image.dtype == np.uint8 else 256 * table[values // 256] + table[values % 256]
            )
            values = np.where(order < n // 2, through, values).astype(image.dtype)
        done.append(values.reshape(one.shape))
    return image_of(done, image.shape, block)


SLOW: dict[str, Any] = {
    "etc": slow_etc, "le": slow_le, "ele": slow_ele, "pixel": slow_pixel,
    **{n: lambda image, block, name=n: slow_values(image, block, name) for n in ("shf", "np", "ffx")},
}  # fmt: skip
NAMES = sorted(SLOW)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_schemes_do_what_is_written(name: str, shape: tuple[int, int, int]) -> None:
    x = images(shape)
    found = scramble(x, made(name, shape))
    assert found.dtype == x.dtype
    for before, after in zip(x, found, strict=True):
        np.testing.assert_array_equal(after, SLOW[name](before, 4))
    np.testing.assert_array_equal(unscramble(found, made(name, shape)), x)


def test_the_published_mask_of_le() -> None:
    x, how = images((8, 8, 3)), schemes.le((8, 8, 3), 4, draw, mask="published")
    np.testing.assert_array_equal(scramble(x, how)[0], slow_le(x[0], 4, "published"))
    flags = draw("halves").permutation(96) > 48
    assert flags.sum() == 47
    np.testing.assert_array_equal(unscramble(scramble(x, how), how), x)


@pytest.mark.parametrize("name", NAMES)
def test_sixteen_bits(name: str) -> None:
    x = images((8, 8, 3), np.uint16)
    how = made(name, (8, 8, 3))
    np.testing.assert_array_equal(scramble(x, how)[1], SLOW[name](x[1], 4))
    np.testing.assert_array_equal(unscramble(scramble(x, how), how), x)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES), st.integers(1, 65), st.integers(1, 65), st.sampled_from([1, 2, 3, 4]),
    st.sampled_from([2, 4, 8, 16]),
)  # fmt: skip
def test_every_size_comes_back(name: str, height: int, width: int, channels: int, block: int) -> None:
    x = images((height, width, channels), number=2)
    whole = padded(x, block)
    how = made(name, whole.shape[1:], block)
    found = scramble(whole, how)
    assert sorted(how.order.tolist()) == list(range(how.units))
    np.testing.assert_array_equal(unscramble(found, how)[:, :height, :width], x)


def test_padding_repeats_the_edge() -> None:
    x = images((5, 7, 3))
    whole = padded(x, 4)
    assert whole.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(whole[:, :5, :7], x)
    np.testing.assert_array_equal(whole[:, 5:, :7], np.repeat(x[:, 4:5], 3, axis=1))
    np.testing.assert_array_equal(whole[:, :, 7:], whole[:, :, 6:7])
    assert padded(x[:, :4, :4], 4).shape == (3, 4, 4, 3)


@pytest.mark.parametrize("second", ["etc", "le", "pixel"])
@pytest.mark.parametrize("first", ["ele", "etc", "shf"])
def test_another_key_or_scheme_in_one_step(first: str, second: str) -> None:
    x, one, two = images((8, 16, 3)), made(first, (8, 16, 3)), made(second, (8, 16, 3), by=other)
    again = then(inverse(one), two)
    np.testing.assert_array_equal(scramble(scramble(x, one), again), scramble(x, two))
    np.testing.assert_array_equal(scramble(x, in_halves(one)), scramble(x, one))


def test_what_cannot_be_joined() -> None:
    how, table = made("etc", (8, 8, 3)), made("ffx", (8, 8, 3))
    for call in (lambda: then(how, table), lambda: inverse(table)):
        with pytest.raises(UsageError, match="table"):
            call()
    with pytest.raises(UsageError, match="different shapes"):
        then(how, made("etc", (8, 16, 3)))


def test_images_that_do_not_fit() -> None:
    how = made("etc", (8, 8, 3))
    for bad in (images((8, 12, 3)), images((8, 8, 1)), images((8, 8, 3)).astype(np.float32)):
        with pytest.raises(DataError, match="do not fit"):
            scramble(bad, how)
    empty = images((8, 8, 3))[:0]
    assert scramble(empty, how).shape == (0, 8, 8, 3)
    assert unscramble(empty, how).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_images_stay_apart(name: str) -> None:
    """Another key gives another scrambling; nothing depends on the other images of a batch."""
    x = images((16, 16, 3), number=9)
    how = made(name, (16, 16, 3))
    assert not np.array_equal(scramble(x, how), scramble(x, made(name, (16, 16, 3), by=other)))
    one_by_one = np.concatenate([scramble(x[i : i + 1], how) for i in range(9)])
    np.testing.assert_array_equal(scramble(x, how), one_by_one)


@pytest.mark.parametrize("number", [1, 2, 5, 9, 11])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_runs_of_images_agree(monkeypatch: pytest.MonkeyPatch, name: str, number: int, dtype: Any) -> None:
    """Rows of two images, so that there are several runs, also odd and short ones at the end."""
    x, how = images((8, 8, 3), dtype, number), made(name, (8, 8, 3))
    slow = np.stack([SLOW[name](one, 4) for one in x])
    monkeypatch.setattr("noli.ops.scramble._RUN", 2 * how.units)
    monkeypatch.setattr("noli.ops.scramble._ROW", 1)
    np.testing.assert_array_equal(scramble(x, how), slow)
    np.testing.assert_array_equal(unscramble(slow, how), x)


def test_the_eight_turns_are_different_maps() -> None:
    found = schemes.turns(3)
    assert len({tuple(row) for row in found.tolist()}) == 8
    assert all(sorted(row) == list(range(9)) for row in found.tolist())


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_jpeg_of_scrambled_blocks_costs_little_with_full_chroma_and_much_without(quality: int) -> None:
    from skimage.data import astronaut

    from noli.ops.metrics import psnr

    photo = astronaut()[None, :320, 64:384]
    how = schemes.etc(photo.shape[1:], 16, draw)

    def through(image: np.ndarray, subsampling: int) -> np.ndarray:
        target = io.BytesIO()
        Image.fromarray(image).save(target, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(target))

    lost = []
    for subsampling in (0, 2):
        plain = psnr(photo[0], through(photo[0], subsampling))
        back = unscramble(through(scramble(photo, how)[0], subsampling)[None], how)[0]
        lost.append(plain - psnr(photo[0], back))
    assert lost[0] < 0.3 < 1.5 < lost[1]


@pytest.mark.parametrize("how", ["rgb", "ycbcr", "half"])
@pytest.mark.parametrize("size", [(1, 1), (8, 16), (31, 50)])
def test_planes_come_back(how: Any, size: tuple[int, int]) -> None:
    x = images((*size, 3))
    if how == "half":
        x = x // 64 + 96  # nearly flat: chroma at half size has little to lose
    grey = to_planes(x, how, 8)
    assert grey.shape[1] % 8 == grey.shape[2] % 8 == 0
    assert grey.shape[3] == 1
    back = from_planes(grey, how)[:, : size[0], : size[1]]
    assert np.abs(back.astype(int) - x).max() <= {"rgb": 0, "ycbcr": 3, "half": 9}[how]
    assert len(from_planes(to_planes(x[:0], how, 8), how)) == 0
    if how != "rgb":
        with pytest.raises(DataError, match="8 bits"):
            to_planes(x.astype(np.uint16), how, 8)
