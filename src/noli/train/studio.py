"""Learned attacks as a whole: what is learned once from public pictures, and what for a scheme.

Once: an eye (a frozen encoder of pictures), a style-based generator with an encoder of plain pictures, a
network from what the eye sees to styles, a latent diffusion model that is told what the eye sees. For a
scheme, from pictures scrambled under the attacker's keys: an encoder into styles, and a bridge to the eye.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from noli.core.attacks import BLOCKS, DIFFUSION, EMBEDDING, GUIDED, STYLES
from noli.core.model import Model
from noli.data.study import square
from noli.ops.decipher.invariants import Tokens, fingerprint, invariants, patches
from noli.ops.matching import ssim_distance
from noli.ops.schemes import SchemeName
from noli.train import guided, stylised
from noli.train.diffusion import learn_coder, learn_denoiser
from noli.train.recipe import Recipe
from noli.train.stages import Part, Stages
from noli.train.steps import Steps, Tell
from noli.train.stylised import Eye, Shown
from noli.zoo.latent import LatentDiffusion
from noli.zoo.likeness import Distance
from noli.zoo.style import StyleGenerator, style_generator
from noli.zoo.tokens import TokenEncoder

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Scrambler = Callable[[Images, int], Images]
_CROP = 0.6  # of a side, at least, where there are too few public pictures


class Learning(BaseModel):
    """How much is learned; the defaults take some minutes of one processor core.

    Attributes:
        side: Side in pixels of what is generated; 32 or 64.
        pictures: Public pictures that are learned from; fewer are cropped at random to as many.
        keys: Keys of the attacker for every one of them.
        looks: What an encoder is shown: what no key changes (``invariants``), or patches as they are
            (``patches``), where plain pictures come first.
        diffusion: Whether the latent diffusion model is trained.
        samples: Pictures per embedding, of which the best is taken.
        sampling: Steps of each.
        eye, generator, encoder, bridge, mapper, coder, denoiser: The trainings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: Literal[32, 64] = 32
    pictures: int = Field(2000, ge=2)
    keys: int = Field(1, ge=1)
    looks: Literal["invariants", "patches"] = "invariants"
    diffusion: bool = True
    samples: int = Field(4, ge=1)
    sampling: int = Field(12, ge=2)
    eye: Recipe = stylised.EYE
    generator: Steps = stylised.GENERATOR
    encoder: Steps = stylised.ENCODER
    bridge: Steps = guided.BRIDGE
    mapper: Steps = guided.MAPPER
    coder: Steps = guided.CODER
    denoiser: Steps = guided.DENOISER

    def shortened(self, share: float) -> Learning:
        """Return the same with fewer steps everywhere: to try it out."""
        fields = ("generator", "encoder", "bridge", "mapper", "coder", "denoiser")
        fewer: dict[str, object] = {
            name: (one := getattr(self, name)).model_copy(update={"steps": max(1, int(share * one.steps))})
            for name in fields
        }
        eye = self.eye.model_copy(update={"min_steps": max(1, int(share * self.eye.min_steps))})
        return self.model_copy(update={**fewer, "eye": eye})


@dataclass(frozen=True)
class Studio:
    """What was learned from public pictures in plain.

    Attributes:
        x: ``uint8 [N, S, S, 3]``: the pictures.
        eye: What is seen in a picture.
        known: ``[N, D]``: what is seen in these.
        generator, plain: The generator, and the encoder of plain pictures into its latents.
        mapper: From what is seen to styles.
        model, told: The diffusion model, and where its embeddings are; None without it.
        perception: Distance of pictures that trainings use.
        named: Which that is, and which generator was given.
    """

    x: Images
    eye: Eye
    known: Tensor
    generator: StyleGenerator
    plain: Model
    mapper: nn.Module
    model: LatentDiffusion | None
    told: guided.Told | None
    perception: Distance
    named: str = ""


@dataclass(frozen=True)
class Answer:
    """What an attack says of N scrambled pictures.

    Attributes:
        name: Of the attack.
        images: ``uint8 [N, S, S, 3]``: what it takes them for.
        said, known: By which of a gallery a picture is told: vectors ``[N, D]`` of what the attack says, and
            of the plain pictures.
    """

    name: str
    images: Images
    said: Floats
    known: Floats


