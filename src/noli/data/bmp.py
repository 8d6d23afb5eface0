"""BMP containers: size and completeness from the header, and a writer for the 32-bit kind with alpha."""

from __future__ import annotations

import struct

import numpy as np

from noli.data.header import Header, corrupt, truncated, unsupported
from noli.data.picture import Pixels


def parse(data: bytes, where: str) -> Header:
    """Read the header of a BMP file and check that its rows are all there.

    Raises:
        DataError: Truncated, damaged, or a format inside the format.
    """
    if len(data) < 54:
        raise truncated(where, "the header is cut off")
    offset, size = struct.unpack("<II", data[10:18])
    if size < 40:
        raise unsupported(where, "BMP with a header from before 1990", "convert it to PNG")
    width, height, planes, bits, packing = struct.unpack("<iiHHI", data[18:34])
    if width <= 0 or height == 0 or planes != 1:
        raise corrupt(where, "impossible size")
    if packing not in (0, 1, 2, 3, 6) or bits not in (1, 4, 8, 16, 24, 32):
        raise unsupported(where, f"BMP with {bits} bits and packing {packing}", "convert it to PNG")
    if packing in (0, 3, 6) and offset + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise truncated(where, "rows are missing")
    return Header("BMP", width=width, height=abs(height), kind=str(bits), end=len(data))


def encode_with_alpha(stacked: Pixels) -> bytes:
    """Write ``uint8 [H, W, 4]`` RGBA as a 32-bit BMP with a version-4 header that declares the alpha mask."""
    height, width, _ = stacked.shape
    body = np.ascontiguousarray(stacked[::-1, :, [2, 1, 0, 3]]).tobytes()
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    info += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body
