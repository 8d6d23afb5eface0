"""WebP containers: size, lossy or lossless, animation and truncation from the RIFF chunks."""

from __future__ import annotations

from noli.data.header import Header, animated, corrupt, truncated


def parse(data: bytes, where: str) -> Header:
    """Walk the RIFF chunks and collect size and metadata.

    Raises:
        DataError: Truncated, damaged or animated.
    """
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise truncated(where, f"{len(data)} of {size} bytes")
    header, at = Header("WEBP", end=size), 12
    while at + 8 <= size:
        kind = data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > size:
            raise corrupt(where, f"chunk {kind!r} is longer than the file")
        _read(header, kind, data[at + 8 : at + 8 + length], where)
        at += 8 + length + (length & 1)
    if not header.width or not header.kind:
        raise corrupt(where, "no picture inside")
    return header


def _read(header: Header, kind: bytes, body: bytes, where: str) -> None:
    if kind in (b"ANIM", b"ANMF"):
        raise animated(where, "animated WebP")
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        packed = int.from_bytes(body[1:5], "little")
        header.width, header.height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        header.kind = "lossless"
    elif kind == b"VP8 " and len(body) >= 10:
        header.width = int.from_bytes(body[6:8], "little") & 0x3FFF
        header.height = int.from_bytes(body[8:10], "little") & 0x3FFF
        header.kind, header.format = "lossy", "WEBP_LOSSY"
    elif kind == b"EXIF":
        header.exif = body.removeprefix(b"Exif\0\0")
    elif kind == b"XMP ":
        header.xmp = body
    elif kind == b"ICCP":
        header.icc = body
