"""Codes that are distributed alike: the discrepancy pair by pair, and a training that lowers it."""

from __future__ import annotations

import math

import numpy as np
import torch

from noli.train.likening import (
    BANDWIDTHS,
    STEPS,
    PatchCoder,
    alike_coder,
    discrepancy,
    means_of,
    patches_of,
)


def test_the_discrepancy_pair_by_pair() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(4, 3)), draw.normal(size=(5, 3))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return sum(math.exp(-((x - y) ** 2).sum() / (2 * width)) for width in BANDWIDTHS)

    slow = (
        np.mean([kernel(x, y) for x in one for y in one])
        + np.mean([kernel(x, y) for x in other for y in other])
        - 2 * np.mean([kernel(x, y) for x in one for y in other])
    )
    assert len(BANDWIDTHS) == 19
    assert np.isclose(float(discrepancy(torch.tensor(one), torch.tensor(other))), slow)
    assert float(discrepancy(torch.tensor(one), torch.tensor(one))) == 0


def test_patches_are_cut_row_by_row() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    found = patches_of(images, 2)
    assert found.shape == (2, 4, 12)
    slow = images[1, 2:, :2].transpose(2, 0, 1).reshape(-1) / 255 * 2 - 1
    assert np.allclose(found[1, 2], slow, atol=1e-6)


def test_training_brings_distributions_together_and_is_repeatable() -> None:
    draw = np.random.default_rng(0)
    public = draw.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    means = draw.normal(2, 0.3, (30, 5)).astype(np.float32)
    how = STEPS.model_copy(update={"steps": 60, "lr": 1e-2, "batch": 30})
    state = torch.get_rng_state()
    for depth in (-1, 2):
        begun = alike_coder(public, means, 4, depth, how.model_copy(update={"steps": 1}))
        ended, again = (alike_coder(public, means, 4, depth, how) for _ in range(2))
        apart = [
            float(discrepancy(torch.from_numpy(means_of(net, public, 4)), torch.from_numpy(means)))
            for net in (begun, ended)
        ]
        assert apart[1] < apart[0]
        assert np.array_equal(means_of(ended, public, 4), means_of(again, public, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert PatchCoder(3, 2, 5, 4, -1)(torch.zeros(1, 2, 3)).shape == (1, 2, 5)
