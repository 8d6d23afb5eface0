"""Compare two collections of texts, document by document: how many words differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from noli.core.errors import DataError, UsageError
from noli.data.documents import TextFile, open_texts
from noli.data.folders import is_item
from noli.data.place import Place
from noli.data.sources import TABLES
from noli.engine.progress import Progress
from noli.engine.texts.collection import Collection

_LISTED, _WORST = 20, 10
# A folder with one holds pictures.
_ARCHIVES = (".parquet", ".npz")


@dataclass
class TextDiff:
    """How two collections of texts differ.

    Attributes:
        a, b: What was compared.
        items: Documents compared: those of one name.
        identical: Documents with equal bytes.
        words: Words of the first collection's documents, as they are stored.
        changed: Words of them that the second one does not have in their place.
        worst: Documents with most changed words: ``path``, ``words``, ``changed``.
        unreadable: Documents that cannot be read (at most 20 names).
        only_a, only_b: Documents without a partner (at most 20 names), with their totals in `missing`.
        missing: ``{"a": ..., "b": ..., "unreadable": ...}`` totals.
    """

    a: str
    b: str
    items: int = 0
    identical: int = 0
    words: int = 0
    changed: int = 0
    worst: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0, "unreadable": 0})

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def are_texts(*places: str | Path) -> bool:
    """Return whether every place is a local collection of texts, and no data set of pictures."""
    return all(map(_is_texts, places))


def _is_texts(place: str | Path) -> bool:
    try:
        found = Collection.find(place)
    except (DataError, UsageError):
        return False
    here, names = Place(found.root), (*found.texts, *found.others)
    tables = any(name.rpartition("/")[2] in TABLES or name.lower().endswith(_ARCHIVES) for name in names)
    return found.root.is_file() or not (tables or any(is_item(here, name) for name in found.others))


def diff_texts(
    a: str | Path, b: str | Path, *, field: str = "text", progress: Progress | None = None
) -> TextDiff:
    """Compare the texts of `b` with those of `a` (the originals), document by document, by their names.

    Args:
        a: A folder or file of documents, usually the originals.
        b: The same, marked or restored; two files may have different names.
        field: Where the text lies in lines of JSONL.
        progress: Where progress goes; nowhere when None.

    Raises:
        UsageError: There is nothing at a place.
        DataError: No text document, or none that both have.
    """
    bar, first, second = progress or Progress(), Collection.find(a), Collection.find(b)
    alone = first.root.is_file() and second.root.is_file()
    both = sorted(set(first.texts) & set(second.texts))
    pairs = [(first.texts[0], second.texts[0])] if alone else [(name, name) for name in both]
    if not pairs:
        fix = "compare texts with their marked (or restored) version"
        raise DataError("The two collections have no document in common.", where=f"{a} and {b}", fix=fix)
    found = TextDiff(a=str(a), b=str(b))
    for names, kind, left in ((first, "a", found.only_a), (second, "b", found.only_b)):
        paired = {pair[kind == "b"] for pair in pairs}
        lone = [name for name in names.texts if name not in paired]
        found.missing[kind] = len(lone)
        left.extend(lone[:_LISTED])
    bar.start(len(pairs), "compare")
    for one, other in pairs:
        _compare(found, one, (first.bytes_of(one), second.bytes_of(other)), (one, other), field)
        bar.advance(1)
    bar.finish()
    found.worst = sorted(found.worst, key=lambda row: (-row["changed"], row["path"]))[:_WORST]
    return found


def _compare(
    found: TextDiff, path: str, data: tuple[bytes, bytes], names: tuple[str, str], field: str
) -> None:
    try:
        before, after = (_words(open_texts(*one, field)) for one in zip(names, data, strict=True))
    except DataError:
        found.missing["unreadable"] += 1
        if len(found.unreadable) < _LISTED:
            found.unreadable.append(path)
        return
    same = data[0] == data[1]
    kept = len(before) if same else _kept(before, after)
    found.items += 1
    found.identical += same
    found.words += len(before)
    found.changed += len(before) - kept
    if not same:
        found.worst.append({"path": path, "words": len(before), "changed": len(before) - kept})


def _words(document: TextFile) -> list[str]:
    return [word for text in document.texts for word in text.raw.split()]


def _kept(before: list[str], after: list[str]) -> int:
    if len(before) == len(after):  # as marks leave them: word for word, in time
        return sum(one == other for one, other in zip(before, after, strict=True))
    blocks: Iterable[Any] = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)
