"""Pictures inside text: previews in metadata, copies in the files of annotation tools.

A small or full copy of an unprotected picture must not travel with the protected one.
"""

from __future__ import annotations

import re
from typing import IO

from noli.core.files import KEY_FORMAT
from noli.data.formats import HEAD_BYTES, PLAIN_SUFFIXES, READABLE, magic, suffix_of

# Lines of base64 in either alphabet, also as JSON and XML escape it; possessive, so that the time is linear.
_RUN = re.compile(rb"(?:[A-Za-z0-9+/\\_-]{60,}+(?:\s|&#[xX]?[0-9A-Fa-f]{1,4};)*+)++={0,2}")
# The smallest useful JPEG takes more; lists of digests have 16 different characters, rulers one or two.
_LENGTH, _KINDS = 400, 24
_MARKS = b"-_"  # rulers, and one of 32 characters of base64 for URLs
_HEX_MARK = re.compile(rb"\A(?:\\+|0)x")  # how languages and databases begin hexadecimal digits
_KEY_BYTES = 256
_URL = b"data:image/"
_LATITUDE = re.compile(rb"latitude", re.IGNORECASE)
_CHUNK, _OVERLAP = 1 << 20, 1024


def _is_coded(run: bytes) -> bool:
    letters = run.translate(None, _MARKS)
    return len(letters) >= _LENGTH and (len(set(letters)) >= _KINDS or _is_hex_picture(letters))


def _is_hex_picture(run: bytes) -> bool:
    """Tell whether hexadecimal digits begin as a picture does: others may be digests, keys or geometry."""
    digits = b"".join(_HEX_MARK.sub(b"", run).split())[: 2 * HEAD_BYTES]
    try:
        head = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return False
    name = magic(head)
    # Two letters begin one of 65,536 digests, and a BMP has zeros behind its size.
    return name in READABLE and (name != "BMP" or not any(head[6:10]))


def may_travel(name: str, handle: IO[bytes], *, strip: bool = False) -> bool:
    """Tell whether a file that is no picture may be published: text and XMP without pictures inside.

    What noli cannot look into might hold originals: project files of editors, volumes, databases. Keys of
    noli never travel; under `strip`, neither does XMP nor text that mentions a latitude.
    """
    suffix = suffix_of(name)
    if (suffix and suffix not in PLAIN_SUFFIXES and suffix != ".xmp") or (strip and suffix == ".xmp"):
        return False
    head = handle.read(_KEY_BYTES)
    # Of pictures only PNM has no zero bytes there; the two letters of BMP begin many words.
    if b"\0" in head or KEY_FORMAT.encode() in head or magic(head) == "PNM":
        return False
    handle.seek(0)
    return not file_holds(handle, position=strip)


def holds_picture(text: bytes) -> bool:
    """Tell whether a text has base64 or digits long enough for a picture, or a URL that is one."""
    return _URL in text or any(_is_coded(run[0]) for run in _RUN.finditer(text))


def file_holds(handle: IO[bytes], *, position: bool = False) -> bool:
    """Tell whether a text file of any length holds a picture, or, if asked, a latitude."""
    kept = b""
    while piece := handle.read(_CHUNK):
        text = kept + piece
        if holds_picture(text) or (position and _LATITUDE.search(text)):
            return True
        kept = text[-_OVERLAP:]
    return False


def without_pictures(text: bytes) -> bytes:
    """Cut coded pictures out of a text; what stands around it stays, so XML stays well-formed."""
    return _RUN.sub(lambda run: b"" if _is_coded(run[0]) else run[0], text)
