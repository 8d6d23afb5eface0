"""Masks for learned noise: made from saliency, kept or renewed from round to round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.ops.saliency import Kind, saliency, top_share
from noli.train.lesson import Lesson

# So that a picture without any gradient gets noise, too.
_LEAST = 1e-12


class Masks:
    """Where the noise of every item may be.

    Args:
        kind: Saliency.
        ratio: Share of the pixels of a picture, in (0, 1].
        smooth: Radius in pixels over which saliency is averaged.
        refresh: Masks are made anew every so many rounds; 0 keeps those of the first round.
        allowed: ``bool [N, S, S]``, the owner's regions of interest, or None.
    """

    def __init__(
        self,
        kind: Kind,
        ratio: float,
        smooth: int,
        refresh: int,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.kind, self.ratio, self.smooth, self.refresh = kind, ratio, smooth, refresh
        self.allowed = allowed

    def __call__(self, lesson: Lesson, part: npt.NDArray[np.int64], number: int) -> Tensor:
        """Return the masks ``float32 [n, 1, S, S]`` of some items in round `number` (from 0)."""
        n, side = len(lesson.x), lesson.x.shape[1]
        kept = lesson.memory.setdefault("masks", np.zeros((n, side, side), bool))
        made = lesson.memory.setdefault("masked", np.zeros(n, bool))
        x, y = lesson.images(part)
        if number == 0 or (self.refresh and number % self.refresh == 0):
            allowed = None if self.allowed is None else torch.from_numpy(self.allowed[part]).to(x.device)
            marked = top_share(saliency(lesson.model, x, y, self.kind, self.smooth), self.ratio, allowed)
            empty = marked.sum((1, 2, 3)) == 0
            if empty.any():  # a flat picture, or a region on black: what counts there is the gradient
                spare = saliency(lesson.model, x[empty], y[empty], "gradient", self.smooth) + _LEAST
                marked[empty] = top_share(spare, self.ratio, None if allowed is None else allowed[empty])
            kept[part], made[part] = marked[:, 0].bool().cpu().numpy(), True
        return torch.from_numpy(kept[part]).to(x.device)[:, None].float()


def touched(lesson: Lesson) -> float:
    """Return the share of pixels that may be touched, over the items that got a mask."""
    made = lesson.memory.get("masked")
    return 0.0 if made is None else float(lesson.memory["masks"][made].mean())
