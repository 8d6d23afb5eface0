"""Masked language models as a source of words: against one mask at a time, by their rules, and to the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import noli
from noli.core.errors import DataError, MissingPrerequisite
from noli.methods.mark.leximark import Config, propose, published, rarity_of
from noli.ops.lexicon import Lexicon, find
from noli.testing import KEYS
from noli.zoo import masked
from noli.zoo.masked import MaskedLM, load_masked
from texts_making import MANNERS, OPTIONS, PEOPLE, QUALITIES, THINGS, VERBS, tree, write_documents

safetensors = pytest.importorskip("safetensors.torch")
transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "number", ".", ",", "x1", "caf\u00e9", *PEOPLE, *VERBS, *QUALITIES, *THINGS, *MANNERS]
PIECES = ["##er", "##s", "##ly", "London", "Doctor"]
GAPS = [
    ("The ", " clerk."),
    ("The large clerk sadly ", " the vessel number 7."),
    ("", " repaired"),
    ("(", ")"),
]


def network(folder: Path, vocabulary: list[str], prefer: tuple[str, ...] = (), **config: Any) -> None:
    """Write a BERT that varies with what is around the mask, or nearly always prefers some tokens."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    places = {"max_position_embeddings": 40, **config}
    made = transformers.BertConfig(vocab_size=len(vocabulary), **sizes, **places)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = transformers.BertForMaskedLM(made).eval()
        for weight in net.parameters():
            weight.data += torch.randn_like(weight) / 4
    for rank, token in enumerate(prefer):
        net.cls.predictions.bias.data[vocabulary.index(token)] = 1000.0 - rank * 20
    net.save_pretrained(folder)


def bert(folder: Path, words: tuple[str, ...] | list[str] = (), **config: Any) -> Path:
    """Write a BERT with WordPiece; it prefers some words, in their order."""
    vocabulary = list(dict.fromkeys([*SPECIAL, *WORDS, *PIECES, *words]))
    pieces = tokenizers.models.WordPiece({token: n for n, token in enumerate(vocabulary)}, unk_token="[UNK]")
    plain = tokenizers.Tokenizer(pieces)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    plain.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, mask_token="[MASK]", **names)
    fast.save_pretrained(folder)
    network(folder, vocabulary, tuple(words), **config)
    return folder


def slow(model: MaskedLM, left: str, right: str, count: int) -> tuple[str, ...]:
    """One mask in a pass of its own, and every token judged by itself, likeliest first."""
    ids = model.tokenizer(f"{left}[MASK]{right}")["input_ids"]
    with torch.no_grad():
        logits = model.net(input_ids=torch.tensor([ids])).logits[0, ids.index(4)].tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(range(len(logits)))
    ranked = [tokens[n] for n in sorted(range(len(logits)), key=lambda n: -logits[n])]
    return tuple(token for token in ranked if token.isascii() and token.isalpha())[:count]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedLM:
    return load_masked(bert(tmp_path_factory.mktemp("masked")))


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_predictions_are_those_of_one_mask_at_a_time(model: MaskedLM, count: int) -> None:
    found = model.predict(GAPS, count)
    assert found == [slow(model, *gap, count) for gap in GAPS]
    assert len({words[:5] for words in model.predict(GAPS)}) > 1  # it does look at the sentence


def test_many_gaps_are_the_same_as_one_by_one(model: MaskedLM, monkeypatch: pytest.MonkeyPatch) -> None:
    together = model.predict(GAPS * 12)
    assert together == [words for gap in GAPS * 12 for words in model.predict([gap])]
    monkeypatch.setattr(masked, "_BATCH", 3)
    assert model.predict(GAPS * 12) == together
    assert model.predict([]) == []


def test_only_whole_words_of_letters_are_predicted(model: MaskedLM) -> None:
    (words,) = model.predict([("The ", " clerk.")], 1000)
    whole = {*WORDS, "London", "Doctor"} - {".", ",", "x1", "caf\u00e9"}
    assert sorted(words) == sorted(whole)


@pytest.mark.parametrize("mark", ["\u0120", "\u2581"])
def test_a_mark_before_words_tells_whole_ones_too(mark: str, tmp_path: Path) -> None:
    vocabulary = [*SPECIAL, f"{mark}the", f"{mark}clerk", f"{mark}ba", "ker", f"{mark}7", f"{mark}.", "##x"]
    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({t: n for n, t in enumerate(vocabulary)}, "[UNK]")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **named).save_pretrained(tmp_path)
    network(tmp_path, vocabulary)
    (words,) = load_masked(tmp_path).predict([("so ", " it")])
    assert sorted(words) == ["ba", "clerk", "the"]


