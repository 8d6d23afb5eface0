"""Learning to undo: a network trained on pairs of a changed picture and the picture it should become."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.images import to_uint8
from noli.core.model import Model
from noli.ops.corrupt import corrupt
from noli.train.fit import Callback, fit
from noli.train.recipe import Recipe
from noli.zoo.restorer import restorer

Images = npt.NDArray[np.uint8]
_BLOCK = 500
BATCH, RATE = 64, 2e-3


class Corrupted(Callback):
    """Replaces every picture by a randomly changed one and asks for the picture as it was."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return changed pictures and the given ones."""
        return corrupt(x, generator), x


class Towards(Callback):
    """Asks for a given picture instead of a label; both are mirrored together half of the time.

    Args:
        wanted: ``uint8 [N, H, W, C]``; the label of a picture is its row here.
    """

    def __init__(self, wanted: Images) -> None:
        self.wanted = torch.from_numpy(np.ascontiguousarray(wanted))

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return pictures and the pictures they should become."""
        target = self.wanted[y.cpu()].to(x.device).permute(0, 3, 1, 2).float().div_(255)
        mirrored = (torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5).to(x.device)
        return torch.where(mirrored, x.flip(3), x), torch.where(mirrored, target.flip(3), target)


def learn_restorer(x: Images, lesson: Callback, recipe: Recipe, callbacks: Sequence[Callback] = ()) -> Model:
    """Train a :func:`~noli.zoo.restorer.restorer`.

    Args:
        x: ``uint8 [N, H, W, C]``, N >= 2; the label that `lesson` sees is the row.
        lesson: What is asked for: :class:`Corrupted` or :class:`Towards`.
        recipe: How a classifier would be trained: device, seed and length are taken from it.
        callbacks: Called first.

    Returns:
        The network, in evaluation mode.
    """
    model = restorer(x.shape[3], seed=recipe.seed)
    # Twice the steps of a classifier at half its batch: quality still rises, and the cost stays alike.
    twice = {"epochs": 2 * recipe.epochs, "min_steps": 2 * recipe.min_steps, "batch": BATCH}
    changed = {"optimiser": "adam", "lr": RATE, "weight_decay": 0.0} | twice
    # Not L1: where most pixels need no change, its best answer for a long time is to change nothing.
    fit(model, x, np.arange(len(x)), recipe.model_copy(update=changed), [*callbacks, lesson], F.mse_loss)
    return model.eval()


def restored(x: Images, model: Model) -> Images:
    """Return what a restorer makes of ``uint8 [N, H, W, C]``, in the same form."""
    out = np.empty_like(x)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = to_uint8(model.predict(x[rows]))
    return out
