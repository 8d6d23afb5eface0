"""All attacks on mixed pictures (InstaHide): what the pictures were."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from noli.core.attacks import GRAPH, GROUPED, SEED
from noli.engine.auditing import Images
from noli.engine.codecase import OTHER_KEY, CodeAttack, CodeCase
from noli.methods.lock.instahide import PRIVATE
from noli.ops.codes import normalised, stored
from noli.ops.decipher import mixed_seeds
from noli.ops.decipher.absolute import refined, solved
from noli.ops.decipher.mixtures import Floats, looks, weights_of
from noli.ops.decipher.suite import Found

# Sets that are attacked as they are: pictures, and values of all codes. Of others a part is encoded again.
LARGEST, VALUES = 200, 1 << 24
SAMPLE = 100
SOLVED = 2
# The demonstration plants a seed below this and tries all; a seed of torch has 32 bits.
TRIED = 4096


@dataclass(frozen=True)
class MixTarget:
    """What is attacked.

    Attributes:
        case: Codes ``[N, copies, C, S, S]`` and pictures.
        seconds: CPU seconds after which no further round is begun.
    """

    case: CodeCase
    seconds: float = 60.0

    @cached_property
    def again(self) -> bool:
        """Whether the set is so large that a part of it is encoded again, under another key."""
        case = self.case
        most = min(LARGEST, len(case.codes))
        return case.total > most or case.total * case.codes[0].size > VALUES

    @cached_property
    def plain(self) -> Images:
        """The pictures that are attacked, ``uint8 [N, S, S, C]``."""
        if not self.again:
            return self.case.originals
        cfg: Any = self.case.cfg
        return self.case.originals[: max(cfg.k, min(SAMPLE, VALUES // self.case.codes[0].size))]

    @cached_property
    def made(self) -> tuple[Floats, Floats]:
        """Their codes ``float32 [N, copies, C, S, S]`` and their labels ``[N * copies, L]``."""
        case = self.case
        codes, labels = case.codes, case.labels
        if self.again:
            arrays = case.encode(self.plain, OTHER_KEY, case.cfg)
            codes, labels = arrays["codes"], arrays["labels"]
        found = np.ones((*codes.shape[:2], 1)) if labels is None else labels
        return codes.astype(np.float32), found.reshape(-1, found.shape[2]).astype(np.float32)

    @property
    def codes(self) -> Floats:
        """See :attr:`made`."""
        return self.made[0]

    @property
    def mixed(self) -> int:
        """How many pictures of the set are in a code."""
        cfg: Any = self.case.cfg
        return PRIVATE if cfg.public else int(cfg.k)


def mix_attacks(target: MixTarget) -> Iterator[CodeAttack]:
    """Iterate over the attacks, and the demonstration of what an integer seed would give away."""
    count, copies = target.codes.shape[:2]
    per = f"{copies} code{'s' * (copies > 1)} of each picture"
    cfg: Any = target.case.cfg
    per += f", {cfg.k - PRIVATE} public pictures in each" if cfg.public else ""
    note = f"{count} of them encoded again under another key, {per}" if target.again else per
    yield CodeAttack(
        *GRAPH,
        lambda: _graph(target),
        f"{note}; reconstructed; up to a negative",
    )
    if copies > 1:
        yield CodeAttack(
            *GROUPED, lambda: _graph(target, grouped=True), f"{note}; up to a negative",
        )  # fmt: skip
    told: list[str] = []
    yield CodeAttack(
        *SEED, lambda: _seeded(target, told), lambda: "; ".join(told),
    )  # fmt: skip


def _graph(target: MixTarget, *, grouped: bool = False) -> Found:
    begun = time.process_time()
    count, copies = target.codes.shape[:2]
    codes = target.codes.reshape(-1, *target.codes.shape[2:])
    rows = looks(codes)
    start = rows.reshape(count, copies, -1).mean(axis=1) if grouped else None
    labels, mixed = target.made[1], target.mixed
    weights = weights_of(rows, count, mixed, start=start, labels=labels, seconds=target.seconds / 2)
    for _ in range(SOLVED):
        pictures = solved(codes, weights)
        if time.process_time() - begun > target.seconds:
            break
        weights, pictures = refined(codes, weights, pictures, mixed, labels=labels)
    back = stored(pictures)
    order = _whose(back, target.plain)
    return Found(back[order], target.plain, "listed", (stored(-pictures)[order],))


def _whose(back: Images, truth: Images) -> np.ndarray:
    """Return which picture that came back is compared with which true one: the attacker need not know."""
    one, other = (x.reshape(len(x), -1).astype(np.float32) for x in (back, truth))
    one, other = (x - x.mean(axis=1, keepdims=True) for x in (one, other))
    one, other = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-6) for x in (one, other))
    found: np.ndarray = linear_sum_assignment(np.abs(other @ one.T), maximize=True)[1]
    return found


def _seeded(target: MixTarget, told: list[str]) -> Found:
    cfg: Any = target.case.cfg
    pictures = normalised(target.plain).astype(np.float32)
    planted = OTHER_KEY.stream("audit/seed").choice(TRIED)
    codes = mixed_seeds.encoded(pictures, planted, k=cfg.k, cap=cfg.cap)
    begun = time.process_time()
    best = mixed_seeds.search(codes, range(TRIED), k=cfg.k, cap=cfg.cap, kept=1)[0]
    hours = (time.process_time() - begun) / TRIED * 2**32 / 3600
    back = stored(mixed_seeds.pictures_under(codes, best.seed, k=cfg.k, cap=cfg.cap))
    right = "found" if best.seed == planted else "not found"
    told.append(
        f"a demonstration: seed {right} among {TRIED:,}; all of 32 bits take {hours:,.0f} hours of a core"
    )
    told.append("the keys of noli are no integers, and are not concerned")
    return Found(back, target.plain)
