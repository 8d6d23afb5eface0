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

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core import attacks
from noli.core.key import Key
from noli.core.method import Card, MethodConfig, Spec
from noli.ops.metrics import percent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noli.core.attacks import Named
    from noli.core.model import Model
    from noli.core.robustness import Robustness
    from noli.core.theft import Keyless, Theft
    from noli.ops.adversarial.suite import Strength
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
    side: int = Field(
        32,
        ge=8,
        le=512,
        multiple_of=4,
        description="pixels to which pictures are squeezed; with --model, what the network takes",
    )
    epochs: int = Field(20, ge=1, le=1000, description="passes over the pictures per pair (ours)")
    body_epochs: int = Field(15, ge=1, le=1000, description="passes for the public network (ours)")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the pictures that only test")
    converted: bool = Field(
        False, description="fold the key into the given layer without training: exact, and protects nothing"
    )
    new_head: bool = Field(
        False, description="train a head for the classes of the pictures on the given network, without a key"
    )
    wrong_keys: int = Field(20, ge=1, le=1000, description="other keys that are tried on the finished model")
    eps: float = Field(4 / 255, gt=0, le=1, description="radius of the attacks on the finished model")
    attacked: int = Field(100, ge=1, description="held-out pictures that are attacked")
    attack_steps: int = Field(30, ge=1, le=1000, description="gradient steps per attack (AutoAttack: 100)")
    targets: int = Field(3, ge=1, le=100, description="other classes of targeted attacks (AutoAttack: 9)")
    queries: int = Field(500, ge=1, description="questions per picture without gradients (AutoAttack: 5,000)")
    thief_labels: int = Field(
        40, ge=1, description="most labelled pictures per class of thieves; 1, 5, 10 and 40 are tried"
    )


# Rows of :func:`use`, in words.
MEANINGS = {
    "clean": "with the key",
    "plain": "the public network, without any lock",
    "no key": "the secret layers on pictures that are not permuted",
    "wrong keys": "other keys, mean",
    "worst wrong key": "other keys, the one that does best",
    "plain attacked": "the public network, under attacks by gradients with the same effort as below",
}
# Labelled pictures per class of thieves.
LABELS_OF_THIEVES, SEARCHED = (1, 5, 10, 40), 5
# Under which name the results of a run have them, what they are, and what else a reader must know.
MEASURE = ("accuracy", "Accuracy")
BANNER = "A key for a model is no access control: much of what it does needs no key"
WORDS = f"{BANNER}; see the table."
NEXT = "Who has the key is not hindered: see L3 of the attacks."

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
    options=("pairs", "network", "side", "epochs", "converted", "new_head"),
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
    from noli.train.keyed import train_public

    return train_public(x, y, names, cfg.network, cfg.body_epochs, checkpoint)


def headed(
    base: Model,
    x: Images,
    y: Labels,
    names: tuple[str, ...],
    cfg: Config,
    checkpoint: Checkpoint | None = None,
) -> Model:
    """Train a head for other classes on a network that was given; its body and first layer stay, no key.

    Args:
        base: The network.
        x: ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        names: Class names.
        cfg: Options; ``body_epochs`` counts.
        checkpoint: Where finished steps are kept.
    """
    from noli.train.keyed import train_head

    if checkpoint is not None:
        checkpoint.depends_on(base.weight_hash(), "head")
    return train_head(base, x, y, names, cfg.body_epochs, checkpoint)


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


def rival(base: Model, x: Images, y: Labels, cfg: Config, checkpoint: Checkpoint | None = None) -> KeyedModel:
    """Train what an attacker can make who has public network, pictures and program: a pair under his own key.

    Args:
        base: The public network.
        x: ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        cfg: Options of the owner, who is thought to have published them.
        checkpoint: Where finished steps are kept.
    """
    from noli.zoo.keyed_thieves import guess

    return transform(base, x, y, guess(0), cfg.model_copy(update={"pairs": 1}), checkpoint)


def use(keyed: KeyedModel, base: Model, x: Images, y: Labels, cfg: Config) -> dict[str, float]:
    """Return accuracies on held-out pictures: with the key, without it, under others, without any lock.

    Args:
        keyed: The finished model.
        base: The public network.
        x: Held-out pictures ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        cfg: Options.

    Returns:
        Accuracies by the names in ``MEANINGS``.
    """
    from noli.ops.adversarial.suite import standing

    return {
        "clean": _accuracy(keyed, x, y),
        "plain": _accuracy(base, x, y),
        **keyless(keyed, x, y, cfg).rows,
        "plain attacked": standing(base, *_working(x, y, cfg), _strength(cfg)),
    }


