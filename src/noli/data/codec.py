"""Bytes to pictures and back: one decoder per format, so the same bytes give the same pixels everywhere.

PNG, JPEG and 16-bit TIFF pixels come from OpenCV, DICOM from pydicom, everything else from Pillow.
Completeness is checked here, because OpenCV returns half-grey pictures for truncated files.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from noli.core.dataset import Content
from noli.core.errors import DataError, UsageError
from noli.data import dicom, exif, png, tiff
from noli.data.embedded import without_pictures
from noli.data.formats import HEAD_BYTES, SUFFIXES, magic, output_format
from noli.data.modes import opencv, to_planes
from noli.data.picture import HEADER, MAX_PIXELS, Metadata, Picture, Pixels, from_array
from noli.data.reading import animated, check_size, damaged, quiet, reading, unsupported

__all__ = ["Header", "Picture", "decode", "encode", "from_array", "inspect", "lost", "output_format"]

_READERS: dict[str, type[ImageFile]] = {"JPEG": JpegImageFile, "WEBP": WebPImageFile, "BMP": BmpImageFile}
# Run-length strategy with the three cheap row filters: 224 px in 1.6 ms at 96 kB, where Pillow's default
# takes 10 ms for 94 kB and zlib level 1 takes 2.9 ms for 99 kB (one core, measured).
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.12 and later
    _PNG_OPTIONS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS]
_JPEG_END = b"\xff\xd9"
_TAIL = 16  # bytes behind the end marker that nobody misses
_COMMENT_BYTES = 65_533  # one JPEG segment
_HEADER = HEADER + " "
WITH_HEADER = ("PNG", "JPEG")  # formats with a place for the header of a lock


class Header(NamedTuple):
    """What a scan needs to know: format and shape as in `Picture`, bits a channel, and whether GPS is in."""

    format: str
    shape: tuple[int, int, int]
    bits: int
    has_gps: bool


def inspect(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Check that an image file is whole and usable, with as little decoding as that takes.

    PNG has checksums; JPEG is decoded at an eighth of its size; rare kinds are decoded in full, which also
    settles whether a palette is grey. Arguments and errors are those of `decode`.
    """
    with reading(where):
        name = _format(data)
        if name == "PNG":
            file = png.parse(data, max_pixels)
            if file.colour != 3:
                gps = exif.has_gps(file.meta.get("exif"), file.meta.get("xmp"))
                return Header(name, (file.height, file.width, file.channels), max(file.depth, 8), gps)
        elif name == "JPEG":
            image, _ = _open(name, data, max_pixels)
            if image.mode != "CMYK":
                opencv(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
                gps = exif.has_gps(image.info.get("exif"), image.info.get("xmp"))
                return Header(name, (image.height, image.width, len(image.getbands())), 8, gps)
    picture = decode(data, where=where, max_pixels=max_pixels)
    return Header(name, picture.pixels.shape, picture.bits, picture.has_gps)


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
        MissingPrerequisite: A DICOM file, and pydicom is not installed.
    """
    with reading(where):
        name = _format(data)
        if name == "PNG":
            picture = png.decode(data, max_pixels)
        elif name == "TIFF":
            picture = tiff.decode(data, max_pixels)
        elif name == "DICOM":
            picture = dicom.decode(data, max_pixels)
        else:
            picture = _decode(name, data, max_pixels)
    if not picture.exif and not picture.xmp:
        return picture
    gps = exif.has_gps(picture.exif, picture.xmp)
    block = exif.without_thumbnails(picture.exif) if picture.exif else None
    xmp = without_pictures(picture.xmp) if picture.xmp else None
    cut = ("embedded thumbnail (a small unprotected copy) removed",)
    notes = picture.notes + (cut if (block, xmp) != (picture.exif, picture.xmp) else ())
    return replace(picture, exif=block, xmp=xmp, has_gps=gps, notes=notes)


def picture(content: Content, where: str) -> Picture:
    """Return the picture in a file's bytes (see `decode`) or an array (see `from_array`)."""
    if isinstance(content, bytes):
        return decode(content, where=where)
    return from_array(content, where=where)


def header_in(content: Content) -> str:
    """Return the header of a lock in a file's bytes, without decoding the picture; empty where there is none.

    Raises:
        DataError: A file that cannot be read.
    """
    if not isinstance(content, bytes):
        return ""
    with reading("header"):
        name = _format(content)
        if name == "PNG":
            return str(png.parse(content, MAX_PIXELS).meta.get("header", ""))
        if name == "JPEG":
            image, _ = _open(name, content, MAX_PIXELS)
            return _header_of(image)
    return ""


def _header_of(image: ImageFile) -> str:
    """Return the header in the comments of a JPEG; several different ones are no header that can be used."""
    comments = [_text(body) for kind, body in image.applist if kind == "COM"]  # type: ignore[attr-defined]
    return "\n".join(dict.fromkeys(c.removeprefix(_HEADER) for c in comments if c.startswith(_HEADER)))


def upright(content: Content, where: str) -> Pixels:
    """Return the pixels as a viewer shows them: pictures that are compared may differ in orientation."""
    found = picture(content, where)
    return exif.upright(found.pixels, exif.orientation(found.exif))


def _format(data: bytes) -> str:
    if not data:
        raise DataError("The file is empty.", fix="get the file again, or --on-error skip")
    name = magic(data[:HEAD_BYTES])
    if name is None:
        fix = "remove the file, or --on-error skip"
        raise DataError("The file is not an image.", why="no known format", fix=fix)
    if name not in SUFFIXES:
        raise unsupported(f"it is {name}")
    return name


def _open(name: str, data: bytes, max_pixels: int) -> tuple[ImageFile, tuple[str, ...]]:
    """Read the header of a JPEG, WebP or BMP file; returns the unread image and notes."""
    stream = io.BytesIO(data)
    with quiet():
        image = _READERS[name](stream)
    check_size(*image.size, max_pixels)
    if getattr(image, "is_animated", False):
        raise animated()
    if name == "JPEG":  # Pillow has stopped reading at the first scan, beyond any thumbnail
        end = data.find(_JPEG_END, stream.tell())
        if end < 0:
            raise damaged("truncated: the end marker is missing")
        if len(data) - end > _TAIL:
            return image, ("data after the end of the JPEG (extra pictures, video) was dropped",)
    return image, ()


def _decode(name: str, data: bytes, max_pixels: int) -> Picture:
    image, told = _open(name, data, max_pixels)
    info, notes = image.info, list(told)
    meta: dict[str, Any] = {
        "exif": info.get("exif", b"").removeprefix(b"Exif\0\0") or None,
        "xmp": info.get("xmp"),
        # A CMYK profile does not describe the RGB that comes out.
        "icc": None if image.mode == "CMYK" else info.get("icc_profile"),
    }
    if isinstance(image, JpegImageFile):
        segments = image.applist
        # Pillow joins several EXIF segments; the first is the one other readers take, and what fits into one.
        found = (body[6:] for kind, body in segments if kind == "APP1" and body.startswith(b"Exif\0\0"))
        meta["exif"] = next(found, None)
        comments = [_text(body) for kind, body in segments if kind == "COM"]
        meta["comment"] = "\n".join(one for one in comments if not one.startswith(_HEADER))
        meta["header"] = _header_of(image)
        meta["halved"] = len({factors[1:3] for factors in image.layer}) > 1
        scale = {1: 1.0, 2: 2.54}.get(info.get("jfif_unit", 0))
        if scale and all(info["jfif_density"]):
            meta["dpi"] = tuple(scale * value for value in info["jfif_density"])
    fast = name == "JPEG" and image.mode != "CMYK"
    pixels, alpha = opencv(data) if fast else to_planes(image, notes)
    if pixels.shape[:2] != (image.height, image.width):
        raise damaged("the header and the pixels disagree about the size")
    return Picture(pixels, alpha, name, notes=tuple(notes), **meta)


def _text(comment: bytes) -> str:
    """Return a JPEG comment as text that a PNG can hold: no NUL inside."""
    raw = without_pictures(comment).rstrip(b"\0").replace(b"\0", b" ")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def encode(picture: Picture, *, format: str, metadata: Metadata = "keep") -> bytes:  # noqa: A002
    """Encode a picture.

    Args:
        picture: What to write.
        format: ``PNG``, ``WEBP`` (lossless), ``JPEG`` (quality 95, full chroma), ``TIFF``, ``BMP``, or
            ``DICOM`` (a derived copy of the file it was read from).
        metadata: ``keep`` writes EXIF, XMP, comment and text; ``strip`` drops them and turns the pixels
            upright first, and of DICOM drops what `noli.data.dicom` lists. The ICC profile and the
            resolution always stay.

    Returns:
        The file's bytes; equal pictures give equal bytes.

    Raises:
        DataError: The format cannot hold this picture without loss (grey, 16-bit or over 16383 px in WebP;
            alpha or 16-bit in JPEG; 16-bit in BMP; anything but DICOM in DICOM).
        UsageError: Unknown format; arrays are written as they are.
    """
    if metadata == "strip":
        picture = stripped(picture)
    if format == "DICOM":
        return dicom.encode(picture, metadata)
    _check_fits(picture, format)
    if format == "PNG":
        if picture.alpha is not None and picture.channels == 1:
            return png.with_metadata(png.encode_plain(picture.stacked()), picture)
        return png.with_metadata(_png_body(picture), picture)
    if format == "TIFF":
        return tiff.encode(picture)
    if format == "BMP" and picture.alpha is not None:
        return _bmp_with_alpha(picture.stacked())
    return _pillow_body(picture, format)


def lost(picture: Picture, format: str) -> tuple[str, ...]:  # noqa: A002
    """Return a note for each piece of metadata that `encode` cannot keep in this format."""
    if picture.comment and format not in ("JPEG", "PNG"):
        return (f"JPEG comment dropped: {format} has no place for it",)
    return ()


def stripped(picture: Picture) -> Picture:
    """Return a picture without its private metadata, turned upright because the orientation goes with it."""
    turn = exif.orientation(picture.exif)
    alpha = None if picture.alpha is None else exif.upright(picture.alpha, turn)
    colour = tuple(chunk for chunk in picture.chunks if chunk[0] in png.COLOUR)
    pixels = exif.upright(picture.pixels, turn)
    return replace(picture, pixels=pixels, alpha=alpha, exif=None, xmp=None, comment="", chunks=colour)


def _check_fits(picture: Picture, name: str) -> None:
    side, grey, alpha = max(picture.pixels.shape[:2]), picture.channels == 1, picture.alpha is not None
    deep = (picture.bits == 16, "16-bit pictures")
    limits = {
        "PNG": (),
        "TIFF": (),
        "WEBP": ((grey, "grey pictures"), deep, (side > 16_383, "sides over 16383 pixels")),
        "JPEG": (deep, (alpha, "alpha"), (side > 65_500, "sides over 65500 pixels")),
        "BMP": (deep, (grey and alpha, "grey with alpha")),
    }
    if name not in limits:
        raise UsageError("Unknown output format.", why=f"got {name!r}", fix=f"use one of {', '.join(limits)}")
    misses = [what for wrong, what in limits[name] if wrong]
    if misses:
        raise DataError(f"{name} cannot hold {' and '.join(misses)}.", fix="choose --format png")


def _png_body(picture: Picture) -> bytes:
    array = picture.stacked()
    if picture.channels == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if picture.alpha is None else cv2.COLOR_RGBA2BGRA)
    done, body = cv2.imencode(".png", array, _PNG_OPTIONS)
    if not done:  # pragma: no cover - only when out of memory
        raise DataError("The picture could not be encoded as PNG.")
    return body.tobytes()


