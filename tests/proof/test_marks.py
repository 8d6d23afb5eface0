"""Marks with secret classes: each recipient has secrets of its own."""

from __future__ import annotations

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.errors import UsageError
from noli.core.method import DataSummary
from noli.methods.mark import gratings
from noli.proof import marks
from noli.testing import KEYS

CLASSES = ("ash", "birch", "cedar", "elm")
SUMMARY = DataSummary(40, CLASSES, {(16, 16, 3): 40}, "in")
ITEMS = [Item(f"{n:020x}", f"{n}.png", CLASSES[n % 4]) for n in range(40)]


def marked(recipient: str | None) -> tuple[marks.Protocol, np.ndarray]:
    cfg = gratings.Config(share=1.0, recipient=recipient)
    state = gratings.prepare(SUMMARY, KEYS[0], cfg)
    grey = np.full((40, 3, 16, 16), 0.5, np.float32)
    return marks.claim_of(state, cfg), gratings.apply(state, grey, ITEMS, KEYS[0], cfg)


def test_every_recipient_gets_other_stripes_and_other_classes() -> None:
    (nobody, plain), (one, ours), (other, theirs) = map(marked, (None, "A. Reader", "B. Reader"))
    assert len({nobody.digest, one.digest, other.digest}) == 3
    assert not np.array_equal(plain, ours)
    assert not np.array_equal(ours, theirs)
    assert marks.targets(KEYS[0], one) != marks.targets(KEYS[0], other)
    secrets = [{secret.id for secret in marks.secrets(KEYS[0], claim)} for claim in (nobody, one, other)]
    assert not secrets[0] & secrets[1]
    assert not secrets[1] & secrets[2]


def test_a_recipient_is_not_named_in_what_is_published() -> None:
    claim, _ = marked("A. Reader")
    assert b"Reader" not in claim.canonical()
    assert set(claim.binds) == {"source", "recipient"}


def test_secrets_that_can_never_be_evidence_are_refused() -> None:
    marks.check_possible(CLASSES, marks.MarkConfig(keys=10))
    with pytest.raises(UsageError, match="never be evidence"):
        marks.check_possible(CLASSES, marks.MarkConfig(keys=9))
    with pytest.raises(UsageError, match="never be evidence"):
        marks.check_possible(CLASSES, marks.MarkConfig(keys=10, tests=2))


def test_every_secret_is_asked_and_gets_its_whole_share_of_the_pictures() -> None:
    cfg = gratings.Config(share=0.5, keys=16)
    state = gratings.prepare(SUMMARY, KEYS[0], cfg)
    claim = marks.claim_of(state, cfg)
    assert claim.secrets == claim.budget == 16
    # Of 4000 pictures half are marked, up to the luck of the draw: none for secrets that no test opens.
    many = [Item(f"{n:020x}", f"{n}.png", CLASSES[n % 4]) for n in range(4000)]
    own = np.bincount(marks.targets(KEYS[0], claim), minlength=4)
    expected = 1000 * np.minimum(1, 0.5 * 4 * own / 16).sum()
    grey = np.full((4000, 1, 8, 8), 0.5, np.float32)
    changed = (gratings.apply(state, grey, many, KEYS[0], cfg) != grey).any((1, 2, 3)).sum()
    assert abs(changed - expected) <= 4 * np.sqrt(expected)