def test_long_sentences_are_read_near_the_gap(model: MaskedLM) -> None:
    far = "the vessel " * 60
    assert model.context == 38
    (words,) = model.predict([(f"{far}the large ", f" sadly {far}")], 9)
    near = model.predict([(f"{far[-100:]}the large ", f" sadly {far[:100]}")], 9)
    assert len(words) == 9 == len(near[0])
    assert model.predict([(f"other {far}the large ", f" sadly {far}other")], 9) == [words]


def test_a_mask_that_stands_in_the_text_is_not_asked(model: MaskedLM) -> None:
    assert model.predict([("[MASK] the ", " [MASK]")]) == model.predict([("  the ", "  ")])


def predicting(*words: str) -> Callable[[Any], list[tuple[str, ...]]]:
    return lambda gaps: [words for _ in gaps]


FORMS = [
    # Text, predictions, and what is left of them; LEVEL says how rare a word is.
    ("The tranquil clerk sat.", "quiet tranquil brave the London of xqz", {"tranquil": "brave quiet"}),
    ("They purchased bread.", "repairing repaired purchases purchase delivered sold", {
        "purchased": "repaired delivered"}),
    ("Farmers arrived.", "singers Bakers baker farmer Farmers", {"Farmers": "Singers Bakers"}),
    ("He left rapidly.", "sadly fast Gladly rapid rapidly", {"rapidly": "sadly"}),
    ("We saw a jewel.", "automobile manuscript jewels", {"jewel": "manuscript"}),
    ("We met Baker Smith [Baker 3] at \u201cthe meadow\u201d.", "farmer cottage", {}),
    ("It took 3 meadows and 5 hours.", "cottages days", {}),
]  # fmt: skip


@pytest.mark.parametrize(("prose", "words", "expected"), FORMS)
def test_what_a_prediction_must_be(prose: str, words: str, expected: dict[str, str]) -> None:
    order = words.lower().split()  # the earlier, the rarer
    level = {word: 15.0 - order.index(word) / 10 for word in order if word != "xqz"}

    def rarity(word: str) -> float | None:
        return level.get(word, None if word == "xqz" else 15.0)

    found = {
        slot.word: slot.options
        for slot in find(prose, rarity=rarity, gain=-7, options=8, predict=predicting(*words.split()))
    }
    for word, options in expected.items():
        rarest_first = sorted(options.split(), key=lambda one: -level[one.lower()])
        assert found[word] == tuple(rarest_first)
    assert expected or not found


def test_order_and_bounds_are_those_of_rarity() -> None:
    rare = {"clerk": 12.0, "farmer": 11.0, "baker": 14.0, "lawyer": 16.0, "singer": 25.0}.get
    predict = predicting("singer", "farmer", "baker", "teacher", "lawyer")

    def options(**bounds: float) -> tuple[str, ...]:
        slots = find("The clerk sat.", rarity=rare, predict=predict, **bounds)  # type: ignore[arg-type]
        return slots[0].options if slots else ()

    assert options(gain=-2) == ("lawyer", "baker", "farmer")
    assert options() == ("lawyer", "baker")
    assert options(reach=3) == ("baker",)
    assert options(floor=13) == ()


def test_the_places_are_asked_once_with_their_sentences() -> None:
    seen: list[Any] = []

    def predict(gaps: Any) -> list[tuple[str, ...]]:
        seen.append(list(gaps))
        return [("lawyer", "singer")] * len(gaps)

    prose = "It was so.  The clerk\n met the\x00 baker."
    found = find(prose, rarity=lambda word: 15.0, predict=predict, protected=["met"])
    assert [slot.word for slot in found] == ["clerk", "baker"]
    assert seen == [[("The ", " met the baker."), ("The clerk met the ", ".")]]
    assert find("Of the.", rarity=lambda word: 15.0, predict=predict) == []
    assert len(seen) == 1


