"""TIFF and BMP containers: what is inside, whether all of it is there, and writers for what Pillow cannot."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from PIL import Image

from noli.data.exif import Directory, orientation, with_orientation
from noli.data.header import Header, animated, corrupt, truncated, unsupported
from noli.data.picture import Picture, Pixels

_CONVERT = "convert it to an 8 or 16-bit grey or RGB TIFF or PNG"
ICC_TAG, XMP_TAG = 34675, 700
# Tags that describe how pixels are stored; the writer sets its own.
# fmt: off
_STRUCTURE = frozenset([
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290,
    291, 292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513,
    514, 529, 530, 531, 532, ICC_TAG, XMP_TAG, 34377, 37724,
])
# fmt: on
_DPI_TAGS = frozenset([282, 283, 296])


def parse(data: bytes, where: str) -> Header:
    """Read the first directory of a TIFF file and check that all its strips lie inside the file.

    Raises:
        DataError: Truncated, damaged, multi-page, float, signed, or with too many channels.
    """
    try:
        directory = Directory(data)
        header = _describe(directory, where)
        _check_strips(directory, len(data), where)
        following = directory.next
        while following:  # reduced-size previews are allowed; further pages are not
            page = Directory(data, following)
            if not page.first(254, 0) & 1:
                raise animated(where, "TIFF with several pages")
            header.notes = ["embedded reduced-size pictures were dropped"]
            following = page.next if page.next > following else 0
    except ValueError as error:
        raise truncated(where, str(error)) from None
    return header


def _describe(directory: Directory, where: str) -> Header:
    header = Header("TIFF", width=directory.first(256, 0), height=directory.first(257, 0))
    if not header.width or not header.height:
        raise corrupt(where, "the picture has no pixels")
    samples, photometric = directory.first(277, 1), directory.first(262, 1)
    depths, kinds = set(directory.values(258) or (1,)), set(directory.values(339) or (1,))
    if kinds != {1}:
        raise unsupported(where, "TIFF with float or signed samples", _CONVERT)
    if len(depths) != 1 or not depths <= {1, 2, 4, 8, 16}:
        raise unsupported(where, f"TIFF with {sorted(depths)} bits a sample", _CONVERT)
    bits = depths.pop()
    colours = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}.get(photometric)
    if colours is None or not colours <= samples <= colours + (photometric in (0, 1, 2)):
        raise unsupported(where, f"TIFF of colour type {photometric} with {samples} channels", _CONVERT)
    if bits == 16 and (photometric not in (1, 2) or samples == 2):
        why = f"16-bit TIFF of colour type {photometric} with {samples} channels"
        raise unsupported(where, why, _CONVERT)
    header.bits, header.channels = (16 if bits == 16 else 8), 1 if photometric in (0, 1) else 3
    header.kind = {5: "CMYK", 3: "P"}.get(photometric, f"{samples}x{bits}")
    header.icc, header.xmp = _bytes_of(directory, ICC_TAG), _bytes_of(directory, XMP_TAG)
    return header


def _bytes_of(directory: Directory, tag: int) -> bytes | None:
    entry = directory.entries.get(tag)
    if entry is None or entry.kind not in (1, 7):
        return None
    return directory.block[entry.start : entry.start + entry.count]


def _check_strips(directory: Directory, length: int, where: str) -> None:
    for starts, sizes in ((273, 279), (324, 325)):
        pairs = list(zip(directory.values(starts), directory.values(sizes), strict=False))
        if any(start + size > length for start, size in pairs):
            raise truncated(where, "pixel data lies beyond the end of the file")
        if pairs:
            return
    if not directory.values(273) and not directory.values(324):
        raise corrupt(where, "no pixel data")


def descriptive_tags(image: Image.Image) -> bytes | None:
    """Return the tags of a TIFF that describe the picture, not its storage, as an EXIF block."""
    tags = image.getexif()
    for tag in list(tags):
        if tag in _STRUCTURE or tag in _DPI_TAGS:
            del tags[tag]
    return tags.tobytes().removeprefix(b"Exif\0\0") if len(tags) else None


def encode_tiff(picture: Picture) -> bytes:
    """Write a one-strip deflate TIFF with horizontal prediction; 8 and 16 bit, grey or RGB, with alpha."""
    stacked = picture.stacked()
    height, width, samples = stacked.shape
    tags = Image.Exif()
    if picture.exif:
        tags.load(b"Exif\0\0" + picture.exif)
        for tag in (set(tags) & _STRUCTURE) | {34853, 34665} & set(tags):
            if tag in (34853, 34665):
                tags.get_ifd(tag)
            else:
                del tags[tag]
    big = bool(picture.exif and picture.exif[:2] == b"MM")
    tags.endian = ">" if big else "<"
    body = zlib.compress(_predicted(stacked, ">" if big else "<"), 3)
    tags[256], tags[257], tags[258] = width, height, (picture.bits,) * samples
    tags[259], tags[262], tags[317] = 8, 1 if picture.channels == 1 else 2, 2
    tags[273], tags[277], tags[278], tags[279] = 0, samples, height, len(body)
    if picture.alpha is not None:
        tags[338] = (2,)
    if picture.dpi:
        tags[282], tags[283], tags[296] = picture.dpi[0], picture.dpi[1], 2
    if picture.icc:
        tags[ICC_TAG] = picture.icc
    if picture.xmp:
        tags[XMP_TAG] = picture.xmp
    # The serialiser adds its own length to the strip offset, so the strip simply follows the directory.
    return tags.tobytes().removeprefix(b"Exif\0\0") + body


def _predicted(stacked: Pixels, order: Literal["<", ">"]) -> bytes:
    rows = stacked.copy()
    np.subtract(stacked[:, 1:], stacked[:, :-1], out=rows[:, 1:])
    return rows.astype(rows.dtype.newbyteorder(order)).tobytes()


def resolution(image: Image.Image) -> tuple[float, float] | None:
    """Return the declared pixels per inch; None where Pillow would make up a value."""
    if 282 not in image.getexif() or "dpi" not in image.info:
        return None
    x, y = image.info["dpi"]
    return float(x), float(y)


def orientation_neutral(data: bytes) -> tuple[int, bytes]:
    """Return the orientation and the file with that tag set to 1, because decoders would turn the pixels."""
    turn = orientation(data)
    return turn, data if turn == 1 else with_orientation(data, 1)
