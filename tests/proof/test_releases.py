"""Passages, their variants, and which of them is released."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.core.key import Key
from noli.proof import releases
from noli.proof.kinds import Seen, kind
from noli.proof.releases import Passage, Place

KEY, OTHER = (Key.from_bytes(bytes([n]) * 32) for n in (1, 2))
TEXT = "The swift fox leapt over the idle dog, and the dog slumbered on."
WORDS = (("swift", "fleet", "rapid"), ("leapt", "sprang"), ("idle", "lazy"), ("slumbered", "slept"))
PASSAGE = Passage(
    TEXT, tuple(Place(TEXT.index(some[0]), TEXT.index(some[0]) + len(some[0]), some) for some in WORDS)
)
CLAIM: dict[str, Any] = {
    "ask": "scores",
    "variants": 6,
    "asked": 5,
    "alpha": 1e-3,
    "looks": "fixed",
    "tests": 1,
    "words": "Scores.",
}


def passages(count: int) -> list[Passage]:
    return [
        Passage(f"{n} {TEXT}", tuple(_shifted(one, len(str(n)) + 1) for one in PASSAGE.places))
        for n in range(count)
    ]


def _shifted(place: Place, by: int) -> Place:
    return Place(place.start + by, place.end + by, place.words)


def by_hand(picks: tuple[int, ...]) -> str:
    words = TEXT.replace(",", " ,").replace(".", " .").split()
    for old, pick in zip(("swift", "leapt", "idle", "slumbered"), picks, strict=True):
        place = next(one for one in PASSAGE.places if one.words[0] == old)
        words[words.index(old)] = place.words[pick]
    return " ".join(words).replace(" ,", ",").replace(" .", ".")


@given(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)))
def test_rendered_texts_have_the_picked_words_where_the_spans_say(picks: tuple[int, ...]) -> None:
    text = PASSAGE.rendered(picks)
    assert text == by_hand(picks)
    found = [text[start:end] for start, end in PASSAGE.spans(picks)]
    assert found == [place.words[pick] for place, pick in zip(PASSAGE.places, picks, strict=True)]


def test_the_first_words_are_the_original() -> None:
    assert PASSAGE.rendered((0, 0, 0, 0)) == TEXT


@pytest.mark.parametrize("count", [2, 3, 7, 10])
def test_every_word_stands_in_as_many_variants_as_the_others_up_to_one(count: int) -> None:
    made = releases.variants(PASSAGE, KEY, count)
    assert len(made) == count
    for place, column in zip(PASSAGE.places, zip(*made, strict=True), strict=True):
        times = Counter(column)
        assert max(times.values()) - min(times.get(n, 0) for n in range(len(place.words))) <= 1


def test_variants_follow_from_key_and_passage_alone() -> None:
    assert releases.variants(PASSAGE, KEY, 10) == releases.variants(PASSAGE, KEY, 10)
    assert releases.variants(PASSAGE, KEY, 10) != releases.variants(PASSAGE, OTHER, 10)
    other = Passage(TEXT + " ", PASSAGE.places)
    assert releases.variants(PASSAGE, KEY, 10) != releases.variants(other, KEY, 10)


def test_columns_are_drawn_apart() -> None:
    """Two places of as many words do not vary together: else there were fewer variants than it seems."""
    text = " ".join(["word"] * 40)
    places = tuple(Place(5 * n, 5 * n + 4, ("word", "term")) for n in range(40))
    made = np.asarray(releases.variants(Passage(text, places), KEY, 16))
    correlations = np.corrcoef(made.T)[np.triu_indices(40, 1)]
    assert abs(correlations.mean()) < 0.05
    assert len({tuple(row) for row in made.tolist()}) == 16


def test_releases_are_uniform_and_another_recipient_has_others() -> None:
    some = passages(400)
    mine = releases.protocol(some, **CLAIM)
    theirs = releases.protocol(some, **CLAIM, recipient="them")
    drawn, others = releases.released(mine, KEY), releases.released(theirs, KEY)
    counts = np.bincount(drawn, minlength=6)
    assert len(drawn) == 400
    # Chi-square with 5 degrees of freedom: above 25.7 once in 10,000 keys, and this key is fixed.
    assert ((counts - 400 / 6) ** 2 / (400 / 6)).sum() < 25.7
    assert 30 < sum(a == b for a, b in zip(drawn, others, strict=True)) < 110


def test_the_claim_depends_on_the_texts() -> None:
    one, other = (releases.protocol(passages(n), **CLAIM) for n in (6, 7))
    assert one.binds["texts"] != other.binds["texts"]
    assert (one.secrets, one.budget) == (6, 5)
    assert releases.protocol(passages(3), **CLAIM).budget == 3


@pytest.mark.parametrize(
    ("ask", "test", "parameter"), [("scores", "texts", "variants"), ("cloze", "choices", "options")]
)
def test_each_way_of_asking_has_its_test(ask: str, test: str, parameter: str) -> None:
    claim = releases.protocol(passages(8), **{**CLAIM, "ask": ask})
    assert (claim.test, claim.parameters) == (test, {parameter: 6})


def test_a_model_that_likes_the_released_variant_best_is_found_and_one_that_guesses_is_not() -> None:
    claim = releases.protocol(passages(20), **{**CLAIM, "asked": 20})
    drawn = releases.released(claim, KEY)
    best = [Seen(tuple((float(number == part),) for part in range(6))) for number in drawn]
    worst = [Seen(tuple((float(number != part),) for part in range(6))) for number in drawn]
    pairs = [(number,) for number in drawn]
    assert kind(claim).outcome(pairs, best).p == pytest.approx(6.0**-20)
    assert kind(claim).outcome(pairs, worst).p == pytest.approx(1.0)


def test_the_vault_holds_what_is_asked() -> None:
    claim = releases.protocol(passages(5), **CLAIM)
    made = releases.vault(KEY, claim, [["a", "b"]] * 5)
    assert made.commit("me").root != releases.vault(KEY, claim, [["a", "c"]] * 5).commit("me").root
