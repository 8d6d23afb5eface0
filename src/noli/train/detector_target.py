"""A locked detector as those see it who attack the lock with a few labelled pictures."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.train.detecting import detection_loss, precision
from noli.zoo.detector import Detector, SmallDetector
from noli.zoo.locked_detector import LockedDetector
from noli.zoo.turns import Turn, attach


@dataclass(frozen=True)
class DetectorTarget:
    """The lock of one layer by channels (``cp``), folded or trained; pictures and boxes are the attacker's.

    Pictures are working images ``float32 [N, C, H, W]``, boxes ``float32 [N, M, 5]`` as in
    :mod:`noli.train.detecting`.

    Attributes:
        locked: What he stole: weights and the public part of the lock, no key.

    Raises:
        UsageError: Another form, several locked layers, or a network that is not trained here.
    """

    locked: LockedDetector

    def __post_init__(self) -> None:
        lock, net = self.locked.lock, self.locked.stolen.net
        if lock.form != "cp" or len(lock.layers) != 1 or not isinstance(net, SmallDetector):
            why = f"got {lock.form}, {len(lock.layers)} layer(s), {self.locked.stolen.arch}"
            raise UsageError("Only one layer of a small detector, locked by channels, is attacked.", why=why)

    @property
    def size(self) -> int:
        """Channels whose places the key decides."""
        return self.locked.lock.layers[0].channels

    def opened(self, order: Tensor) -> Detector:
        """Return the detector with a guess ``int64 [size]`` in the place of the key's permutation."""
        return self.locked.guessed([Turn(order, torch.ones(len(order)))])

    def adapted(self) -> tuple[Detector, list[nn.Parameter]]:
        """Return the detector with a linear map of channels where the permutation belongs, and its weights.

        It begins as the identity; everything else is frozen. The map is a 1 x 1 convolution without bias.
        """
        made = copy.deepcopy(self.locked.stolen).requires_grad_(False)
        dense = nn.Conv2d(self.size, self.size, 1, bias=False)
        with torch.no_grad():
            dense.weight.copy_(torch.eye(self.size)[..., None, None])
        attach(made.net, self.locked.lock.layers[0].name, dense)
        made.add_module("adapter", dense)
        return made, list(dense.parameters())

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss that detectors are trained with."""
        net = model.net
        if not isinstance(net, SmallDetector):
            raise UsageError("Only small detectors are trained here.")
        return detection_loss(net)(model(x).float(), y)

    def score(self, model: nn.Module, x: Tensor, y: Tensor) -> float:
        """Return mean average precision at an overlap of 0.5; NaN without any box."""
        if not isinstance(model, Detector):
            raise UsageError("This is no detector.", why=type(model).__name__)
        return precision(model, x.cpu().numpy(), y, len(model.class_names)).at_half
