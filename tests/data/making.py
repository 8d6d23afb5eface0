"""Small pictures and files for the tests of noli.data."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noli.core.dataset import Source
from noli.data import writers

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def noise(height: int, width: int, channels: int, bits: int = 8, seed: int = 0) -> np.ndarray:
    """Random [H, W, C] pixels."""
    rng = np.random.default_rng([seed, height, width, channels, bits])
    return rng.integers(0, 1 << bits, (height, width, channels)).astype(np.uint16 if bits == 16 else np.uint8)


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A gradient that survives lossy formats well."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 5 + y * (3 + c)) % 256 if c else (x * 4 + y * 2) % 256 for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def pil(array: np.ndarray) -> Image.Image:
    """[H, W, C] uint8 to a Pillow image."""
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def file_bytes(image: Image.Image | np.ndarray, name: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    buffer = io.BytesIO()
    (pil(image) if isinstance(image, np.ndarray) else image).save(buffer, name, **options)
    return buffer.getvalue()


def opened(data: bytes) -> np.ndarray:
    """Decode with Pillow, the oracle, to [H, W, C]."""
    array = np.asarray(Image.open(io.BytesIO(data)))
    return array[..., None] if array.ndim == 2 else array


def exif_block(orientation: int | None = None, *, gps: bool = False, thumbnail: bytes = b"") -> bytes:
    """A small EXIF block (TIFF bytes), with a thumbnail directory when asked."""
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags[0x8769] = {0x9003: "2024:01:02 03:04:05"}
    if orientation is not None:
        tags[0x0112] = orientation
    if gps:
        tags[0x8825] = {0: b"\2\3\0\0", 1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    block = bytearray(tags.tobytes().removeprefix(b"Exif\0\0"))
    if thumbnail:
        order = "<" if block[:2] == b"II" else ">"
        first = struct.unpack_from(order + "I", block, 4)[0]
        count = struct.unpack_from(order + "H", block, first)[0]
        struct.pack_into(order + "I", block, first + 2 + 12 * count, len(block))
        start = len(block) + 2 + 24 + 4
        block += struct.pack(order + "H", 2)
        block += struct.pack(order + "HHII", 0x0201, 4, 1, start)
        block += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4) + thumbnail
    return bytes(block)


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with the first 16 bits of a tag's own field replaced."""
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    entries = range(first + 2, first + 2 + 12 * count, 12)
    at = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == tag) + 8
    return data[:at] + value.to_bytes(2, "little") + data[at + 2 :]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk, written independently of the package."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(array: np.ndarray, colour: int, depth: int, *extra: bytes, width: int | None = None) -> bytes:
    """A PNG with filter 0 rows; ``array`` holds the packed bytes [H, row bytes] or [H, W, C] samples."""
    height = array.shape[0]
    width = width or array.shape[1]
    rows = array.astype(">u2").view(np.uint8) if depth == 16 else array
    rows = rows.reshape(height, -1)
    rows = np.hstack((np.zeros((height, 1), np.uint8), rows))
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + png_chunk(b"IEND", b"")


def cmyk_profile() -> bytes:
    """A tiny CMYK profile: a 2-point lookup table from ink to Lab, L falling with the ink, a and b neutral.

    Deliberately unlike the naive formula, so that a conversion through it is recognisable.
    """
    table = bytearray()
    for corner in range(16):
        ink = bin(corner).count("1") / 4
        table += bytes((round(255 * (1 - ink)), 128, 128))
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + bytes(table) + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    words = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    rights = b"text" + bytes(4) + b"none\0"
    tags = {b"A2B0": lut, b"wtpt": white, b"desc": words, b"cprt": rights}
    at, directory, bodies = 128 + 4 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        directory += name + struct.pack(">II", at, len(body))
        bodies += padded
        at += len(padded)
    head = struct.pack(">I", at) + bytes(4) + struct.pack(">I", 0x02400000) + b"prtrCMYKLab "
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + directory + bodies


def tree(root: Path, names: list[str], *, size: tuple[int, int] = (6, 5)) -> Path:
    """Write small pictures of the formats their names say; every one different."""
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP"}
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"lossless": True} if path.suffix.lower() == ".webp" else {}
        path.write_bytes(file_bytes(noise(*size, 3, seed=seed), formats[path.suffix.lower()], **options))
    return root


def pickled(thing: Any) -> Any:
    """What arrives in a worker process."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes, as multiprocessing would do it


def snapshot(root: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def open_writer(uri: str | Path, source: Source, **options: Any) -> writers.Writer:
    """A writer with its work folder where the engine has it, beside the output."""
    options.setdefault("work", Path(str(uri).replace("://", "-") + ".noli/parts"))
    return writers.open_writer(uri, source, **options)
