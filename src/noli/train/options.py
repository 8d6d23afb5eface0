"""Options of the methods that learn noise; without torch, so that help texts come at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from noli.core.method import MethodConfig

# The encoder of UC that is learned from the pictures themselves.
OWN = "own"
_UNITS = {"s": 1, "m": 60, "h": 3600}


def _seconds(value: object) -> object:
    """Read ``90s``, ``10m`` or ``2h``; numbers are seconds."""
    if not isinstance(value, str) or value.lower() == "none":
        return value
    number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
    if not number.replace(".", "", 1).isdigit():
        raise ValueError("a time is a number of seconds, or 90s, 10m, 2h")
    return float(number) * _UNITS[unit]


Seconds = Annotated[float | None, BeforeValidator(_seconds)]
# Less than one level of 8 bits, 0.0039, could not be written.
Bound = Annotated[float, Field(ge=0.0039, le=0.5, description="largest change of a channel, in [0, 1] units")]

LpipsFile = Annotated[str | None, Field(description="safetensors file of LPIPS weights; none: SSIM is used")]


class LearnedConfig(MethodConfig):
    """What every method has that learns noise against a surrogate network."""

    eps: Bound = 8 / 255
    network: Literal["tiny", "small", "resnet9", "resnet18"] = Field(
        "small", description="surrogate network (papers: resnet18)"
    )
    size: Literal["auto"] | Annotated[int, Field(ge=8, le=256)] = Field(
        "auto", description="side in pixels at which noise is learned; auto: that of the data, 16 to 64"
    )
    batch: int = Field(128, ge=2, description="pictures per step")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the surrogate is trained")


class RobustConfig(LearnedConfig):
    """Options of REM and SEM. Papers (CIFAR-10): radius 4/255, 10 x 5 and 10 steps, 5000 surrogate steps."""

    radius: float = Field(
        4 / 255, ge=0, le=0.5, description="radius the surrogate is hardened against, in [0, 1] units"
    )
    noise_steps: int = Field(10, ge=1, description="descent steps per search, each of eps/5")
    samples: int = Field(5, ge=1, description="random transforms per descent step")
    adversary_steps: int = Field(10, ge=1, description="PGD steps of the adversary, each of radius/5")
    steps: int = Field(500, ge=1, description="surrogate steps (papers: 5000, for days on CPUs)")
    lr: float = Field(0.1, gt=0, description="learning rate of the surrogate")
    stop: float = Field(
        0.0, ge=0, lt=1, description="error on protected images, tried once an epoch, that ends the training"
    )
    time: Seconds = Field(
        None,
        gt=0,
        description="seconds after which the surrogate's training ends; the noise of all pictures is made "
        "after it; 90s, 10m, 2h",
    )


class ClusteredConfig(LearnedConfig):
    """Options of UC. Paper: eps 16/255, 10 clusters, generator of width 64, lr 1e-4, 50 epochs."""

    eps: Bound = 16 / 255
    encoder: str = Field(
        "auto",
        description="efficientnet-lite0, own (learned from these pictures without labels), a model file of "
        "noli, or a Hugging Face folder such as CLIP; auto: the first if installed, else own",
    )
    encoder_size: int | None = Field(
        None,
        ge=32,
        le=512,
        description="side at which a pre-trained encoder looks; none: a folder's own, else twice the noise's",
    )
    encoder_epochs: int = Field(20, ge=1, description="passes over the data when the encoder is learned")
    clusters: int = Field(10, ge=2, description="clusters")
    patterns: int = Field(
        1, ge=1, description="pictures of noise per cluster; more are meant to be harder to average out"
    )
    maker: Literal["direct", "generator"] = Field(
        "direct", description="what is trained: the noise itself, or a generator of it per cluster (paper)"
    )
    data: Literal["cluster", "all"] = Field(
        "cluster", description="pictures a cluster's noise is learned on (all: the authors' script)"
    )
    steps: int = Field(100, ge=1, description="training steps per cluster")
    lr: float | None = Field(None, gt=0, description="learning rate; none: 0.1 direct, 0.001 generator")
    width: int = Field(32, ge=4, description="channels of the generator's first layer (paper: 64)")
    shifted: bool = Field(True, description="learn under shifts and mirroring of protected pictures (ours)")
    batch: int = Field(32, ge=2, description="pictures per step")


class GeneratorConfig(MethodConfig):
    """Options of the training of T2UE's generator. Paper: 224 pixels, 500 epochs on MSCOCO, CLIP ViT-B/32."""

    text: str = Field(
        "all-MiniLM-L6-v2", description="text encoder: all-MiniLM-L6-v2, words, or the folder of another"
    )
    surrogate: str = Field(
        "aligned",
        description="image-text model that judges the noise: aligned (packaged parts), the folder of CLIP, "
        "or a network trained on the captioned pictures first: tiny, small, resnet9, resnet18",
    )
    surrogate_side: int | None = Field(
        None, ge=16, description="side a pre-trained surrogate sees; none: a folder's own, else twice `side`"
    )
    side: Literal[16, 32, 64] = Field(32, description="side of the noise in pixels")
    eps: Bound = 8 / 255
    eot: bool = Field(True, description="average over small shifts and mirroring")
    epochs: int = Field(20, ge=1, description="passes over the captioned pictures")
    time: Seconds = Field(
        None, gt=0, description="seconds of training after which the generator is used as it is; 90s, 10m, 2h"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    batch: int = Field(64, ge=2, description="pictures per step")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where it is trained")
    seed: int = Field(0, ge=0, description="seed of weights and order; nothing secret depends on it")
