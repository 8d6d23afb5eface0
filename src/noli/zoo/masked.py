"""Masked language models in folders of Hugging Face's layout: what fits a gap; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from noli.core.errors import DataError
from noli.core.model import evaluating
from noli.zoo.folders import check_whole, reading

_CONTEXT = 512
_BATCH = 32
# What stands before a continuation (WordPiece), or else before every word (pieces of bytes, SentencePiece).
_CONTINUES, _BEGINS = "##", ("\u0120", "\u2581")
Gap = tuple[str, str]


class MaskedLM:
    """A masked language model of transformers.

    Args:
        net: Network with ``net(input_ids=..., attention_mask=...).logits``.
        tokenizer: Tokenizer of transformers that has a mask.
        context: Most tokens that are read at a time; of longer sentences what is nearest to the gap is read.
    """

    def __init__(self, net: Any, tokenizer: Any, context: int) -> None:
        self.net, self.tokenizer, self.context = net, tokenizer, context
        self._words = _whole_words(tokenizer, int(net.config.vocab_size))

    def predict(self, gaps: Sequence[Gap], count: int = 50) -> list[tuple[str, ...]]:
        """Return the likeliest words of every gap, likeliest first.

        Only whole words of one token and of ASCII letters; a gap gets fewer where the vocabulary has no more.

        Args:
            gaps: What stands before and behind the gap, white space at the gap included.
            count: Most words of a gap.
        """
        rows = [self._encoded(*gap) for gap in gaps]
        found: list[tuple[str, ...]] = [()] * len(rows)
        ids, words = torch.tensor(list(self._words), dtype=torch.int64), list(self._words.values())
        with evaluating(self.net), torch.no_grad():
            # Rows of like length side by side: a batch is padded to its longest.
            order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
            for batch in (order[i : i + _BATCH] for i in range(0, len(order), _BATCH)):
                scores = self._scores([rows[n] for n in batch])[:, ids]
                # Stable: words that are equally likely come in the order of the vocabulary.
                best = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
                for n, places in zip(batch, best.tolist(), strict=True):
                    found[n] = tuple(words[place] for place in places)
        return found

    def _scores(self, rows: list[Tensor]) -> Tensor:
        """Return the logits ``float32 [N, V]`` at the mask of every row."""
        ids = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id or 0)
        lengths = torch.tensor([len(row) for row in rows])
        seen = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        masks = torch.stack([(row == self.tokenizer.mask_token_id).nonzero()[0, 0] for row in rows])
        logits: Tensor = self.net(input_ids=ids, attention_mask=seen).logits
        return logits[torch.arange(len(rows)), masks]

    def _encoded(self, left: str, right: str) -> Tensor:
        mask = self.tokenizer.mask_token
        left, right = (side.replace(mask, " ") for side in (left, right))  # a text about language models
        ids = self.tokenizer(left + mask + right, verbose=False)["input_ids"]
        reach = max(len(left), len(right))
        while len(ids) > self.context and reach:
            reach //= 2
            text = left[max(0, len(left) - reach) :] + mask + right[:reach]
            ids = self.tokenizer(text, verbose=False)["input_ids"]
        return torch.tensor(ids)


def load_masked(folder: Path) -> MaskedLM:
    """Load a folder with ``config.json``, safetensors and a tokenizer, in float32 on the CPU.

    Pickled weights are refused, and no code that lies in the folder is run.

    Raises:
        MissingPrerequisite: transformers is not installed.
        DataError: No such folder, or one that cannot be read, lacks weights, or holds no masked model.
    """
    where = str(folder)
    fix = "name a folder with config.json, weights as safetensors and a tokenizer, like BERT's or RoBERTa's"
    if not folder.is_dir():
        raise DataError("There is no such masked language model.", where=where, fix=fix)
    local = {"local_files_only": True, "trust_remote_code": False}
    with reading(folder, "masked language model", fix) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        net, told = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local
        )
    check_whole(folder, told)
    if tokenizer.mask_token_id is None:
        raise DataError("The tokenizer has no mask.", where=where, fix=fix)
    # RoBERTa begins to count places at 2.
    most = getattr(net.config, "max_position_embeddings", None) or _CONTEXT + 2
    return MaskedLM(net.eval(), tokenizer, min(_CONTEXT, most - 2))


def _whole_words(tokenizer: Any, size: int) -> dict[int, str]:
    """Return the tokens that are whole words of ASCII letters, in the order of their numbers."""
    tokens = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number < size)
    # The commonest mark: a vocabulary of WordPiece may have the others as letters.
    mark = max((_CONTINUES, *_BEGINS), key=lambda mark: sum(token.startswith(mark) for _, token in tokens))
    special = set(tokenizer.all_special_ids)
    found = {}
    for number, token in tokens:
        begins = mark == _CONTINUES or token.startswith(mark)
        word = token if mark == _CONTINUES else token.removeprefix(mark)
        if begins and word.isascii() and word.isalpha() and number not in special:
            found[number] = word
    return found
