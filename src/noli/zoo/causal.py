"""Causal language models in folders of Hugging Face's layout, for scoring; nothing is downloaded or run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noli.core.errors import DataError, UsageError
from noli.core.language import Tokens, as_spans
from noli.core.model import Model, evaluating
from noli.zoo.folders import check_whole, reading
from noli.zoo.scoring import Encoded, check_texts, score_encoded

CONTEXT = 2048
_FIX = "give config.json, weights as safetensors and tokenizer.json, of an architecture that it knows"
DTYPES = ("float32", "bfloat16", "float16")


class CausalLM:
    """A causal language model of transformers; a :class:`noli.core.language.LanguageModel`.

    The tokenizer decides what stands before a text. Where it puts a control token there, all tokens of the
    text are scored; where it puts none, the first token has nothing before it and is left out.

    Args:
        net: Network with ``net(input_ids=...).logits``.
        tokenizer: Fast tokenizer of transformers.
        name: What it is called in records.
        context: Tokens that are read at a time.
    """

    def __init__(self, net: Any, tokenizer: Any, name: str, context: int) -> None:
        self.net, self.tokenizer, self.name, self.context = net, tokenizer, name, context

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights in hex, as they were loaded: another dtype gives another one."""
        return Model(self.net).weight_hash()

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the texts as the model reads them, without what a tokenizer puts behind them.

        Raises:
            DataError: Not valid text.
        """
        check_texts(texts)
        made = []
        for text in texts:
            found = self.tokenizer(
                text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
            )
            given = found["special_tokens_mask"]
            lead = next((place for place, one in enumerate(given) if not one), len(given))
            end = next((place for place in range(len(given), lead, -1) if not given[place - 1]), lead)
            ids = np.array(found["input_ids"][:end], np.int64)
            made.append(Encoded(ids, as_spans(found["offset_mapping"][:end]), max(1, lead)))
        return made

    def score_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Score texts of any length; longer ones are read in windows that overlap by half.

        Raises:
            DataError: Not valid text.
        """
        vocabulary = int(self.net.get_output_embeddings().weight.shape[0])
        with evaluating(self.net):
            return score_encoded(
                self._logits,
                self.encode(texts),
                context=self.context,
                vocabulary=vocabulary,
                device=self.net.device,
            )

    def _logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.net(input_ids=ids, use_cache=False).logits
        return logits


def load_causal(
    folder: Path, *, context: int | None = None, device: str = "cpu", dtype: str = "float32"
) -> CausalLM:
    """Load a folder with ``config.json``, safetensors and a fast tokenizer, or with one GGUF file.

    Pickled weights are refused, and no code that lies in the folder is run. Weights of a GGUF file are
    unpacked to `dtype`.

    Args:
        folder: The folder.
        context: Tokens that are read at a time; None for what the model can, at most 2,048.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32``, or ``bfloat16`` or ``float16`` where memory is short; the scores are computed in
            float32 from its logits in any case.

    Raises:
        MissingPrerequisite: transformers, or what it needs for this folder, is not installed.
        DataError: The folder cannot be read, lacks weights or has no fast tokenizer.
        UsageError: Unknown dtype, or a context out of range.
    """
    if dtype not in DTYPES:
        raise UsageError("There is no such dtype.", where=dtype, fix=f"use one of {', '.join(DTYPES)}")
    packed = sorted(file.name for file in folder.glob("*.gguf"))
    if len(packed) > 1:
        raise DataError("The folder has more than one GGUF file.", where=str(folder), items=packed)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    options |= {"gguf_file": packed[0]} if packed else {}
    safe = {} if packed else {"use_safetensors": True}
    with reading(folder, "language model", _FIX) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        net, told = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), output_loading_info=True, **safe, **options
        )
    check_whole(folder, told)
    if not tokenizer.is_fast:
        fix = "save it with a tokenizer.json"
        raise DataError("The tokenizer does not tell where its tokens lie.", where=str(folder), fix=fix)
    most = getattr(net.config.get_text_config(), "max_position_embeddings", None) or CONTEXT
    chosen = min(most, CONTEXT) if context is None else context
    if not 2 <= chosen <= most:
        raise UsageError("The model cannot read that many tokens at a time.", where=f"{chosen} of {most}")
    return CausalLM(net.to(device).eval(), tokenizer, str(folder), chosen)
