"""Training a published language model further: every token once a pass, the loss falls, weights come back."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import smollm
from smollm import BATCH, WIDTH, batches, one_pass, stored


def test_a_pass_reads_windows_that_do_not_overlap_in_their_targets():
    stream = torch.arange(20 * BATCH * WIDTH // 8 + 3)
    seen = torch.cat([*batches(stream, np.random.default_rng(0))])
    assert seen.shape[1] == WIDTH + 1
    assert (seen[:, 1:] - seen[:, :-1] == 1).all()
    assert len(seen[:, 1:].unique()) == seen[:, 1:].numel()
    again = torch.cat([*batches(stream, np.random.default_rng(0))])
    other = torch.cat([*batches(stream, np.random.default_rng(1))])
    assert torch.equal(seen, again)
    assert set(seen[:, 0].tolist()) != set(other[:, 0].tolist())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch):
    """A Llama with random weights, tied as SmolLM2's, that reads letters."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(smollm, "WIDTH", 16)
    monkeypatch.setattr(smollm, "RATE", 1e-2)
    monkeypatch.setattr(smollm, "WARMUP", 2)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=128, tie_word_embeddings=True, **sizes)

    def made(seed: int):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = transformers.LlamaForCausalLM(config).eval()
        tokenizer = lambda text: {"input_ids": list(text.encode())}  # noqa: E731
        tokenizer.eos_token_id = 0
        return SimpleNamespace(net=net, tokenizer=tokenizer)

    return made


def test_it_learns_its_texts_and_what_is_kept_is_the_whole_model(tiny):
    model, texts = tiny(0), ["the cat sat on the mat. " * 40, "a dog ran. " * 60]
    losses = [one_pass(model, texts, seed) for seed in range(8)]
    assert losses[-1] < 0.7 * losses[0]
    same = tiny(0)
    assert [one_pass(same, texts, seed) for seed in range(8)] == losses
    ids = torch.arange(20)[None]
    other = tiny(1)
    assert not torch.allclose(other.net(ids).logits, model.net(ids).logits)
    other.net.load_state_dict(stored(model.net), strict=False)
    assert torch.equal(other.net(ids).logits, model.net(ids).logits)
