"""All attacks on codes that are sets of vectors (NeuraCrypt): which code belongs to which picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.attacks import BOOSTED, DISTRIBUTIONS, LENGTHS, LINKING, ORDER, PAIRS
from noli.engine.auditing import Images
from noli.engine.codecase import OTHER_KEY, Answer, CodeAttack, CodeCase
from noli.ops.decipher.rematch import Match, assigned, boosted, fitted, nearness, taught
from noli.ops.decipher.tokens import Floats, ordered, reduced, standard, statistics, summary

# The attacker's own network need not be as wide; pictures whose codes are made again, and the quality in
# between; patches of a step of training.
WIDEST, LINKED, QUALITY, TOKENS = 512, 50, 50, 6400
_COMPONENTS, _SEEN = 40, 64


@dataclass(frozen=True)
class SetTarget:
    """What is attacked, and what the attacks share.

    Attributes:
        case: Codes, pictures, public pictures.
        seconds: CPU seconds after which no further round of boosting is begun.
    """

    case: CodeCase
    seconds: float = 60.0

    @cached_property
    def mix(self) -> npt.NDArray[np.int64]:
        """Where the code of every picture lies, for the attacks: in no order that tells it."""
        return np.random.default_rng(0).permutation(len(self.case.codes))

    @cached_property
    def codes(self) -> Floats:
        """The codes in their main directions; picture n has code ``mix[n]``."""
        out = np.empty_like(self.case.codes)
        out[self.mix] = self.case.codes
        return reduced(out)

    @cached_property
    def placed(self) -> Floats:
        """The same, the codes of each picture in one order of places."""
        cfg: Any = self.case.cfg
        if not cfg.shuffle:
            return self.codes
        return np.take_along_axis(self.codes, ordered(self.codes)[:, :, None], axis=1)

    @cached_property
    def own(self) -> Floats:
        """Codes of the pictures under a network of the attacker's, whose order he knows."""
        return reduced(self.encoded(self.case.originals, shuffle=False))

    def encoded(self, images: Images, *, shuffle: bool) -> npt.NDArray[np.float16]:
        """Return codes of pictures under another key, by a network of at most 512 values."""
        cfg: Any = self.case.cfg
        changed = {"shuffle": shuffle, "width": min(cfg.width, WIDEST)}
        return self.case.encode(images, OTHER_KEY, cfg.model_copy(update=changed))["codes"]

    @cached_property
    def start(self) -> Match:
        """The match by statistics of codes in one order, less the mean of each place."""
        mine, theirs = (statistics(x - x.mean(axis=0)) for x in (self.own, self.placed))
        return assigned(nearness(mine, theirs))


def set_attacks(target: SetTarget) -> Iterator[CodeAttack]:
    """Iterate over a demonstration of what codes made twice give away, and attacks, least needs first."""
    yield CodeAttack(
        *LINKING, lambda: _linked(target),
        "pictures encoded twice under another key; the published codes are not looked at",
    )  # fmt: skip
    yield CodeAttack(
        *DISTRIBUTIONS, lambda: _alike(target),
        f"{len(target.case.public)} public pictures",
    )  # fmt: skip
    yield CodeAttack(
        *LENGTHS, lambda: _answer(target, assigned(nearness(*map(statistics, (target.own, target.codes))))),
    )  # fmt: skip
    yield CodeAttack(
        *ORDER, lambda: _answer(target, target.start),
    )  # fmt: skip
    yield CodeAttack(
        *BOOSTED,
        lambda: _answer(target, boosted(target.own, target.placed, target.start, seconds=target.seconds)),
        "reconstructed from the abstract of arXiv 2108.07256",
    )  # fmt: skip
    for pairs, how in PAIRS.items():
        if 3 * pairs <= 2 * len(target.case.codes):
            yield CodeAttack(
                *how,
                lambda known=pairs: _paired(target, known),  # type: ignore[misc]
                "and the other pictures, unordered",
            )  # fmt: skip


def _answer(target: SetTarget, match: Match) -> Answer:
    return Answer(match.codes, target.mix)


def _linked(target: SetTarget) -> Answer:
    images = target.case.originals[:LINKED]
    both = target.encoded(np.concatenate([images, _worse(images)]), shuffle=True)
    means = reduced(both).mean(axis=1)
    match = assigned(nearness(means[: len(images)], means[len(images) :]))
    return Answer(match.codes, np.arange(len(images)))


def _worse(images: Images) -> Images:
    back = []
    for image in images:
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        back.append(np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), np.uint8).reshape(image.shape))
    return np.stack(back)


def _alike(target: SetTarget) -> Answer:
    from noli.train.likening import STEPS, alike_coder, means_of

    cfg: Any = target.case.cfg
    means = target.codes.mean(axis=1)[:, :_SEEN]
    means = means / (means.std() + 1e-9)
    batch = max(8, min(STEPS.batch, TOKENS // target.codes.shape[1]))
    how = STEPS.model_copy(update={"batch": batch})
    net = alike_coder(target.case.public, means, cfg.patch, cfg.depth, how)
    mine = means_of(net, target.case.originals, cfg.patch)
    return _answer(target, assigned(nearness(standard(mine), standard(means))))


def _paired(target: SetTarget, known: int) -> Answer:
    theirs, rest = target.mix[:known], target.mix[known:]
    mine, codes = target.own, target.placed
    scores = _scaled(fitted(mine, codes, np.arange(known), theirs))
    if known > 1:
        small = summary(mine, _COMPONENTS), summary(codes, _COMPONENTS)
        scores += _scaled(taught(*small, np.arange(known), theirs))
    # Codes of the known pictures are taken.
    free = np.sort(rest)
    return Answer(free[assigned(scores[known:][:, free]).codes], rest)


def _scaled(scores: Floats) -> Floats:
    found: Floats = (scores - scores.mean()) / (scores.std() + 1e-9)
    return found
