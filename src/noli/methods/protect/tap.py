"""TAP: targeted adversarial poisons (Fowl et al.; NeurIPS 2021; arXiv 2106.10807).

A surrogate is trained on the clean images; then every image is moved, inside an L-infinity ball, to where the
surrogate sees the next class (class k becomes k + 1, the last the first), and keeps its true label. A network
trained on that learns the features of class k + 1 as class k. ``goal="untargeted"`` only moves images away
from their own class.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; noise is learned on squares of ``size`` pixels and
stretched over pictures of any size, within the same bound ``eps`` (in [0, 1] units).

Threat model: a trainer who trains from scratch on all protected images with your labels, greyscale included
(the noise is of high frequency). It does not stop JPEG, adversarial training, RSK+FF, COIN, orthogonal
projection or purification, nor anybody with many clean originals beside protected ones. Where ours differs
from the paper's settings: one start instead of eight restarts, steps of one length, a small surrogate by
default, seeds from the key.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from noli.core.key import Key
from noli.core.method import Card, DataSummary, Spec, State
from noli.ops import noisestore
from noli.train.options import LearnedConfig


class Config(LearnedConfig):
    """Options of TAP. Paper: eps 8/255, 250 steps, ResNet-18; here steps of 2 eps / ``steps``."""

    goal: Literal["targeted", "untargeted"] = Field(
        "targeted", description="move pictures to the next class, or only away from their own"
    )
    epochs: int = Field(12, ge=1, description="surrogate epochs on clean data (paper: to convergence)")
    steps: int = Field(100, ge=1, description="steps of the search (paper: 250)")


SPEC = Spec(
    name="protect/tap",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels", "data"}),
    reversible=True,
    options=("eps", "goal", "steps", "network"),
    module=__name__,
    trial={"steps": 3, "epochs": 1, "network": "tiny", "size": 16},
    card=Card(
        title="TAP: targeted adversarial poisons",
        paper="Fowl, Goldblum, Chiang, Geiping, Czaja, Goldstein. Adversarial Examples Make Strong Poisons. "
        "NeurIPS 2021. arXiv 2106.10807",
        stops=("Ordinary training from scratch on the protected images, in colour and in grey.",),
        does_not_stop=(
            "Training on JPEG copies, adversarial training, and purification.",
            "Sharpening with frequency filtering (RSK+FF), random displacement (COIN) and, just, orthogonal "
            "projection.",
            "A thief who learns the noise from clean originals beside protected ones.",
            "Training with other labels, on unprotected copies, or from pre-trained weights, and "
            "self-supervised learning.",
        ),
        bibtex="@inproceedings{fowl2021adversarial, title={Adversarial Examples Make Strong Poisons}, "
        "author={Fowl, Liam and Goldblum, Micah and Chiang, Ping-yeh and Geiping, Jonas and Czaja, Wojciech "
        "and Goldstein, Tom}, booktitle={NeurIPS}, year={2021}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Learn the noise; see :func:`noli.train.learned.prepare_noise` for state and errors."""
    from dataclasses import replace

    from noli.train.callbacks import CropFlip
    from noli.train.fit import fit
    from noli.train.learned import prepare_noise
    from noli.train.lesson import Lesson, Told
    from noli.train.minmin import sweep
    from noli.train.perturb import Descent

    targeted = cfg.goal == "targeted"

    def learn(lesson: Lesson) -> dict[str, float]:
        if not lesson.trained:
            recipe = lesson.recipe(epochs=cfg.epochs)
            told = Told(lesson.tell, recipe.steps_for(len(lesson.x)), "surrogate")
            fit(lesson.model, lesson.x, lesson.y, recipe, [CropFlip(), told], checkpoint=lesson.checkpoint)
        clean = float((lesson.model.predict(lesson.x).argmax(1) == lesson.y).mean())
        wanted = (lesson.y + targeted) % len(lesson.model.class_names)
        side = lesson.x.shape[1]
        how = Descent(cfg.eps, 2 * cfg.eps / cfg.steps, cfg.steps, shift=side // 16, ascend=not targeted)
        sweep(replace(lesson, y=wanted), how, fresh=True)
        moved = 1.0 - lesson.error() if not targeted else 1.0 - replace(lesson, y=wanted).error()
        return {"clean_accuracy": clean, "seen_as_wanted" if targeted else "seen_as_own": moved}

    return prepare_noise(summary, key, cfg, previous, learn, "protect/tap")


apply, invert = noisestore.hooks()
