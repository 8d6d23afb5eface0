"""EXIF blocks (TIFF bytes): find a position, drop embedded thumbnails, apply orientation."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from noli.data.picture import Pixels
from noli.data.reading import quiet

# (offset, length): JPEG thumbnails and uncompressed ones.
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))
_JPEG = b"\xff\xd8\xff"
# In compressed data every FF is followed by 00 or a restart marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END, _SCAN, _BARE = 0xD9, 0xDA, (0x01, *range(0xD0, 0xD9))


def _directory(block: bytes | None, number: int | None = None) -> dict[int, Any]:
    """Return the readable tags of the main or a named directory; none of a damaged block."""
    tags = Image.Exif()
    # Cameras and editors write every kind of broken block; a picture is not refused for that.
    with quiet(), suppress(Exception):
        tags.load(block or b"")
        return dict(tags if number is None else tags.get_ifd(number))
    return {}


def orientation(block: bytes | None) -> int:
    """Return the EXIF orientation 1..8; 1 when absent or unreadable."""
    value = _directory(block).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def has_gps(block: bytes | None, xmp: bytes | None = None) -> bool:
    """Tell whether EXIF or XMP carry a position."""
    if xmp and (b"GPSLatitude" in xmp or b"GPSLongitude" in xmp):
        return True
    # A directory that holds only its version tag (0) is what cameras write without a fix.
    return bool(block) and any(tag != 0 for tag in _directory(block, ExifTags.IFD.GPSInfo))


def without_thumbnails(block: bytes) -> bytes:
    """Blank every embedded preview of an EXIF block; nothing moves, so maker notes stay readable.

    A thumbnail is a small copy of the unprotected picture; it must not travel with the protected one.
    """
    patched = bytearray(block)
    with suppress(struct.error):
        order = "<" if block[:2] == b"II" else ">"
        first = struct.unpack_from(order + "I", block, 4)[0]
        link = first + 2 + 12 * struct.unpack_from(order + "H", block, first)[0]
        if struct.unpack_from("I", block, link)[0]:  # to a second directory, which describes a thumbnail
            struct.pack_into("I", patched, link, 0)
            _blank(patched, _directory(block, ExifTags.IFD.IFD1))
    at = patched.find(_JPEG)
    while at >= 0:  # previews inside maker notes
        end = _jpeg_end(patched, at)
        patched[at:end] = bytes(end - at)
        at = patched.find(_JPEG, end)
    return bytes(patched)


def _jpeg_end(block: bytearray, start: int) -> int:
    """Return where a JPEG ends, other JPEGs in its segments included; a broken one ends with the block."""
    at = start + 2
    while at + 2 <= len(block) and block[at] == 0xFF:
        kind = block[at + 1]
        if kind == _END:
            return at + 2
        if kind in _BARE:
            at += 2
        elif kind == 0xFF:
            at += 1
        else:
            at += 2 + int.from_bytes(block[at + 2 : at + 4])
        if kind == _SCAN:
            marker = _NEXT_MARKER.search(block, at)
            at = marker.start() if marker else len(block)
    return len(block)


def _blank(block: bytearray, directory: dict[int, Any]) -> None:
    for starts, sizes in _THUMBNAILS:
        with suppress(LookupError, TypeError, ValueError):
            for start, size in np.transpose([np.ravel(directory[starts]), np.ravel(directory[sizes])]):
                block[start : start + size] = bytes(len(block[start : start + size]))


def upright(array: Pixels, value: int) -> Pixels:
    """Turn an array ``[H, W, ...]`` in stored orientation into display orientation."""
    if value in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        array = array[:, ::-1]
    if value in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def as_stored(array: Pixels, value: int) -> Pixels:
    """Undo `upright`."""
    return upright(array, {6: 8, 8: 6}.get(value, value))