def test_protected_terms_stay_and_the_filter_is_the_same() -> None:
    pytest.importorskip("wordfreq")
    prose = "The wealthy lawyer admired the tranquil meadow. The lawyer repaired the cottage of Ann Meadow."
    predict = predicting("doctor", "garden", "house", "vessel")

    def words(embed: Any = None, **options: Any) -> list[str]:
        cfg = Config(share=1, k=100, **options)
        return [slot.word for slot in propose(prose, cfg, embed, predict=predict)]

    assert words() == ["lawyer", "meadow", "lawyer", "cottage"]
    assert words(protected=("lawyer", "meadow")) == ["cottage"]

    def embed(texts: list[str]) -> torch.Tensor:
        rows = [[1.0, 0.0] if "doctor" in text or "lawyer" in text else [0.0, 1.0] for text in texts]
        return torch.tensor(rows)

    kept = propose(prose, Config(share=1, k=100), embed, predict=predict)
    # By this encoder a lawyer makes the sentence, and only a doctor makes it as well.
    assert [slot.word for slot in kept] == ["lawyer", "meadow", "lawyer", "cottage"]
    assert [slot.options for slot in kept if slot.word == "lawyer"] == [("doctor",), ("doctor",)]


def test_the_published_mode_takes_the_rarest_prediction_where_it_is_rarer() -> None:
    pytest.importorskip("wordfreq")
    predict = predicting("doctor", "physician", "singer", "upholsterer")
    cfg = Config(mode="published", share=1)
    (slot,) = propose("The lawyer went home.", cfg, None, predict=predict)
    assert rarity_of(slot.options[0]) == max(rarity_of(word) for word in slot.options) > slot.rarity
    assert published([slot], {}) == [slot.options[0]]
    assert propose("The physician went home.", cfg, None, predict=predicting("doctor")) == []


def test_fitting_words_need_a_clear_word(english_words: Lexicon) -> None:
    assert english_words.fitting("clerk", ["farmer", "farmer", "Farmer", "farmers"]) == ("farmer",)
    assert english_words.fitting("Clerks", ["farmers", "FARMERS"]) == ("Farmers",)
    assert english_words.fitting("xqz", ["farmer"]) == ()
    assert english_words.fitting("cLerk", ["farmer"]) == ()
    assert english_words.fitting("the", ["farmer"]) == ()


@pytest.fixture(scope="module")
def english_words() -> Lexicon:
    from noli.ops.lexicon import english

    return english()


def test_folders_that_hold_no_masked_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such masked") as caught:
        load_masked(tmp_path / "none")
    assert caught.value.where == str(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        load_masked(tmp_path)
    folder = bert(tmp_path / "bert")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:99])
    with pytest.raises(DataError, match="cannot be read"):
        load_masked(folder)
    weights.unlink()
    torch.save(safetensors.load(whole), folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be read") as caught:
        load_masked(folder)
    assert "safetensors" in (caught.value.fix or "")
    transformers.BertModel(transformers.BertConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(DataError, match="all weights of the model") as caught:
        load_masked(folder)
    assert "missing" in (caught.value.why or "")
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "llama"}))
    with pytest.raises(DataError, match="cannot be read"):
        load_masked(folder)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPrerequisite, match="transformers") as missing:
        load_masked(folder)
    assert "noli[text]" in (missing.value.fix or "")


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    described = json.loads(file.read_text())
    described.pop("mask_token")
    file.write_text(json.dumps(described))
    with pytest.raises(DataError, match="no mask"):
        load_masked(tmp_path)


def test_texts_are_marked_with_predicted_words_and_brought_back(tmp_path: Path) -> None:
    pytest.importorskip("wordfreq")
    source = write_documents(tmp_path / "documents")
    folder = bert(tmp_path / "model", [*PEOPLE, *THINGS, *VERBS, *QUALITIES, *MANNERS])
    given = {**OPTIONS, "source": str(folder)}
    run = noli.mark_texts(source, tmp_path / "out", key=KEYS[0], name="The press", **given)
    before, after = tree(source), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 9
    known = {*PEOPLE, *THINGS, *VERBS, *QUALITIES, *MANNERS}
    text = {
        name: (before[name].decode().split(), after[name].decode().split()) for name in ("0.txt", "1.txt")
    }
    for old, new in text.values():
        changed = [(a.strip("."), b.strip(".")) for a, b in zip(old, new, strict=True) if a != b]
        assert changed
        assert all(a in known and b in known for a, b in changed)
    assert 0 < run.manifest.results["replaced"] < run.manifest.results["places"]
    again = noli.mark_texts(source, tmp_path / "again", key=KEYS[0], name="The press", **given)
    assert again.manifest.results["places"] == run.manifest.results["places"]
    noli.undo(tmp_path / "out", tmp_path / "back", key=KEYS[0])
    assert tree(tmp_path / "back") == before
