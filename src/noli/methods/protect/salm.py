"""SALM: sparsity-aware local masking (Sun, Liu, Yan, Xu, Sun; arXiv 2403.10573). A RECONSTRUCTION.

Error-minimising noise (see protect/em) that touches only the pixels which matter: most of a medical image is
uninformative. Only the paper's abstract and listings were available and no code is public, so what follows is
our reading of it, with the open choices as options: the noise of an image may lie only on the ``ratio`` of
its pixels with the highest saliency (gradient, gradient times input, or foreground by Otsu's threshold; all
of the clean image, not of the noisy one), renewed every ``refresh`` rounds, optionally smoothed, and
optionally inside regions that the owner gives.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1], grey and colour, 8 and 16 bit; noise is learned on
squares of ``size`` pixels and stretched over pictures of any size, within the same bound ``eps`` (in [0, 1]
units) and the same share of touched pixels.

Threat model: a trainer who trains from scratch on all protected images with your labels and ordinary
augmentation. It does not stop greyscale, JPEG and other purification, RSK+FF, COIN, orthogonal projection,
adversarial training, or anybody with clean originals beside protected ones; sparse noise shows where it lies.
It is no de-identification and no substitute for the clinical record. Measured on two medical sets
(benchmarks/medical.py): three keys left 53.7, 70.1 and 53.7 % on chest X-rays, so differently that nothing
can be said about EM at equal L2 nor about masks kept or renewed; blood cells were not protected.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from noli.core.key import Key
from noli.core.method import Card, DataSummary, Spec, State
from noli.ops import noisestore
from noli.train.options import LearnedConfig


class Config(LearnedConfig):
    """Options of SALM, all reconstructed; 8/255, 20 steps of eps/10 and 10 surrogate steps are EM's."""

    ratio: float = Field(0.25, gt=0, le=1, description="share of a picture's pixels that may change")
    mask: Literal["gradient", "gradient-input", "foreground"] = Field(
        "gradient",
        description="what makes a pixel matter; foreground: the side of Otsu's threshold off the rim",
    )
    smooth: int = Field(1, ge=0, le=16, description="radius in pixels over which saliency is averaged")
    refresh: int = Field(1, ge=0, description="rounds after which masks are made anew; 0: never")
    roi: str | None = Field(
        None,
        description="folder with a mask per picture (its name and size, .png): only non-zero pixels change",
    )
    steps: int = Field(20, ge=1, description="descent steps per sweep")
    train_steps: int = Field(10, ge=1, description="surrogate steps per round")
    rounds: int = Field(30, ge=1, description="rounds at most")
    stop: float = Field(0.01, ge=0, lt=1, description="training error that ends the search")


SPEC = Spec(
    name="protect/salm",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels", "data"}),
    reversible=True,
    options=("eps", "ratio", "mask", "roi", "network"),
    module=__name__,
    trial={"steps": 3, "train_steps": 2, "rounds": 2, "network": "tiny", "size": 16},
    card=Card(
        title="SALM: sparsity-aware local masking (reconstruction)",
        paper="Sun, Liu, Yan, Xu, Sun. Medical Unlearnable Examples: Securing Medical Data from Unauthorized "
        "Training via Sparsity-Aware Local Masking. arXiv 2403.10573",
        stops=("Ordinary training from scratch on the protected images with their true labels.",),
        does_not_stop=(
            "Training on greyscale, compressed or otherwise purified copies, and adversarial training.",
            "Sharpening with frequency filtering (RSK+FF), random displacement (COIN), and orthogonal "
            "projection.",
            "A thief who learns the noise from clean originals beside protected ones.",
            "Training with other labels, on unprotected copies, or from pre-trained weights, and "
            "self-supervised learning.",
            "Classes that are learned from very little: blood cells were learned as well as clean ones.",
            "Re-identification: pixels, tags and burned-in text still show whose image it is.",
        ),
        bibtex="@article{sun2024medical, title={Medical Unlearnable Examples: Securing Medical Data from "
        "Unauthorized Training via Sparsity-Aware Local Masking}, author={Sun, Weixiang and Liu, Yixin and "
        "Yan, Zhiling and Xu, Kaidi and Sun, Lichao}, journal={arXiv:2403.10573}, year={2024}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Learn the noise; see :func:`noli.train.learned.prepare_noise` for state and errors."""
    from noli.train.learned import prepare_noise
    from noli.train.lesson import Lesson
    from noli.train.masks import Masks, touched
    from noli.train.minmin import alternate
    from noli.train.perturb import Descent

    def learn(lesson: Lesson) -> dict[str, float]:
        allowed = None if cfg.roi is None else lesson.regions(cfg.roi)
        masks = Masks(cfg.mask, cfg.ratio, cfg.smooth, cfg.refresh, allowed)
        how = Descent(cfg.eps, cfg.eps / 10, cfg.steps)
        reached = alternate(
            lesson, how, train_steps=cfg.train_steps, rounds=cfg.rounds, stop=cfg.stop, mask=masks
        )
        return {**reached, "touched": touched(lesson)}

    return prepare_noise(summary, key, cfg, previous, learn, "protect/salm")


apply, invert = noisestore.hooks(sparse=True)
