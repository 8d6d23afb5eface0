"""Queries and stripes: the same bytes for the same secret, drawn as they are described."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from noli.core.key import Key
from noli.data.demo import PHOTOS
from noli.ops.queries import grating, query, striped
from noli.testing import KEYS

RING = (3.0, 8.0)


def secret(i: int) -> Key:
    return Key.from_bytes(KEYS[0].subkey(f"query {i}"))


def slow_grating(key: Key, height: int, width: int, channels: int) -> np.ndarray:
    """The stripes, one pixel at a time, with a cosine instead of turns."""
    stream = key.stream("proof/grating")
    while True:
        down, across = (int(v) - 8 for v in stream.integers(2, 17))
        if 9 <= down * down + across * across <= 64:
            break
    phase = int(stream.integers(1, 64)[0]) / 64
    signs = [2 * int(v) - 1 for v in stream.integers(3, 2)][:channels]
    made = np.zeros((channels, height, width), np.float32)
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                turns = down * (row + 0.5) / height + across * (column + 0.5) / width + phase
                made[c, row, column] = signs[c] * (1 if (turns % 1.0) < 0.5 else -1)
    return made


@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (17, 40, 3), (9, 33, 1), (1, 1, 3)])
def test_gratings_are_square_waves(height, width, channels):
    for i in range(5):
        fast = grating(secret(i), height, width, channels, RING)
        assert fast.dtype == np.float32
        assert np.array_equal(fast, slow_grating(secret(i), height, width, channels))
        assert set(np.unique(fast)) <= {-1.0, 1.0}


def test_a_grating_is_a_peak_in_the_spectrum_whose_place_lies_in_the_ring():
    for i in range(20):
        wave = grating(secret(i), 64, 64, 1, RING)[0]
        power = np.abs(np.fft.fft2(wave - wave.mean()))
        row, column = np.unravel_index(power.argmax(), power.shape)
        length = np.hypot(min(row, 64 - row), min(column, 64 - column))
        assert 3 <= length <= 8


def test_pictures_of_any_size_show_the_same_stripes():
    small, large = (grating(secret(3), side, side, 1, RING)[0] for side in (32, 96))
    assert (large[1::3, 1::3] == small).mean() > 0.97


def test_secrets_look_different():
    waves = [grating(secret(i), 32, 32, 3, RING).tobytes() for i in range(50)]
    assert len(set(waves)) >= 48  # about 24,000 kinds of stripes: two of 50 may be alike


def test_striped_queries_lie_around_grey():
    picture = striped(secret(0), 32, 3, RING, 0.2)
    assert picture.shape == (32, 32, 3)
    assert set(np.unique(picture)) == {77, 179}
    assert striped(secret(0), 8, 1, RING, 0.5).shape == (8, 8, 1)


@pytest.mark.parametrize("family", ["noise", "collage", "natural"])
@pytest.mark.parametrize(("side", "channels"), [(32, 3), (33, 1), (8, 3), (1, 3)])
def test_queries_follow_from_their_secret(family, side, channels):
    one = query(secret(0), family, side, channels)
    assert one.shape == (side, side, channels)
    assert one.dtype == np.uint8
    assert np.array_equal(one, query(secret(0), family, side, channels))
    if side > 1:
        assert not np.array_equal(one, query(secret(1), family, side, channels))


def test_noise_queries_are_blocks_of_uniform_levels():
    made = np.stack([query(secret(i), "noise", 32, 3) for i in range(60)])
    assert np.array_equal(made, made[:, ::4, ::4].repeat(4, 1).repeat(4, 2))
    assert abs(made.mean() - 127.5) < 3
    assert abs(made.std() - 73.9) < 2


def test_natural_queries_are_parts_of_photographs(monkeypatch):
    """Against averages pixel by pixel of a photograph whose values say where they are."""
    photo = np.add.outer(np.arange(40), 5 * np.arange(50))[:, :, None] % 256 + np.zeros(3, int)
    monkeypatch.setattr("noli.ops.queries._photo", lambda name: photo.astype(np.uint8))
    for number in range(30):
        stream = secret(number).stream("proof/query", "natural")
        stream.choice(sum(name.endswith(".png") for name in PHOTOS))
        factor = 1 + stream.choice(40 // 12)
        top, left = stream.choice(40 - 12 * factor + 1), stream.choice(50 - 12 * factor + 1)
        stream.permutation(3)
        mirrored, negated = stream.bits(2)
        expected = np.zeros((12, 12), int)
        for row in range(12):
            for column in range(12):
                y, x = top + row * factor, left + column * factor
                expected[row, column] = np.floor(photo[y : y + factor, x : x + factor, 0].mean() + 0.5)
        expected = expected[:, ::-1] if mirrored else expected
        found = query(secret(number), "natural", 12, 1)[..., 0]
        assert np.array_equal(found, 255 - expected if negated else expected)
    assert query(secret(0), "natural", 64, 3).shape == (64, 64, 3)  # the photograph is smaller


def test_known_bytes():
    """Made with this code; a change of these bytes would orphan every published commitment."""
    made = [
        query(secret(0), "noise", 32, 3),
        query(secret(0), "collage", 32, 3),
        query(secret(0), "natural", 32, 3),
        striped(secret(0), 32, 3, RING, 0.19),
    ]
    assert [hashlib.sha256(one.tobytes()).hexdigest()[:16] for one in made] == KNOWN


KNOWN = ["e8f8a27bf06d30a9", "2245a903a80af4b4", "ffd730ee6fff45fd", "91ea9bd793bf7b0e"]
