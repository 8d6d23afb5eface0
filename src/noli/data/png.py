"""PNG containers: chunk walk with checksums, metadata in and out, and an encoder for grey with alpha."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from noli.data.header import Header, animated, corrupt, truncated
from noli.data.picture import Picture, Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEY = "XML:com.adobe.xmp"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_INFLATE_LIMIT = 16 << 20  # text and profiles larger than this are decompression bombs


def parse(data: bytes, where: str) -> Header:
    """Walk all chunks, check every CRC, and collect the metadata.

    Raises:
        DataError: Truncated, damaged or animated.
    """
    header = Header("PNG", end=len(data))
    seen_data = seen_end = False
    for at, (kind, body) in enumerate(_chunks(data, where)):
        if (at == 0) != (kind == b"IHDR"):
            raise corrupt(where, "the header chunk is missing or repeated")
        if kind == b"IDAT":
            seen_data = True
        elif kind == b"IEND":
            seen_end = True
        elif kind == b"IHDR":
            _read_header(header, bytes(body), where)
        elif kind == b"acTL":
            raise animated(where, "animated PNG")
        else:
            _read_metadata(header, kind, body)
    if not seen_end:
        raise truncated(where, "the end chunk is missing")
    if not seen_data:
        raise corrupt(where, "no pixel data")
    return header


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    view, at = memoryview(data), len(SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise truncated(where, "a chunk is cut off")
        size = int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8])
        end = at + 12 + size
        if end > len(data):
            raise truncated(where, f"chunk {kind!r} is cut off")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise corrupt(where, f"checksum of chunk {kind!r} is wrong")
        yield kind, view[at + 8 : end - 4]
        if kind == b"IEND":
            return
        at = end


def _read_header(header: Header, body: bytes, where: str) -> None:
    if len(body) != 13:
        raise corrupt(where, "the header chunk has the wrong size")
    header.width, header.height, depth, colour = struct.unpack(">IIBB", body[:10])
    if not header.width or not header.height or depth not in _DEPTHS.get(colour, ()):
        raise corrupt(where, "impossible size or colour type")
    header.channels, header.bits = _CHANNELS[colour], 16 if depth == 16 else 8
    header.kind = f"{colour}/{depth}"


def _read_metadata(header: Header, kind: bytes, body: memoryview) -> None:
    raw = bytes(body)
    if kind == b"eXIf":
        header.exif = raw
    elif kind == b"iCCP":
        header.icc = _inflate(raw.partition(b"\0")[2][1:])
    elif kind == b"pHYs" and len(raw) == 9:
        x, y, unit = struct.unpack(">IIB", raw)
        header.dpi = (x * 0.0254, y * 0.0254) if unit == 1 else None
    elif kind == b"tRNS":
        header.transparent = raw
    elif kind in _COLOUR:
        header.colour.append((kind.decode(), raw))
    elif kind in (b"tEXt", b"zTXt", b"iTXt"):
        _read_text(header, kind, raw)


def _read_text(header: Header, kind: bytes, raw: bytes) -> None:
    key, _, rest = raw.partition(b"\0")
    name = key.decode("latin-1")
    if kind == b"tEXt":
        text: bytes | None = rest
    elif kind == b"zTXt":
        text = _inflate(rest[1:])
    else:
        packed = rest[:1] == b"\1"
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        text = _inflate(text) if packed else text
    if text is None:
        header.notes.append(f"text entry {name!r} was unreadable and dropped")
    elif name == XMP_KEY:
        header.xmp = text
    elif name in ("Raw profile type exif", "Raw profile type APP1") and header.exif is None:
        header.exif = _raw_profile(text)
    else:
        value = text.decode("utf-8", "replace") if kind == b"iTXt" else text.decode("latin-1")
        header.text.append((name, value))


def _inflate(packed: bytes) -> bytes | None:
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(packed, _INFLATE_LIMIT)
    except zlib.error:
        return None
    return plain if engine.eof else None


def _raw_profile(text: bytes) -> bytes | None:
    # ImageMagick's way of hiding EXIF in text: name, length, then hexadecimal digits.
    try:
        block = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return None
    return block.removeprefix(b"Exif\0\0")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one complete chunk: length, type, content, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def without_transparent_colour(data: bytes) -> bytes:
    """Return the file without its ``tRNS`` chunk; the caller has walked it before."""
    kept = [chunk(kind, bytes(body)) for kind, body in _chunks(data, "") if kind != b"tRNS"]
    return SIGNATURE + b"".join(kept)


def with_metadata(body: bytes, picture: Picture) -> bytes:
    """Insert the picture's metadata after the header chunk of an encoded PNG."""
    extra: list[bytes] = []
    for name, raw in picture.colour:
        if not (picture.icc and name == "sRGB"):  # the standard allows only one of the two
            extra.append(chunk(name.encode(), raw))
    if picture.icc:
        extra.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi:
        x, y = (round(value / 0.0254) for value in picture.dpi)
        extra.append(chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if picture.exif:
        extra.append(chunk(b"eXIf", picture.exif))
    if picture.xmp:
        extra.append(chunk(b"iTXt", XMP_KEY.encode() + b"\0\0\0\0\0" + picture.xmp))
    extra.extend(_text_chunk(key, value) for key, value in picture.text)
    if not extra:
        return body
    at = len(SIGNATURE) + 25
    return body[:at] + b"".join(extra) + body[at:]


def _text_chunk(key: str, value: str) -> bytes:
    name = key.encode("latin-1", "replace")
    try:
        return chunk(b"tEXt", name + b"\0" + value.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8"))


def encode_plain(stacked: Pixels, level: int = 2) -> bytes:
    """Encode ``[H, W, C]`` (C = 1..4, uint8 or uint16) with NumPy and zlib, row filter "up".

    For what OpenCV cannot write (grey with alpha), and as an oracle for what it can.
    """
    height, width, channels = stacked.shape
    depth = 16 if stacked.dtype == np.uint16 else 8
    wide = stacked.astype(">u2") if depth == 16 else stacked
    rows = np.ascontiguousarray(wide).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(filtered.tobytes(), level))
    return SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
