"""Edits of a file's texts: checked against the prose, then put into the bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from noli.core.errors import UsageError
from noli.data.documents.prose import is_phrase


class Edit(NamedTuple):
    """New words for the characters from `start` up to `end` of a text (of its raw as of its prose)."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Text:
    r"""One document.

    Attributes:
        name: The file's name, followed by `#` and the line (from 1) if the file holds one text a line.
        raw: What is stored: with markup, and in JSON Lines with the escapes between the quotes.
        prose: As long as `raw`. What is no prose is `BREAK` (`"\n"`) where prose is interrupted, `GLUE`
            (`"\x00"`) where it may be part of a word, and spaces where it shows nothing between words.
            A newline of the text itself stays one. A word that touches `GLUE` on a side may be half of a
            word: it must not be replaced, which whoever makes the edits has to see to.
    """

    name: str
    raw: str
    prose: str


class TextFile:
    """The texts of one file, and the way back to its bytes.

    Attributes:
        texts: The documents of the file, in its order.
    """

    def __init__(
        self,
        texts: Sequence[Text],
        content: str,
        *,
        starts: Sequence[int] = (0,),
        codec: str = "utf-8",
        wrap: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.texts = tuple(texts)
        self._content, self._starts, self._codec, self._wrap = content, starts, codec, wrap

    def rewritten(self, edits: Mapping[int, Sequence[Edit]]) -> bytes:
        """Return the file's bytes with new words; without edits they are the bytes that were read.

        Args:
            edits: Edits for texts by their index in `texts`, in any order.

        Raises:
            UsageError: No such text; an edit that is out of range, overlaps another or covers more than
                words of prose; new words with other characters than letters and single spaces, apostrophes
                and hyphens between them, or with letters that the file's encoding lacks.
        """
        pieces, at = list[str](), 0
        for index in sorted(edits):
            if not 0 <= index < len(self.texts):
                raise UsageError(f"There is no text {index}.", fix=f"The file has {len(self.texts)} texts.")
            start = self._starts[index]
            for edit in self._checked(self.texts[index], edits[index]):
                pieces += (self._content[at : start + edit.start], edit.new)
                at = start + edit.end
        return self._wrap("".join((*pieces, self._content[at:])).encode(self._codec))

    def _checked(self, text: Text, edits: Sequence[Edit]) -> list[Edit]:
        ordered, at = sorted(edits), 0
        for edit in ordered:
            if why := self._objection(text, edit, at):
                raise UsageError(
                    "An edit cannot be made.",
                    where=f"{text.name}, characters {edit.start} to {edit.end}",
                    why=why,
                    items=[text.name],
                )
            at = edit.end
        return ordered

    def _objection(self, text: Text, edit: Edit, free: int) -> str | None:
        old = text.prose[edit.start : edit.end]
        if not 0 <= edit.start < edit.end <= len(text.raw):
            return "it is out of range"
        if edit.start < free:
            return "it overlaps another edit"
        if not is_phrase(old) or old != text.raw[edit.start : edit.end]:
            return "it covers more than words of prose"
        if not is_phrase(edit.new):
            return "new words are letters with single spaces, apostrophes and hyphens between them"
        try:
            edit.new.encode(self._codec)
        except UnicodeEncodeError:
            return f"the file's encoding ({self._codec}) lacks letters of {edit.new!r}"
        return None
