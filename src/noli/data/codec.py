"""Bytes to pictures and back: one decoder per format, so the same bytes give the same pixels everywhere.

PNG, JPEG and 16-bit TIFF pixels come from OpenCV, everything else from Pillow. Containers are parsed here
first: OpenCV returns half-grey pictures for truncated files and turns pixels by their EXIF tag.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

from noli.core.errors import DataError, UsageError
from noli.data import bmp, exif, jpeg, png, tiff, webp
from noli.data.formats import HEAD_BYTES, magic, output_format
from noli.data.header import Header, corrupt, unsupported
from noli.data.modes import Planes, to_planes
from noli.data.picture import MAX_PIXELS, FormatPolicy, Metadata, Picture, Pixels, from_array, to_array

__all__ = [
    "MAX_PIXELS",
    "FormatPolicy",
    "Metadata",
    "Picture",
    "decode",
    "encode",
    "from_array",
    "inspect",
    "output_format",
    "to_array",
]

_PARSERS: dict[str, Callable[[bytes, str], Header]] = {
    "PNG": png.parse,
    "JPEG": jpeg.parse,
    "WEBP": webp.parse,
    "TIFF": tiff.parse,
    "BMP": bmp.parse,
}
# Run-length strategy with the three cheap row filters: 224 px in 1.6 ms at 96 kB, where Pillow's default
# takes 10 ms for 94 kB and zlib level 1 takes 2.9 ms for 99 kB (one core, measured).
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.12 and later
    _PNG_OPTIONS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS]
_WEBP_SIDE = 16_383
_COMMENT_BYTES = 65_533  # one JPEG segment
_WARNINGS = threading.RLock()


def inspect(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Parse an image file without decoding its pixels: format, size, metadata, completeness.

    Args:
        data: The whole file.
        where: Item name for errors.
        max_pixels: Pictures with more pixels are refused before any memory is taken.

    Returns:
        The header.

    Raises:
        DataError: Empty, unknown, truncated, damaged, animated, unsupported or too large.
    """
    if not data:
        raise DataError("The file is empty.", where=where, fix="get the file again, or --on-error skip")
    name = magic(data[:HEAD_BYTES])
    if name is None:
        fix = "remove the file, or --on-error skip"
        raise DataError("The file is not an image.", where=where, why="no known format", fix=fix)
    if name not in _PARSERS:
        raise unsupported(where, f"it is {name}", "convert it to PNG, or --on-error skip")
    header = _PARSERS[name](data, where)
    if header.width * header.height > max_pixels:
        raise DataError(
            "The image is larger than the limit.",
            where=where,
            why=f"{header.width} x {header.height} pixels, limit {max_pixels}",
            fix="resize it, or raise the limit if you trust the file",
        )
    return header