def learn_studio(
    x: Images,
    how: Learning,
    stages: Stages,
    *,
    given: StyleGenerator | None = None,
    perception: Distance = ssim_distance,
    named: str = "",
    tell: Tell | None = None,
) -> Studio:
    """Learn what every scheme can be attacked with.

    Args:
        x: ``uint8 [N, S, S, 3]``, public pictures of the side that `how` names.
        how: How much.
        stages: Where finished trainings are kept.
        given: A trained generator of that side; None: one is trained.
        perception: Distance of pictures beside squared error.
        named: Which distance that is and which generator was given, for resuming.
        tell: Progress.
    """
    generator = style_generator(side=how.side) if given is None else given
    plain = stylised.plain_encoder(generator)
    model_of_eye = _eye(x, how, stages)
    eye = Eye(model_of_eye, x)
    first: tuple[Part, ...] = (named, x, how.generator.model_dump_json())
    stages.run(
        "generator", {"generator": generator, "encoder": plain}, first,
        lambda checkpoint: stylised.learn_generator(
            generator, plain, x, how.generator, frozen=given is not None, perception=perception,
            checkpoint=checkpoint, tell=tell,
        ),
    )  # fmt: skip
    generator.eval()
    plain.eval()
    mapper = guided.mapper_of(eye, generator)
    second: tuple[Part, ...] = (named, x, how.model_dump_json(include={"generator", "eye", "mapper"}))
    stages.run(
        "mapper", {"mapper": mapper}, second,
        lambda checkpoint: guided.learn_mapper(
            mapper, x, generator, eye, how.mapper, perception=perception, checkpoint=checkpoint, tell=tell
        ),
    )  # fmt: skip
    model, told = _diffusion(x, eye, how, stages, tell) if how.diffusion else (None, None)
    return Studio(x, eye, eye.of(x), generator, plain, mapper, model, told, perception, named)


def _eye(x: Images, how: Learning, stages: Stages) -> Model:
    made: list[Model] = []
    holder = stylised.untrained_eye(x)

    def train(checkpoint: object) -> None:
        made.append(stylised.learn_eye(x, how.eye, checkpoint))  # type: ignore[arg-type]
        holder.load_state_dict(made[0].state_dict())

    stages.run("eye", {"eye": holder}, (x, how.eye.model_dump_json()), train)
    return holder.cpu().eval()


def _diffusion(
    x: Images, eye: Eye, how: Learning, stages: Stages, tell: Tell | None
) -> tuple[LatentDiffusion, guided.Told]:
    model, told = guided.guided_model(eye, how.side)
    stages.run(
        "coder", {"coder": model.coder}, (x, how.coder.model_dump_json()),
        lambda checkpoint: learn_coder(model, x, how.coder, checkpoint, tell),
    )  # fmt: skip
    data = guided.captioned(x, told, eye)
    stages.run(
        "denoiser", {"denoiser": model.denoiser},
        (x, how.model_dump_json(include={"coder", "denoiser", "eye", "side"})),
        lambda checkpoint: learn_denoiser(model, data, how.denoiser, checkpoint, tell),
    )  # fmt: skip
    return model, told


@dataclass(frozen=True)
class Trained:
    """What was learned to attack one scheme.

    Attributes:
        scheme, block, looks: Of the pictures, and what encoders are shown.
        encoder: Into styles.
        bridge: To what the eye sees.
    """

    scheme: SchemeName
    block: int
    looks: str
    encoder: TokenEncoder
    bridge: TokenEncoder

    def tokens(self, scrambled: Images) -> Tokens:
        """Return what the encoders are shown of scrambled pictures."""
        return seen(self.looks, self.scheme, scrambled, self.block)


def seen(looks: str, scheme: SchemeName, images: Images, block: int) -> Tokens:
    """Return tokens of pictures, scrambled or plain; see :class:`Learning`."""
    return invariants(scheme, images, block) if looks == "invariants" else patches(images, block)


def learn_scheme(
    studio: Studio,
    scheme: SchemeName,
    block: int,
    plain: Images,
    scrambler: Scrambler,
    how: Learning,
    stages: Stages,
    *,
    named: str = "",
    tell: Tell | None = None,
) -> Trained:
    """Learn to attack one scheme from public pictures under keys of the attacker's own.

    Args:
        studio: What was learned from plain pictures.
        scheme: How the pictures are scrambled.
        block: Side of a block in pixels.
        plain: ``uint8 [N, H, W, C]``, the studio's pictures as they look before they are scrambled.
        scrambler: Scrambles pictures, each under a key of its own; the number says which time.
        how: How much.
        stages: Where finished trainings are kept.
        named: All that decides what `scrambler` does, for resuming.
        tell: Progress.
    """
    scrambled = tuple(seen(how.looks, scheme, scrambler(plain, number), block) for number in range(how.keys))
    curriculum = how.looks == "patches"
    shown = Shown(studio.x, scrambled, seen(how.looks, scheme, plain, block) if curriculum else None)
    encoder = stylised.style_encoder(scrambled[0], studio.generator)
    bridge = guided.bridge_of(scrambled[0], studio.eye)
    weights = [Model(net).weight_hash() for net in (studio.generator, studio.eye)]
    parts: tuple[Part, ...] = (named, studio.named, how.looks, *weights, studio.x)
    parts += tuple(one.values for one in scrambled)
    stages.run(
        f"styles-{named}", {"encoder": encoder}, (*parts, how.encoder.model_dump_json()),
        lambda checkpoint: stylised.learn_styles(
            encoder, shown, studio.generator, studio.eye, how.encoder, curriculum=curriculum,
            perception=studio.perception, checkpoint=checkpoint, tell=tell,
        ),
    )  # fmt: skip
    stages.run(
        f"bridge-{named}", {"bridge": bridge}, (*parts, how.bridge.model_dump_json()),
        lambda checkpoint: guided.learn_bridge(
            bridge, shown, studio.eye, how.bridge, checkpoint=checkpoint, tell=tell
        ),
    )  # fmt: skip
    return Trained(scheme, block, how.looks, encoder.eval(), bridge.eval())


