"""Classifiers in foreign folders: the logits of transformers, one mean for all channels, refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noli import zoo
from noli.core.errors import DataError, MissingPrerequisite, NoliError, UsageError
from noli.core.model import Model
from noli.testing import KEYS
from noli.zoo import imported
from noli.zoo.imported import for_classes, load_imported, side_of
from noli.zoo.keyed import check_side, fixed_side
from noli.zoo.keyed_folder import load_keyed
from noli.zoo.keyed_folding import converted, folded, rotated

pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1]))
from foreign_making import IMAGENET, asked, write_foreign

GREY = {"image_mean": [0.3], "image_std": [0.6]}
CASES: dict[str, tuple[dict[str, Any], float, Any, Any]] = {  # what is written; factor, mean, std
    "vit": ({}, 1, 0.5, 0.5),
    "deit": ({"kind": "deit", "looks": IMAGENET}, 1, IMAGENET["image_mean"], IMAGENET["image_std"]),
    "no biases": ({"qkv_bias": False, "looks": {}}, 1, 0.5, 0.5),
    "grey": ({"num_channels": 1, "looks": GREY}, 1, GREY["image_mean"], GREY["image_std"]),
    "half": ({"dtype": torch.float16, "layer_norm_eps": 1e-3}, 1, 0.5, 0.5),
    "patches": ({"patch_size": 8, "image_size": 24, "num_attention_heads": 4}, 1, 0.5, 0.5),
    "levels": ({"looks": {"do_rescale": False, "image_mean": 120, "image_std": 60}}, 255, 120, 60),
    "as it is": ({"looks": {"do_normalize": False}}, 1, 0, 1),
    "to 2": ({"looks": {**IMAGENET, "rescale_factor": 2 / 255}}, 2, *IMAGENET.values()),
}  # fmt: skip


def pictures(side: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(5, channels, side, side, generator=torch.Generator().manual_seed(1))


def processed(x: torch.Tensor, factor: float, mean: Any, std: Any) -> torch.Tensor:
    shift, scale = (torch.tensor(one, dtype=torch.float64).view(-1, 1, 1) for one in (mean, std))
    return ((factor * x.double() - shift) / scale).float()


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(tmp_path: Path, case: str) -> None:
    written, factor, mean, std = CASES[case]
    folder = write_foreign(tmp_path / "model", **written)
    model = load_imported(folder)
    x = pictures(model.arch_args["side"], model.arch_args["channels"])
    wanted = asked(folder, processed(x, factor, mean, std))
    with torch.no_grad():
        found = model(x)
    assert wanted.std(0).min() > 0.01  # it prefers something
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert model.class_names == ("dog", "cat", "owl")
    assert side_of(folder) == fixed_side(model) == x.shape[-1]
    # The zoo reads it again, without transformers.
    model.save(tmp_path / "own.safetensors")
    again = zoo.load(tmp_path / "own.safetensors")
    with torch.no_grad():
        assert torch.equal(again.eval()(x), found)


def test_one_mean_for_all_channels_and_bits_stay_where_they_are_alike(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    name = "vit.embeddings.patch_embeddings.projection.weight"
    for looks, same in (({"image_mean": [0.4] * 3, "image_std": [0.3] * 3}, True), (IMAGENET, False)):
        folder = write_foreign(tmp_path / f"{same}", looks=looks)
        model = load_imported(folder)
        assert len(set(model.mean)) == len(set(model.std)) == 1
        theirs = load_file(folder / "model.safetensors")[name]
        assert torch.equal(model.net.state_dict()["body.embed.weight"], theirs) == same


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_rotation_is_conversion_bit_for_bit_whatever_the_normalisation(tmp_path: Path, kind: str) -> None:
    model = load_imported(write_foreign(tmp_path / "model", kind=kind, looks=IMAGENET))
    first, wanted = converted(model, KEYS[0]), converted(model, KEYS[1])
    found = rotated(first, 0, KEYS[0], KEYS[1])
    assert found.weight_hash() == wanted.weight_hash()
    x = pictures()
    first.save(tmp_path / "keyed")
    with torch.no_grad():
        plain = model(x)
        for one in (first, folded(first, 0), found, load_keyed(tmp_path / "keyed", KEYS[0])):
            assert (one.eval()(x) - plain).abs().max() <= 1e-4 * plain.abs().max()


def test_the_head_keeps_the_classes_that_are_asked_for_in_their_order(tmp_path: Path) -> None:
    model = load_imported(write_foreign(tmp_path / "model", ("dog", "cat", "owl", "crane", "crane")))
    taken, x = for_classes(model, ("cat", "dog"), "here"), pictures()
    with torch.no_grad():
        assert torch.allclose(taken(x), model(x)[:, [1, 0]], atol=1e-6)
    assert taken.class_names == ("cat", "dog")
    assert not taken.training
    taken.save(tmp_path / "own.safetensors")
    assert zoo.load(tmp_path / "own.safetensors").weight_hash() == taken.weight_hash()
    with pytest.raises(UsageError, match=r"does not know a class.*cow.*it knows dog, cat"):
        for_classes(model, ("cat", "cow"), "here")
    with pytest.raises(UsageError, match="knows a class of the pictures twice"):
        for_classes(model, ("cat", "crane"), "here")


def test_reading_draws_from_no_global_generator(tmp_path: Path) -> None:
    folder = write_foreign(tmp_path / "model")
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for_classes(load_imported(folder), ("cat", "dog"), "here")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def changed(folder: Path, file: str = "config.json", **facts: Any) -> None:
    told = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**told, **facts}))


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(folder: Path, name: str = "vit.layernorm.weight") -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    del state[name]
    save_file(state, folder / "model.safetensors")


REFUSED: dict[str, tuple[Callable[[Path], Any], type[NoliError], str]] = {
    "type": (lambda f: changed(f, model_type="swin"), UsageError, "ViTForImageClassification or DeiT"),
    "task": (lambda f: changed(f, architectures=["ViTModel"]), UsageError, "cannot be locked.*ViTModel"),
    "activation": (lambda f: changed(f, hidden_act="gelu_new"), UsageError, "gelu_new.*activation gelu"),
    "heads": (lambda f: changed(f, num_attention_heads=3), UsageError, "heads that divide"),
    "channels": (lambda f: changed(f, num_channels=4), UsageError, "1 or 3 channels"),
    "oblong": (lambda f: changed(f, image_size=[32, 64]), UsageError, "square"),
    "patches": (lambda f: changed(f, image_size=30), UsageError, "whole patches"),
    "sizes": (lambda f: changed(f, hidden_size=64), DataError, "do not fit"),
    "no number": (lambda f: changed(f, hidden_size="x"), DataError, "hidden_size"),
    "classes": (lambda f: changed(f, id2label={"1": "a", "2": "b"}), DataError, "numbered from 0"),
    "no json": (lambda f: (f / "config.json").write_text("["), DataError, "cannot be read"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), DataError, "no JSON object"),
    "no config": (lambda f: (f / "config.json").unlink(), DataError, "cannot be read"),
    "pickle": (as_pickle, DataError, r"no weights in safetensors.*pytorch_model\.bin"),
    "torn": (lambda f: (f / "model.safetensors").write_bytes(b"x"), DataError, "cannot be read"),
    "lacking": (without, DataError, r"do not fit.*vit\.layernorm\.weight"),
    "no looks": (lambda f: (f / "preprocessor_config.json").unlink(), DataError, "image processor"),
    "deviation": (
        lambda f: changed(f, "preprocessor_config.json", image_std=[0.5, 0.5, 0]), DataError, "image_std",
    ),
    "means": (
        lambda f: changed(f, "preprocessor_config.json", image_mean=[0.5]), DataError, "does not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused(tmp_path: Path, case: str) -> None:
    spoil, error, words = REFUSED[case]
    folder = write_foreign(tmp_path / "model")
    spoil(folder)
    with pytest.raises(error, match=words):
        load_imported(folder)


def test_what_answers_otherwise_than_in_transformers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, factor = write_foreign(tmp_path / "model"), imported._translated, 1.0

    def wrong(*given: Any) -> dict[str, torch.Tensor]:
        made = real(*given)
        return {**made, "body.blocks.firsts": made["body.blocks.firsts"] * factor}

    monkeypatch.setattr(imported, "_translated", wrong)
    assert isinstance(load_imported(folder), Model)
    for factor in (1.1, float("nan")):  # noqa: B007 (`wrong` sees it)
        with pytest.raises(DataError, match="answers otherwise here than in transformers"):
            load_imported(folder)


def test_without_transformers_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_foreign(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install 'noli\[text\]'"):
        load_imported(folder)


def test_learned_places_fix_the_side_and_patches_divide_it() -> None:
    vit = zoo.network("vit", 2, size=12, side=12, width=16, depth=1)
    mixer = zoo.network("convmixer", 2, width=16, depth=1)
    check_side(vit, 12)
    for side in (4, 12, 16):
        check_side(mixer, side)
    for model, sides, words in (
        (vit, (16, 18, 0, -12), "it takes 12 pixels"),
        (mixer, (13, 0, -4), "4 pixels"),
    ):
        for side in sides:
            with pytest.raises(UsageError, match=rf"no pictures of this side.*{words}"):
                check_side(model, side)


def test_networks_of_the_zoo_keep_their_weights_and_names() -> None:
    # Made with zoo.network(...).weight_hash() before there were tokens in front of the patches.
    plain = zoo.network("vit", 2, size=12, side=12, width=16, depth=1)
    assert not any("firsts" in name for name in plain.net.state_dict())
    assert plain.weight_hash() == "39dc94c1e2237b952027c250b00051c56ea4a34de520ab9bba2a5f907e633306"