def decode(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image file.

    Args:
        data: The whole file.
        where: Item name for errors.
        max_pixels: Pictures with more pixels are refused before any memory is taken.

    Returns:
        The picture in stored orientation, ``uint8`` or ``uint16``, grey or RGB, with its metadata.

    Raises:
        DataError: Empty, unknown, truncated, damaged, animated, unsupported or too large.
    """
    header = inspect(data, where=where, max_pixels=max_pixels)
    planes = _planes(header, data, where)
    if planes.pixels.shape[:2] != (header.height, header.width):
        raise corrupt(where, "the header and the pixels disagree about the size")
    notes = [*header.notes, *planes.notes]
    block, xmp = _without_previews(header, notes)
    return Picture(
        pixels=planes.pixels,
        alpha=planes.alpha,
        format=header.format,
        mode=header.kind,
        exif=block,
        icc=planes.icc,
        xmp=xmp,
        text=tuple(header.text),
        dpi=header.dpi,
        colour=tuple(header.colour),
        has_gps=exif.has_gps(block, xmp),
        notes=tuple(notes),
    )


def _without_previews(header: Header, notes: list[str]) -> tuple[bytes | None, bytes | None]:
    block, xmp, cut, cut_xmp = header.exif, header.xmp, False, False
    if block:
        block, cut = exif.without_thumbnails(block)
    if xmp:
        xmp, cut_xmp = exif.without_xmp_thumbnails(xmp)
    if cut or cut_xmp:
        notes.append("embedded thumbnail (a small unprotected copy) removed")
    return block or None, xmp or None


def _planes(header: Header, data: bytes, where: str) -> Planes:
    if header.format == "PNG":
        return _png_planes(header, data, where)
    if header.format == "JPEG" and header.kind != "CMYK":
        return Planes(*_split(_opencv(data[: header.end], where)), header.icc, [])
    if header.format == "TIFF":
        return _tiff_planes(header, data, where)
    image = _pillow(data[: header.end] if header.format == "JPEG" else data, where, header)
    return to_planes(image, header.icc, where)


def _png_planes(header: Header, data: bytes, where: str) -> Planes:
    colour, _, depth = header.kind.partition("/")
    if colour == "3" or depth in ("1", "2", "4"):
        return to_planes(_pillow(data, where, header), header.icc, where)
    if header.transparent is None or colour not in ("0", "2"):
        array = _opencv(data, where)
        if colour == "4":  # OpenCV spreads grey over three channels
            return Planes(array[..., :1].copy(), array[..., 3].copy(), header.icc, [])
        return Planes(*_split(array), header.icc, [])
    # A single transparent colour: decoders disagree about it, so it is applied here.
    pixels, _ = _split(_opencv(png.without_transparent_colour(data), where))
    key = np.frombuffer(header.transparent, ">u2")
    if key.size != header.channels:
        raise corrupt(where, "the transparent colour has the wrong size")
    opaque = (pixels != key.astype(pixels.dtype)).any(axis=2)
    top = np.iinfo(pixels.dtype).max
    return Planes(pixels, opaque * pixels.dtype.type(top), header.icc, ["transparent colour made alpha"])


def _tiff_planes(header: Header, data: bytes, where: str) -> Planes:
    # Pillow warns about single unreadable tags and leaves them out; the lock is for the filters it shares.
    with _WARNINGS, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        planes = _tiff_pixels(header, data, where)
    if told:
        planes.notes.append("unreadable TIFF tags were dropped")
    return planes


def _tiff_pixels(header: Header, data: bytes, where: str) -> Planes:
    turn, data = tiff.orientation_neutral(data)
    image = _pillow(data, where, header, load=False)
    header.dpi = tiff.resolution(image)
    header.exif = tiff.descriptive_tags(image)
    if header.exif:
        header.exif = exif.with_orientation(header.exif, turn)
    if header.bits == 16 and header.channels == 3:
        return Planes(*_split(_opencv(data, where)), header.icc, [])
    planes = to_planes(_loaded(image, where), header.icc, where)
    if planes.alpha is None and header.kind in ("2x8", "4x8"):
        planes.notes.append("an extra channel of unknown meaning was dropped")
    return planes


def _opencv(data: bytes, where: str) -> Pixels:
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise corrupt(where, str(error).strip()) from None
    if array is None or array.dtype not in (np.uint8, np.uint16):
        raise corrupt(where, "the pixel data cannot be decoded")
    return cast(Pixels, array)


def _split(array: Pixels) -> tuple[Pixels, Pixels | None]:
    """Turn OpenCV's grey, BGR or BGRA into pixels and alpha."""
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[2] == 3:
        return cast(Pixels, cv2.cvtColor(array, cv2.COLOR_BGR2RGB)), None
    return cast(Pixels, cv2.cvtColor(array, cv2.COLOR_BGRA2RGB)), array[..., 3].copy()


def _pillow(data: bytes, where: str, header: Header, *, load: bool = True) -> Image.Image:
    try:
        if header.width * header.height <= (Image.MAX_IMAGE_PIXELS or 0):
            image = Image.open(io.BytesIO(data))
        else:
            # The limit was checked before, so Pillow's warning is noise.
            with _WARNINGS, warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise corrupt(where, str(error)) from None
    return _loaded(image, where) if load else image


def _loaded(image: Image.Image, where: str) -> Image.Image:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, IndexError, EOFError) as error:
        raise corrupt(where, str(error)) from None
    return image