def _bmp_with_alpha(stacked: Pixels) -> bytes:
    """Write RGBA with a version-4 header that declares the alpha, which Pillow and OpenCV < 4.13 lose."""
    height, width, _ = stacked.shape
    body = stacked[::-1, :, [2, 1, 0, 3]].tobytes()
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    info += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def _pillow_body(picture: Picture, name: str) -> bytes:
    stacked = picture.stacked()
    image = Image.fromarray(stacked[..., 0] if stacked.shape[2] == 1 else stacked)
    options: dict[str, Any] = {}
    if name == "JPEG":
        comment = picture.comment.encode("utf-8", "replace")[:_COMMENT_BYTES]
        options = {"quality": 95, "subsampling": 0, "comment": comment or None}
    elif name == "WEBP":
        options = {"lossless": True, "exact": True, "quality": 50, "method": 0}
    if name != "BMP":
        options |= {"icc_profile": picture.icc, "xmp": picture.xmp or b""}
        if picture.exif:
            options["exif"] = b"Exif\0\0" + picture.exif
    if picture.dpi and name != "WEBP":
        options["dpi"] = picture.dpi
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    body = buffer.getvalue()
    return _with_header(body, picture.header) if name == "JPEG" and picture.header else body


def _with_header(body: bytes, header: str) -> bytes:
    """Insert a comment of its own behind the first segment, which JFIF wants to be the first."""
    at = 4 + int.from_bytes(body[4:6])
    text = (_HEADER + header).encode("latin-1")
    return body[:at] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + body[at:]
