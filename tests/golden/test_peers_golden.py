"""Noise of LSP and AR that must never change: published data can only be undone while it holds.

Made by running the calls below once with the first released version and copying what they returned.
"""

from __future__ import annotations

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import ar, lsp

KEY = Key.from_bytes(bytes(range(32)))
SUMMARY = DataSummary(3, ("cat", "dog", "ship"), {(8, 8, 3): 3})
ITEMS = [Item("0" * 20, "a", "cat"), Item("1" * 20, "b", "dog")]
PIXELS = (np.arange(2 * 8 * 9 * 3) * 37 % 256).astype(np.uint8).reshape(2, 8, 9, 3)


def test_lsp_cluster() -> None:
    # lsp.cluster(KEY, "cat", 48)
    centre, spread = lsp.cluster(KEY, "cat", 48)
    assert centre[:8].tolist() == [1, -1, -1, -1, -1, -1, -1, -1]
    assert spread[0, :3].tolist() == [-0.35609646223643465, -0.9324123248214911, 0.46594899275792834]
    assert spread[-1, -1] == 0.06501055888578278


def test_ar_candidates() -> None:
    # ar.candidates(KEY, "cat", 0)[:, 0]; the last bits depend on the order of a sum
    expected = [
        0.14838639008978233,
        0.05494303914303581,
        -0.0692774410072852,
        0.28681827127260895,
        -0.184422465761908,
        -0.11381406585158847,
        0.19761958483070213,
        0.6797466872846524,
    ]
    np.testing.assert_allclose(ar.candidates(KEY, "cat", 0)[:, 0], expected, rtol=1e-12)


def test_ar_chosen_draws() -> None:
    state = ar.prepare(SUMMARY, KEY, ar.Config())
    assert state == {"draws": {"cat": [3, 1, 3], "dog": [2, 8, 6], "ship": [1, 13, 1]}}


@pytest.mark.parametrize(
    ("name", "row", "pixels", "total"),
    [
        (
            "ar",
            [-0.018827887251973152, 0.005902429111301899, 0.020791148766875267],
            [[101, 151, 191], [172, 212, 242]],
            54984,
        ),
        ("lsp", [0.03773057088255882] * 3, [[119, 145, 193], [174, 210, 235]], 54525),
    ],
)
def test_noise_and_protected_pixels(name: str, row: list[float], pixels: list[list[int]], total: int) -> None:
    if name == "ar":
        state = ar.prepare(SUMMARY, KEY, ar.Config())
        noise = ar.noise(state, ITEMS, KEY, ar.Config(), 3, 8, 9)
        out = ar.apply(state, to_float(PIXELS), ITEMS, KEY, ar.Config())
    else:
        noise = lsp.noise({}, ITEMS, KEY, lsp.Config(), 3, 8, 9)
        out = lsp.apply({}, to_float(PIXELS), ITEMS, KEY, lsp.Config())
    np.testing.assert_allclose(noise[0, 0, 3, :3], row, rtol=1e-6)
    stored = to_uint8(out).astype(int)
    assert stored[:, 3, 4].tolist() == pixels
    assert int(stored.sum()) == total
