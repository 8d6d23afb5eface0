"""What a thief makes of leaked clean/protected pairs: adaptive rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, Restored
from noli.methods.verify.subject import Labels, LearnabilityData


def pairs_per_class(cfg: Config) -> Measure:
    """Filters, noise or both from the configured number of pairs per class."""
    pairs = f"{cfg.leak_pairs} leaked clean/protected {'pair' if cfg.leak_pairs == 1 else 'pairs'} per class"
    return Measure(
        f"leak-{cfg.leak_pairs}-pair",
        f"undoes filters, noise or both, learned from {pairs}",
        "adaptive",
        battery="quick",
        restore=lambda subject, cfg: undone(subject, subject.protected_y, cfg.leak_pairs),
    )


# Every pair is solved for on its own, which takes time; more pairs per class than these serve the residuals
# only. Native images are larger, and fewer of them take as long.
_FILTER_PAIRS, _NATIVE_PAIRS = 50, 10


def pairs_in_all(cfg: Config) -> tuple[Measure, ...]:
    """Filters, noise or both from 10, 100 and 500 pairs in all, whatever works best."""

    def row(total: int) -> Measure:
        return Measure(
            f"leak-{total}-in-all",
            f"undoes filters, noise or both, learned from {total} leaked pairs in all",
            "adaptive",
            restore=lambda subject, _: undone(subject, *leaked_groups(subject, total)),
        )

    return row(10), row(100), row(500)


def undone(subject: LearnabilityData, groups: Labels, pairs: int) -> Restored:
    """Return the protected images after the best of three attacks, judged on images that were not leaked.

    Filters are inverted at native resolution where that was larger; noise, alone or after a filter, is
    taken off at the training size.

    Args:
        subject: The data.
        groups: What a thief takes for alike, ``int64 [N]``.
        pairs: Leaked pairs per group.
    """
    from noli.ops.leak import leak_attack, leaked_of, rows_of_groups
    from noli.ops.mixture import estimate_mixture
    from noli.ops.residual import best_restoration, subtract_residual

    clean, protected = subject.clean_x, subject.protected_x
    tried = {"residual": subtract_residual(clean, protected, groups, pairs)}
    if subject.restored is not None:
        tried["filter"] = subject.restored(groups, min(pairs, _NATIVE_PAIRS))
    else:
        tried["filter"] = leak_attack(clean, protected, groups, min(pairs, _FILTER_PAIRS)).restored
    tried["both"] = leak_attack(clean, protected, groups, pairs, estimate_mixture).restored
    best, leak = best_restoration(clean, protected, groups, pairs, tried)
    used = {f"leak_by_{name}": float(name == best) for name in tried}
    leaked = np.concatenate([leaked_of(rows, pairs) for rows in rows_of_groups(groups)])
    images = leak.restored.copy()
    images[leaked] = clean[leaked]  # the thief holds these originals
    return images, {"leak_gain_db": leak.gain, "leaked_pairs": float(len(leaked))} | used


def leaked_groups(subject: LearnabilityData, total: int) -> tuple[Labels, int]:
    """Spread pairs over the classes; see :func:`noli.ops.residual.leaked_rows`."""
    from noli.ops.residual import leaked_rows

    return leaked_rows(subject.protected_y, total)


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
    from noli.ops.leak import leaked_of, rows_of_groups
    from noli.ops.residual import leaked_rows, restoration_gains
    from noli.train.restoring import Towards, learn_restorer, restored

    clean, protected = subject.clean_x, subject.protected_x
    groups, pairs = leaked_rows(subject.protected_y, total)
    leaked = np.concatenate([leaked_of(rows, pairs) for rows in rows_of_groups(groups)])
    model = learn_restorer(protected[leaked], Towards(clean[leaked]), cfg.recipe(0))
    images = restored(protected, model)
    gains = restoration_gains(clean, protected, groups, pairs, {"leak_gain_db": images})
    images[leaked] = clean[leaked]
    return images, {"leaked_pairs": float(len(leaked))} | gains
