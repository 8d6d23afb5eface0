"""JPEG containers: marker walk to the end marker, so that truncation is found without decoding."""

from __future__ import annotations

import re
import struct

from noli.data.header import Header, corrupt, truncated, unsupported

_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


def parse(data: bytes, where: str) -> Header:
    """Walk all markers and collect size and metadata.

    OpenCV and most viewers fill a cut-off file with grey; here a missing end marker is an error.

    Raises:
        DataError: Truncated, damaged, or of a JPEG process nobody decodes (12 bit, lossless, arithmetic).
    """
    header = Header("JPEG")
    profile: dict[int, bytes] = {}
    at, scans = 2, 0
    while True:
        marker, at = _next(data, at, where)
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        body, at = _segment(data, at, where)
        if marker in _FRAMES:
            _read_frame(header, marker, body, where)
        elif marker == 0xDA:
            scans, at = scans + 1, _after_scan(data, at, where)
        else:
            _read_segment(header, marker, body, profile)
    if not scans or not header.width:
        raise corrupt(where, "no picture inside")
    header.end = at
    if profile:
        header.icc = b"".join(profile[number] for number in sorted(profile))
    if len(data) - at > 16:
        header.notes.append("data after the end of the JPEG (extra pictures, video) was dropped")
    return header


def _next(data: bytes, at: int, where: str) -> tuple[int, int]:
    if at + 2 > len(data):
        raise truncated(where, "the end marker is missing")
    if data[at] != 0xFF:
        raise corrupt(where, "a marker is missing between two segments")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at >= len(data):
        raise truncated(where, "the end marker is missing")
    return data[at], at + 1


def _after_scan(data: bytes, at: int, where: str) -> int:
    found = _NEXT_MARKER.search(data, at)
    if found is None:
        raise truncated(where, "the end marker is missing")
    return found.start()


def _segment(data: bytes, at: int, where: str) -> tuple[bytes, int]:
    size = int.from_bytes(data[at : at + 2], "big")
    if size < 2 or at + size > len(data):
        raise truncated(where, "a header segment is cut off")
    return data[at + 2 : at + size], at + size


def _read_frame(header: Header, marker: int, body: bytes, where: str) -> None:
    if len(body) < 6:
        raise corrupt(where, "the frame header is too short")
    bits, height, width, components = struct.unpack(">BHHB", body[:6])
    fix = "convert it to an 8-bit baseline JPEG or to PNG"
    if marker not in (0xC0, 0xC1, 0xC2):
        raise unsupported(where, "JPEG with lossless, hierarchical or arithmetic coding", fix)
    if bits != 8:
        raise unsupported(where, f"JPEG with {bits} bits a channel", fix)
    if components not in (1, 3, 4):
        raise unsupported(where, f"JPEG with {components} channels", fix)
    if not width or not height:
        raise corrupt(where, "the picture has no pixels")
    header.width, header.height = width, height
    header.channels = 1 if components == 1 else 3
    header.kind = {1: "L", 3: "RGB", 4: "CMYK"}[components]


def _read_segment(header: Header, marker: int, body: bytes, profile: dict[int, bytes]) -> None:
    if marker == 0xE1 and body.startswith(_EXIF) and header.exif is None:
        header.exif = body[len(_EXIF) :]
    elif marker == 0xE1 and body.startswith(_XMP):
        header.xmp = body[len(_XMP) :]
    elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
        profile[body[12]] = body[14:]
    elif marker == 0xFE and body.strip(b"\0 \r\n"):
        header.text.append(("Comment", _comment(body)))
    elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
        unit, x, y = struct.unpack(">BHH", body[7:12])
        scale = {1: 1.0, 2: 2.54}.get(unit)
        header.dpi = (x * scale, y * scale) if scale and x and y else None


def _comment(body: bytes) -> str:
    """Return a comment as text that a PNG can hold: no NUL inside."""
    raw = body.rstrip(b"\0")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\0", " ")
