import math

import numpy as np
import pytest
import torch

from noli.core.model import Model
from noli.train.contrastive import PROJECTION, TwoViews, info_nce, learn_encoder, nt_xent
from noli.train.recipe import Recipe

QUICK = Recipe(device="cpu", epochs=12, batch=30, lr=0.05, weight_decay=0, bf16="off")


def stripes(count: int, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of three kinds: upright stripes, lying ones, and checks, at random places and colours."""
    rng = np.random.default_rng(count)
    y = np.arange(count) % 3
    across = (np.arange(side)[None] + rng.integers(0, 4, (count, 1))) // 2 % 2
    down = (np.arange(side)[None] + rng.integers(0, 4, (count, 1))) // 2 % 2
    across, down = np.broadcast_arrays(across[:, None, :], down[:, :, None])
    shape = np.where(y[:, None, None] == 0, across, np.where(y[:, None, None] == 1, down, across ^ down))
    colour = rng.integers(60, 256, (count, 1, 1, 3))
    return (shape[..., None] * colour).astype(np.uint8), y


@pytest.mark.parametrize("pairs", [[0, 0], [0, 1, 0, 1], [2, 7, 5, 7, 5, 2]])
def test_loss_against_the_formula(pairs: list[int]) -> None:
    z = np.random.default_rng(len(pairs)).normal(size=(len(pairs), 5))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i, number in enumerate(pairs):
        others = [j for j in range(len(pairs)) if j != i]
        (partner,) = [j for j in others if pairs[j] == number]
        weights = [math.exp(unit[i] @ unit[j] / 0.5) for j in others]
        total -= math.log(math.exp(unit[i] @ unit[partner] / 0.5) / sum(weights))
    found = nt_xent(torch.from_numpy(z), torch.tensor(pairs), 0.5)
    assert float(found) == pytest.approx(total / len(pairs))


def test_two_views_differ_and_carry_the_number_of_their_picture() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    views, pairs = TwoViews().prepare_batch(x, torch.zeros(4), torch.Generator().manual_seed(1))
    assert views.shape == (8, 3, 8, 8)
    assert pairs.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert not torch.equal(views[:4], views[4:])


def nearest_neighbour_accuracy(model: Model, x: np.ndarray, y: np.ndarray) -> float:
    working = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        features = torch.nn.functional.normalize(model.eval().features(working), dim=1)
    similar = features @ features.T
    similar.fill_diagonal_(-2)
    return float(np.mean(y[similar.argmax(1).numpy()] == y))


def test_an_encoder_learned_without_labels_tells_shapes_apart() -> None:
    x, y = stripes(240)
    learned = learn_encoder(x, "tiny", QUICK, seed=1)
    again = learn_encoder(x, "tiny", QUICK, seed=1)
    assert learned.weight_hash() == again.weight_hash()
    assert learned.net.head.out_features == PROJECTION
    assert nearest_neighbour_accuracy(learned, x, y) >= 0.9


@pytest.mark.parametrize("captions", [[0, 1, 2], [4, 4, 4], [1, 0, 1, 7, 0]])
def test_image_text_loss_against_the_formula(captions: list[int]) -> None:
    rng = np.random.default_rng(len(captions))
    pictures, texts = (rng.normal(size=(len(captions), 5)) for _ in range(2))
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    similar = pictures @ texts.T / 0.5
    total = 0.0
    for table in (similar, similar.T):
        for i, number in enumerate(captions):
            same = [j for j, other in enumerate(captions) if other == number]
            log_all = math.log(sum(math.exp(value) for value in table[i]))
            total -= sum(table[i, j] - log_all for j in same) / len(same)
    found = info_nce(torch.from_numpy(pictures), torch.from_numpy(texts), torch.tensor(captions), 0.5)
    assert float(found) == pytest.approx(total / (2 * len(captions)))
