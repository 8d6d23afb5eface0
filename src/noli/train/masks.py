"""Masks for learned noise: made from saliency, kept or renewed from round to round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.ops.saliency import Kind, saliency, top_share
from noli.train.lesson import Lesson


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
        self._kept: npt.NDArray[np.bool_] | None = None

    def __call__(self, lesson: Lesson, part: npt.NDArray[np.int64], number: int) -> Tensor:
        """Return the masks ``float32 [n, 1, S, S]`` of some items in round `number` (from 0)."""
        n, side = len(lesson.x), lesson.x.shape[1]
        if self._kept is None:
            self._kept = np.zeros((n, side, side), bool)
        x, y = lesson.images(part)
        if number == 0 or (self.refresh and number % self.refresh == 0):
            scores = saliency(lesson.model, x, y, self.kind, self.smooth)
            allowed = None if self.allowed is None else torch.from_numpy(self.allowed[part]).to(x.device)
            self._kept[part] = top_share(scores, self.ratio, allowed)[:, 0].bool().cpu().numpy()
        return torch.from_numpy(self._kept[part]).to(x.device)[:, None].float()

    @property
    def touched(self) -> float:
        """Share of pixels that may be touched, over all items."""
        return 0.0 if self._kept is None else float(self._kept.mean())
