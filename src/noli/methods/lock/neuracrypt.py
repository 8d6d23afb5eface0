"""NeuraCrypt (Yala et al.; arXiv 2106.02484) and Color-NeuraCrypt (Qi et al.; arXiv 2301.04875): BROKEN.

Pictures are encoded by a secret random network, and codes and labels are published: anybody may train on
them. Carlini et al. (arXiv 2108.07256) match codes and pictures without a fault. It is here to be compared
and attacked, and runs only for somebody who says that he knows.

Shapes: pictures of any size, squeezed to ``side`` pixels, values in [0, 1] stretched to [-1, 1], give codes
``float16 [P, D]`` of order one, a row per patch, by default in a secret order of its own for every picture.

Threat model: none that holds. It does not stop somebody who has the pictures, or similar ones, from telling
which code belongs to which. Where ours differs: the weights follow from a key of 256 bits by a stream cipher
(published: a pickled state of torch); normalisation has fixed statistics (published: those of the batch, so
that the codes of a picture depend on its neighbours). ``colour="planes"`` is a reconstruction of
Color-NeuraCrypt from its abstract: a random layer for each colour instead of one for all. Codes are equal for
all batches, and on other machines up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from noli.core.errors import UsageError
from noli.core.images import to_float
from noli.core.key import Key
from noli.core.method import Card, Codes, Pictures, Spec
from noli.ops.codes import BrokenConfig

if TYPE_CHECKING:
    from noli.ops.randomcodes import RandomCoder

NAME = "lock/neuracrypt"


class Config(BrokenConfig):
    """Options of NeuraCrypt; the defaults are those of the paper and take a second per picture and core."""

    side: int = Field(256, ge=4, le=1024, description="pixels to which pictures are squeezed (paper: 256)")
    patch: int = Field(16, ge=1, le=64, description="side of a patch in pixels (paper: 16)")
    width: int = Field(2048, ge=4, le=8192, description="length of a code (paper: 2048)")
    depth: int = Field(4, ge=0, le=16, description="layers with normalisation (paper: 4)")
    colour: Literal["joint", "planes"] = Field(
        "joint",
        description="a first layer for all colours, or (Color-NeuraCrypt, reconstructed) one for each",
    )
    shuffle: bool = Field(True, description="codes of a picture in an order of its own (paper: yes)")

    @model_validator(mode="after")
    def _whole_patches(self) -> Config:
        if self.side % self.patch:
            raise ValueError(f"a side of {self.side} pixels is no multiple of patches of {self.patch}")
        return self


SPEC = Spec(
    name=NAME,
    family="lock",
    arrow="data->codes",
    config=Config,
    card=Card(
        title="NeuraCrypt and Color-NeuraCrypt (broken)",
        paper="Yala et al. NeuraCrypt: Hiding Private Health Data via Random Neural Networks for Public "
        "Training. arXiv 2106.02484. Qi, MaungMaung, Kiya. Color-NeuraCrypt. arXiv 2301.04875. Broken by "
        "Carlini et al., arXiv 2108.07256",
        stops=("Nothing that may be relied on: it is broken and here to be compared.",),
        does_not_stop=(
            "Somebody who has the pictures, or similar ones, from matching them with the codes.",
            "Somebody who has pairs of pictures and codes from learning the network.",
            "Training: that anybody can learn from the codes is the purpose.",
        ),
        bibtex="@article{yala2021neuracrypt, title={NeuraCrypt: Hiding Private Health Data via Random Neural "
        "Networks for Public Training}, author={Yala, Adam and others}, journal={arXiv:2106.02484}, "
        "year={2021}}",
    ),
    needs=frozenset({"key"}),
    options=("side", "patch", "width", "depth", "colour", "i_understand_this_is_broken"),
    module="noli.methods.lock.neuracrypt",
)


class Coder:
    """Encodes pictures one by one with the network of a key."""

    def __init__(self, pictures: Pictures, key: Key, cfg: Config) -> None:
        self.key, self.cfg = key, cfg
        self.channels = pictures.channels
        self.shape = ((cfg.side // cfg.patch) ** 2, cfg.width)
        self._network: RandomCoder | None = None

    @property
    def network(self) -> RandomCoder:
        """The secret network, drawn when it is needed."""
        from noli.ops.randomcodes import random_coder

        if self._network is None:
            cfg = self.cfg
            told = f"{cfg.side}/{cfg.patch}/{cfg.width}/{cfg.depth}/{cfg.colour}/{self.channels}"
            self._network = random_coder(
                self.key.stream(f"{NAME}/weights", told),
                side=cfg.side, channels=self.channels, patch=cfg.patch, width=cfg.width, depth=cfg.depth,
                by_colour=cfg.colour == "planes" and self.channels > 1,
            )  # fmt: skip
        return self._network

    def __call__(self, pictures: Pictures, numbers: Sequence[int]) -> Codes:
        """Return ``codes`` ``float16 [n, P, D]`` and, where there are classes, ``labels`` ``int64 [n]``."""
        import torch

        out = np.empty((len(numbers), *self.shape), np.float16)
        for row, number in enumerate(numbers):
            image = np.ascontiguousarray(to_float(pictures[number][None])[0])
            with torch.no_grad():
                codes = self.network.codes(torch.from_numpy(image)).numpy()
            if self.cfg.shuffle:
                order = self.key.stream(f"{NAME}/order", pictures.items[number].id)
                codes = codes[order.permutation(len(codes))]
            out[row] = codes
        found: Codes = {"codes": out}
        if pictures.labels is not None:
            found["labels"] = pictures.labels[list(numbers)]
        return found


def coder(pictures: Pictures, key: Key, cfg: Config) -> Coder:
    """Return what encodes the pictures of a data set.

    Raises:
        UsageError: Nobody has said that he knows that it is broken.
    """
    if not cfg.i_understand_this_is_broken:
        raise UsageError(
            "NeuraCrypt is broken, and would protect nothing.",
            where=NAME,
            why="Carlini et al. match codes and pictures without a fault (arXiv 2108.07256)",
            fix="to compare or attack it nevertheless, pass --i-understand-this-is-broken",
        )
    return Coder(pictures, key, cfg)
