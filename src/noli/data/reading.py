"""Reading files that nobody vouches for: whatever a decoder raises becomes one typed error with a remedy."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from noli.core.errors import DataError, NoliError

# How Pillow words its refusals of healthy files.
_REFUSALS = ("unsupported", "not supported", "not yet supported", "cannot handle", "unknown pixel mode")
_FILTERS = threading.RLock()  # all threads share the warning filters


def damaged(why: str) -> DataError:
    """The error for a file that ends too early or contradicts itself."""
    what = "The image file is truncated." if "truncated" in why else "The image file is damaged."
    return DataError(what, why=why, fix="get the file again, or --on-error skip")


def unsupported(why: str) -> DataError:
    """The error for a healthy file of a kind noli does not handle."""
    fix = "convert it to an 8 or 16-bit grey or RGB PNG, or --on-error skip"
    return DataError("This kind of image is not supported.", why=why, fix=fix)


def animated() -> DataError:
    """The error for a file with more than one picture."""
    fix = "save each frame as a file of its own, or --on-error skip"
    return DataError("Animated and multi-page images are not supported.", fix=fix)


def check_size(width: int, height: int, limit: int) -> None:
    """Refuse a picture of more than `limit` pixels before any memory is taken for it.

    Raises:
        DataError: It is larger.
    """
    if width * height > limit:
        why = f"{width} x {height} pixels, limit {limit}"
        fix = "make it smaller or cut it into parts, or --on-error skip"
        raise DataError("The image is larger than the limit.", why=why, fix=fix)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn every exception of a decoder into a `DataError` that names the item `where`."""
    try:
        yield
    except NoliError as error:
        error.where = where
        raise
    except Exception as error:  # no list of what decoders raise on damaged bytes is complete
        why = str(error) or type(error).__name__
        found = unsupported(why) if any(words in why.lower() for words in _REFUSALS) else damaged(why)
        found.where = where
        raise found from None


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Collect Pillow's warnings about single unreadable tags instead of printing them."""
    with _FILTERS, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield told
