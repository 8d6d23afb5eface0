"""How often innocents are accused, in short: 600 owners against one subject (all of it: evidence_null.py)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.stats import binom
from story import CLASSES, protocol

from noli.core.key import Key
from noli.proof.commitment import Vault
from noli.proof.kinds import Seen, kind

OWNERS = 600
# Most owners whose p-value may be at most the level.
BOUNDS = {0.05: 52, 0.01: 17, 0.001: 5}
SUBJECTS = ("random", "constant", "collapsed")
K, BITS, PICTURES = 5, 24, 6


def test_the_bounds_are_passed_by_an_exact_test_less_than_once_in_ten_thousand():
    assert all(binom.sf(bound, OWNERS, level) < 1e-4 for level, bound in BOUNDS.items())


def claim(test, count, **changes):
    return protocol(test=test, secrets=count, budget=count, futile=0.0, **changes)


def labels(count, k=1, **changes):
    return claim("labels", count, parameters={"classes": CLASSES, "k": k}, **changes)


DRAWN: dict[str, list[list[tuple[int, ...]]]] = {}


def drawn(made):
    """Assignments by owner and secret, derived as in a real claim; once for every claim."""
    if made.digest not in DRAWN:
        keys = [Key.from_bytes(hashlib.sha256(b"owner %d" % number).digest()) for number in range(OWNERS)]
        vaults, draw = [Vault(key, made, ()) for key in keys], kind(made).draw
        DRAWN[made.digest] = [[draw(vault.secret(i), "") for i in range(made.secrets)] for vault in vaults]
    return DRAWN[made.digest]


def p_values(made, assigned, answers):
    """One per owner; `answers` are those to each owner."""
    test = kind(made)
    return np.array([test.outcome(one, seen).p for one, seen in zip(assigned, answers, strict=True)])


def assert_calibrated(p):
    reached = {level: int((p <= level).sum()) for level in BOUNDS}
    assert all(reached[level] <= bound for level, bound in BOUNDS.items()), reached


def ranked(subject, count):
    """Class numbers ``[owners, count, K]``, best first."""
    if subject == "constant":
        return np.broadcast_to(np.arange(K) + 2, (OWNERS, count, K))
    weights = {"random": np.ones(10), "collapsed": [9, 3] + [0.01] * 8}[subject]
    waits = np.random.default_rng(len(subject)).standard_exponential((OWNERS, count, 10)) / weights
    return waits.argsort(axis=-1)[..., :K]


def named(ranks, k):
    return [[Seen((tuple(CLASSES[i] for i in row[:k]),)) for row in rows] for rows in ranks.tolist()]


SEQUENCE = labels(20, looks="sequential")


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_labels_looked_at_once(subject, k):
    assert_calibrated(p_values(labels(20, k), drawn(SEQUENCE), named(ranked(subject, 20), k)))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_labels_looked_at_any_time(subject):
    assert_calibrated(p_values(SEQUENCE, drawn(SEQUENCE), named(ranked(subject, 20), 1)))


@pytest.mark.parametrize("subject", ["heavy tails", "ties", "one order"])
@pytest.mark.parametrize(("looks", "count"), [("fixed", 8), ("sequential", 4)])
def test_texts(subject, looks, count):
    made, shape = claim("texts", count, parameters={"variants": 4}, looks=looks), (OWNERS, count, 4)
    rng = np.random.default_rng(7)
    scores = {
        "heavy tails": rng.standard_cauchy(shape),
        "ties": rng.integers(0, 3, shape).astype(float),
        "one order": np.broadcast_to(np.arange(4.0), shape),
    }[subject]
    answers = [[Seen(tuple((score,) for score in row)) for row in rows] for rows in scores.tolist()]
    assert_calibrated(p_values(made, drawn(made), answers))


def votes():
    """Of a decoder with a bias per bit, for pictures that share half of their noise."""
    rng = np.random.default_rng(11)
    noise = rng.logistic(size=(OWNERS, PICTURES, BITS))
    mixed = np.where(rng.random(noise.shape) < 0.5, noise[:, :1], noise)
    return np.where(1.2 * rng.normal(size=(OWNERS, 1, BITS)) + mixed > 0, 1.0, -1.0)


MESSAGE = claim("bits", 1, parameters={"bits": BITS, "pictures": PICTURES})


@pytest.mark.parametrize("subject", ["biased", "constant"])
def test_bits(subject):
    heard = votes() if subject == "biased" else np.ones((OWNERS, PICTURES, BITS))
    answers = [[Seen(tuple(map(tuple, rows)))] for rows in heard.tolist()]
    assert_calibrated(p_values(MESSAGE, drawn(MESSAGE), answers))


def test_the_same_bounds_catch_bits_that_are_pooled_over_pictures():
    signs = 2 * np.array(drawn(MESSAGE)) - 1
    right = (votes() == signs).sum(axis=(1, 2))
    assert (binom.sf(right - 1, BITS * PICTURES, 0.5) <= 0.01).sum() > BOUNDS[0.01]
