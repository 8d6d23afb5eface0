"""A small GPT that learns a collection in minutes on a processor: a self-check before a release, and tests.

It reads a token that no text contains before every text, so that the first token of a text is scored, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write
from noli.core.language import Tokens
from noli.core.model import Model, evaluating
from noli.zoo.base import seeded
from noli.zoo.pieces import Bytes, Kind, Pieces, Tokenizer, learn_tokenizer
from noli.zoo.scoring import Encoded, Ids, score_encoded

ARCH = "tiny-lm"
DESCRIPTION, WEIGHTS, PIECES = "language.json", "model.safetensors", "tokenizer.json"
VOCABULARY = 4096
_SCHEMA = 1
_SPREAD = 0.02


class Block(nn.Module):
    """Pre-norm transformer block with causal attention, ``[N, L, width] -> [N, L, width]``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the new states."""
        parts = self.attend(self.norms[0](x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.merge(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.narrow(F.gelu(self.widen(self.norms[1](x))))
        return out


class Gpt(nn.Module):
    """A decoder with learned positions whose output layer is its token table (GPT-2's shape, no dropout).

    Args:
        vocabulary: Number of tokens V, the starting token included.
        context: Longest input in tokens.
        layers: Number of blocks.
        width: Length of a state; a multiple of `heads`.
        heads: Attention heads.

    Raises:
        UsageError: Sizes that do not fit together.
    """

    def __init__(
        self, vocabulary: int, context: int = 256, layers: int = 4, width: int = 128, heads: int = 4
    ) -> None:
        super().__init__()
        if min(vocabulary, context, layers, width, heads) < 1 or width % heads or context < 2:
            why = f"{vocabulary} tokens, context {context}, {layers} layers, width {width}, {heads} heads"
            fix = "take positive sizes, a context of 2 or more and a width that the heads divide"
            raise UsageError("The sizes of the language model do not fit together.", why=why, fix=fix)
        self.context = context
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                # What is added to the stream grows with the depth otherwise (GPT-2).
                added = name.endswith(("merge.weight", "narrow.weight"))
                nn.init.normal_(weight, 0, _SPREAD / math.sqrt(2 * layers if added else 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, L, V]`` of the next token.

        Args:
            x: Tokens ``[N, ..., L]``, L at most the context; floats are taken for whole numbers, since a
                Model hands them on as it does pictures.
        """
        ids = x.flatten(1).long()
        states = self.blocks(self.tokens(ids) + self.places.weight[: ids.shape[1]])
        return F.linear(self.norm(states), self.tokens.weight)


def build(arch: str, args: Mapping[str, Any]) -> Gpt:
    """Make an untrained network.

    Raises:
        UsageError: Another kind of network, or sizes that do not fit.
    """
    if arch != ARCH:
        raise UsageError("This is no tiny language model.", where=arch)
    return Gpt(**args)


@dataclass(frozen=True, eq=False)
class TinyLM:
    """A small GPT and its tokenizer; a :class:`noli.core.language.LanguageModel`.

    Attributes:
        model: The network, as a Model that changes nothing about its input.
        tokenizer: What makes tokens of texts.
        name: What it is called in records.
    """

    model: Model
    tokenizer: Tokenizer
    name: str = ARCH

    @classmethod
    def new(
        cls,
        texts: Sequence[str],
        *,
        tokenizer: Kind = "bpe",
        vocabulary: int = VOCABULARY,
        seed: int = 0,
        **sizes: int,
    ) -> TinyLM:
        """Make an untrained model with a tokenizer for some texts.

        Args:
            texts: What pieces are learned from.
            tokenizer: ``bpe``, or ``bytes``, which needs nothing installed.
            vocabulary: Most tokens there may be, the starting token included; ``bytes`` has 257.
            seed: Seed of the initial weights.
            **sizes: ``context``, ``layers``, ``width``, ``heads`` of :class:`Gpt`.

        Raises:
            UsageError: Unknown tokenizer, sizes that do not fit.
            MissingPrerequisite: tokenizers is not installed.
            DataError: Not valid text.
        """
        made = learn_tokenizer(tokenizer, texts, vocabulary - 1)
        args = {"vocabulary": made.size + 1, **sizes}
        with seeded(seed):
            net = build(ARCH, args)
        return cls(Model(net, mean=(0.0,), std=(1.0,), arch=ARCH, arch_args=args), made)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights in hex."""
        return self.model.weight_hash()

    @property
    def net(self) -> Gpt:
        """The network itself."""
        net = self.model.net
        if not isinstance(net, Gpt):
            raise UsageError("This is no tiny language model.", where=self.model.arch)
        return net

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the texts as the model reads them, each after the starting token."""
        start = np.array([self.tokenizer.size], np.int64)
        nowhere = np.zeros((1, 2), np.int64)
        return [
            Encoded(np.concatenate([start, ids]), np.concatenate([nowhere, spans]), 1)
            for ids, spans in self.tokenizer.encode(texts)
        ]

    def stream(self, texts: Sequence[str]) -> Ids:
        """Return all texts one after the other as tokens ``int64 [N]``, each after the starting token."""
        return np.concatenate([np.zeros(0, np.int64), *(one.ids for one in self.encode(texts))])

    def score_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Score texts of any length, every token of them.

        Longer ones are read in windows that overlap by half.

        Raises:
            DataError: Not valid text.
        """
        net = self.net
        device = net.tokens.weight.device
        with evaluating(net):
            return score_encoded(
                net,
                self.encode(texts),
                context=net.context,
                vocabulary=self.tokenizer.size + 1,
                device=device,
            )

    def save(self, folder: str | Path) -> None:
        """Write weights, tokenizer and description into a folder, replacing files of an earlier model.

        Raises:
            RunError: The folder cannot be written.
        """
        place = Path(folder)
        self.model.save(place / WEIGHTS)
        if self.tokenizer.kind == "bpe":
            atomic_write(place / PIECES, self.tokenizer.described().encode())
        described = {"schema": _SCHEMA, "kind": ARCH, "tokenizer": self.tokenizer.kind}
        # Last: without it the folder is not taken for a model.
        atomic_write(place / DESCRIPTION, json.dumps(described, indent=1).encode())

    @classmethod
    def load(cls, folder: str | Path) -> TinyLM:
        """Read a model written by :meth:`save`; no pickle is read.

        Raises:
            DataError: Files that are missing, damaged, or do not belong together.
            MissingPrerequisite: tokenizers is not installed, and the model has pieces.
        """
        place = Path(folder)
        try:
            described = json.loads((place / DESCRIPTION).read_bytes())
            known = (described["schema"], described["kind"]) == (_SCHEMA, ARCH)
            made = described["tokenizer"] if known else None
            text = (place / PIECES).read_text("utf-8") if made == "bpe" else ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                "The language model cannot be read.", where=str(folder), why=str(error)
            ) from error
        if made not in ("bpe", "bytes"):
            fix = "take a newer noli, or a folder that noli wrote"
            raise DataError("The language model is of an unknown kind.", where=str(folder), fix=fix)
        tokenizer: Tokenizer = Pieces(text) if made == "bpe" else Bytes()
        model = Model.load(place / WEIGHTS, build)
        if model.arch_args.get("vocabulary") != tokenizer.size + 1:
            why = "they have different numbers of tokens"
            raise DataError("Weights and tokenizer do not belong together.", where=str(folder), why=why)
        return cls(model, tokenizer, str(folder))
