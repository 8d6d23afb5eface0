"""TIFF: pixels through Pillow or OpenCV, tags through Pillow, and a writer for what neither can write."""

from __future__ import annotations

import io
import zlib
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from noli.data.exif import as_stored
from noli.data.modes import Planes, opencv, to_planes
from noli.data.picture import Picture, Pixels
from noli.data.reading import animated, check_size, damaged, quiet, unsupported

_ICC, _XMP, _ORIENTATION = 34675, 700, 274
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PLANAR, _EXTRA = 284, 338
_PREMULTIPLIED, _STRAIGHT = 1, 2
_POINTERS = frozenset([34665, 34853])  # to the EXIF and GPS directories
# Tags that describe how pixels are stored; the writer sets its own.
# fmt: off
_STRUCTURE = frozenset([
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290,
    291, 292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513,
    514, 529, 530, 531, 532, _ICC, _XMP, 34377, 37724,
])
# fmt: on
_RESOLUTION = frozenset([282, 283, 296])


def decode(data: bytes, max_pixels: int) -> Picture:
    """Decode the first page of a TIFF file.

    Raises:
        DataError: Too large, truncated, multi-page, or over 8 bits in anything but 16-bit grey and RGB.
        Exception: Whatever the decoder raises.
    """
    notes: list[str] = []
    with quiet() as told:
        image = TiffImageFile(io.BytesIO(data))
        check_size(*image.size, max_pixels)
        _check_strips(image, len(data))
        _check_pages(image, notes)
        tags, meta = image.tag_v2, _metadata(image)
        turn, samples, bits = tags.get(_ORIENTATION, 1), tags.get(277, 1), max(tags.get(258, (1,)))
        if bits == 16 and image.mode in ("RGB", "RGBA", "RGBX", "RGBa"):  # Pillow holds no 16-bit colour
            if tags.get(_PLANAR, 1) != 1:  # OpenCV would return memory that it never wrote
                raise unsupported("16-bit TIFF with separate colour planes")
            pixels, alpha = _deep_alpha(*opencv(data), tags.get(_EXTRA, (0,))[0], notes)
        elif bits <= 8 or (bits == 16 and image.mode.startswith("I;16")):
            pixels, alpha = to_planes(image, notes)
        else:
            raise unsupported(f"{bits}-bit TIFF of mode {image.mode}")
    if bits == 16 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns 8 bits round, not 16
        pixels = 65535 - pixels
    if told:
        notes.append("unreadable TIFF tags were dropped")
    if alpha is None and samples > len(image.getbands()):
        notes.append("an extra channel of unknown meaning was dropped")
    # Both decoders have turned the pixels upright.
    pixels, alpha = as_stored(pixels, turn), None if alpha is None else as_stored(alpha, turn)
    return Picture(pixels, alpha, "TIFF", notes=tuple(notes), **meta)


def _deep_alpha(pixels: Pixels, extra: Pixels | None, kind: int, notes: list[str]) -> Planes:
    """Take a fourth 16-bit sample for alpha only where the file says so."""
    if extra is None or kind not in (_PREMULTIPLIED, _STRAIGHT):
        return pixels, None
    if kind == _PREMULTIPLIED:
        notes.append("premultiplied alpha: colours divided by it")
        whole = np.maximum(extra, 1)[..., None].astype(np.float64)
        pixels = np.minimum(np.rint(pixels * (65535 / whole)), 65535).astype(np.uint16)
    return pixels, extra


def _check_strips(image: TiffImageFile, length: int) -> None:
    for starts, sizes in ((273, 279), (324, 325)):
        pairs = zip(image.tag_v2.get(starts, ()), image.tag_v2.get(sizes, ()), strict=False)
        if any(start + size > length for start, size in pairs):
            raise damaged("truncated: pixel data lies beyond the end of the file")


def _check_pages(image: TiffImageFile, notes: list[str]) -> None:
    """Allow reduced-size previews beside the picture, but no further pages."""
    for number in range(1, image.n_frames):
        image.seek(number)
        if not image.tag_v2.get(254, 0) & 1:
            raise animated()
    if image.n_frames > 1:
        notes.append("embedded reduced-size pictures were dropped")
        image.seek(0)


def _metadata(image: TiffImageFile) -> dict[str, Any]:
    """Return the metadata as fields of `Picture`; the tags that do not describe storage become EXIF."""
    info, tags = image.info, image.getexif()
    meta = {"xmp": info.get("xmp"), "icc": None if image.mode == "CMYK" else info.get("icc_profile")}
    dpi = tuple(map(float, info.get("dpi", ())))
    if 282 in image.tag_v2 and dpi and np.isfinite(dpi).all():  # Pillow makes up a value where there is none
        meta["dpi"] = dpi
    for tag in set(tags) & (_STRUCTURE | _RESOLUTION):
        del tags[tag]
    return {**meta, "exif": tags.tobytes().removeprefix(b"Exif\0\0") if len(tags) else None}


def encode(picture: Picture) -> bytes:
    """Write a one-strip deflate TIFF with horizontal prediction; 8 and 16 bit, grey or RGB, with alpha."""
    stacked = picture.stacked()
    height, width, samples = stacked.shape
    tags = Image.Exif()
    if picture.exif:
        tags.load(b"Exif\0\0" + picture.exif)
        for tag in set(tags) & _STRUCTURE:
            del tags[tag]
        for tag in set(tags) & _POINTERS:
            tags.get_ifd(tag)
    order: Literal["<", ">"] = ">" if picture.exif and picture.exif[:2] == b"MM" else "<"
    tags.endian = order
    body = zlib.compress(_predicted(stacked, order), 3)
    tags[256], tags[257], tags[258] = width, height, (picture.bits,) * samples
    tags[259], tags[262], tags[317] = 8, 1 if picture.channels == 1 else 2, 2
    tags[273], tags[277], tags[278], tags[279] = 0, samples, height, len(body)
    if picture.alpha is not None:
        tags[338] = (2,)
    if picture.dpi:
        tags[282], tags[283], tags[296] = *picture.dpi, 2
    if picture.icc:
        tags[_ICC] = picture.icc
    if picture.xmp:
        tags[_XMP] = picture.xmp
    # The serialiser adds its own length to the strip offset, so the strip simply follows the directory.
    return tags.tobytes().removeprefix(b"Exif\0\0") + body


def _predicted(stacked: Pixels, order: Literal["<", ">"]) -> bytes:
    rows = stacked.copy()
    np.subtract(stacked[:, 1:], stacked[:, :-1], out=rows[:, 1:])
    return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
