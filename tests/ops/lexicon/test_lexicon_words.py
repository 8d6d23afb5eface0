"""Synonyms, inflections, rarity, articles: what is known about single words."""

from __future__ import annotations

import importlib.util
import lzma
import os
import string
import sys
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.core.errors import DataError, MissingPrerequisite
from noli.ops.lexicon import Lexicon, english, needs_an, rarity
from noli.ops.lexicon.inflect import RULES, inflect, regular

RESOURCE = files("noli.ops.lexicon") / "english.txt.xz"
SCRIPT = Path(__file__).parents[3] / "tools" / "build_lexicon.py"
WORDNET = os.environ.get("NOLI_WORDNET", "")
needs_wordnet = pytest.mark.skipif(not WORDNET, reason="NOLI_WORDNET names no dictionary folder")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("rapidly", {"speedily", "quickly"}),
        ("children", {"youngsters"}),
        ("bought", {"purchased"}),
        ("buying", {"purchasing"}),
        ("began", {"started"}),
        ("biggest", {"largest"}),
        ("cars", {"automobiles"}),
        ("Movies", {"Films"}),
        ("RAPIDLY", {"SPEEDILY"}),
        ("masterful", {"masterly"}),
        ("outsmarted", {"outwitted"}),
    ],
)
def test_the_bundled_lexicon_knows_synonyms_in_the_form_of_the_word(word: str, expected: set[str]) -> None:
    assert expected <= set(english().synonyms(word))


@pytest.mark.parametrize(
    "word",
    [
        "run",  # verb and noun
        "watch",
        "the",
        "whereas",
        "London",
        "zzxq",
        "",
        "don't",
        "mid-air",
        "iPhone",
        "café",
        "walk3",
    ],
)
def test_a_word_that_is_not_clear_or_not_ordinary_has_no_synonyms(word: str) -> None:
    assert english().synonyms(word) == ()


def test_more_meanings_give_no_fewer_synonyms_of_a_clear_word() -> None:
    assert set(english().synonyms("quickly")) < set(english().synonyms("quickly", 3))


def test_no_replacement_is_offensive_or_a_form_of_the_word() -> None:
    lexicon = english()
    members = {word for part in lexicon._parts.values() for group in part.members for word in group}
    assert len(members) > 30_000
    assert members.isdisjoint(
        {"kike", "coolie", "wetback", "pickaninny", "cunt", "shit", "mongoloid", "honky"}
    )
    for word in sorted(members)[::7]:
        found = lexicon.synonyms(word)
        assert word not in found
        assert not any(word in lexicon.bases(other) for other in found)


def test_the_resource_is_small_licensed_and_named_by_its_digest() -> None:
    data = RESOURCE.read_bytes()
    assert len(data) <= 700_000
    assert Lexicon.read(data).digest == english().digest
    assert Lexicon.read(lzma.decompress(data)).digest != english().digest
    assert "Princeton University" in (files("noli.ops.lexicon") / "WORDNET-LICENSE").read_text("utf-8")


def test_a_small_lexicon_says_how_words_are_read(tiny: Lexicon) -> None:
    assert tiny.synonyms("Children") == ("Youngsters",)
    assert tiny.synonyms("walked") == ("strolled",)
    assert tiny.synonyms("happier") == ("gladder",)
    assert tiny.synonyms("quicker") == ()  # nobody writes "rapider"
    assert tiny.synonyms("begun") == ("commenced",)
    assert tiny.synonyms("commenced") == ()  # "began" or "begun"?
    assert tiny.synonyms("mistakes") == ("blunders", "errors")
    assert tiny.bases("running") == ()  # the list of forms has no "running", and the rules spell it so
    assert tiny.bases("runs") == ("run",)
    assert tiny.is_phrase(("heart", "attacks"))
    assert not tiny.is_phrase(("attack", "heart"))


def test_a_word_marked_for_it_never_replaces_but_is_replaced() -> None:
    lexicon = Lexicon.read(b"[noun]\npal *!\nfriend 0\n")
    assert lexicon.synonyms("pals") == ("friends",)
    assert lexicon.synonyms("friends") == ()


@pytest.mark.parametrize(
    "data", [b"[noun]\ncar 7\n", b"[noun]\ncar *:x\n", b"[what]\ncar *\n", b"\xff\xfe", b"\xfd7zXZ"]
)
def test_what_is_no_lexicon_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="not a lexicon"):
        Lexicon.read(data)


