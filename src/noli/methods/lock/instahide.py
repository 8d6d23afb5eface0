"""InstaHide (Huang, Song, Li, Arora; ICML 2020; arXiv 2010.02772): BROKEN, a row to compare with.

Every picture is mixed with others of the set under random weights, the signs of all values are flipped at
random, and the labels are mixed alike. Carlini et al. (arXiv 2011.05315) reconstruct the pictures.

Shapes: pictures of any size, squeezed to ``side`` pixels, give codes ``float16 [C, side, side]`` (normalised
values, so not within [0, 1]) and soft labels ``float32 [K]``; ``copies`` of each.

Threat model: none that holds. It does not stop somebody who groups the codes that share a picture and solves
for it, and every further code of a picture helps him. With ``public`` (published: cross-dataset) two pictures
of the set are mixed with k - 2 public ones, and labels are those of the two, with their weights. Where ours
differs: weights and signs come from the key by a stream cipher (published: NumPy and torch with one integer
seed, which is how the strongest attack came in); public pictures are taken as they are (published: only those
with many key points).
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
# Pictures of the set in a code, where the others are public.
PRIVATE = 2


class Config(BrokenConfig):
    """Options of InstaHide, within a data set or with public pictures."""

    side: int = Field(32, ge=1, le=1024, description="pixels to which pictures are squeezed (paper: 32)")
    k: int = Field(4, ge=1, le=16, description="pictures mixed into one (paper: 4, with public ones 6)")
    cap: float = Field(0.65, gt=0, le=1, description="largest weight of a picture (paper: 0.65)")
    copies: int = Field(1, ge=1, le=1000, description="codes of every picture (paper: one per epoch)")
    public: str | None = Field(None, description="folder of public pictures; all but two of a code are these")
    least: float = Field(0.3, ge=0, lt=1, description="least weight of those two together (paper: 0.3)")


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
    options=("side", "k", "copies", "public", "i_understand_this_is_broken"),
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
                purpose = "code" if pictures.public is None else "cross"
                stream = self.key.stream(f"{NAME}/{purpose}", f"{pictures.items[number].id}/{copy}")
                own, others = self._mixed(stream, number, pictures)
                least = 0.0 if pictures.public is None else self.cfg.least
                weights = mixing_weights(stream, len(own) + len(others), self.cfg.cap, least)
                shown = [*(pictures[one] for one in own), *others]
                mixed = np.tensordot(weights, normalised(np.stack(shown)), 1)
                out[row, copy] = mixed * np.where(stream.bits(mixed.size), -1, 1).reshape(mixed.shape)
                labels = [_label(pictures, one) for one in own]
                soft[row, copy] = weights[: len(own)] @ classes[labels]
        return {"codes": out, "labels": soft}

    def _mixed(
        self, stream: Stream, number: int, pictures: Pictures
    ) -> tuple[list[int], list[npt.NDArray[np.uint8]]]:
        """Return the picture itself and others of the set, and public pictures, all different."""
        public = pictures.public
        own = chosen_besides(stream, [number], self.cfg.k if public is None else PRIVATE, len(pictures))
        if public is None:
            return own, []
        return own, [public[one] for one in chosen_besides(stream, [], self.cfg.k - PRIVATE, len(public))]


def chosen_besides(stream: Stream, chosen: list[int], count: int, among: int) -> list[int]:
    """Return `count` different numbers below `among`, those given first."""
    found = list(chosen)
    while len(found) < count:
        if (other := stream.choice(among)) not in found:
            found.append(other)
    return found


def mixing_weights(stream: Stream, k: int, cap: float, least: float = 0.0) -> npt.NDArray[np.float64]:
    """Return `k` absolute normal numbers that sum to 1, none above `cap`, the first two `least` together.

    Others are drawn again.
    """
    while True:
        drawn = np.abs(stream.normal(k))
        weights: npt.NDArray[np.float64] = drawn / drawn.sum()
        if weights.max() <= cap and weights[:PRIVATE].sum() >= least:
            return weights


def _label(pictures: Pictures, number: int) -> int:
    if pictures.labels is None:
        fix = "give pictures in folders by class, or a table with a label column"
        raise DataError("InstaHide mixes labels, and these pictures have none.", where=NAME, fix=fix)
    return int(pictures.labels[number])


def coder(pictures: Pictures, key: Key, cfg: Config) -> Coder:
    """Return what encodes the pictures of a data set.

    Raises:
        UsageError: Nobody has said that he knows that it is broken; fewer pictures than are mixed, also
            public ones; a cap that no weights can keep.
        DataError: There are no labels.
    """
    if not cfg.i_understand_this_is_broken:
        raise UsageError(
            "InstaHide is broken, and would protect nothing.",
            where=NAME,
            why="Carlini et al. reconstruct the pictures (arXiv 2011.05315)",
            fix="to compare or attack it nevertheless, pass --i-understand-this-is-broken",
        )
    others = None if pictures.public is None else len(pictures.public)
    few = len(pictures) < cfg.k if others is None else others < cfg.k - PRIVATE or len(pictures) < PRIVATE
    crossed = others is not None and (cfg.k <= PRIVATE or cfg.least >= PRIVATE * cfg.cap)
    if few or crossed or cfg.cap * cfg.k <= 1:
        also = "" if others is None else f" and {others} public ones"
        raise UsageError(
            "These pictures cannot be mixed like this.",
            where=NAME,
            why=f"{len(pictures)} pictures{also}, k = {cfg.k}, and no weight above {cfg.cap}",
            fix="give at least k pictures (with public ones 2, and k - 2 of these; k from 3 up), and a cap "
            "well above one part in k",
        )
    _label(pictures, 0)
    return Coder(pictures, key, cfg)
