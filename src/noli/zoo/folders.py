"""Folders of Hugging Face's layout: reading them quietly, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noli.core.errors import DataError, MissingPrerequisite
from noli.core.model import seeded


@contextmanager
def reading(folder: Path, kind: str, fix: str) -> Iterator[Any]:
    """Hand out transformers, keep it quiet, and translate its errors.

    Args:
        folder: What is read.
        kind: What lies there, such as ``language model``.
        fix: What to do about a folder that cannot be read.

    Raises:
        MissingPrerequisite: transformers, or what it needs for this folder, is not installed.
        DataError: The folder cannot be read.
    """
    try:
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        what = f"{kind.capitalize()}s from a folder need transformers."
        raise MissingPrerequisite(what, where=str(folder), fix="pip install 'noli[text]'") from error
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with seeded(0):  # it draws what it then reads
            yield transformers
    except ImportError as error:
        more = "install what is named; GGUF needs pip install gguf accelerate"
        what = f"The {kind} needs another package."
        raise MissingPrerequisite(what, where=str(folder), why=_first(error), fix=more) from error
    # A damaged folder is met by transformers, tokenizers or safetensors, each with errors of its own.
    except Exception as error:
        what = f"The {kind} cannot be read."
        raise DataError(what, where=str(folder), why=_first(error), fix=fix) from error
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def check_whole(folder: Path, told: Mapping[str, Any]) -> None:
    """Refuse a model of which weights are missing, which transformers would draw at random.

    Args:
        folder: Where it lies.
        told: What ``from_pretrained`` says with ``output_loading_info``.

    Raises:
        DataError: Some are.
    """
    if missing := sorted(told["missing_keys"]):
        why = f"{len(missing)} tensors are missing, among them {missing[0]}"
        raise DataError("The folder does not hold all weights of the model.", where=str(folder), why=why)


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
