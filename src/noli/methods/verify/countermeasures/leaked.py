"""What a thief makes of leaked clean/protected pairs: adaptive rows."""

from __future__ import annotations

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
