"""Filters and images that must never change: published data can only be undone while these hold.

Made by running the calls below once with the first released version and copying what they returned.
"""

from __future__ import annotations

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import cuda

KEY = Key.from_bytes(bytes(range(32)))
SUMMARY = DataSummary(3, ("cat", "dog", "ship"), {(8, 8, 3): 3})


def test_class_filter() -> None:
    # cuda.class_filter(KEY, "cat", 0, 3, 0.3, binary)
    uniform, spot = cuda.class_filter(KEY, "cat", 0, 3, 0.3, False)
    assert spot == (1, 2)
    expected = [
        [0.2669452, 0.1636559, 0.0496293],
        [0.2277995, 0.1530556, 1.0],
        [0.0916147, 0.0570611, 0.152584],
    ]
    np.testing.assert_allclose(uniform, expected, atol=1e-7)
    binary, spot = cuda.class_filter(KEY, "cat", 0, 3, 0.3, True)
    assert spot == (1, 2)
    np.testing.assert_allclose(binary, [[0.3, 0.3, 0], [0.3, 0.3, 1], [0, 0, 0.3]], atol=1e-7)


def test_chosen_draws() -> None:
    state = cuda.prepare(SUMMARY, KEY, cuda.Config())
    assert state == {"draws": {"cat": 320, "dog": 320, "ship": 320}, "series": 10, "judged": [3, 0.3]}


@pytest.mark.parametrize(
    ("mode", "pixels", "total"),
    [
        ("paper", [[214, 81, 106], [91, 120, 146]], 61259),
        ("keyed", [[105, 126, 161], [134, 111, 144]], 45847),
    ],
)
def test_protected_pixels(mode: str, pixels: list[list[int]], total: int) -> None:
    # One level of slack: CPUs may order the sums of the convolution differently.
    x = (np.arange(2 * 8 * 9 * 3) * 37 % 256).astype(np.uint8).reshape(2, 8, 9, 3)
    items = [Item("0" * 20, "a", "cat"), Item("1" * 20, "b", "dog")]
    cfg = cuda.Config(mode=mode)  # type: ignore[arg-type]
    state = cuda.prepare(SUMMARY, KEY, cfg)
    y = to_uint8(cuda.apply(state, to_float(x), items, KEY, cfg)).astype(int)
    assert np.abs(y[:, 3, 4] - pixels).max() <= 1
    assert abs(int(y.sum()) - total) <= 40
