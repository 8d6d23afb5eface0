"""Batch statistics and class shares from unlabelled images."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from noli import zoo
from noli.core.model import Model
from noli.train.adapting import balancing, renormalised


def images(n: int, seed: int = 0, shift: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(shift, 200 + shift, (n, 16, 16, 3)).astype(np.uint8)


def test_statistics_are_those_of_the_images_batch_by_batch() -> None:
    model = Model(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(768, 2)), mean=(0.0,), std=(1.0,))
    before = copy.deepcopy(model.state_dict())
    x = images(500, shift=40)
    norm = next(layer for layer in renormalised(model, x).modules() if isinstance(layer, nn.BatchNorm2d))
    halves = np.split(x.astype(np.float64) / 255, 2)
    np.testing.assert_allclose(norm.running_mean, np.mean([h.mean((0, 1, 2)) for h in halves], 0), atol=1e-4)
    spread = np.mean([h.reshape(-1, 3).var(0, ddof=1) for h in halves], 0)
    np.testing.assert_allclose(norm.running_var, spread, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_without_batch_normalisation_answers_as_before() -> None:
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), mean=(0.0,), std=(1.0,))
    x = images(9)
    assert np.array_equal(renormalised(model, x).predict(x), model.predict(x))


def test_a_shift_of_all_images_is_undone() -> None:
    model = zoo.network("tiny", 3, seed=0)
    dark, light = images(300), images(300) + np.uint8(50)
    at_home = renormalised(model, dark).predict(dark)
    np.testing.assert_allclose(renormalised(model, light).predict(light), at_home, atol=1e-3)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (1.0, 0.0)])
def test_predictions_become_as_frequent_as_the_classes(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (400, len(shares))) + np.eye(len(shares))[0] * 6
    shifted = logits + balancing(logits.astype(np.float32), np.array(shares))
    weights = np.exp(shifted - shifted.max(1, keepdims=True))
    found = (weights / weights.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(found, shares, atol=0.01)
