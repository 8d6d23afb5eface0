"""What a thief makes of leaked clean/protected pairs: adaptive rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures.adaptive import DISPLACE
from noli.methods.verify.countermeasures.projection import PROJECTION
from noli.methods.verify.measure import Measure, Restored
from noli.methods.verify.subject import Images, Labels, LearnabilityData
from noli.ops.countermeasures import grayscale


def pairs_per_class(cfg: Config) -> Measure:
    """Filters, noise or both from the configured number of pairs per class."""
    pairs = f"{cfg.leak_pairs} leaked clean/protected {'pair' if cfg.leak_pairs == 1 else 'pairs'} per class"
    return Measure(
        f"leak-{cfg.leak_pairs}-pair",
        f"undoes filters, noise or both, learned from {pairs}",
        "adaptive",
        battery="quick",
        restore=_undone_per_class,
        held=_held_per_class,
    )


def _undone_per_class(subject: LearnabilityData, cfg: Config) -> Restored:
    return undone(subject, subject.protected_y, cfg.leak_pairs)


def _held_per_class(subject: LearnabilityData, cfg: Config) -> Labels:
    return held(subject.protected_y, cfg.leak_pairs)


def pairs_then_more(cfg: Config) -> tuple[Measure, ...]:
    """The same, followed by what may remove the traces that a wrong estimate leaves in a whole class."""
    first = pairs_per_class(cfg)

    def row(name: str, then: str, **changes: Any) -> Measure:
        return replace(
            first, name=f"{first.name}+{name}", about=f"{first.about}, then {then}", battery="full", **changes
        )

    return (
        row("grayscale", "drops colour", squeeze=grayscale, view=grayscale),
        row("coin", "moves every pixel at random", callbacks=DISPLACE.callbacks),
        row("op", "removes linearly readable directions", learn=PROJECTION.learn),
    )


def pairs_each_way(cfg: Config) -> tuple[Measure, ...]:
    """Each of the attacks among which the row above chooses by the restored pictures' quality.

    What looks best need not teach most: a thief with time trains on all of them.
    """
    first = pairs_per_class(cfg)

    def row(way: str, what: str) -> Measure:
        def restore(subject: LearnabilityData, cfg: Config) -> Restored:
            return undone(subject, subject.protected_y, cfg.leak_pairs, way)

        about = f"{what}, learned from {first.about.partition('learned from ')[2]}"
        return replace(first, name=f"{first.name}-{way}", about=about, battery="full", restore=restore)

    return (
        row("residual", "undoes noise"),
        row("patterns", "undoes noise of a few patterns"),
        row("filter", "undoes filters"),
        row("both", "undoes filters and noise together"),
    )


# Every pair is solved for on its own, which takes time; more pairs per class than these serve the residuals
# only. Native images are larger, and fewer of them take as long.
_FILTER_PAIRS, _NATIVE_PAIRS = 50, 10


def pairs_in_all(cfg: Config) -> tuple[Measure, ...]:
    """Filters, noise or both from 10, 100 and 500 pairs in all, whatever works best."""

    def row(total: int) -> Measure:
        def restore(subject: LearnabilityData, _: Config) -> Restored:
            from noli.ops.residual import leaked_rows

            return undone(subject, *leaked_rows(subject.protected_y, total))

        return Measure(
            f"leak-{total}-in-all",
            f"undoes filters, noise or both, learned from {total} leaked pairs in all, half at most",
            "adaptive",
            restore=restore,
            held=partial(_held_in_all, total=total),
        )

    return row(10), row(100), row(500)


def held(groups: Labels, pairs: int) -> Labels:
    """Return the rows whose originals leaked, ``int64 [L]``: so many per group, from none more than half."""
    from noli.ops.leak import leaked_of, rows_of_groups

    return np.concatenate([leaked_of(rows, pairs) for rows in rows_of_groups(groups)])


def _held_in_all(subject: LearnabilityData, cfg: Config, total: int) -> Labels:
    from noli.ops.residual import leaked_rows

    return held(*leaked_rows(subject.protected_y, total))


def undone(subject: LearnabilityData, groups: Labels, pairs: int, way: str | None = None) -> Restored:
    """Return the protected images after the best of four attacks, judged on images that were not leaked.

    Filters are inverted at native resolution where that was larger; noise, alone or after a filter, is
    taken off at the training size. Where nothing comes closer to the originals, images stay as published.

    Args:
        subject: The data.
        groups: What a thief takes for alike, ``int64 [N]``.
        pairs: Leaked pairs per group.
        way: Only this attack, used even where it makes the pictures worse.
    """
    from noli.ops import residual
    from noli.ops.leak import leak_attack
    from noli.ops.mixture import estimate_mixture

    clean, protected = subject.clean_x, subject.protected_x
    leaked = held(groups, pairs)

    def unfiltered() -> Images:
        if subject.restored is not None:
            return subject.restored(groups, min(pairs, _NATIVE_PAIRS))
        return leak_attack(clean, protected, groups, min(pairs, _FILTER_PAIRS)).restored

    attacks: dict[str, Callable[[], Images]] = {
        "residual": lambda: residual.subtract_residual(clean, protected, groups, pairs),
        "patterns": lambda: residual.subtract_patterns(clean, protected, leaked),
        "filter": unfiltered,
        "both": lambda: leak_attack(clean, protected, groups, pairs, estimate_mixture).restored,
    }
    tried = {name: attacks[name]() for name in (attacks if way is None else (way,))}
    gains = residual.restoration_gains(clean, protected, groups, pairs, tried)
    best = max(gains, key=lambda name: gains[name], default="")
    helps = bool(best) and (way is not None or gains[best] > 0)
    images = (tried[best] if helps else protected).copy()
    images[leaked] = clean[leaked]  # the thief holds these originals
    used = {f"leak_by_{name}": float(helps and name == best) for name in tried}
    gain = gains[best] if helps else 0.0
    return images, {"leak_gain_db": gain, "leaked_pairs": float(len(leaked))} | used


def bridges(cfg: Config) -> tuple[Measure, ...]:
    """A network from protected to clean images, learned from 100 and 500 pairs in all.

    The idea is BridgePure's (arXiv 2412.21061), which trains a diffusion bridge for hours; ours is a small
    network of one pass. It needs no model of the change, and so reaches what filters and residuals do not.
    """

    def row(total: int) -> Measure:
        return Measure(
            f"leak-{total}-bridge",
            f"undoes what a network learned from {total} leaked pairs in all, half at most",
            "adaptive",
            restore=partial(bridged, total=total),
            held=partial(_held_in_all, total=total),
        )

    return row(100), row(500)


def bridged(subject: LearnabilityData, cfg: Config, total: int) -> Restored:
    """Return the protected images as the network leaves them, at the training size.

    They are used whatever their quality: rows without restoration exist already, and a network that costs
    detail may still remove what misleads.
    """
    from noli.ops.residual import leaked_rows, restoration_gains
    from noli.train.restoring import Towards, learn_restorer, restored

    clean, protected = subject.clean_x, subject.protected_x
    groups, pairs = leaked_rows(subject.protected_y, total)
    leaked = held(groups, pairs)
    model = learn_restorer(protected[leaked], Towards(clean[leaked]), cfg.recipe(0))
    images = restored(protected, model)
    gains = restoration_gains(clean, protected, groups, pairs, {"leak_gain_db": images})
    images[leaked] = clean[leaked]
    return images, {"leaked_pairs": float(len(leaked))} | gains