@pytest.mark.parametrize(
    ("lemma", "part", "form", "irregular", "expected"),
    [
        ("try", "verb", "ed", [], "tried"),
        ("love", "verb", "ing", [], "loving"),
        ("agree", "verb", "ing", [], "agreeing"),
        ("lie", "verb", "ing", [], "lying"),
        ("visit", "verb", "ed", [], "visited"),
        ("stop", "verb", "ed", ["stopped", "stopping"], "stopped"),
        ("permit", "verb", "ing", ["permitted", "permitting"], "permitting"),
        ("travel", "verb", "ed", ["travelled", "travelling"], None),  # "traveled" as well
        ("show", "verb", "ed", ["shown"], None),  # "showed" as well
        ("take", "verb", "ed", ["taken", "took"], None),
        ("put", "verb", "ed", [], None),
        ("overcome", "verb", "ed", ["overcame"], None),
        ("echo", "verb", "s", [], "echoes"),
        ("wish", "verb", "s", [], "wishes"),
        ("city", "noun", "plural", [], "cities"),
        ("day", "noun", "plural", [], "days"),
        ("box", "noun", "plural", [], "boxes"),
        ("fireman", "noun", "plural", [], "firemen"),
        ("human", "noun", "plural", [], "humans"),
        ("photo", "noun", "plural", [], None),
        ("trousers", "noun", "plural", [], None),
        ("class", "noun", "plural", [], "classes"),
        ("knife", "noun", "plural", ["knives"], "knives"),
        ("appendix", "noun", "plural", ["appendices", "appendixes"], None),
        ("large", "adj", "er", [], "larger"),
        ("tiny", "adj", "est", [], "tiniest"),
        ("rapid", "adj", "er", [], None),
    ],
)
def test_inflections(lemma: str, part: str, form: str, irregular: list[str], expected: str | None) -> None:
    assert inflect(lemma, part, form, irregular) == expected


@given(st.text(string.ascii_lowercase, min_size=3, max_size=12), st.sampled_from(sorted(RULES)))
def test_regular_forms_are_words_of_letters(lemma: str, part: str) -> None:
    for form in {form for _, _, form in RULES[part]}:
        assert all(word.isalpha() and word != lemma for word in regular(lemma, part, form))


def test_an_or_a() -> None:
    an = [
        "hour",
        "honest",
        "honour",
        "heir",
        "apple",
        "umbrella",
        "uninteresting",
        "urban",
        "undo",
        "onerous",
    ]
    a = ["unit", "unique", "useful", "usual", "European", "one", "once", "ewe", "uranium", "utensil", "hotel"]
    assert [word for word in an if not needs_an(word)] == []
    assert [word for word in a if needs_an(word)] == []
    assert needs_an("Apple")
    assert not needs_an("")


def test_rarity_grows_with_rareness() -> None:
    pytest.importorskip("wordfreq")
    found = [rarity(word) for word in ("the", "house", "physician", "celerity")]
    assert found == sorted(found, key=float)  # type: ignore[arg-type]
    assert 4 < rarity("the") < 5  # type: ignore[operator]
    assert rarity("zzxq") is None
    assert rarity("House") == rarity("house")


def test_without_wordfreq_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(MissingPrerequisite, match=r"noli\[text\]"):
        rarity.__wrapped__("house")


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_lexicon", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_lexicon"] = module
    spec.loader.exec_module(module)
    return module


@needs_wordnet
def test_the_script_makes_the_resource_again() -> None:
    assert _script().build(Path(WORDNET)) == RESOURCE.read_bytes()


