"""What all formats share: the marks that stand for what is no prose, addresses, and how marks join words.

A mask has the length of its text. While a format is scanned, `SOFT` stands for what shows nothing itself (a
tag, a comment, emphasis); `finished` turns it into `GLUE` between letters and into spaces elsewhere, so that
a word in bold stays a word and half a word in bold does not become one. No decision depends on which letters
a word has: new words leave the mask of everything else as it was.
"""

from __future__ import annotations

import re
import unicodedata

BREAK = "\n"
GLUE = "\x00"
SOFT = "\x01"

_UNSEEN = ("Mn", "Mc", "Me", "Cf", "Cs")  # marks on letters, soft hyphens and joiners, half characters
# JSON may write a slash as `\/`.
_URL = re.compile(r'(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}:(?:\\?/){2}[^\s<>"]+')
_TOKEN = re.compile(r"[\w./\\@:?=&%#+~$'\u2019-]+")
_JOINT = re.compile(r"[^\W_][./\\@_:=&#+]+[^\W_]|[/\\@]\w|(?<![.\w])\.\w")
_RUN = re.compile(r"(?<!['\u2019-])['\u2019-]*+[\x00\x01][\x00\x01'\u2019-]*+")
_TO_SPACE = str.maketrans(SOFT, " ")


def normalised(raw: str) -> str:
    r"""Return a text of the same length whose lines all end in `\n`."""
    return raw.replace("\r\n", " \n").replace("\r", "\n")


def is_phrase(text: str) -> bool:
    """Tell whether a text is words: runs of letters with one space, apostrophe or hyphen in between."""
    return all(part.isalpha() for part in re.split("[ '\u2019-]", text))


def mark_of(character: str) -> str:
    """Return the mark for an escape or entity: hard if what it stands for may be part of a word."""
    hard = any(one.isalnum() or unicodedata.category(one) in _UNSEEN for one in character)
    return GLUE if hard else SOFT


def finished(mask: str) -> str:
    """Blank URLs, e-mail addresses, paths and dotted names, and settle every `SOFT`.

    Args:
        mask: A text in which the format has put its marks.

    Returns:
        The prose: the same length, each character as it was, `BREAK`, `GLUE` or a space.
    """
    unseen = {one for one in set(mask) if ord(one) > 127 and unicodedata.category(one) in _UNSEEN}
    mask = mask.translate(dict.fromkeys(map(ord, unseen), GLUE))
    mask = _URL.sub(lambda found: GLUE * len(found[0]), mask)
    return _RUN.sub(_settled, _TOKEN.sub(_without_address, mask))


def _without_address(token: re.Match[str]) -> str:
    if not _JOINT.search(token[0]):
        return token[0]
    kept = token[0].rstrip(".:?'\u2019-")
    return GLUE * len(kept) + token[0][len(kept) :]


def _settled(run: re.Match[str]) -> str:
    left, right = run.string[max(run.start() - 1, 0) : run.start()], run.string[run.end() : run.end() + 1]
    if GLUE in run[0] or (left.isalnum() and right.isalnum()):
        return GLUE * len(run[0])
    return run[0].translate(_TO_SPACE)
