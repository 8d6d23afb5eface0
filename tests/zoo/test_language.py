"""Language models that score texts: windows against one pass after the other, files, and foreign folders."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noli.core.errors import DataError, MissingPrerequisite, UsageError
from noli.core.language import Tokens
from noli.zoo import pieces, scoring
from noli.zoo.language import LanguageModel, TinyLM, load_language
from noli.zoo.pieces import learn_tokenizer
from noli.zoo.scoring import Window, windows

TEXTS = ["the cat sat on the mat", "Žofka přišla 😀, ok", "", "a", "line\r\n\tand  more\x00", "mat cat " * 30]
SIZES = {"context": 16, "layers": 2, "width": 16, "heads": 2}


def tiny(tokenizer: str = "bytes", seed: int = 0, **sizes: int) -> TinyLM:
    if tokenizer == "bpe":
        pytest.importorskip("tokenizers")
    made = TinyLM.new(TEXTS, tokenizer=tokenizer, vocabulary=300, seed=seed, **{**SIZES, **sizes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for weight in made.model.parameters():
            weight.data += torch.randn_like(weight) / 4  # so that it prefers something
    return made


def slow_score(
    logits: Callable[[torch.Tensor], torch.Tensor], ids: list[int], lead: int, context: int
) -> np.ndarray:
    """Log p, mean and spread of each token, every one in a pass of its own over what its window holds."""
    rows = []
    with torch.no_grad():
        for place in range(lead, len(ids)):
            half = context // 2
            start = max(0, math.ceil((place - context) / half)) * half
            logp = logits(torch.tensor([ids[start:place]]))[0, -1].double().log_softmax(0)
            mean = (logp.exp() * logp).sum()
            std = (logp.exp() * (logp - mean) ** 2).sum().sqrt()
            rows.append([logp[ids[place]].item(), mean.item(), std.item()])
    return np.array(rows).reshape(-1, 3).T


def assert_scores(found: Tokens, wanted: np.ndarray) -> None:
    assert found.mean is not None
    assert found.std is not None
    assert found.logp.dtype == np.float64
    np.testing.assert_allclose(np.stack([found.logp, found.mean, found.std]), wanted, atol=2e-5)


@pytest.mark.parametrize("context", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 13, 14, 15, 40, 41])
@pytest.mark.parametrize("lead", [1, 2])
def test_windows_score_each_token_once_behind_half_a_context(context: int, length: int, lead: int) -> None:
    found = list(windows(5, length, lead, context))
    assert [place for one in found for place in range(one.first, one.stop)] == list(range(lead, length))
    for one in found:
        assert 1 <= one.length <= context
        assert one.row == 5
        assert one.first - one.start >= min(one.first, (context + 1) // 2)


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
@pytest.mark.parametrize("batch", [1, 2**25])
def test_a_tiny_model_scores_every_token(tokenizer: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_LOGITS", batch)
    model = tiny(tokenizer)
    found = model.score_tokens(TEXTS)
    for text, tokens, encoded in zip(TEXTS, found, model.encode(TEXTS), strict=True):
        assert_scores(tokens, slow_score(model.net, encoded.ids.tolist(), 1, 16))
        assert tokens.spans.tolist() == encoded.spans[1:].tolist()
        covered = {place for begin, end in tokens.spans.tolist() for place in range(begin, end)}
        assert covered == set(range(len(text)))
        assert (tokens.spans[1:] >= tokens.spans[:-1]).all()
    if tokenizer == "bytes":
        assert [len(tokens) for tokens in found] == [len(text.encode()) for text in TEXTS]
        assert found[1].spans[:4].tolist() == [[0, 1], [0, 1], [1, 2], [2, 3]]
    assert model.score_tokens([]) == []


def test_batches_hold_windows_of_like_length_and_bounded_size() -> None:
    todo = [Window(0, 0, 1, length + 1) for length in (9, 5, 5, 3, 1, 1)]
    parts = list(scoring._batches(todo, 2**25 // 10))
    assert [one for part in parts for one in part] == todo
    assert [len(part) for part in parts] == [1, 2, 3]


def test_tokens_can_be_chosen() -> None:
    tokens = tiny().score_tokens(["abcd"])[0]
    some = tokens.where(np.array([True, False, False, True]))
    assert (len(tokens), len(some), some.spans.tolist()) == (4, 2, [[0, 1], [3, 4]])
    assert some.logp.tolist() == tokens.logp[[0, 3]].tolist()
    assert some.std is not None
    bare = Tokens(tokens.logp, None, None, tokens.spans).where(np.zeros(4, bool))
    assert (len(bare), bare.mean, bare.std) == (0, None, None)


def test_the_network_is_causal_and_its_output_layer_is_its_token_table() -> None:
    net = tiny().net
    ids = torch.arange(12)[None]
    with torch.no_grad():
        whole, part = net(ids), net(ids[:, :5])
        torch.testing.assert_close(whole[:, :5], part, atol=1e-5, rtol=0)
        torch.testing.assert_close(net(ids[:, None, None].float()), whole)
    assert whole.shape == (1, 12, 257)
    weights = sum(weight.numel() for weight in net.parameters())
    assert weights == 257 * 16 + 16 * 16 + 2 * (12 * 16 * 16 + 13 * 16) + 2 * 16


def test_the_default_size() -> None:
    args = TinyLM.new(["x"], tokenizer="bytes").model.arch_args
    assert args == {"vocabulary": 257}
    net = TinyLM.new(["x"], tokenizer="bytes").net
    assert (net.context, len(net.blocks), net.tokens.weight.shape[1], net.blocks[0].heads) == (256, 4, 128, 4)


def test_seeds_decide_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    digests = [TinyLM.new([], tokenizer="bytes", seed=seed, **SIZES).digest for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    assert digests[0] == digests[1] != digests[2]


def test_learned_pieces_are_the_same_every_time_and_control_words_are_text() -> None:
    pytest.importorskip("tokenizers")
    texts = [f"{word} and {other} again" for word in ("red", "blue", "green") for other in ("x", "ž", "😀")]
    one, two = (learn_tokenizer("bpe", texts, 290) for _ in range(2))
    assert one.described() == two.described()
    assert 256 < one.size <= 290
    ((ids, spans),) = one.encode(["<s> red and again <|endoftext|>"])
    assert ids.max() < one.size
    assert spans[-1, 1] == 31
    assert len(ids) < 31


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_a_saved_model_comes_back(tokenizer: str, tmp_path: Path) -> None:
    model = tiny(tokenizer)
    folder = tmp_path / "deep" / "model"
    model.save(folder)
    model.save(folder)
    files = {"language.json", "model.safetensors"} | ({"tokenizer.json"} if tokenizer == "bpe" else set())
    assert {file.name for file in folder.iterdir()} == files
    again = load_language(folder)
    assert (again.name, again.digest) == (str(folder), model.digest)
    for one, two in zip(model.score_tokens(TEXTS), again.score_tokens(TEXTS), strict=True):
        assert one.logp.tolist() == two.logp.tolist()
        assert one.spans.tolist() == two.spans.tolist()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("language.json", b"{"),
        ("language.json", b"[]"),
        ("language.json", b'{"schema": 1}'),
        ("language.json", b'{"schema": 2, "kind": "tiny-lm", "tokenizer": "bpe"}'),
        ("language.json", b'{"schema": 1, "kind": "tiny-lm", "tokenizer": "words"}'),
        ("language.json", b'{"schema": 1, "kind": "tiny-lm", "tokenizer": "bytes"}'),
        ("model.safetensors", b"\x80\x04."),
        ("model.safetensors", None),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
        ("tokenizer.json", None),
    ],
)
def test_a_damaged_folder_is_refused(name: str, content: bytes | None, tmp_path: Path) -> None:
    tiny("bpe").save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        load_language(tmp_path)


def test_what_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for sizes in ({"width": 15}, {"context": 1}, {"layers": 0}):
        with pytest.raises(UsageError, match="sizes"):
            TinyLM.new([], tokenizer="bytes", **{**SIZES, **sizes})
    with pytest.raises(UsageError, match="tokenizer"):
        TinyLM.new([], tokenizer="words")
    with pytest.raises(UsageError, match="tokenizer"):
        TinyLM.new([], tokenizer="bpe", vocabulary=200)
    with pytest.raises(DataError, match="half a character") as caught:
        tiny().score_tokens(["fine", "half \ud83d"])
    assert caught.value.items == ("text 1",)
    with pytest.raises(DataError, match="no such"):
        load_language(tmp_path / "nothing")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(MissingPrerequisite) as missing:
            pieces.Pieces("{}")
        assert "noli[text]" in str(missing.value.fix)
        patch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingPrerequisite, match="transformers"):
            load_language(tmp_path)


def foreign(folder: Path, *, control: bool = True, **config: Any) -> Any:
    """Write a Llama with random weights and a tokenizer of bytes and few pieces; return the network."""
    transformers, library = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    plain = library.Tokenizer(library.models.BPE())
    plain.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(["the cat sat on the mat"], trainer)
    if control:
        plain.post_processor = library.processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = transformers.LlamaConfig(vocab_size=270, max_position_embeddings=12, **{**sizes, **config})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = transformers.LlamaForCausalLM(made).eval()
        for weight in net.parameters():
            weight.data *= 8
    net.save_pretrained(folder)
    return net


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("control", [False, True])
def test_a_foreign_model_is_scored_as_its_tokenizer_reads(control: bool, tied: bool, tmp_path: Path) -> None:
    net = foreign(tmp_path, control=control, tie_word_embeddings=tied)
    model: LanguageModel = load_language(str(tmp_path))
    found = model.score_tokens(TEXTS)
    assert model.name == str(tmp_path)
    assert len(model.digest) == 64
    for text, tokens in zip(TEXTS, found, strict=True):
        inner = load_tokens(tmp_path, text)
        ids = [0, *inner.ids] if control else inner.ids
        assert_scores(tokens, slow_score(lambda given: net(given).logits, ids, 1, 12))
        assert tokens.spans.tolist() == [list(pair) for pair in inner.offsets[0 if control else 1 :]]
    assert [len(tokens) for tokens in found][2:4] == ([0, 1] if control else [0, 0])


def load_tokens(folder: Path, text: str) -> Any:
    import tokenizers

    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return plain.encode(text, add_special_tokens=False)


def test_options_of_a_foreign_model(tmp_path: Path) -> None:
    foreign(tmp_path)
    short, half = load_language(tmp_path, context=6), load_language(tmp_path, dtype="bfloat16")
    whole = load_language(tmp_path)
    text = [TEXTS[-1]]
    assert short.score_tokens(text)[0].logp[:6] == pytest.approx(
        whole.score_tokens(text)[0].logp[:6], abs=1e-4
    )
    assert half.score_tokens(text)[0].logp == pytest.approx(whole.score_tokens(text)[0].logp, abs=1)
    assert half.digest != whole.digest
    for wrong in ({"context": 13}, {"context": 1}, {"dtype": "int8"}):
        with pytest.raises(UsageError):
            load_language(tmp_path, **wrong)


def test_pickles_foreign_code_and_missing_weights_are_refused(tmp_path: Path) -> None:
    net = foreign(tmp_path)
    from safetensors.torch import load_file, save_file

    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    gone = next(name for name in state if "mlp" in name)
    save_file({name: value for name, value in state.items() if name != gone}, weights, {"format": "pt"})
    with pytest.raises(DataError, match="all weights") as caught:
        load_language(tmp_path)
    assert gone in str(caught.value.why)
    weights.unlink()
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be read"):
        load_language(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    save_file(state, weights, {"format": "pt"})
    described = json.loads((tmp_path / "config.json").read_text())
    named = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    (tmp_path / "config.json").write_text(json.dumps({**described, "model_type": "own", "auto_map": named}))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(DataError, match="cannot be read"):
        load_language(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_folders_without_a_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match="cannot be read"):
        load_language(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises((DataError, MissingPrerequisite)):
        load_language(tmp_path)
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(DataError, match="more than one") as caught:
        load_language(tmp_path)
    assert caught.value.items == ("a.gguf", "b.gguf")
