"""A locked detector as a lock that can be picked; pictures and boxes are the thief's."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.model import Model
from noli.train.detecting import RECIPE, detection_loss, precision, train_detector
from noli.train.picking import Images, Setting, natural
from noli.zoo.base import Frozen
from noli.zoo.detector import Detector, SmallDetector, detector
from noli.zoo.locked_detector import LockedDetector
from noli.zoo.turns import attach

# No fewer steps for few pictures: a thief has time.
STEPS_PER_EPOCH = 4


class DetectorLock:
    """Locked layers of a small detector; boxes are ``float32 [N, M, 5]`` as in :mod:`noli.train.detecting`.

    Args:
        locked: The locked detector.
        key: The owner's: it says what thieves look for, and none of them is given it.

    Raises:
        UsageError: Blocks of values (``pp``), negation by the maximum, or a network that is not trained here.
        WrongKey: The key is another.
    """

    def __init__(self, locked: LockedDetector, key: Key) -> None:
        lock, net = locked.lock, locked.stolen.net
        if not pickable(locked) or not isinstance(net, SmallDetector):
            why = f"got {lock.form}, {locked.stolen.arch}"
            raise UsageError("Only channels of small detectors are attacked.", why=why)
        lock.check(key)
        self.locked, self.net = locked, net
        self.right: Setting = tuple(lock.turns(key))
        self.placed, self.signed = lock.form in ("cp", "both"), lock.form in ("np", "both")

    def opened(self, setting: Setting) -> Model:
        """Return the detector with guessed turns, one per locked layer."""
        return self.locked.guessed(setting)

    def asked(self, setting: Setting) -> Model:
        """Return the detector with guessed turns, to be asked only."""
        return self.locked.guessed(setting)

    def adapted(self) -> Model:
        """Return the detector with a 1 x 1 convolution in every turn's place, the identity at first."""
        made = copy.deepcopy(self.locked.stolen).requires_grad_(False)
        for number, layer in enumerate(self.locked.lock.layers):
            dense = nn.Conv2d(layer.channels, layer.channels, 1, bias=False)
            dense.weight.data = torch.eye(layer.channels)[..., None, None]
            attach(made.net, layer.name, dense)
            made.add_module(f"adapter_{number}", dense)
        _freeze_norms(made.net)
        return made

    def loosened(self) -> Model:
        """Return the detector without any turn; all of its weights may be trained."""
        return self.locked.guessed(natural(self.right)).requires_grad_(True)

    def fresh(self) -> Model:
        """Return an untrained detector of the same shape."""
        stolen = self.locked.stolen
        own = {name: value for name, value in stolen.arch_args.items() if name != "classes"}
        return detector(stolen.class_names, **own)

    def few(self, x: Images, y: Tensor, count: int) -> tuple[Images, Tensor] | None:
        """Return so many pictures with their boxes, or None where there are fewer."""
        return None if len(x) < count else (x[:count], y[:count])

    def trained(self, model: Model, x: Images, y: Tensor, epochs: int) -> Model:
        """Train on pictures with boxes, moved and mirrored."""
        if len(x) > 1 and isinstance(model, Detector):
            steps = {"epochs": epochs, "min_steps": STEPS_PER_EPOCH * epochs}
            train_detector(model, x, y, RECIPE.model_copy(update=steps))
        return model.eval()

    def loss(self, model: Model, x: Images, y: Tensor) -> float:
        """Return the loss that detectors are trained with."""
        raw = torch.from_numpy(model.predict(x))
        return float(detection_loss(self.net)(raw, y))

    def score(self, model: Model, x: Images, y: Tensor) -> float:
        """Return mean average precision at an overlap of 0.5."""
        return precision(model, x, y, len(model.class_names)).at_half


def _freeze_norms(net: nn.Module) -> None:
    """Keep running statistics as they are: what is frozen must not learn from the thief's few pictures."""
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, Frozen(module))


def pickable(locked: LockedDetector) -> bool:
    """Tell whether a lock is of channels that move or change sign, which guesses can be tried for."""
    return isinstance(locked.stolen.net, SmallDetector) and locked.lock.foldable