def encode(picture: Picture, *, format: str, metadata: Metadata = "keep", quality: int = 95) -> bytes:  # noqa: A002
    """Encode a picture.

    Args:
        picture: What to write.
        format: ``PNG``, ``WEBP`` (lossless), ``JPEG``, ``TIFF`` or ``BMP``, as `output_format` chose it.
        metadata: ``keep`` writes EXIF, XMP and text; ``strip`` drops them and turns the pixels upright
            first. The ICC profile and the resolution always stay.
        quality: JPEG quality 1..100; chroma is never subsampled.

    Returns:
        The file's bytes; equal pictures give equal bytes.

    Raises:
        DataError: The format cannot hold this picture without loss (grey, 16-bit or over 16383 px in WebP;
            alpha or 16-bit in JPEG; 16-bit in BMP).
        UsageError: Unknown format; arrays are written with `to_array`.
    """
    if metadata == "strip":
        picture = _stripped(picture)
    _check_fits(picture, format)
    if format == "PNG":
        return png.with_metadata(_png_body(picture), picture)
    if format == "TIFF":
        return tiff.encode_tiff(picture)
    stacked = np.ascontiguousarray(picture.stacked())
    if format == "BMP" and picture.alpha is not None:
        return bmp.encode_with_alpha(stacked)
    return _pillow_body(picture, stacked, format, quality)


def _stripped(picture: Picture) -> Picture:
    turn = exif.orientation(picture.exif)
    alpha = None if picture.alpha is None else exif.upright(picture.alpha, turn)
    pixels = exif.upright(picture.pixels, turn)
    return replace(picture, pixels=pixels, alpha=alpha, exif=None, xmp=None, text=())


def _check_fits(picture: Picture, name: str) -> None:
    height, width = picture.pixels.shape[:2]
    limits = {
        "PNG": (),
        "TIFF": (),
        "WEBP": (
            (picture.channels == 1, "grey pictures"),
            (picture.bits == 16, "16-bit pictures"),
            (max(height, width) > _WEBP_SIDE, f"sides over {_WEBP_SIDE} pixels"),
        ),
        "JPEG": (
            (picture.bits == 16, "16-bit pictures"),
            (picture.alpha is not None, "alpha"),
            (max(height, width) > 65_500, "sides over 65500 pixels"),
        ),
        "BMP": (
            (picture.bits == 16, "16-bit pictures"),
            (picture.channels == 1 and picture.alpha is not None, "grey with alpha"),
        ),
    }
    if name not in limits:
        raise UsageError("Unknown output format.", why=f"got {name!r}", fix=f"use one of {', '.join(limits)}")
    misses = [what for wrong, what in limits[name] if wrong]
    if misses:
        raise DataError(f"{name} cannot hold {' and '.join(misses)}.", fix="choose --format png")


def _png_body(picture: Picture) -> bytes:
    if picture.alpha is not None and picture.channels == 1:
        return png.encode_plain(picture.stacked())
    if picture.channels == 1:
        array = np.ascontiguousarray(picture.pixels[..., 0])
    elif picture.alpha is None:
        array = cv2.cvtColor(np.ascontiguousarray(picture.pixels), cv2.COLOR_RGB2BGR)
    else:
        array = cv2.cvtColor(picture.stacked(), cv2.COLOR_RGBA2BGRA)
    done, body = cv2.imencode(".png", array, _PNG_OPTIONS)
    if not done:  # pragma: no cover - only when out of memory
        raise DataError("The picture could not be encoded as PNG.")
    return body.tobytes()


def _pillow_body(picture: Picture, stacked: Pixels, name: str, quality: int) -> bytes:
    image = Image.fromarray(stacked[..., 0] if stacked.shape[2] == 1 else stacked)
    options: dict[str, Any] = {}
    if name == "JPEG":
        options = {"quality": quality, "subsampling": 0}
        comment = "\n".join(value for key, value in picture.text if key == "Comment")
        if comment:
            options["comment"] = comment.encode("utf-8", "replace")[:_COMMENT_BYTES]
    elif name == "WEBP":
        options = {"lossless": True, "exact": True, "quality": 50, "method": 0}
    if name != "BMP":
        options["icc_profile"] = picture.icc
        if picture.exif:
            options["exif"] = b"Exif\0\0" + picture.exif
        if picture.xmp:
            options["xmp"] = picture.xmp
    if picture.dpi and name != "WEBP":
        options["dpi"] = picture.dpi
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()
