"""PNG: a chunk walk with checksums, so that a scan need not decode; metadata in and out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from noli.data.embedded import holds_picture
from noli.data.modes import Planes, opencv, to_planes
from noli.data.picture import HEADER, Picture, Pixels
from noli.data.reading import animated, check_size, damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp"
_HEADER = HEADER.encode()
# ImageMagick's text chunks. What is not read as EXIF or XMP goes: a Photoshop profile holds a thumbnail.
_RAW = b"Raw profile type "
_RAW_EXIF, _RAW_KEPT = (_RAW + b"exif", _RAW + b"APP1"), (_RAW + b"icc", _RAW + b"icm")
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_INFLATE_LIMIT = 16 << 20  # packets and profiles larger than this are decompression bombs

Chunk = tuple[bytes, memoryview]


class Parsed(NamedTuple):
    """A PNG file whose chunks were walked; `meta` holds its metadata as fields of `Picture`."""

    chunks: list[Chunk]
    width: int
    height: int
    depth: int
    colour: int
    meta: dict[str, Any]

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB or palette)."""
        return 1 if self.colour in (0, 4) else 3


def parse(data: bytes, max_pixels: int) -> Parsed:
    """Walk all chunks, check every CRC, and collect the metadata.

    Raises:
        DataError: Truncated, damaged, animated or too large.
    """
    chunks = _chunks(data)
    kinds = [kind for kind, _ in chunks]
    if kinds[0] != b"IHDR" or kinds.count(b"IHDR") > 1 or b"IDAT" not in kinds:
        raise damaged("the header or the pixel data is missing, or there are two headers")
    if b"acTL" in kinds:
        raise animated()
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
    if not width or not height or depth not in _DEPTHS.get(colour, ()):
        raise damaged("impossible size or colour type")
    check_size(width, height, max_pixels)
    return Parsed(chunks, width, height, depth, colour, _metadata(chunks))


def _chunks(data: bytes) -> list[Chunk]:
    view, at, found = memoryview(data), len(SIGNATURE), list[Chunk]()
    while not found or found[-1][0] != b"IEND":
        kind = bytes(view[at + 4 : at + 8])
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(data):
            raise damaged(f"truncated in chunk {kind!r}")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise damaged(f"checksum of chunk {kind!r} is wrong")
        found.append((kind, view[at + 8 : end - 4]))
        at = end
    return found


