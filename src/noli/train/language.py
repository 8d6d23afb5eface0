"""Training the tiny language model on texts, from scratch or from where an earlier training ended."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.errors import DataError
from noli.core.model import Model
from noli.train.checkpoint import Checkpoint, Tensors
from noli.train.fit import Callback, FitResult, fit
from noli.train.recipe import Recipe
from noli.zoo.pieces import Kind
from noli.zoo.scoring import Ids
from noli.zoo.tinylm import ARCH, VOCABULARY, TinyLM

LANGUAGE = Recipe(
    epochs=10, batch=8, optimiser="adam", lr=2e-3, weight_decay=0.01, warmup=0.1, grad_clip=1.0,
    channels_last=False,
)  # fmt: skip


class Windows(Callback):
    """Replaces numbers of windows by the tokens in them.

    Every epoch cuts the stream at other places, drawn at random: each token is learned once per epoch, with
    other words before it. The stream is a ring, so the last window may repeat a few tokens of the first.

    Args:
        stream: Tokens ``int64 [N]``, more than `width`.
        width: Tokens of a window.
    """

    def __init__(self, stream: Ids, width: int) -> None:
        self.stream, self.width = torch.from_numpy(stream), width
        self.phase: int | None = None

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return tokens ``float32 [B, 1, 1, width]`` and those that follow each, ``int64 [B, width]``."""
        if self.phase is None:
            self.phase = int(torch.randint(len(self.stream), (1,), generator=generator))
        places = y.cpu()[:, None] * self.width + torch.arange(self.width + 1) + self.phase
        tokens = self.stream[places % len(self.stream)].to(y.device)
        # Four dimensions: a Model subtracts its mean per channel; floats hold such numbers exactly.
        return tokens[:, None, None, :-1].float(), tokens[:, 1:]

    def on_epoch_end(self, model: Model, epoch: int, loss: float) -> None:
        """Cut elsewhere from now on."""
        self.phase = None

    def state(self) -> Tensors:
        """Return where the stream is cut."""
        return {"phase": torch.tensor(-1 if self.phase is None else self.phase)}

    def restore(self, state: Tensors) -> None:
        """Cut where it was cut."""
        phase = int(state["phase"])
        self.phase = None if phase < 0 else phase


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of ``[B, L, V]`` with the tokens that came, ``int64 [B, L]``, in nats."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train_language(
    texts: Sequence[str],
    recipe: Recipe = LANGUAGE,
    *,
    start: TinyLM | None = None,
    tokenizer: Kind = "bpe",
    vocabulary: int = VOCABULARY,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] = (),
    **sizes: int,
) -> tuple[TinyLM, FitResult]:
    """Train a tiny language model.

    The same texts, recipe and thread count give the same weights on a processor.

    Args:
        texts: What it learns; order matters.
        recipe: How; an image of the recipe is a window of one context. ``seed`` also draws the initial
            weights.
        start: A model to go on from, which stays as it is; the rest of the arguments about the model's shape
            is ignored then.
        tokenizer: ``bpe`` or ``bytes``.
        vocabulary: Most tokens there may be.
        checkpoint: Where the training is kept against a kill.
        callbacks: Called before the windows are cut.
        **sizes: ``context``, ``layers``, ``width``, ``heads`` of :class:`noli.zoo.tinylm.Gpt`.

    Returns:
        The model, and how it went; the result's images are windows of at most one context.

    Raises:
        DataError: No text to speak of, or not valid text.
        UsageError: Unknown tokenizer, sizes that do not fit.
        MissingPrerequisite: tokenizers is not installed.
        RunError: The loss is no longer finite.
    """
    if start is None:
        made = TinyLM.new(texts, tokenizer=tokenizer, vocabulary=vocabulary, seed=recipe.seed, **sizes)
    else:
        made = TinyLM(copy.deepcopy(start.model), start.tokenizer, ARCH)
    stream = made.stream(texts)
    if len(stream) < 3:
        raise DataError("There is too little text to train on.", fix="give at least one text of two tokens")
    if checkpoint is not None:
        checkpoint.depends_on("language", recipe.model_dump_json(), made.digest, stream)
    width = min(made.net.context, len(stream) - 1)
    count = max(2, -(-len(stream) // width))
    nothing, rows = np.zeros((count, 1, 1, 1), np.uint8), np.arange(count)
    flat = recipe.model_copy(update={"channels_last": False})
    # Last: what it hands on are tokens, no pictures.
    found = fit(
        made.model, nothing, rows, flat, [*callbacks, Windows(stream, width)], next_token_loss, checkpoint
    )
    return made, found