def test_the_script_reads_senses_groups_and_slurs(tmp_path: Path) -> None:
    lines = {
        "noun": [
            "00000001 06 n 02 car 0 auto 0 001 ;u 00000003 n 0200 | a vehicle",
            "00000002 18 n 02 clod 0 oaf 0 000 | offensive term for a person",
            "00000003 10 n 01 slang 0 000 | informal words",
            "00000004 10 n 03 oaf 0 dolt 0 fool 0 000 | a stupid person",
        ],
        "verb": ["00000001 29 v 03 eat 0 dine 0 sup 0 000 02 + 01 00 + 02 01 | take food"],
        "adj": ["00000001 00 a 03 asleep(p) 0 sleeping 0 dormant 0 000 | at rest"],
        "adv": ["00000001 02 r 01 right_away 0 000 | at once"],
    }
    senses = []
    for digit, part in enumerate(lines, 1):
        (tmp_path / f"data.{part}").write_text("  1 licence\n" + "\n".join(lines[part]) + "\n")
        (tmp_path / f"{part}.exc").write_text("ate eat\n" if part == "verb" else "")
        words: dict[str, list[str]] = defaultdict(list)
        for line in lines[part]:
            fields = line.split()
            for word in fields[4 : 4 + 2 * int(fields[3]) : 2]:
                words[word.replace("(p)", "")].append(fields[0])
        senses += [
            f"{word}%{digit}:00:00:: {offset} {number} {5 if word == 'car' else 0}"
            for word, offsets in words.items()
            for number, offset in enumerate(offsets, 1)
        ]
    (tmp_path / "index.sense").write_text("\n".join(senses) + "\n")
    made = _script().build(tmp_path)
    text = lzma.decompress(made).decode()
    noun = "auto *!\ncar -:5\n"
    assert text.startswith(
        "[noun]\n" + noun.replace("car -", "car 0") + "clod -\ndolt *\nfool 1\noaf - 1!\nslang -\n"
    )
    assert "[verb]\ndine *\neat -\nsup 0\n[verb forms]\nate eat\n" in text
    assert "[adj]\nasleep -\ndormant *\nsleeping 0\n" in text
    assert text.endswith("[phrases]\nright away\n")
    assert _script().build(tmp_path) == made


ENDINGS = {
    "noun": "s: ses:s xes:x zes:z ches:ch shes:sh men:man ies:y es:",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing: ied:y ying:ie",
    "adj": "er: est: er:e est:e ier:y iest:y",
    "adv": "",
}


class RawFiles:
    """The plain rules of detachment on the files of the dictionary, with no regard for speed."""

    def __init__(self, folder: Path) -> None:
        lines = {part: (folder / f"index.{part}").read_text("utf-8").splitlines() for part in ENDINGS}
        self.known = {part: {line.split()[0] for line in found} for part, found in lines.items()}
        self.irregular: dict[str, dict[str, list[str]]] = {}
        for part in ENDINGS:
            rows = [line.split() for line in (folder / f"{part}.exc").read_text("utf-8").splitlines()]
            self.irregular[part] = {row[0]: row[1:] for row in rows}

    def lemmas(self, word: str) -> set[str]:
        return {
            lemma for part in ENDINGS for lemma in self._possible(word, part) if lemma in self.known[part]
        }

    @staticmethod
    def _detached(word: str, part: str) -> list[str]:
        rules = [rule.split(":") for rule in ENDINGS[part].split()]
        return [word[: -len(suffix)] + ending for suffix, ending in rules if word.endswith(suffix)]

    def _possible(self, word: str, part: str) -> list[str]:
        return [word, *self.irregular[part].get(word, []), *self._detached(word, part)]


@needs_wordnet
def test_lemmas_are_those_of_the_dictionary_files() -> None:
    """Ours also spell the form again: they find the lemma that made it, and nothing that the rules don't."""
    raw, lexicon = RawFiles(Path(WORDNET)), english()
    made = [
        (lemma, word)
        for name, part in lexicon._parts.items()
        for lemma in sorted(part.senses)[::11]
        for form in sorted({form for _, _, form in RULES[name]})
        for word in regular(lemma, name, form)
        if len(lemma) > 2
    ]
    assert len(made) > 5000
    # What doubles a letter has no rule of detachment: it is known when it is in the lists.
    lost = [(lemma, word) for lemma, word in made if lemma not in lexicon.bases(word)]
    assert [pair for pair in lost if not pair[1].startswith(pair[0] + pair[0][-1])] == []
    assert [word for _, word in made if not set(lexicon.bases(word)) <= raw.lemmas(word)] == []


@needs_wordnet
def test_irregular_forms_are_those_of_the_dictionary_files() -> None:
    raw, lexicon = RawFiles(Path(WORDNET)), english()
    for name, part in lexicon._parts.items():
        for form, lemmas in filter(lambda item: item[0].isalpha(), raw.irregular[name].items()):
            assert {lemma for lemma in lemmas if lemma in part.senses} <= set(lexicon.bases(form)), form
