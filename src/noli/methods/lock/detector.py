"""Access control of object detectors with encrypted feature maps (Nagamori et al.; arXiv 2209.14831).

The map of a layer inside of a detector is changed under a key: channels permuted (``cp``), channels negated
(``np``), both (ours), or blocks of places permuted (``pp``). ``paper`` trains the detector with the change;
``folded``, ours and the default, puts it into the weights of a trained one, exactly and without training.

Shapes: pictures ``uint8 [N, side, side, 3]``, as working images in [0, 1]; boxes ``float32 [N, M, 5]``:
class, left, top, right, bottom in pixels.

Threat model: somebody who has weights, architecture and code, and not the key, and wants to use the detector.
How much it finds for him depends on data and layers, and the run says it; with one layer and ``cp`` it may be
half. It does not stop somebody with a few labelled pictures: he climbs to the key, or learns a linear map in
its place (the run says with how many pictures); nor somebody who has a copy of the unlocked
weights. So the file should be sealed, too (``noli lock seal``), which is cryptography. Where ours differs: a
small detector without anchors instead of SSD300 with VGG16, focal loss and overlap instead of hard negatives
and smooth L1; three layers by default; hyper-parameters are ours, as the paper's could not be read; a stream
of a 256-bit key per layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from noli.core import attacks
from noli.core.key import Key
from noli.core.method import Card, MethodConfig, Spec
from noli.core.theft import BOXED, Keyless
from noli.ops.metrics import percent

if TYPE_CHECKING:
    from torch import Tensor

    from noli.core.attacks import Named
    from noli.core.theft import Theft
    from noli.ops.boxes import Precision
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.channel_lock import Lock
    from noli.zoo.detector import Detector
    from noli.zoo.locked_detector import LockedDetector

NAME = "lock/detector"
Images = npt.NDArray[np.uint8]
# Layers that are locked where none is named, by network.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "small-detector": ("body.1", "body.3", "body.5"),
    "fastestdet": ("SPP",),
}
PICTURES_OF_THIEVES = (5, 20, 50, 100)


class Config(MethodConfig):
    """Options of locked detectors."""

    mode: Literal["folded", "paper"] = Field(
        "folded", description="fold the lock into trained weights (exact), or train with it (paper)"
    )
    transform: Literal["cp", "np", "both", "pp"] = Field(
        "both",
        description="channels permuted, negated, both (ours), or places of blocks permuted (paper mode)",
    )
    negation: Literal["sign", "max"] = Field(
        "sign", description="of np: -F, or max F - F (paper mode only; the paper's after a ReLU)"
    )
    block: int = Field(4, ge=2, le=16, description="side of a block of places, for pp")
    layers: tuple[str, ...] = Field(
        (), description="locked layers; none: body.1, body.3, body.5 of the small one, SPP of FastestDet"
    )
    side: int = Field(
        192, ge=32, le=1024, multiple_of=32, description="pixels to which pictures are squeezed"
    )
    stride: Literal[8, 16] = Field(
        8, description="pixels per cell of the small detector; 16 for large objects"
    )
    width: int = Field(64, ge=8, le=512, multiple_of=2, description="channels of the small detector")
    epochs: int = Field(40, ge=1, le=10_000, description="passes over the pictures (ours)")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the pictures that only test")
    wrong_keys: int = Field(20, ge=1, le=1000, description="other keys that are tried (paper: 100)")
    thief_pictures: int = Field(
        20, ge=0, description="most pictures with boxes that thieves are given; 5, 20, 50, 100 are tried"
    )
    thief_search: bool = Field(False, description="also look for the key step by step; takes minutes")

    @model_validator(mode="after")
    def _can_be_folded(self) -> Self:
        if self.mode == "folded" and (self.transform == "pp" or self._by_maximum):
            raise ValueError("pp and negation=max cannot be folded into weights: give mode=paper")
        return self

    @property
    def _by_maximum(self) -> bool:
        return self.transform == "np" and self.negation == "max"


# Of the rows of :func:`matrix`, in words.
MEANINGS = {
    "plain": "the same detector without any lock",
    "key": "with the key",
    "no key": "the file as it is, without the key",
    "wrong keys": "other keys, mean",
    "worst wrong key": "other keys, the one that does best",
}
MEASURE = ("map50", "mAP@0.5")
WORDS = (
    "A lock on feature maps is no cryptography: somebody with a few labelled pictures gets around it. Give "
    "the file away sealed (noli lock seal), or not at all."
)
NEXT = (
    "Who has the key, or unlocked weights, is not hindered. To give the file away: noli lock seal (with "
    "pp or max: of the detector without a lock, from the run folder). Pictures "
    "with boxes get a thief around the lock: see how many. The run folder holds the detector unlocked."
)

SPEC = Spec(
    name=NAME,
    family="lock",
    arrow="model->model",
    config=Config,
    card=Card(
        title="Detector access control",
        paper="Nagamori, Ito, MaungMaung, Kiya. Access Control with Encrypted Feature Maps for Object "
        "Detection Models. IEICE Trans. Inf. Syst. E106-D, 2023. arXiv 2209.14831",
        stops=("Use of a copied file by somebody without the key and without labelled pictures.",),
        does_not_stop=(
            "Somebody with a few labelled pictures: he finds a key that is good enough, or learns a layer.",
            "Somebody who has the unlocked weights, or any licensed process whose memory he can read.",
            "Training another detector from the answers of this one.",
        ),
        bibtex="@article{nagamori2023access, title={Access Control with Encrypted Feature Maps for Object "
        "Detection Models}, author={Nagamori, Teru and Ito, Hiroki and MaungMaung, AprilPyone and Kiya, "
        "Hitoshi}, journal={IEICE Transactions on Information and Systems}, volume={E106-D}, number={1}, "
        "pages={12--21}, year={2023}}",
    ),
    needs=frozenset({"key"}),
    options=("mode", "transform", "layers", "side", "stride", "epochs", "wrong_keys"),
    module="noli.methods.lock.detector",
)


def public_network(
    x: Images, boxes: Tensor, names: Sequence[str], cfg: Config, checkpoint: Checkpoint | None = None
) -> Detector:
    """Train a small detector without any lock; nothing in it depends on a key.

    Args:
        x: ``uint8 [N, side, side, 3]``.
        boxes: ``float32 [N, M, 5]``.
        names: Class names.
        cfg: Options.
        checkpoint: Where finished steps are kept.
    """
    from noli.train.detecting import train_detector
    from noli.zoo.detector import detector

    model = detector(names, width=cfg.width, stride=cfg.stride)
    train_detector(model, x, boxes, _recipe(cfg), checkpoint=checkpoint)
    return model.eval()


def transform(
    base: Detector, x: Images, boxes: Tensor, key: Key, cfg: Config, checkpoint: Checkpoint | None = None
) -> LockedDetector:
    """Lock a detector.

    Args:
        base: Any detector for ``folded``; for ``paper`` it gives the sizes of a small one that is trained
            anew.
        x: ``uint8 [N, side, side, 3]``; for ``paper`` only.
        boxes: ``float32 [N, M, 5]``.
        key: The owner's.
        cfg: Options.
        checkpoint: Where finished steps are kept.

    Raises:
        UsageError: No such layer, one that cannot be locked exactly, or blocks that do not fit its map.
    """
    from noli.train.detecting import train_detector
    from noli.zoo.detector import detector
    from noli.zoo.locked_detector import fold_detector, without_change

    if cfg.mode == "folded":
        return fold_detector(base, *_where(base, key, cfg), cfg.transform)
    seed = int(key.stream(f"{NAME}/weights").integers(1, 2**62)[0])  # nobody else can start from the same
    fresh = detector(base.class_names, seed=seed, width=cfg.width, stride=cfg.stride).eval()
    model, lock = _changing(fresh, key, cfg)
    train_detector(model, x, boxes, _recipe(cfg), checkpoint=checkpoint)
    return without_change(model.eval(), lock)


def check(cfg: Config, base: Detector | None = None) -> None:
    """Refuse, before anything is trained, what :func:`transform` would refuse afterwards.

    Args:
        cfg: Options.
        base: The detector that is to be locked; None: a small one that is still to be trained.

    Raises:
        UsageError: See :func:`transform`.
    """
    from noli.zoo.detector import detector
    from noli.zoo.locked_detector import fold_detector

    model, key = base or detector(("any",), width=cfg.width, stride=cfg.stride).eval(), Key.generate()
    if cfg.mode == "folded":
        fold_detector(model, *_where(model, key, cfg), cfg.transform)
    else:
        _changing(model, key, cfg)


def _where(base: Detector, key: Key, cfg: Config) -> tuple[Sequence[str], Key, Tensor]:
    import torch

    example = torch.zeros(1, 3, cfg.side, cfg.side, device=next(base.parameters()).device)
    return cfg.layers or LAYERS.get(base.arch, ()), key, example


def _changing(model: Detector, key: Key, cfg: Config) -> tuple[Detector, Lock]:
    from noli.zoo.locked_detector import paper_lock

    where = _where(model, key, cfg)
    return paper_lock(model, *where, cfg.transform, block=cfg.block, negation=cfg.negation)


def matrix(
    locked: LockedDetector, base: Detector, key: Key, x: Images, boxes: Tensor, cfg: Config
) -> dict[str, dict[str, float]]:
    """Return how well the detector finds boxes of held-out pictures, with the key and without.

    Args:
        locked: The finished model.
        base: The detector without a lock.
        key: The owner's.
        x: Held-out pictures ``uint8 [N, side, side, 3]``.
        boxes: Theirs, ``float32 [N, M, 5]``.
        cfg: Options.

    Returns:
        ``map50`` and ``map`` (mean over overlaps of 0.50 to 0.95) by the names in ``MEANINGS``; under
        ``displaced``, mAP@0.5 by the number of wrong places in every locked layer, mean of three draws.
    """
    found = {"plain": _scored(base, x, boxes), "key": _scored(locked.opened(key), x, boxes)}
    without, wrong = _keyless(locked, x, boxes, cfg.wrong_keys)
    tables: dict[str, dict[str, float]] = {}
    for name, pick in (("map50", "at_half"), ("map", "coco")):
        tables[name] = {row: getattr(one, pick) for row, one in found.items()}
        tables[name] |= Keyless.of(getattr(without, pick), [getattr(one, pick) for one in wrong]).rows
    return {**tables, "displaced": _displaced(locked, key, x, boxes)}


def _keyless(
    locked: LockedDetector, x: Images, boxes: Tensor, wrong_keys: int
) -> tuple[Precision, list[Precision]]:
    """Return how well the detector finds boxes as it is, and under so many wrong keys."""
    from noli.zoo.keyed_thieves import guess

    guesses = [locked.lock.turns(guess(number)) for number in range(1, wrong_keys + 1)]
    return _scored(locked.stolen, x, boxes), [_scored(locked.guessed(one), x, boxes) for one in guesses]


def fitting(locked: LockedDetector, cfg: Config) -> tuple[Named[str], ...]:
    """Return the attacks that a detector is picked by; none where its lock or network is none that is."""
    from noli.train.detector_target import pickable

    if cfg.thief_pictures < PICTURES_OF_THIEVES[0] or not pickable(locked):
        return ()
    return tuple(one for one in attacks.THEFT if one != attacks.MATCHING)


def stolen(
    locked: LockedDetector,
    key: Key,
    own: tuple[Images, Tensor],
    held: tuple[Images, Tensor],
    cfg: Config,
    wanted: Collection[str] = (),
    without: Keyless | None = None,
) -> Theft | None:
    """Pick the lock with few pictures with boxes; None where the lock or the network is none that is picked.

    Args:
        locked: The finished detector.
        key: The owner's.
        own: The thief's pictures and boxes; those that the detector has learned from are to his advantage.
        held: Held-out ones.
        cfg: Options.
        wanted: Names of the attacks that are made; none: all. A search that is named is made in any case.
        without: What the held-out pictures give without the key, from :func:`matrix`; None: it is measured.
    """
    from noli.train.detector_target import DetectorLock
    from noli.train.picking import Effort, pick

    if not fitting(locked, cfg):
        return None
    pictures = [count for count in PICTURES_OF_THIEVES if count <= cfg.thief_pictures]
    searched = pictures[-1:] if cfg.thief_search or attacks.SEARCH.name in wanted else ()
    effort = Effort(pictures, searched, cfg.wrong_keys, 2 * cfg.epochs, wanted)
    mixed = np.random.default_rng(0).permutation(len(own[0]))  # pictures beside each other may be alike
    mine = own[0][mixed], own[1][mixed.tolist()]
    if without is None:
        tried = cfg.wrong_keys if attacks.among(attacks.WRONG_KEYS, wanted) else 0
        plain, wrong = _keyless(locked, *held, tried)
        without = Keyless.of(plain.at_half, [one.at_half for one in wrong])
    return pick(DetectorLock(locked, key), mine, held, effort, keyless=without, unit=BOXED)


def told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else a run says of its results, as labels and texts."""
    coco = ", ".join(f"{name} {percent(value)}" for name, value in results["map"].items())
    wrong = ", ".join(f"{count}: {percent(value)}" for count, value in results["displaced"].items())
    places = f"{', '.join(results['layers'])}: the key decides {results['places']:,} places"
    return [("locked", places), ("mAP@[.5:.95]", coco), ("wrong places", f"{wrong} (mAP@0.5)")]


def _displaced(locked: LockedDetector, key: Key, x: Images, boxes: Tensor) -> dict[str, float]:
    from noli.train.picking import by_displacement

    found = by_displacement(
        tuple(locked.lock.turns(key)), lambda turns: _scored(locked.guessed(turns), x, boxes).at_half
    )
    return {str(count): score for count, score in found.items()}


def _scored(model: Detector, x: Images, boxes: Tensor) -> Precision:
    from noli.train.detecting import precision

    return precision(model, x, boxes, len(model.class_names))


def _recipe(cfg: Config) -> Any:
    from noli.train.detecting import RECIPE

    return RECIPE.model_copy(update={"epochs": cfg.epochs})
