"""Pictures in other columns of Parquet files than the image column: they would be published as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noli.core.errors import DataError

DAMAGE = (pa.ArrowException, OSError, StopIteration)
_TEXTS, _NUMBERS = 4096, 256  # rows that are looked at together
_SHORT = 64  # bytes: a fixed-size column no longer than this holds hashes, not pictures
# Base64 of the smallest useful picture, in either alphabet; rulers have more dashes than letters.
_CODED = r"data:image/|(?:[A-Za-z0-9+/\r\n][_-]{0,2}){400}"
# A row of numbers as long as 28 x 28 pixels may be a picture; segmentations have fewer different values.
_ROW, _LEVELS = 784, 64


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are bytes of any length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def pictures(kind: pa.DataType) -> int:
    """Count what in a column can hold pictures, however deep: bytes, and lists of small integers."""
    return sum(_can_hold(leaf.type, listed) for leaf, listed in _leaves(pa.nulls(0, kind)))


def _can_hold(kind: pa.DataType, listed: bool) -> bool:
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width > _SHORT)
    small = listed and pa.types.is_integer(kind) and kind.bit_width <= 16
    return small or is_binary(kind) or bool(pa.types.is_binary_view(kind))


def _leaves(column: pa.Array, listed: bool = False) -> Iterator[tuple[pa.Array, bool]]:
    """Yield the plain values of a column, however deep, and whether they stand in lists."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        parts = [column.storage]
    elif pa.types.is_dictionary(kind):
        parts = [column.dictionary]
    elif pa.types.is_map(kind):
        parts, listed = [column.keys, column.items], False
    elif pa.types.is_struct(kind):
        parts, listed = column.flatten(), False
    elif pa.types.is_nested(kind):
        parts, listed = [column.flatten()], True
    else:
        yield column, listed
        return
    for part in parts:
        yield from _leaves(part, listed)


def check_values(handle: pq.ParquetFile, image: str, where: str) -> None:
    """Refuse columns beside the image column `image` whose values are pictures, however deep.

    Raises:
        DataError: Texts with base64, or lists of numbers that are pixels.
    """
    for place in range(handle.metadata.num_columns):
        leaf = handle.schema.column(place)
        if leaf.path in (image, f"{image}.bytes"):
            continue
        text = leaf.physical_type == "BYTE_ARRAY"
        if not text and not leaf.max_repetition_level:
            continue
        # Of a damaged image column every row is told when it is read.
        own = leaf.path.startswith(f"{image}.")
        with suppress(*DAMAGE) if own else nullcontext():
            holds, rows = (_has_coded, _TEXTS) if text else (_has_pixels, _NUMBERS)
            if any(holds(batch.column(0)) for batch in handle.iter_batches(rows, columns=[leaf.path])):
                what = "long base64 text" if text else "long rows of numbers like pixels"
                raise DataError(
                    f"A {'text column' if text else 'column'} of the Parquet file holds pictures.",
                    where=where,
                    why=f"column {leaf.path!r} has {what}, which would be published as it is",
                    fix="leave that column out",
                )


def _has_coded(column: pa.Array) -> bool:
    texts = (leaf for leaf, _ in _leaves(column) if _is_text(leaf.type))
    return any(
        pc.any(pc.match_substring_regex(text.cast(pa.large_string()), _CODED)).as_py() for text in texts
    )


def _has_pixels(column: pa.Array) -> bool:
    rows = max(1, len(column) - column.null_count)
    numbers = (leaf for leaf, listed in _leaves(column) if listed and _is_number(leaf.type))
    return any(
        _are_pixels(leaf.drop_null().to_numpy(zero_copy_only=False))
        for leaf in numbers
        if len(leaf) >= _ROW * rows
    )


def _are_pixels(values: npt.NDArray[np.generic]) -> bool:
    """Tell whether numbers are levels of 8 bits, as whole numbers or as shares of 255."""
    levels = values.astype(np.float64)
    levels *= 255 if levels.size and levels.max() <= 1 else 1
    whole = np.rint(levels)
    inside = bool(np.isfinite(levels).all()) and whole.min(initial=0) >= 0 and whole.max(initial=0) <= 255
    return inside and np.abs(levels - whole).max(initial=0) < 1e-3 and len(np.unique(whole)) >= _LEVELS


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
