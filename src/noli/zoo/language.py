"""Language models that score texts: one of noli's own, or one in a folder that the user has."""

from __future__ import annotations

from pathlib import Path

from noli.core.errors import DataError
from noli.core.language import LanguageModel, Tokens
from noli.zoo.causal import load_causal
from noli.zoo.tinylm import DESCRIPTION, TinyLM

__all__ = ["LanguageModel", "TinyLM", "Tokens", "load_language"]


def load_language(
    folder: str | Path, *, context: int | None = None, device: str = "cpu", dtype: str = "float32"
) -> LanguageModel:
    """Load a language model; nothing is downloaded, no pickle is read and no code in the folder is run.

    Args:
        folder: A folder that :meth:`TinyLM.save` wrote, a causal language model in the layout of Hugging Face
            (safetensors and a fast tokenizer; needs transformers), or a folder with one GGUF file (needs gguf
            and accelerate as well).
        context: Tokens that are read at a time; None for what the model can, at most 2,048. Not for models
            of noli's own, which know theirs.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32``, or ``bfloat16`` or ``float16`` where memory is short; likewise.

    Raises:
        MissingPrerequisite: A package is not installed.
        DataError: No such folder, or one that cannot be read.
        UsageError: Options that do not fit.
    """
    place = Path(folder)
    if (place / DESCRIPTION).is_file():
        made = TinyLM.load(place)
        made.model.to(device)
        return made
    if place.is_dir():
        return load_causal(place, context=context, device=device, dtype=dtype)
    raise DataError(
        "There is no such language model.",
        where=str(folder),
        fix="name a folder with config.json, safetensors and tokenizer.json, or one that noli wrote",
    )
