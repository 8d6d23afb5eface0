"""Pictures inside text: previews in metadata, copies in the files of annotation tools.

A small or full copy of an unprotected picture must not travel with the protected one.
"""

from __future__ import annotations

import re
from typing import IO

# Lines of base64, also as JSON and XML escape it; possessive, so that the time is linear.
_RUN = re.compile(rb"(?:[A-Za-z0-9+/\\]{60,}+(?:\s|&#[xX]?[0-9A-Fa-f]{1,4};)*+)++={0,2}")
# The smallest useful JPEG takes more; lists of digests have 16 different characters, rulers one or two.
_LENGTH, _KINDS = 400, 24
_URL = b"data:image/"
_LATITUDE = re.compile(rb"latitude", re.IGNORECASE)
_CHUNK, _OVERLAP = 1 << 20, 1024


def _is_coded(run: bytes) -> bool:
    return len(run) >= _LENGTH and len(set(run)) >= _KINDS


def holds_picture(text: bytes) -> bool:
    """Tell whether a text has base64 long enough for a picture, or a URL that is one."""
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
    """Cut long base64 out of a text; what stands around it stays, so XML stays well-formed."""
    return _RUN.sub(lambda run: b"" if _is_coded(run[0]) else run[0], text)
