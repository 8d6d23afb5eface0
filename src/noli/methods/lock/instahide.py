"""InstaHide (Huang, Song, Li, Arora; ICML 2020; arXiv 2010.02772): BROKEN, a row to compare with.

Every picture is mixed with others of the set under random weights, the signs of all values are flipped at
random, and the labels are mixed alike. Carlini et al. (arXiv 2011.05315) reconstruct the pictures.

Shapes: pictures of any size, squeezed to ``side`` pixels, give codes ``float16 [C, side, side]`` (normalised
values, so not within [0, 1]) and soft labels ``float32 [K]``; ``copies`` of each.

Threat model: none that holds. It does not stop somebody who groups the codes that share a picture and solves
for it, and every further code of a picture helps him. Where ours differs: mixing within the set only (not
with public pictures); weights and signs come from the key by a stream cipher (published: NumPy and torch with
one integer seed, which is how the strongest attack came in).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.keystream import Stream
from noli.core.method import Card, Codes, Pictures, Spec
from noli.ops.codes import BrokenConfig, normalised

NAME = "lock/instahide"


class Config(BrokenConfig):
    """Options of InstaHide within a data set."""

    side: int = Field(32, ge=1, le=1024, description="pixels to which pictures are squeezed (paper: 32)")
    k: int = Field(4, ge=1, le=16, description="pictures that are mixed into one (paper: 4)")
    cap: float = Field(0.65, gt=0, le=1, description="largest weight of a picture (paper: 0.65)")
    copies: int = Field(1, ge=1, le=1000, description="codes of every picture (paper: one per epoch)")


SPEC = Spec(
    name=NAME,
    family="lock",
    arrow="data->codes",
    config=Config,
    card=Card(
        title="InstaHide (broken)",
        paper="Huang, Song, Li, Arora. InstaHide: Instance-hiding Schemes for Private Distributed Learning. "
        "ICML 2020. arXiv 2010.02772. Broken by Carlini et al., arXiv 2011.05315",
        stops=("Nothing that may be relied on: it is broken and here to be compared.",),
        does_not_stop=(
            "Somebody who groups the codes that share a picture and solves for it.",
            "Training: that anybody can learn from the codes is the purpose.",
        ),
        bibtex="@inproceedings{huang2020instahide, title={InstaHide: Instance-hiding Schemes for Private "
        "Distributed Learning}, author={Huang, Yangsibo and Song, Zhao and Li, Kai and Arora, Sanjeev}, "
        "booktitle={ICML}, year={2020}}",
    ),
    needs=frozenset({"key", "labels"}),
    options=("side", "k", "copies", "i_understand_this_is_broken"),
    module="noli.methods.lock.instahide",
)


class Coder:
    """Mixes every picture with others; the codes of one picture stand together."""

    def __init__(self, pictures: Pictures, key: Key, cfg: Config) -> None:
        self.key, self.cfg = key, cfg
        self.shape = (cfg.copies, pictures.channels, cfg.side, cfg.side)

    def __call__(self, pictures: Pictures, numbers: Sequence[int]) -> Codes:
        """Return ``codes`` ``float16 [n, copies, C, S, S]`` and ``labels`` ``float32 [n, copies, K]``."""
        classes = np.eye(len(pictures.classes), dtype=np.float32)
        out = np.empty((len(numbers), *self.shape), np.float16)
        soft = np.empty((len(numbers), self.cfg.copies, len(classes)), np.float32)
        for row, number in enumerate(numbers):
            for copy in range(self.cfg.copies):
                stream = self.key.stream(f"{NAME}/code", f"{pictures.items[number].id}/{copy}")
                chosen = self._mixed(stream, number, len(pictures))
                weights = mixing_weights(stream, len(chosen), self.cfg.cap)
                parts = [normalised(pictures[one][None])[0] for one in chosen]
                mixed = np.tensordot(weights, np.stack(parts), 1)
                out[row, copy] = mixed * np.where(stream.bits(mixed.size), -1, 1).reshape(mixed.shape)
                labels = [_label(pictures, one) for one in chosen]
                soft[row, copy] = weights @ classes[labels]
        return {"codes": out, "labels": soft}

    def _mixed(self, stream: Stream, number: int, count: int) -> list[int]:
        """Return the picture itself and others, all different."""
        chosen = [number]
        while len(chosen) < self.cfg.k:
            if (other := stream.choice(count)) not in chosen:
                chosen.append(other)
        return chosen


def mixing_weights(stream: Stream, k: int, cap: float) -> npt.NDArray[np.float64]:
    """Return `k` absolute normal numbers that sum to 1, drawn again until none is above `cap`."""
    while True:
        drawn = np.abs(stream.normal(k))
        weights: npt.NDArray[np.float64] = drawn / drawn.sum()
        if weights.max() <= cap:
            return weights


def _label(pictures: Pictures, number: int) -> int:
    if pictures.labels is None:
        fix = "give pictures in folders by class, or a table with a label column"
        raise DataError("InstaHide mixes labels, and these pictures have none.", where=NAME, fix=fix)
    return int(pictures.labels[number])


def coder(pictures: Pictures, key: Key, cfg: Config) -> Coder:
    """Return what encodes the pictures of a data set.

    Raises:
        UsageError: Nobody has said that he knows that it is broken; fewer pictures than are mixed; a cap
            that no weights can keep.
        DataError: There are no labels.
    """
    if not cfg.i_understand_this_is_broken:
        raise UsageError(
            "InstaHide is broken, and would protect nothing.",
            where=NAME,
            why="Carlini et al. reconstruct the pictures (arXiv 2011.05315)",
            fix="to compare or attack it nevertheless, pass --i-understand-this-is-broken",
        )
    if len(pictures) < cfg.k or cfg.cap * cfg.k <= 1:
        raise UsageError(
            "These pictures cannot be mixed like this.",
            where=NAME,
            why=f"{len(pictures)} pictures, k = {cfg.k}, and no weight above {cfg.cap}",
            fix="give at least k pictures, and a cap well above one part in k",
        )
    _label(pictures, 0)
    return Coder(pictures, key, cfg)