def answers(
    studio: Studio,
    trained: Trained,
    plain: Images,
    scrambled: Images,
    originals: Images,
    public: Images,
    how: Learning,
) -> list[Answer]:
    """Attack scrambled pictures in every way that was learned, and in one that needs no learning.

    Args:
        studio: What was learned from plain pictures.
        trained: What was learned for the scheme.
        plain: ``uint8 [N, H, W, C]``: the pictures before they were scrambled, of which a gallery is made.
        scrambled: The same scrambled.
        originals: ``uint8 [N, S, S, 3]``: the same pictures, small.
        public: ``uint8 [M, H, W, C]``: the studio's pictures before they are scrambled.
        how: How pictures are sampled.
    """
    found = [by_statistics(studio.x, trained.scheme, trained.block, plain, scrambled, public)]
    tokens, gallery = trained.tokens(scrambled), studio.eye.of(originals)
    said = guided.embedded(trained.bridge, tokens)
    near = guided.nearest(said, studio.known, studio.x)
    found.append(Answer(EMBEDDING.name, near, said.numpy(), gallery.numpy()))
    with torch.no_grad():
        away = torch.cat(
            [trained.encoder(part) for part in torch.split(torch.from_numpy(tokens.values), 128)]
        )
        made = {
            STYLES.name: guided.pictures_of(studio.generator, away),
            GUIDED.name: guided.pictures_of(studio.generator, studio.mapper(said)),
        }
    if studio.model is not None and studio.told is not None:
        made[DIFFUSION.name] = guided.best_of(
            studio.model, studio.told, said, studio.eye, samples=how.samples, steps=how.sampling
        )
    for name, images in made.items():
        found.append(Answer(name, images, studio.eye.of(images).numpy(), gallery.numpy()))
    return found


def by_statistics(
    x: Images, scheme: SchemeName, block: int, plain: Images, scrambled: Images, public: Images
) -> Answer:
    """Attack scrambled pictures by what no key changes; nothing is learned.

    Args:
        x: ``uint8 [M, S, S, 3]``: public pictures, of which the nearest is the answer.
        scheme: How the pictures are scrambled.
        block: Side of a block in pixels.
        plain: As for :func:`answers`.
        scrambled: The same scrambled.
        public: Those public pictures before they are scrambled.
    """
    sides = [invariants(scheme, one, block) for one in (scrambled, plain, public)]
    marks = fingerprint(Tokens(np.concatenate([one.values for one in sides]), sides[1].placed))
    asked, known, others = np.split(marks, [len(scrambled), len(scrambled) + len(plain)])
    gaps = (asked * asked).sum(1)[:, None] - 2 * asked @ others.T + (others * others).sum(1)
    return Answer(BLOCKS.name, x[gaps.argmin(1)], asked, known)


def enough(public: Images, count: int, size: tuple[int, int], seed: int = 0) -> Images:
    """Return as many public pictures as are wanted, of one size; where there are too few, random parts.

    Args:
        public: ``uint8 [M, H', W', C]``.
        count: How many.
        size: Height and width in pixels.
        seed: Of the parts.
    """
    rng, (height, width) = np.random.default_rng(seed), size
    out = np.empty((count, height, width, public.shape[3]), np.uint8)
    for number in range(count):
        image = public[number % len(public)]
        if number >= len(public):
            part = rng.uniform(_CROP, 1)
            tall, wide = (max(1, int(part * side)) for side in image.shape[:2])
            top, left = rng.integers(image.shape[0] - tall + 1), rng.integers(image.shape[1] - wide + 1)
            image = image[top : top + tall, left : left + wide]
            image = image[:, ::-1] if rng.integers(2) else image
        out[number] = resized(image, size)
    return out


def resized(image: Images, size: tuple[int, int]) -> Images:
    """Return an image ``uint8 [H', W', C]`` at another size ``(H, W)``."""
    if image.shape[:2] == size:
        return image
    how = cv2.INTER_AREA if image.shape[0] >= size[0] else cv2.INTER_CUBIC
    made = cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=how)
    return made.reshape(*size, image.shape[2]).astype(np.uint8)


def small(images: Images, side: int) -> Images:
    """Return images as small squares in colour, ``uint8 [N, side, side, 3]``."""
    return np.stack([square(image, side, 3) for image in images])
