"""What a file says about itself before its pixels are decoded, and the errors for files that say it badly."""

from __future__ import annotations

from dataclasses import dataclass, field

from noli.core.errors import DataError


@dataclass
class Header:
    """Facts parsed from an image file without decoding pixels.

    Attributes:
        format: As in ``Picture.format``.
        width: Columns as stored.
        height: Rows as stored.
        channels: 1 or 3, alpha not counted, after palette and CMYK conversion.
        bits: 8 or 16.
        kind: Decoder's own variant name (PNG colour type, ``CMYK`` ...).
        exif: EXIF block without prefix, as found.
        icc: ICC profile.
        xmp: XMP packet.
        text: Text entries.
        dpi: Pixels per inch.
        colour: PNG colour chunks.
        transparent: PNG ``tRNS`` content.
        end: Length of the part of the file that the format accounts for.
        notes: Findings worth telling.
    """

    format: str
    width: int = 0
    height: int = 0
    channels: int = 3
    bits: int = 8
    kind: str = ""
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    text: list[tuple[str, str]] = field(default_factory=list)
    dpi: tuple[float, float] | None = None
    colour: list[tuple[str, bytes]] = field(default_factory=list)
    transparent: bytes | None = None
    end: int = 0
    notes: list[str] = field(default_factory=list)


def truncated(where: str, why: str) -> DataError:
    """The error for a file that ends too early."""
    return DataError(
        "The image file is truncated.", where=where, why=why, fix="get the file again, or --on-error skip"
    )


def corrupt(where: str, why: str) -> DataError:
    """The error for a file whose content contradicts itself."""
    return DataError(
        "The image file is damaged.", where=where, why=why, fix="get the file again, or --on-error skip"
    )


def unsupported(where: str, why: str, fix: str) -> DataError:
    """The error for a healthy file of a kind noli does not handle."""
    return DataError("This kind of image is not supported.", where=where, why=why, fix=fix)


def animated(where: str, why: str) -> DataError:
    """The error for files with more than one picture."""
    return DataError(
        "Animated and multi-page images are not supported.",
        where=where,
        why=why,
        fix="save each frame as a file of its own, or --on-error skip",
    )
