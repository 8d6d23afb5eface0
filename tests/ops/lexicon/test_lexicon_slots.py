"""Which words of a text may be replaced, and by what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import UsageError
from noli.ops.lexicon import Lexicon, Slot, find, keep_similar
from noli.ops.lexicon.prose import sentences

Rarity = Callable[[str], float | None]
# A sentence and its words that may be replaced, by the rules and the lexicon of conftest.py.
TABLE = [
    ("The doctor bought the car.", "doctor bought car"),
    ("The doctor bought a car.", "doctor bought"),  # "a automobile"
    ("Doctor Smith bought cars.", "bought cars"),
    ("We saw Doctor Smith.", ""),
    ("Doctors buy cars.", "Doctors buy cars"),
    ("Doctor is a word.", ""),  # a noun without an article at the start may be a name
    ("He had a heart attack.", ""),
    ("He had two heart attacks.", ""),
    ("His heart beat.", "heart"),
    ("The car-like thing.", ""),
    ("The doctor's car.", "car"),
    ("The doctors' car.", "car"),
    ("They bought 3 cars.", "bought"),
    ("See car 5.", ""),
    ("The CAR was there.", ""),
    ("The Car rolled.", ""),
    ("Cars roll. We like Cars.", ""),
    ('"Buy the car," he said rapidly.', "rapidly"),
    ("\u201cBuy the car.\u201d It went rapidly.", "rapidly"),
    ("They said 'buy the car' and it's the doctor's idea.", "idea"),
    ("The idea (see the car, 2020) won.", "idea"),
    ("The idea (see the car) won.", "idea car"),
    ("The idea [12, car] won.", "idea"),
    ("It was an error.", ""),  # "an mistake"
    ("It was a mistake.", "mistake"),
    ("They run.", ""),
    ("They walked rapidly.", "walked rapidly"),
    ("The walk ended.", ""),  # "walk" is mostly a verb, but not here
    ("A big deal.", ""),
    ("The big car stopped.", "big car"),
    ("Happier children began.", "Happier children began"),
    ("cars cost", "cars"),
    ("A remark on the under-\ncar", ""),
    ("car_park doctor2 x", ""),
    ("See example.car/car or car.net, the choice.", "choice"),
    ("https://car.net/doctor car@net #car", ""),
    ("the car\n\nDoctor", "car"),
    ("doc\x00tor car\x00s car", "car"),
    ("The car\u0301 is an idea.", ""),  # "an notion"
    ("The doctor idea won.", "idea"),  # a noun that describes the next one
    ("The car Ford sold.", ""),
]


@pytest.mark.parametrize(("prose", "expected"), TABLE)
def test_the_words_that_may_be_replaced(prose: str, expected: str, tiny: Lexicon, flat: Rarity) -> None:
    found = find(prose, tiny, flat)
    assert [slot.word for slot in found] == expected.split()
    for slot in found:
        assert prose[slot.start : slot.end] == slot.word
        assert slot.sentence[0] <= slot.start < slot.end <= slot.sentence[1]


def test_a_slot_says_what_where_and_how_rare(tiny: Lexicon, flat: Rarity) -> None:
    prose = "It is so. Mistakes  happened: they went Away rapidly."
    assert find(prose, tiny, flat) == [
        Slot(10, 18, "Mistakes", ("Blunders", "Errors"), 15.0, (10, 53)),
        Slot(45, 52, "rapidly", ("speedily",), 15.0, (10, 53)),
    ]


def test_options_are_ranked_and_bounded_by_rarity(tiny: Lexicon) -> None:
    rare = {"mistakes": 15.0, "errors": 16.0, "blunders": 19.0}.get

    def options(**settings: float) -> tuple[str, ...]:
        found = find("The mistakes matter.", tiny, rare, **settings)  # type: ignore[arg-type]
        return found[0].options if found else ()

    assert options() == ("blunders", "errors")
    assert options(reach=3) == ("errors",)
    assert options(gain=2) == ("blunders",)
    assert options(ceiling=17) == ("errors",)
    assert options(floor=15.5) == ()
    assert find("The errors matter.", tiny, rare)[0].options == ("blunders",)
    assert find("The errors matter.", tiny, rare, gain=-5)[0].options == ("blunders", "mistakes")


def test_unknown_words_are_neither_replaced_nor_used(tiny: Lexicon) -> None:
    assert find("The mistakes matter.", tiny, {"errors": 16.0, "blunders": 19.0}.get) == []
    assert find("The mistakes matter.", tiny, {"mistakes": 16.0}.get) == []


def test_at_most_as_many_options_as_asked_for(tiny: Lexicon, flat: Rarity) -> None:
    lexicon = Lexicon.read(b"[noun]\naa *\n" + b"".join(b"a%c 0\n" % (98 + i) for i in range(9)))
    prose = "the aas"
    assert [len(find(prose, lexicon, flat, options=n)[0].options) for n in (2, 8)] == [2, 8]
    for wrong in ({"options": 1}, {"options": 9}, {"senses": 0}):
        with pytest.raises(UsageError):
            find(prose, tiny, flat, **wrong)  # type: ignore[arg-type]


def test_protected_terms_stay(tiny: Lexicon, flat: Rarity) -> None:
    prose = "The car and the children walked rapidly; the big\ncar and the big idea."
    assert [slot.word for slot in find(prose, tiny, flat, protected=["Child", "BIG car"])] == [
        "car",
        "walked",
        "rapidly",
        "big",
        "idea",
    ]
    assert find(prose, tiny, flat, protected=["", "?!"]) == find(prose, tiny, flat)


def test_quotations_may_be_opened(tiny: Lexicon, flat: Rarity) -> None:
    prose = 'He said "the car" rapidly.'
    assert [slot.word for slot in find(prose, tiny, flat)] == ["rapidly"]
    assert [slot.word for slot in find(prose, tiny, flat, quotes=False)] == ["car", "rapidly"]


@pytest.mark.parametrize(
    ("prose", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Mr. Smith and Dr. Jones met J. R. Tolkien. He left.",
            ["Mr. Smith and Dr. Jones met J. R. Tolkien.", "He left."],
        ),
        ("This, e.g. That, i.e. Those vs. These.", ["This, e.g. That, i.e. Those vs. These."]),
        ("It cost 3.5 pounds. Cheap", ["It cost 3.5 pounds.", "Cheap"]),
        ("One line\nand the next. End", ["One line\nand the next.", "End"]),
        ("A title\n\nA text\n \nMore", ["A title", "A text", "More"]),
        ("He said \u201cGo.\u201d She went.", ["He said \u201cGo.\u201d", "She went."]),
        ("Wait... what? no. yes", ["Wait... what? no. yes"]),
        ("", []),
        (" \n\n \n", []),
    ],
)
def test_sentences(prose: str, expected: list[str]) -> None:
    assert [prose[start:end] for start, end in sentences(prose)] == expected


_WORDS = [
    "car",
    "Car",
    "doctor",
    "the",
    "a",
    "an",
    "error",
    "bought",
    "heart attack",
    "Smith",
    "walked",
    "big",
    "idea",
]
_MARKS = [
    "\x00",
    " ",
    " ",
    "\n",
    "\n\n",
    ". ",
    '"',
    "'",
    "(",
    ")",
    "12",
    "-",
    "\u2019",
    "\u0301",
    "e.g.",
    "?",
    "\u201c",
]
_PIECES = st.sampled_from(_WORDS) | st.sampled_from(_MARKS) | st.just(" ")


@settings(deadline=None, max_examples=200)
@given(st.lists(_PIECES, max_size=40).map("".join), st.booleans())
def test_slots_of_any_text_are_sound(tiny: Lexicon, flat: Rarity, prose: str, quotes: bool) -> None:
    found = find(prose, tiny, flat, quotes=quotes, protected=["doctor"])
    assert found == find(prose, tiny, flat, quotes=quotes, protected=["doctor"])
    assert [slot.start for slot in found] == sorted({slot.start for slot in found})
    for slot in found:
        assert prose[slot.start : slot.end] == slot.word
        assert slot.options
        assert slot.word not in slot.options
        assert slot.word.lower() not in {"doctor", "doctors"}
        touching = prose[max(0, slot.start - 1) : slot.start] + prose[slot.end : slot.end + 1]
        assert not any(letter.isalnum() or letter in "\x00-\u2019\u0301_" for letter in touching)
        if slot.word[0].isupper():
            before = prose[slot.sentence[0] : slot.start]
            assert not any(letter.isalpha() for letter in before)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_accepted(tiny: Lexicon, flat: Rarity, prose: str) -> None:
    for slot in find(prose, tiny, flat):
        assert prose[slot.start : slot.end] == slot.word


HOSTILE = [
    "'a ",
    "((",
    "([",
    '"',
    ".",
    ". ",
    "\u2018",
    "'a",
    "``",
    "A ",
    "1 ",
    "a.",
    "\n",
    "\n ",
    "a-",
    "\x00",
    "!\u201d",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_does_not_hang(piece: str, tiny: Lexicon, flat: Rarity) -> None:
    """Time that grows with the square of the length would run into the suite's limit."""
    text = piece * (100_000 // len(piece)) + "\n\nWe bought the car."
    assert "bought" in [slot.word for slot in find(text, tiny, flat)]
    assert find("1 " * 50_000 + "A " * 50_000, tiny, flat) == []


def test_a_long_text_is_read_to_its_end(flat: Rarity) -> None:
    sentence = (
        "The physician rapidly bought several automobiles, although the children of the village wandered. "
    )
    prose = sentence * 2_000
    found = find(prose, rarity=flat)
    assert len(found) % prose.count("The") == 0
    assert {"rapidly", "bought", "automobiles", "children"} <= {slot.word for slot in found}


def _embedding(calls: list[list[str]]) -> Callable[[list[str]], torch.Tensor]:
    """Sentences with "blunder" or "speedily" are turned far away, those with "error" a little."""

    def embed(texts: list[str]) -> torch.Tensor:
        calls.append(texts)
        turns = [
            1.5 if "blunder" in text or "speedily" in text else 0.3 if "error" in text else 0.0
            for text in texts
        ]
        return torch.tensor([[np.cos(turn), np.sin(turn)] for turn in turns], dtype=torch.float32)

    return embed


def test_only_options_that_leave_the_sentence_alike_are_kept(tiny: Lexicon, flat: Rarity) -> None:
    prose = "The mistakes\nmatter rapidly. \x00The mistakes matter."
    slots = find(prose, tiny, flat)
    assert [slot.word for slot in slots] == ["mistakes", "rapidly", "mistakes"]
    calls: list[list[str]] = []
    kept = keep_similar(prose, slots, _embedding(calls))
    assert [(slot.word, slot.options) for slot in kept] == [("mistakes", ("errors",))] * 2
    assert [(slot.start, slot.end) for slot in kept] == [(slots[i].start, slots[i].end) for i in (0, 2)]
    assert len(calls) == 1
    assert len(calls[0]) == len(set(calls[0]))
    assert "The mistakes matter rapidly." in calls[0]
    assert keep_similar(prose, slots, _embedding([]), threshold=-1) == slots
    assert keep_similar(prose, slots, _embedding([]), threshold=0.99) == []


def test_no_slots_need_no_encoder() -> None:
    assert find("") == []
    assert keep_similar("", [], lambda texts: pytest.fail("asked")) == []


def test_an_array_will_do_as_well(tiny: Lexicon, flat: Rarity) -> None:
    slots = find("The mistakes matter.", tiny, flat)
    assert (
        keep_similar("The mistakes matter.", slots, lambda texts: np.ones((len(texts), 1), np.float32))
        == slots
    )


def test_the_nearest_option_comes_first_where_that_is_asked() -> None:
    prose = "The swift fox ran."
    slot = Slot(4, 9, "swift", ("fleet", "quick", "rapid"), 10.0, (0, 18))
    angles = {"swift": 0.0, "fleet": 0.5, "quick": 0.1, "rapid": 0.3}

    def embed(texts: list[str]) -> np.ndarray:
        found = [angles[text.split()[1]] for text in texts]
        return np.stack([np.cos(found), np.sin(found)], 1).astype(np.float32)

    (kept,) = keep_similar(prose, [slot], embed, 0.9, nearest_first=True)
    assert kept.options == ("quick", "rapid")
    (kept,) = keep_similar(prose, [slot], embed, 0.5)
    assert kept.options == ("fleet", "quick", "rapid")