def keyless(keyed: KeyedModel, x: Images, y: Labels, cfg: Config, wanted: Collection[str] = ()) -> Keyless:
    """Return accuracies without the key: of all pairs, without any permutation and under wrong keys.

    Args:
        keyed: The finished model.
        x: Held-out pictures ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        cfg: Options.
        wanted: Names of the attacks that are made; none: all. Wrong keys are tried if they are among them.
    """
    from noli.core.theft import Keyless
    from noli.zoo.keyed_thieves import guess, with_keys, without_transform

    tried = range(1, cfg.wrong_keys + 1) if attacks.among(attacks.WRONG_KEYS, wanted) else ()
    wrong = [_accuracy(with_keys(keyed, [guess(number)]), x, y) for number in tried]
    return Keyless.of(_accuracy(without_transform(keyed), x, y), wrong)


def told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else a run says of its results, as labels and texts."""
    pairs = f"{results['pairs']}, with a permutation each"
    return [("secret pairs", pairs), ("guessing", percent(results["chance"]))]


def fitting(classes: int, cfg: Config) -> tuple[Named[str], ...]:
    """Return the attacks that a model with so many classes is measured by."""
    from noli.zoo import keyed_matrix

    few = [attacks.SEARCH] if cfg.thief_labels < SEARCHED else []
    return (*keyed_matrix.fitting(classes), *(one for one in attacks.THEFT if one not in few))


def attacked(
    keyed: KeyedModel,
    base: Model,
    other: KeyedModel | None,
    x: Images,
    y: Labels,
    cfg: Config,
    advance: Callable[[], None] = lambda: None,
    wanted: Collection[str] = (),
) -> Robustness:
    """Attack the finished model in every way that an attacker's knowledge allows.

    Args:
        keyed: The finished model.
        base: The public network.
        other: What :func:`rival` returns; None where no attack by gradients is wanted.
        x: Held-out pictures ``uint8 [N, side, side, C]``; the first ``cfg.attacked`` are taken.
        y: Labels ``[N]``.
        cfg: Options.
        advance: Called after every attack.
        wanted: Names of the attacks that are made; none: all.
    """
    from noli.zoo.keyed_matrix import OWN_KEY, Case, robustness
    from noli.zoo.keyed_thieves import guess

    guesses = [guess(i) for i in range(1, cfg.wrong_keys + 1)]
    others = [] if other is None else [(OWN_KEY, other)]
    case = Case(keyed, base, *_working(x, y, cfg), others=others, guesses=guesses)
    return robustness(case, _strength(cfg), advance, wanted)


def stolen(
    keyed: KeyedModel,
    base: Model,
    own: tuple[Images, Labels],
    held: tuple[Images, Labels],
    cfg: Config,
    advance: Callable[[], None] = lambda: None,
    wanted: Collection[str] = (),
    without: Keyless | None = None,
) -> Theft:
    """Pick the lock of the first pair with few labelled pictures: what the model costs without its key.

    Args:
        keyed: The finished model.
        base: The public network.
        own: The thief's pictures; those that the model has learned from are to his advantage.
        held: Held-out pictures.
        cfg: Options.
        advance: Called after every attack.
        wanted: Names of the attacks that are made; none: all.
        without: What :func:`keyless` returns of the held-out pictures; None: it is called.
    """
    from noli.train.keyed_lock import EmbeddingLock, turned
    from noli.train.picking import Effort, pick
    from noli.zoo.keyed_thieves import estimated_order

    labels = [count for count in LABELS_OF_THIEVES if count <= cfg.thief_labels]
    searched = [count for count in labels if count == SEARCHED]  # it asks the model thousands of times
    effort = Effort(labels, searched, cfg.wrong_keys, 2 * cfg.epochs, wanted)
    return pick(
        EmbeddingLock(keyed), own, held, effort, matched=turned(estimated_order(keyed, 0, base)),
        keyless=without or keyless(keyed, *held, cfg, wanted), public=_accuracy(base, *held),
        chance=1 / len(np.unique(own[1])), advance=advance,
    )  # fmt: skip


def _working(x: Images, y: Labels, cfg: Config) -> tuple[Tensor, Tensor]:
    import torch

    from noli.core.images import to_float

    images = torch.from_numpy(np.ascontiguousarray(to_float(x[: cfg.attacked])))
    return images, torch.from_numpy(np.asarray(y[: cfg.attacked], np.int64))


def _strength(cfg: Config) -> Strength:
    from noli.ops.adversarial.suite import Strength

    return Strength(eps=cfg.eps, steps=cfg.attack_steps, targets=cfg.targets, queries=cfg.queries)


def _accuracy(model: nn.Module, x: Images, y: Labels) -> float:
    import torch

    from noli.core.images import to_float
    from noli.core.model import evaluating

    right = 0
    with evaluating(model), torch.no_grad():
        for start in range(0, len(x), 500):
            images = torch.from_numpy(np.ascontiguousarray(to_float(x[start : start + 500])))
            right += int((model(images).argmax(1).numpy() == y[start : start + 500]).sum())
    return right / len(x)
