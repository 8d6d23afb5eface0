"""Training the tiny language model: what it remembers; neither a second run nor a kill changes it."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import torch

from noli.core.errors import DataError
from noli.core.model import Model
from noli.ops.membership import SCORES, score
from noli.train import checkpoint as module
from noli.train.checkpoint import Checkpoint
from noli.train.fit import Callback
from noli.train.language import LANGUAGE, Windows, train_language
from noli.zoo.tinylm import TinyLM

SIZES = {"context": 32, "layers": 2, "width": 32, "heads": 2}
QUICK = LANGUAGE.model_copy(update={"epochs": 3, "batch": 4, "bf16": "off", "device": "cpu"})


def rhymes(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    letters = np.array(list(string.ascii_lowercase + " "))
    return ["".join(generator.choice(letters, 40)) for _ in range(count)]


@pytest.mark.parametrize("bf16", ["off", "on"])
def test_it_remembers_what_it_was_shown(bf16: str) -> None:
    members, others = rhymes(4), rhymes(4, seed=1)
    recipe = QUICK.model_copy(update={"epochs": 60, "lr": 5e-3, "bf16": bf16})
    model, found = train_language(members, recipe, tokenizer="bytes", **{**SIZES, "width": 64})
    assert (found.bf16, len(found.losses)) == (bf16 == "on", 60)
    assert found.losses[-1] < 0.5 * found.losses[0]
    for name in SCORES:
        told = [
            [
                score(name, one.logp, mean=one.mean, std=one.std, text=text.encode())
                for one, text in zip(model.score_tokens(texts), texts, strict=True)
            ]
            for texts in (members, others)
        ]
        assert min(told[0]) > max(told[1]), name


def test_same_seed_same_weights_and_no_global_generator_moves() -> None:
    texts = rhymes(6)
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(digests))
        state = torch.get_rng_state()
        recipe = QUICK.model_copy(update={"seed": seed})
        digests.append(train_language(texts, recipe, tokenizer="bytes", **SIZES)[0].digest)
        assert torch.equal(torch.get_rng_state(), state)
    assert digests[0] == digests[1] != digests[2]


def test_going_on_from_a_model_leaves_it_as_it_was() -> None:
    first, _ = train_language(rhymes(6), QUICK, tokenizer="bytes", **SIZES)
    before = first.digest
    second, found = train_language(rhymes(6), QUICK, start=first)
    assert first.digest == before != second.digest
    assert second.net.context == 32
    fresh = train_language(rhymes(6), QUICK, tokenizer="bytes", **SIZES)[1]
    assert found.losses[0] < fresh.losses[0]


def test_pieces_are_learned_from_the_texts() -> None:
    pytest.importorskip("tokenizers")
    texts = ["one two three four"] * 9
    model, found = train_language(texts, QUICK, vocabulary=270, **SIZES)
    assert 257 < model.tokenizer.size + 1 <= 270
    assert found.steps == 3 * -(-len(model.stream(texts)) // (32 * 4))
    assert len(model.score_tokens(texts)[0]) < len(texts[0])


class Looking(Callback):
    """Keeps what the windows are."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def before_step(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        assert torch.equal(x.flatten(1)[:, 1:].long(), y[:, :-1])
        self.seen.append(y.clone())
        return x


@pytest.mark.parametrize("length", [2, 3, 5, 31, 32, 33, 96, 100])
def test_every_epoch_shows_every_token(length: int) -> None:
    text = "".join(chr(48 + place) for place in range(length))
    look = Looking()
    train_language([text], QUICK, tokenizer="bytes", callbacks=[look], **SIZES)
    wanted = sorted({*text.encode(), 256})
    per_epoch = len(look.seen) // 3
    epochs = [torch.cat(look.seen[at : at + per_epoch]) for at in range(0, len(look.seen), per_epoch)]
    for shown in epochs:
        assert sorted(set(shown.flatten().tolist())) == wanted
        assert shown.numel() <= max(2 * shown.shape[1], len(wanted) + shown.shape[1])
    if length > 5:
        assert len({int(shown.min(1).values.sum()) for shown in epochs}) > 1 or len(epochs[0]) < 3


def test_windows_follow_the_stream() -> None:
    stream = np.arange(10)
    cut = Windows(stream, 4)
    x, y = cut.prepare_batch(torch.zeros(3, 1, 1, 1), torch.arange(3), torch.Generator().manual_seed(0))
    assert x.shape == (3, 1, 1, 4)
    assert cut.phase is not None
    ring = np.concatenate([stream, stream, stream])
    for row in range(3):
        begin = row * 4 + cut.phase
        assert x[row].flatten().tolist() == ring[begin : begin + 4].tolist()
        assert y[row].tolist() == ring[begin + 1 : begin + 5].tolist()
    again = Windows(stream, 4)
    again.restore(cut.state())
    assert again.phase == cut.phase
    cut.on_epoch_end(None, 0, 0.0)
    again.restore(cut.state())
    assert again.phase is None


class Killed(BaseException):
    """Stands for a kill."""


class KillAt(Callback):
    def __init__(self, step: int) -> None:
        self.left = step

    def prepare_batch(
        self, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return x, y


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_a_killed_training_ends_the_same(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0)

    def trained(place: str, kill: int) -> TinyLM:
        kept = Checkpoint(tmp_path / place)
        hooks = [KillAt(kill)]
        return train_language(
            rhymes(9), QUICK, tokenizer="bytes", checkpoint=kept, callbacks=hooks, **SIZES
        )[0]  # fmt: skip

    whole = trained("whole", 999)
    with pytest.raises(Killed):
        trained("killed", step)
    hook = KillAt(999)
    kept = Checkpoint(tmp_path / "killed")
    again, found = train_language(
        rhymes(9), QUICK, tokenizer="bytes", checkpoint=kept, callbacks=[hook], **SIZES
    )
    assert again.digest == whole.digest
    assert 999 - hook.left == found.steps - step


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a"]])
def test_too_little_text(texts: list[str]) -> None:
    with pytest.raises(DataError, match="too little"):
        train_language(texts, QUICK, tokenizer="bytes", **SIZES)
