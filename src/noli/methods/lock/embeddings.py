"""Multiple encrypted patch embeddings (AprilPyone, Kiya; APSIPA ASC 2023; arXiv 2309.01620).

A network of patches gets a secret first layer and head, trained for pictures whose patches are permuted under
a key; everything between stays as it is and may be public. With several pairs, one is drawn for every query.

Shapes: pictures ``uint8 [N, side, side, C]``, as working images in [0, 1]; the keyed model takes plain
pictures and permutes them itself.

Threat model: somebody who has the public network, or the weights of the keyed one, and not the key; his
adversarial pictures carry over less. It does not stop somebody who has the key (transform and first layer are
one linear layer, so the model is as open as any), nor queries; and pictures without the transform, or under
another key, may still be classified: the run says how well. Where ours differs: the body's weights are those
of a small network that is trained here unless one is given; hyper-parameters are ours, as the paper's could
not be read; keys have 256 bits (published code: a seed of torch with 32).
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
    from noli.core.model import Model
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.keyed import KeyedModel

NAME = "lock/embeddings"
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Config(MethodConfig):
    """Options of keyed patch embeddings."""

    pairs: int = Field(1, ge=1, le=16, description="secret first layers, each with a permutation of its own")
    network: Literal["convmixer", "vit"] = Field(
        "convmixer", description="network of patches that is trained where no model is given"
    )
    side: int = Field(32, ge=8, le=512, multiple_of=4, description="pixels to which pictures are squeezed")
    epochs: int = Field(20, ge=1, le=1000, description="passes over the pictures per pair (ours)")
    body_epochs: int = Field(15, ge=1, le=1000, description="passes for the public network (ours)")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the pictures that only test")
    converted: bool = Field(
        False, description="fold the key into the given layer without training: exact, and protects nothing"
    )
    wrong_keys: int = Field(20, ge=1, le=1000, description="other keys that are tried on the finished model")
    eps: float = Field(4 / 255, gt=0, le=1, description="radius of the attacks on the finished model")
    attacked: int = Field(200, ge=1, description="held-out pictures that are attacked")


# Rows of :func:`matrix`, in words.
MEANINGS = {
    "clean": "with the key",
    "plain": "the public network, without any lock",
    "no key": "the secret layers on pictures that are not permuted",
    "wrong keys": "other keys, mean",
    "worst wrong key": "other keys, the one that does best",
    "L1 public network": "attacked by who has the public network",
    "L2 weights": "attacked by who has the secret layers, not the key",
    "L2 guessed keys": "the same with guessed keys, the best of five",
    "L3 key": "attacked by who has everything: no claim is made",
    "plain attacked": "the public network, attacked",
}
# Under which name the results of a run have them, what they are, and what else a reader must know.
MEASURE = ("accuracy", "Accuracy")
WORDS = "A key for a model is no access control: much of what it does needs no key; see the table."
NEXT = "Attacks here are PGD with 20 steps: stronger ones find more. Who has the key is not hindered."

SPEC = Spec(
    name=NAME,
    family="lock",
    arrow="model->model",
    config=Config,
    card=Card(
        title="Multiple encrypted patch embeddings",
        paper="AprilPyone, Kiya. Hindering Adversarial Attacks with Multiple Encrypted Patch Embeddings. "
        "APSIPA ASC 2023. arXiv 2309.01620",
        stops=("Adversarial pictures that were made against the public network, in part: see the matrix.",),
        does_not_stop=(
            "Somebody who has the key: against him the model is like any other.",
            "Queries: attacks that ask the model need no key.",
            "Use without the key: other keys and plain pictures may still work.",
            "Anything, where the key was folded in without training.",
        ),
        bibtex="@inproceedings{aprilpyone2023hindering, title={Hindering Adversarial Attacks with Multiple "
        "Encrypted Patch Embeddings}, author={AprilPyone, MaungMaung and Kiya, Hitoshi}, "
        "booktitle={APSIPA ASC}, year={2023}}",
    ),
    needs=frozenset({"key", "labels"}),
    options=("pairs", "network", "side", "epochs", "converted"),
    module="noli.methods.lock.embeddings",
)


def public_network(
    x: Images, y: Labels, names: tuple[str, ...], cfg: Config, checkpoint: Checkpoint | None = None
) -> Model:
    """Train the network whose body is frozen later; nothing in it depends on a key.

    Args:
        x: ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        names: Class names.
        cfg: Options.
        checkpoint: Where finished steps are kept.
    """
    from noli import zoo
    from noli.train.callbacks import CropFlip
    from noli.train.fit import fit
    from noli.train.recipe import Recipe

    sided = {"side": cfg.side} if cfg.network == "vit" else {}
    model = zoo.network(cfg.network, names, x.shape[3], size=cfg.side, **sided)
    recipe = Recipe(epochs=cfg.body_epochs, optimiser="adam", lr=3e-3, weight_decay=0.01)
    fit(model, x, y, recipe, [CropFlip()], checkpoint=checkpoint)
    return model


def transform(
    base: Model, x: Images, y: Labels, key: Key, cfg: Config, checkpoint: Checkpoint | None = None
) -> KeyedModel:
    """Give a network secret first layers and heads for a key.

    Args:
        base: Isotropic classifier; only its body is kept, unless ``converted``.
        x: ``uint8 [N, side, side, C]``, whole patches.
        y: Labels ``[N]``.
        key: The owner's.
        cfg: Options.
        checkpoint: Where finished steps are kept.
    """
    from noli.train.callbacks import CropFlip
    from noli.train.keyed import RECIPE, train_pair
    from noli.zoo.keyed_folding import converted

    if cfg.converted:
        return converted(base, key)
    recipe = RECIPE.model_copy(update={"epochs": cfg.epochs})
    model: Any = base
    for number in range(cfg.pairs):
        if checkpoint is not None:
            checkpoint.depends_on(base.weight_hash(), str(number))
        model, _ = train_pair(model, key, x, y, recipe, [CropFlip()], checkpoint=checkpoint)
    return model  # type: ignore[no-any-return]


def matrix(keyed: KeyedModel, base: Model, x: Images, y: Labels, cfg: Config) -> dict[str, float]:
    """Return accuracies on held-out pictures: with and without the key, and under attack by what is known.

    The attacks are PGD with 20 steps, a stand-in for stronger ones: they bound robustness from above only.

    Args:
        keyed: The finished model.
        base: The public network.
        x: Held-out pictures ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        cfg: Options.

    Returns:
        Accuracies by the names in ``MEANINGS``.
    """
    from noli.zoo.keyed import KeyedModel, Pair
    from noli.zoo.keyed_folding import stolen

    pairs = keyed.pairs

    def guessed(other: Key) -> KeyedModel:
        own = [Pair(pair.embed, pair.head, other, pair.number) for pair in pairs]
        return KeyedModel(keyed, own, pick="average")

    guesses = [guessed(Key.generate()) for _ in range(cfg.wrong_keys)]
    wrong = [_accuracy(one, x, y) for one in guesses]
    few, labels = x[: cfg.attacked], y[: cfg.attacked]
    thief = stolen(keyed, 0)
    open_ = KeyedModel(keyed, pairs, pick="average")
    under = [_attacked(one, keyed, few, labels, cfg.eps) for one in guesses[:5]]
    return {
        "clean": _accuracy(keyed, x, y),
        "plain": _accuracy(base, x, y),
        "no key": _accuracy(thief, x, y),
        "wrong keys": float(np.mean(wrong)),
        "worst wrong key": max(wrong),
        "L1 public network": _attacked(base, keyed, few, labels, cfg.eps),
        "L2 weights": _attacked(thief, keyed, few, labels, cfg.eps),
        "L2 guessed keys": min(under),
        "L3 key": _attacked(open_, keyed, few, labels, cfg.eps),
        "plain attacked": _attacked(base, base, few, labels, cfg.eps),
    }


def told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else a run says of its results, as labels and texts."""
    pairs = f"{results['pairs']}, with a permutation each"
    return [("secret pairs", pairs), ("guessing", percent(results["chance"]))]


def _accuracy(model: Model, x: Images, y: Labels) -> float:
    return float((model.predict(x).argmax(1) == y).mean())


def _attacked(source: Model, target: Model, x: Images, y: Labels, eps: float) -> float:
    """Return the accuracy of one model on pictures that were made against another."""
    import torch

    from noli.core.images import to_float
    from noli.ops.pgd import pgd_linf

    images = torch.from_numpy(np.ascontiguousarray(to_float(x)))
    generator = torch.Generator().manual_seed(0)  # an attacker's, so that it need not be secret
    made = pgd_linf(source, images, torch.from_numpy(y), eps=eps, steps=20, generator=generator)
    with torch.no_grad():
        found = target(made).argmax(1).numpy()
    return float((found == y).mean())
