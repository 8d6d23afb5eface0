"""EM: error-minimising noise, "Unlearnable Examples" (Huang et al.; ICLR 2021; arXiv 2101.04898).

Noise inside an L-infinity ball that makes a surrogate's training loss vanish: there is nothing left to learn.
Rounds of a few surrogate steps on the noisy images and one sweep of sign-gradient descent over all images
(paper: 10 steps; 20 descent steps of eps/10 sample-wise, 1 step class-wise) until the surrogate's training
error falls below ``stop``. ``noise="class"`` learns one picture of noise per class.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; noise is learned on squares of ``size`` pixels and
stretched over pictures of any size, within the same bound ``eps`` (in [0, 1] units).

Threat model: a trainer who trains from scratch on all protected images with your labels and ordinary
augmentation. It does not stop greyscale or JPEG training, adversarial training, RSK+FF, COIN, purification,
or anybody with clean originals beside protected ones; partial protection protects the protected part only.
Where ours differs from the paper's description: seeds come from the key; noise is stored in 255 levels of the
bound; the surrogate's momentum is Nesterov's and starts anew in every round; batches are of 128 images (the
script on the whole of CIFAR-10: 512); new images of an extended run get their noise from the saved surrogate
(the original would start again).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from noli.core.dataset import Item
from noli.core.key import Key
from noli.core.method import Card, DataSummary, Spec, State
from noli.ops import noisestore
from noli.train.options import LearnedConfig


class Config(LearnedConfig):
    """Options of EM. Paper: eps 8/255, 20 steps of eps/10 (class-wise: 1), 10 surrogate steps a round."""

    noise: Literal["sample", "class"] = Field("sample", description="noise per picture, or per class")
    steps: int | None = Field(None, ge=1, description="descent steps per sweep; none: 20, class-wise 1")
    train_steps: int = Field(10, ge=1, description="surrogate steps per round")
    rounds: int = Field(30, ge=1, description="rounds at most")
    stop: float | None = Field(
        None, ge=0, lt=1, description="training error that ends the search; none: 0.01, class-wise 0.1"
    )


SPEC = Spec(
    name="protect/em",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels", "data"}),
    reversible=True,
    options=("eps", "noise", "network"),
    module=__name__,
    trial={"steps": 3, "train_steps": 2, "rounds": 2, "network": "tiny", "size": 16},
    card=Card(
        title="EM: error-minimising noise",
        paper="Huang, Ma, Erfani, Bailey, Wang. Unlearnable Examples: Making Personal Data Unexploitable. "
        "ICLR 2021. arXiv 2101.04898",
        stops=("Ordinary training from scratch on the protected images with their true labels.",),
        does_not_stop=(
            "Training on greyscale or strongly compressed copies, and adversarial training.",
            "Sharpening with frequency filtering (RSK+FF) and random displacement (COIN).",
            "Purification, and a thief who learns the noise from clean originals beside protected ones.",
            "Class-wise noise: averaging the pictures of a class shows it, and on the small photographs of "
            "noli's effect test it had no effect.",
            "Training with other labels, on unprotected copies, or from pre-trained weights, and "
            "self-supervised learning.",
        ),
        bibtex="@inproceedings{huang2021unlearnable, title={Unlearnable Examples: Making Personal Data "
        "Unexploitable}, author={Huang, Hanxun and Ma, Xingjun and Erfani, Sarah Monazam and Bailey, James "
        "and Wang, Yisen}, booktitle={ICLR}, year={2021}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Learn the noise; see :func:`noli.train.learned.prepare_noise` for state and errors."""
    from noli.train.learned import prepare_noise
    from noli.train.lesson import Lesson
    from noli.train.minmin import alternate
    from noli.train.perturb import Descent

    classwise = cfg.noise == "class"
    steps = cfg.steps or (1 if classwise else 20)
    stop = cfg.stop if cfg.stop is not None else (0.1 if classwise else 0.01)

    def learn(lesson: Lesson) -> dict[str, float]:
        how = Descent(cfg.eps, cfg.eps / 10, steps)
        return alternate(lesson, how, train_steps=cfg.train_steps, rounds=cfg.rounds, stop=stop)

    return prepare_noise(summary, key, cfg, previous, learn, "protect/em", classwise=classwise)


def _rows(state: State, items: Sequence[Item], key: Key, cfg: Config) -> list[str]:
    return [str(item.label) if cfg.noise == "class" else item.id for item in items]


apply, invert = noisestore.hooks(_rows)