def _metadata(chunks: list[Chunk]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    kept: list[tuple[bytes, bytes]] = []
    for kind, body in chunks:
        if kind in _PIXELS:
            continue
        raw = bytes(body)
        key, _, rest = raw.partition(b"\0")
        if kind == b"eXIf":
            meta["exif"] = raw
        elif kind == b"tEXt" and key == _HEADER:
            text = rest.decode("latin-1")
            # Several different ones are no header that can be used.
            meta["header"] = text if meta.get("header", text) == text else f"{meta['header']}\n{text}"
        elif kind == b"iCCP":
            meta["icc"] = _inflate(rest[1:])
        elif kind == b"pHYs" and len(raw) == 9 and raw[8] == 1:
            meta["dpi"] = tuple(value * 0.0254 for value in struct.unpack(">II", raw[:8]))
        elif kind in _TEXT and (key == _XMP or key.startswith(_RAW)) and key not in _RAW_KEPT:
            meta = _profile(key, _text(kind, rest)) | meta
        elif kind in COLOUR or (kind in _TEXT and _is_harmless(_text(kind, rest))):
            kept.append((kind, raw))
    return {**meta, "chunks": tuple(kept)}


def _is_harmless(text: bytes | None) -> bool:
    return text is not None and not holds_picture(text)


def _profile(key: bytes, text: bytes | None) -> dict[str, bytes]:
    """Return the EXIF block or XMP packet that a text chunk holds, as a field of `Picture`."""
    if key in _RAW_EXIF:
        name, found = "exif", _hidden(text, b"Exif\0\0")
    elif key == _RAW + b"xmp":
        name, found = "xmp", _hidden(text)
    else:
        name, found = "xmp", text if key == _XMP else None
    return {name: found} if found else {}


def _text(kind: bytes, rest: bytes) -> bytes | None:
    """Return the value of a text chunk, given what follows its keyword."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflate(rest[1:])
    value = rest[2:].split(b"\0", 2)[-1]  # language and translated keyword stand before it
    return _inflate(value) if rest[:1] == b"\1" else value


def _inflate(packed: bytes) -> bytes | None:
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(packed, _INFLATE_LIMIT)
    except zlib.error:
        return None
    return plain if engine.eof else None


def _hidden(text: bytes | None, prefix: bytes = b"") -> bytes | None:
    # Name, length, then hexadecimal digits.
    digits = b"".join((text or b"").split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii")).removeprefix(prefix) or None
    except ValueError:
        return None


def decode(data: bytes, max_pixels: int) -> Picture:
    """Decode a PNG file, previews not yet removed.

    Raises:
        DataError: As `parse`, or the transparent colour has the wrong size.
        Exception: Whatever the decoder raises.
    """
    file, notes = parse(data, max_pixels), list[str]()
    texts = [bytes(body).partition(b"\0")[0] for kind, body in file.chunks if kind in _TEXT]
    used = sum(kind in _TEXT for kind, _ in file.meta["chunks"]) + ("xmp" in file.meta)
    used += "header" in file.meta
    used += "exif" in file.meta and any(key in _RAW_EXIF for key in texts)
    if len(texts) > used:
        notes.append("text that can hold a picture was dropped")
    pixels, alpha = _planes(data, file, notes)
    return Picture(pixels, alpha, "PNG", notes=tuple(notes), **file.meta)


def _planes(data: bytes, file: Parsed, notes: list[str]) -> Planes:
    transparent = next((bytes(body) for kind, body in file.chunks if kind == b"tRNS"), None)
    if file.colour == 3 or file.depth < 8:
        return to_planes(PngImageFile(io.BytesIO(_only(file, (*_PIXELS, b"tRNS")))), notes)
    if transparent is None or file.colour not in (0, 2):
        pixels, alpha = opencv(data)
        return (pixels[..., :1].copy() if file.colour == 4 else pixels), alpha
    # A single transparent colour: decoders disagree about it, so it is applied here.
    key = np.frombuffer(transparent, ">u2")
    if key.size != file.channels:
        raise damaged("the transparent colour has the wrong size")
    pixels, _ = opencv(_only(file, _PIXELS))
    opaque = (pixels != key.astype(pixels.dtype)).any(axis=2)
    notes.append("transparent colour made alpha")
    return pixels, opaque * pixels.dtype.type(np.iinfo(pixels.dtype).max)


def _only(file: Parsed, kinds: tuple[bytes, ...]) -> bytes:
    return SIGNATURE + b"".join(chunk(kind, bytes(body)) for kind, body in file.chunks if kind in kinds)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one complete chunk: length, type, content, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_metadata(body: bytes, picture: Picture) -> bytes:
    """Insert the picture's metadata after the header chunk of an encoded PNG."""
    # The standard allows only one of sRGB and iCCP.
    extra = [one for one in picture.chunks if not (picture.icc and one[0] == b"sRGB")]
    if picture.icc:
        extra.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi:
        extra.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in picture.dpi), 1)))
    if picture.exif:
        extra.append((b"eXIf", picture.exif))
    if picture.xmp:
        extra.append((b"iTXt", _XMP + bytes(5) + picture.xmp))
    if picture.comment:
        extra.append(_comment(picture.comment))
    if picture.header:
        extra.append((b"tEXt", _HEADER + b"\0" + picture.header.encode("latin-1")))
    at = len(SIGNATURE) + 25
    return body[:at] + b"".join(chunk(*one) for one in extra) + body[at:] if extra else body


def _comment(text: str) -> tuple[bytes, bytes]:
    try:
        return b"tEXt", b"Comment\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", b"Comment" + bytes(5) + text.encode("utf-8")


def encode_plain(stacked: Pixels) -> bytes:
    """Encode ``[H, W, C]`` (C = 1..4, uint8 or uint16) with NumPy and zlib, row filter "up".

    For grey with alpha, which OpenCV cannot write and Pillow not in 16 bits.
    """
    height, width, channels = stacked.shape
    rows = stacked.astype(stacked.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour, depth = {1: 0, 2: 4, 3: 2, 4: 6}[channels], 8 * stacked.itemsize
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(filtered.tobytes(), 2)
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
