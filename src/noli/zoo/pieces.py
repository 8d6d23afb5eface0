"""Tokenizers of the tiny language model: bytes as they are, or pieces that were learned from texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from noli.core.errors import DataError, MissingPrerequisite, UsageError
from noli.core.language import Spans, as_spans, character_spans
from noli.zoo.scoring import Ids, check_texts

Kind = Literal["bytes", "bpe"]
BYTES = 256


class Tokenizer(Protocol):
    """Turns texts into tokens.

    Attributes:
        kind: Under which it is made again.
        size: Number of different tokens.
    """

    kind: Kind
    size: int

    def encode(self, texts: Sequence[str]) -> list[tuple[Ids, Spans]]:
        """Return tokens ``int64 [N]`` and their characters ``int64 [N, 2]`` of every text.

        Raises:
            DataError: Not valid text.
        """

    def described(self) -> str:
        """Return what :class:`Pieces` is made from; empty for bytes."""


class Bytes:
    """Every byte of UTF-8 is a token; needs nothing installed."""

    kind: Kind = "bytes"
    size = BYTES

    def encode(self, texts: Sequence[str]) -> list[tuple[Ids, Spans]]:
        """Return the bytes of every text; all bytes of a character have its span."""
        check_texts(texts)
        raws = [text.encode() for text in texts]
        return [(np.frombuffer(raw, np.uint8).astype(np.int64), character_spans(raw)) for raw in raws]

    def described(self) -> str:
        """Return an empty text."""
        return ""


class Pieces:
    """Byte-pair encoding on bytes: every text can be encoded, and nothing in it is a control token.

    Args:
        described: Content of a ``tokenizer.json``.

    Raises:
        MissingPrerequisite: tokenizers is not installed.
        DataError: Not a tokenizer.
    """

    kind: Kind = "bpe"

    def __init__(self, described: str) -> None:
        try:
            self._inner = _tokenizers().Tokenizer.from_str(described)
        except MissingPrerequisite:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise DataError("The tokenizer cannot be read.", why=str(error)) from error
        self.size = self._inner.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[tuple[Ids, Spans]]:
        """Return the pieces of every text; pieces that share a character have its span."""
        check_texts(texts)
        found = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [(np.array(one.ids, np.int64), as_spans(one.offsets)) for one in found]

    def described(self) -> str:
        """Return the content of ``tokenizer.json``."""
        described: str = self._inner.to_str()
        return described


def learn_tokenizer(kind: Kind, texts: Sequence[str], size: int) -> Tokenizer:
    """Make a tokenizer for some texts; the same texts give the same one.

    Args:
        kind: ``bytes``, or ``bpe`` for pieces (Sennrich et al., arXiv 1508.07909, on bytes as in GPT-2).
        texts: What pieces are learned from.
        size: Most pieces there may be, 256 or more; fewer where the texts are short.

    Raises:
        UsageError: Unknown kind, too small a size.
        MissingPrerequisite: tokenizers is not installed.
        DataError: Not valid text.
    """
    if kind == "bytes":
        return Bytes()
    if kind != "bpe" or size < BYTES:
        fix = f"take bytes or bpe, and {BYTES} pieces or more"
        raise UsageError("There is no such tokenizer.", where=f"{kind}, {size} pieces", fix=fix)
    check_texts(texts)
    library = _tokenizers()
    learned = library.Tokenizer(library.models.BPE())
    learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned.train_from_iterator(texts, trainer)
    return Pieces(learned.to_str())


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        fix = "pip install 'noli[text]', or take the tokenizer 'bytes'"
        raise MissingPrerequisite("Learned pieces need the package tokenizers.", fix=fix) from error
    return tokenizers
