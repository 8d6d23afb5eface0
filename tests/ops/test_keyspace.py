"""Key sizes against counting, and against the values that the literature and our design give."""

from __future__ import annotations

import math

import pytest

from noli.ops.keyspace import capped_bits, nominal_bits


@pytest.mark.parametrize(
    ("kind", "shape", "block", "bits"),
    [
        ("shf", (8, 8, 3), 2, 28.8), ("shf", (8, 8, 3), 4, 202.9), ("shf", (8, 8, 3), 8, 1184),
        ("shf", (16, 16, 3), 16, 6259), ("np", (8, 8, 3), 2, 9.9), ("np", (8, 8, 3), 4, 44.9),
        ("np", (8, 8, 3), 8, 187.9), ("etc", (32, 32, 3), 4, 717), ("etc", (224, 224, 3), 16, 2505),
        ("etc", (256, 256, 3), 16, 3370), ("etc", (512, 512, 3), 16, 15512), ("le", (8, 8, 3), 4, 594),
    ],
)  # fmt: skip
def test_known_sizes(kind, shape, block, bits):
    assert nominal_bits(kind, shape, block) == pytest.approx(bits, rel=0.001, abs=0.06)


def test_sizes_are_counted():
    assert nominal_bits("etc", (4, 4, 3), 2) == pytest.approx(
        math.log2(8**4 * 2**4 * 6**4 * math.factorial(4))
    )
    assert nominal_bits("etc", (4, 4, 1), 2, places=False) == pytest.approx(math.log2(8**4 * 2**4))
    assert nominal_bits("ele", (4, 4, 1), 2) == pytest.approx(
        math.log2((math.factorial(8) * 2**8) ** 4 * math.factorial(4))
    )
    assert nominal_bits("le", (4, 4, 3), 4, drawn=False) == pytest.approx(math.log2(math.factorial(96)))
    assert nominal_bits("pixel", (3, 5, 3)) == pytest.approx(math.log2(2**45 * 6**15))
    assert nominal_bits("pixel", (3, 5, 3), colours=False) == pytest.approx(45)
    assert nominal_bits("ffx", (2, 2, 1), 2) == pytest.approx(math.log2(6 * math.factorial(256)))


def test_no_key_is_worth_more_than_what_it_follows_from():
    assert capped_bits(28.8) == 28.8
    assert capped_bits(6259) == 256
