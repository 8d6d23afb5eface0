"""What a thief makes of leaked clean/protected pairs: adaptive rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, Restored
from noli.methods.verify.subject import LearnabilityData


def pairs_per_class(cfg: Config) -> Measure:
    """Class filters by least squares from the configured number of pairs per class."""
    pairs = f"{cfg.leak_pairs} leaked clean/protected {'pair' if cfg.leak_pairs == 1 else 'pairs'} per class"
    return Measure(
        f"leak-{cfg.leak_pairs}-pair",
        f"inverts class filters learned from {pairs}",
        "adaptive",
        battery="quick",
        restore=filters_inverted,
    )


def filters_inverted(subject: LearnabilityData, cfg: Config) -> Restored:
    """Return the protected images after the filter attack, at native resolution where that was larger."""
    from noli.ops.leak import leak_attack

    if subject.restored is not None:
        return subject.restored(subject.protected_y, cfg.leak_pairs), {}
    attack = leak_attack(subject.clean_x, subject.protected_x, subject.protected_y, cfg.leak_pairs)
    # A thief whose inversion makes things worse trains on the images as they are.
    restored = attack.restored if attack.gain > 0 else subject.protected_x
    return restored, {"leak_gain_db": attack.gain}


# Every pair is solved for on its own, which takes time; more pairs per class than these serve the residuals
# only. Native images are larger, and fewer of them take as long.
_FILTER_PAIRS, _NATIVE_PAIRS = 50, 10


def pairs_in_all(cfg: Config) -> tuple[Measure, ...]:
    """Filters or mean residuals from 10, 100 and 500 pairs in all, whatever works better."""

    def row(total: int) -> Measure:
        return Measure(
            f"leak-{total}-in-all",
            f"undoes filters or noise learned from {total} leaked pairs in all",
            "adaptive",
            restore=partial(better_of_two, total=total),
        )

    return row(10), row(100), row(500)


def better_of_two(subject: LearnabilityData, cfg: Config, total: int) -> Restored:
    """Return the protected images after the better of two attacks, judged on images that were not leaked.

    Filters are inverted at native resolution where that was larger; residuals are means at the training size.
    """
    from noli.ops.leak import leak_attack
    from noli.ops.residual import best_restoration, leaked_rows, subtract_residual

    clean, protected = subject.clean_x, subject.protected_x
    groups, pairs = leaked_rows(subject.protected_y, total)
    tried = {"residual": subtract_residual(clean, protected, groups, pairs)}
    if subject.restored is not None:
        tried["filter"] = subject.restored(groups, min(pairs, _NATIVE_PAIRS))
    else:
        tried["filter"] = leak_attack(clean, protected, groups, min(pairs, _FILTER_PAIRS)).restored
    best, leak = best_restoration(clean, protected, groups, pairs, tried)
    used = {f"leak_by_{name}": float(name == best) for name in tried}
    return leak.restored, {"leak_gain_db": leak.gain, "leak_pairs_per_group": float(pairs)} | used


def bridges(cfg: Config) -> tuple[Measure, ...]:
    """A network from protected to clean images, learned from 100 and 500 pairs in all.

    The idea is BridgePure's (arXiv 2412.21061), which trains a diffusion bridge for hours; ours is a small
    network of one pass. It needs no model of the change, and so reaches what filters and residuals do not.
    """

    def row(total: int) -> Measure:
        return Measure(
            f"leak-{total}-bridge",
            f"undoes what a network learned from {total} leaked pairs in all",
            "adaptive",
            restore=partial(bridged, total=total),
        )

    return row(100), row(500)


def bridged(subject: LearnabilityData, cfg: Config, total: int) -> Restored:
    """Return the protected images as the network leaves them, at the training size.

    They are used whatever their quality: rows without restoration exist already, and a network that costs
    detail may still remove what misleads.
    """
    from noli.ops.leak import rows_of_groups
    from noli.ops.residual import leaked_rows, restoration_gains
    from noli.train.restoring import Towards, learn_restorer, restored

    clean, protected = subject.clean_x, subject.protected_x
    groups, pairs = leaked_rows(subject.protected_y, total)
    leaked = np.concatenate([rows[:pairs] for rows in rows_of_groups(groups)])
    model = learn_restorer(protected[leaked], Towards(clean[leaked]), cfg.recipe(0))
    images = restored(protected, model)
    gains = restoration_gains(clean, protected, groups, pairs, {"leak_gain_db": images})
    return images, {"leak_pairs_per_group": float(pairs)} | gains
