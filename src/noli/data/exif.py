"""EXIF blocks (TIFF bytes): read tags, find a position, drop embedded thumbnails, apply orientation."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np

from noli.data.picture import Pixels

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
ORIENTATION, GPS_IFD = 0x0112, 0x8825
_XMP_THUMB = re.compile(
    rb"<((?:xmp|xap)GImg):image>.*?</\1:image>|(?:xmp|xap)GImg:image=\"[^\"]*\"", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory entry: type, count, and where its values lie in the block."""

    kind: int
    count: int
    start: int


class Directory:
    """One image file directory of a TIFF block; every read is bounds-checked.

    Raises:
        ValueError: The block is not TIFF or the directory lies outside it.
    """

    def __init__(self, block: bytes, offset: int | None = None) -> None:
        if block[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("not a TIFF block")
        self.block = block
        self.order = "<" if block[:2] == b"II" else ">"
        self.offset = self._unpack("I", 4) if offset is None else offset
        count = self._unpack("H", self.offset)
        self.entries: dict[int, Entry] = {}
        for i in range(count):
            at = self.offset + 2 + 12 * i
            tag, kind, n = (self._unpack("H", at), self._unpack("H", at + 2), self._unpack("I", at + 4))
            size = _SIZES.get(kind, 1) * n
            start = at + 8 if size <= 4 else self._unpack("I", at + 8)
            self.entries[tag] = Entry(kind, n, start)
        self.next_at = self.offset + 2 + 12 * count

    @property
    def next(self) -> int:
        """Offset of the next directory, 0 when this is the last."""
        return self._unpack("I", self.next_at) if self.next_at + 4 <= len(self.block) else 0

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the integer values of a tag; empty when it is absent or not of an integer type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in (1, 3, 4, 6, 7, 8, 9, 13):
            return ()
        size = _SIZES[entry.kind] * entry.count
        if entry.start + size > len(self.block):
            raise ValueError("tag outside the block")
        letter = {1: "B", 2: "H", 4: "I"}[_SIZES[entry.kind]]
        return struct.unpack_from(f"{self.order}{entry.count}{letter}", self.block, entry.start)

    def first(self, tag: int, default: int) -> int:
        """Return the first integer of a tag, or ``default``."""
        found = self.values(tag)
        return found[0] if found else default

    def _unpack(self, letter: str, at: int) -> int:
        try:
            return int(struct.unpack_from(self.order + letter, self.block, at)[0])
        except struct.error as error:
            raise ValueError("directory outside the block") from error


def _open(block: bytes | None) -> Directory | None:
    if not block:
        return None
    try:
        return Directory(block)
    except ValueError:
        return None


def orientation(block: bytes | None) -> int:
    """Return the EXIF orientation 1..8; 1 when absent or unreadable."""
    directory = _open(block)
    try:
        value = directory.first(ORIENTATION, 1) if directory else 1
    except ValueError:
        return 1
    return value if 1 <= value <= 8 else 1


def with_orientation(block: bytes, value: int) -> bytes:
    """Return the block with its orientation tag, when it has one, set to ``value``."""
    directory = _open(block)
    entry = directory.entries.get(ORIENTATION) if directory else None
    if directory is None or entry is None or entry.kind != 3 or entry.start + 2 > len(block):
        return block
    patched = bytearray(block)
    struct.pack_into(directory.order + "H", patched, entry.start, value)
    return bytes(patched)


def has_gps(block: bytes | None, xmp: bytes | None = None) -> bool:
    """Tell whether EXIF or XMP carry a position."""
    if xmp and (b"GPSLatitude" in xmp or b"GPSLongitude" in xmp):
        return True
    directory = _open(block)
    if directory is None or block is None:
        return False
    try:
        offset = directory.first(GPS_IFD, 0)
        # A directory that holds only its version tag (0) is what cameras write without a fix.
        return offset > 0 and any(tag != 0 for tag in Directory(block, offset).entries)
    except ValueError:
        return False


def without_thumbnails(block: bytes) -> tuple[bytes, bool]:
    """Remove every embedded preview from an EXIF block.

    A thumbnail is a small copy of the unprotected picture; it must not travel with the protected one.

    Returns:
        The block (unchanged length) and whether something was removed.
    """
    patched = bytearray(block)
    directory = _open(block)
    if directory is not None and directory.next:
        for start, size in _thumbnail_ranges(block, directory.next):
            patched[start : start + size] = bytes(len(patched[start : start + size]))
        struct.pack_into("I", patched, directory.next_at, 0)
    while (start := patched.find(b"\xff\xd8\xff")) >= 0:  # previews inside maker notes
        end = patched.find(b"\xff\xd9", start)
        end = end + 2 if end >= 0 else len(patched)
        patched[start:end] = bytes(end - start)
    result = bytes(patched)
    return result, result != block


def _thumbnail_ranges(block: bytes, offset: int) -> list[tuple[int, int]]:
    try:
        second = Directory(block, offset)
        ranges: list[tuple[int, int]] = []
        for starts, sizes in ((0x0201, 0x0202), (0x0111, 0x0117)):  # JPEG and uncompressed thumbnails
            ranges.extend(zip(second.values(starts), second.values(sizes), strict=False))
        return ranges
    except ValueError:
        return []


def without_xmp_thumbnails(packet: bytes) -> tuple[bytes, bool]:
    """Remove base64 previews from an XMP packet; returns the packet and whether it changed."""
    cleaned = _XMP_THUMB.sub(b"", packet)
    return cleaned, cleaned != packet


def upright(array: Pixels, value: int) -> Pixels:
    """Turn an array ``[H, W, ...]`` in stored orientation into display orientation."""
    if value in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        array = array[:, ::-1]
    if value in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
