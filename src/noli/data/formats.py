"""Names of image formats: suffixes, magic bytes, and which format an item is written in."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from noli.core.errors import UsageError
from noli.data.picture import FormatPolicy

SUFFIXES: dict[str, tuple[str, ...]] = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "DICOM": (".dcm", ".dicom"),
}
IMAGE_SUFFIXES = frozenset(suffix for group in SUFFIXES.values() for suffix in group)
# Pictures noli cannot protect are items too: copying them through as companions would publish them bare.
# fmt: off
FOREIGN_SUFFIXES = frozenset([
    ".gif", ".apng", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".psd", ".exr", ".hdr",
    ".ico", ".svg", ".pgm", ".ppm", ".pbm", ".pnm", ".tga", ".pcx", ".cr2", ".cr3", ".nef", ".arw", ".dng",
    ".orf", ".rw2", ".raf",
    # Whatever can hold pictures: an archive of the originals beside them would be published as well.
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".npy", ".npz", ".parquet", ".arrow",
    ".feather", ".tfrecord", ".h5", ".hdf5", ".lmdb", ".mdb", ".pkl", ".pt", ".pdf", ".mp4", ".mov", ".avi",
    ".mkv", ".webm",
])
PLAIN_SUFFIXES = frozenset([
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".rst", ".xml", ".yaml", ".yml", ".html", ".toml",
    ".py", ".log",
])
# What `magic` calls the kinds of file that are pictures or hold them.
READABLE = frozenset([
    *SUFFIXES, "GIF", "JPEG 2000", "JPEG XL", "Photoshop", "OpenEXR", "BigTIFF", "ZIP", "PDF",
    "HEIC, AVIF or video", "PNM",
])
# fmt: on

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "DICOM"),  # first: what lies before it may look like a TIFF
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"II+\x00", "BigTIFF"),
    (0, b"MM\x00+", "BigTIFF"),
    (0, b"GIF8", "GIF"),
    (4, b"ftyp", "HEIC, AVIF or video"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"<", "HTML, SVG or XML text"),
)
HEAD_BYTES = 132
_PNM = re.compile(rb"P[1-7]\s+(?:#[^\n]*\n\s*)*(?:\d+\s|WIDTH )")


def magic(head: bytes) -> str | None:
    """Return the name of the format whose magic bytes open ``head``, or None."""
    for offset, mark, name in _MAGIC:
        if head[offset : offset + len(mark)] == mark:
            return name
    return "PNM" if _PNM.match(head) else None


def suffix_of(path: str) -> str:
    """Return the lower-case suffix of a POSIX path, with its dot."""
    return PurePosixPath(path).suffix.lower()


def stem(path: str) -> str:
    """Return a path without the suffix of an image format; other names are returned unchanged."""
    suffix = suffix_of(path)
    return path[: -len(suffix)] if suffix in IMAGE_SUFFIXES else path


def output_format(source: str, policy: FormatPolicy, *, channels: int = 3) -> tuple[str, str]:
    """Choose the format an item is written in.

    Every format but JPEG is kept (WebP is stored lossless). JPEG becomes PNG, or lossless WebP under
    ``webp`` (grey pictures become PNG there, because WebP holds none), and stays JPEG under ``same``.

    Args:
        source: ``Picture.format`` or ``ScanRow.format``.
        policy: ``png``, ``webp`` or ``same``.
        channels: 1 or 3.

    Returns:
        ``(format, suffix)``; ``("RAW", "")`` for arrays.

    Raises:
        UsageError: Unknown format or policy.
    """
    if policy not in ("png", "webp", "same"):
        raise UsageError("Unknown output format.", why=f"got {policy!r}", fix="use png, webp or same")
    if source == "RAW":
        return "RAW", ""
    if source not in SUFFIXES:
        raise UsageError("Unknown picture format.", why=f"got {source!r}")
    if source == "JPEG" and policy != "same":
        source = "WEBP" if policy == "webp" and channels == 3 else "PNG"
    return source, SUFFIXES[source][0]
