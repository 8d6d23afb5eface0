"""Proliferation of keyed models (AprilPyone, Kiya; IEEE OJSP 5, 2024; arXiv 2311.16577): a model per device.

Every device gets a key of its own, which follows from the owner's, and a small file: a patch embedding and a
head for patches permuted under that key, and low-rank changes of the public network's body. So adversarial
pictures that are made on one device should not work on others, and a leaked model names its device.

Shapes: pictures ``uint8 [N, side, side, C]``, as working images in [0, 1].

Threat model: the attacker has everything of device A and attacks device B. It does not stop whoever has A
from attacking or using A, nor queries. How much carries over is measured, not assumed, as devices share most
of their weights. Where ours differs: rank, rates and epochs are ours, as the paper's could not be read; the
embedding starts from random weights unless asked otherwise, as the public one would protect little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.key import Key
from noli.core.method import Card, MethodConfig, Spec
from noli.ops.metrics import percent

if TYPE_CHECKING:
    from torch import Tensor

    from noli.core.model import Model
    from noli.ops.adversarial.suite import Strength
    from noli.train.checkpoint import Checkpoint

NAME = "lock/proliferate"
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Config(MethodConfig):
    """Options of a fleet."""

    network: Literal["convmixer", "vit"] = Field(
        "vit", description="network of patches that is trained where no base is given"
    )
    side: int = Field(32, ge=8, le=512, multiple_of=4, description="pixels to which pictures are squeezed")
    rank: int = Field(8, ge=0, le=256, description="rank of the changes of the body (ours); 0: none")
    scale: float = Field(2.0, gt=0, le=64, description="scale of these changes (LoRA's alpha by rank; ours)")
    start: Literal["random", "public"] = Field(
        "random", description="where a device's first layer starts; from the public one little is protected"
    )
    apart: float = Field(
        0.0, ge=0, le=100, description="penalty on likeness to the public first layer (ours)"
    )
    epochs: int = Field(10, ge=1, le=1000, description="passes over the pictures per device (ours)")
    body_epochs: int = Field(15, ge=1, le=1000, description="passes for the public network (ours)")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the pictures that only test")
    wrong_keys: int = Field(20, ge=1, le=1000, description="other keys that are tried on every device")
    eps: float = Field(4 / 255, gt=0, le=1, description="radius of the attacks")
    attacked: int = Field(100, ge=1, description="held-out pictures that are attacked")
    attack_steps: int = Field(20, ge=1, le=1000, description="gradient steps per attack")
    targets: int = Field(3, ge=1, le=100, description="other classes of targeted attacks")
    matrix: int = Field(8, ge=0, le=100, description="devices that are attacked from each other; 0: none")


# Rows of a run's mean over devices, in words; under which name the results have them, and what they are.
MEANINGS = {
    "clean": "with the device's key, mean of all devices",
    "no key": "its layers on pictures that are not permuted, mean",
    "wrong keys": "other keys, mean",
    "worst wrong key": "other keys, the one that does best, mean",
}
MEASURE = ("mean", "Accuracy")
NEXT = "Whoever has a device can attack it; the matrix says how much that does to the others."

SPEC = Spec(
    name=NAME,
    family="lock",
    arrow="model->models",
    config=Config,
    card=Card(
        title="A keyed model for every device",
        paper="AprilPyone, Kiya. Key-based model proliferation by fine-tuning a pre-trained model. IEEE Open "
        "Journal of Signal Processing 5, 2024. arXiv 2311.16577",
        stops=(
            "Adversarial pictures that were made on one device, on others: in part, see the matrix.",
            "Leaks without a name: a leaked model tells which device it is from.",
        ),
        does_not_stop=(
            "Attacks on a device by whoever has it.",
            "Queries: attacks that ask a device need no key.",
            "Use without the key: other keys and plain pictures may still work.",
        ),
        bibtex="@article{aprilpyone2024proliferation, title={Key-based model proliferation by fine-tuning a "
        "pre-trained model}, author={AprilPyone, MaungMaung and Kiya, Hitoshi}, journal={IEEE Open Journal "
        "of Signal Processing}, volume={5}, pages={902--913}, year={2024}}",
    ),
    needs=frozenset({"key", "labels"}),
    options=("rank", "network", "side", "epochs", "start"),
    module="noli.methods.lock.proliferate",
)


def told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else a run says of its results, as labels and texts."""
    return [
        ("devices", f"{results['devices']:,} in use"),
        (
            "size of a device",
            f"{results['largest_bytes'] / 1e6:,.2f} MB at most beside the network they share",
        ),
        ("guessing", percent(results["chance"])),
    ]


def device(
    base: Model, x: Images, y: Labels, key: Key, cfg: Config, checkpoint: Checkpoint | None = None
) -> dict[str, Tensor]:
    """Train what a device's file holds; see :mod:`noli.zoo.fleet`.

    Args:
        base: The public network.
        x: ``uint8 [N, side, side, C]``, whole patches.
        y: Labels ``[N]``.
        key: The device's.
        cfg: Options.
        checkpoint: Where finished steps are kept.
    """
    from noli.train.fleet import train_device
    from noli.train.recipe import Recipe

    recipe = Recipe(epochs=cfg.epochs, optimiser="adam", lr=1e-3, weight_decay=0.02)
    how: dict[str, Any] = {"rank": cfg.rank, "scale": cfg.scale, "apart": cfg.apart}
    return train_device(base, key, x, y, recipe, warm=cfg.start == "public", checkpoint=checkpoint, **how)


def strength(cfg: Config) -> Strength:
    """Return how much work the attacks of the matrix are given."""
    from noli.ops.adversarial.suite import Strength

    return Strength(eps=cfg.eps, steps=cfg.attack_steps, targets=cfg.targets)
