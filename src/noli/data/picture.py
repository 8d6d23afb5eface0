"""The decoded picture: pixels, alpha, and everything that must travel with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError

Pixels = npt.NDArray[Any]
Metadata = Literal["keep", "strip"]
FormatPolicy = Literal["png", "webp", "same"]
MAX_PIXELS = 178_956_970
# The word by which a lock's header is known in a file.
HEADER = "noli-lock"


@dataclass(frozen=True, eq=False)
class Picture:
    """One decoded image, in stored orientation.

    Attributes:
        pixels: ``uint8`` or ``uint16`` ``[H, W, C]``, C in {1, 3} (grey or RGB).
        alpha: ``[H, W]`` of the same dtype, or None.
        format: ``PNG``, ``JPEG``, ``WEBP``, ``TIFF``, ``BMP``, ``DICOM``; ``RAW``: array.
        exif: EXIF block as TIFF bytes without the ``Exif`` prefix, embedded thumbnails removed.
        icc: ICC profile that describes ``pixels``.
        xmp: XMP packet.
        comment: Comment of a JPEG.
        dpi: Pixels per inch (x, y).
        chunks: PNG text and colour chunks to pass through (type, content).
        header: What a lock wrote about a scrambled picture (`noli.ops.container`), else empty.
        halved: A JPEG whose chroma is subsampled.
        has_gps: A position was found in EXIF or XMP.
        notes: What was changed on the way in, one sentence each.
        original: The whole file, where the output is a copy of it with other pixels (DICOM).
    """

    pixels: Pixels
    alpha: Pixels | None = None
    format: str = "RAW"
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    comment: str = ""
    dpi: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    header: str = ""
    halved: bool = False
    has_gps: bool = False
    notes: tuple[str, ...] = ()
    original: bytes | None = None

    @property
    def bits(self) -> int:
        """8 or 16."""
        return 16 if self.pixels.dtype == np.uint16 else 8

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB); alpha not counted."""
        return int(self.pixels.shape[2])

    def with_pixels(self, pixels: Pixels) -> Picture:
        """Return the same picture with other pixels of equal shape and dtype.

        Raises:
            DataError: Shape or dtype differ.
        """
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise DataError(
                "New pixels must have the shape and dtype of the old ones.",
                why=f"{pixels.dtype}{pixels.shape} against {self.pixels.dtype}{self.pixels.shape}",
                fix="convert with noli.core.images.to_uint8 or to_uint16",
            )
        return replace(self, pixels=pixels)

    def reshaped(self, pixels: Pixels, alpha: Pixels | None) -> Picture:
        """Return the same picture with pixels and alpha of another size.

        Raises:
            DataError: The two have different sizes.
        """
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            raise DataError(
                "Pixels and alpha must have the same size.",
                why=f"{pixels.shape[:2]} and {alpha.shape}",
                fix="flatten the picture first",
            )
        return replace(self, pixels=pixels, alpha=alpha)

    def stacked(self) -> Pixels:
        """Return contiguous ``[H, W, C]`` with alpha as the last channel when there is one."""
        if self.alpha is None:
            return np.ascontiguousarray(self.pixels)
        return np.dstack((self.pixels, self.alpha))


def from_array(array: Pixels, *, where: str) -> Picture:
    """Wrap the pixels ``[H, W, C]`` (C = 1..4, uint8 or uint16) of an array source; alpha is split off.

    `Picture.stacked` undoes it.

    Raises:
        DataError: Other shapes or dtypes.
    """
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise DataError(
            "Array items must be uint8 or uint16 [H, W, C] with 1 to 4 channels.",
            where=where,
            why=f"got {array.dtype} {array.shape}",
            fix="store channels last, scaled to 0..255",
        )
    if array.shape[2] in (1, 3):
        return Picture(array)
    return Picture(array[..., :-1], array[..., -1])
