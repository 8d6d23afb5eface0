"""Reading a network leaves torch's global generator as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from noli import zoo
from noli.core.model import Model
from noli.engine.locking import digest
from noli.testing import KEYS
from noli.train.keyed import untrained_pair
from noli.zoo import imagine, watermark
from noli.zoo.base import seeded
from noli.zoo.detector import DETECTORS, Detector, build_detector, detector, load_detector
from noli.zoo.encoders import load_encoder
from noli.zoo.fleet import BASE, Fleet, read_base
from noli.zoo.keyed import KeyedModel
from noli.zoo.keyed_folder import load_bare, load_keyed, save_keyed
from noli.zoo.keyed_folding import converted
from noli.zoo.latent import LatentDiffusion, new_latent
from noli.zoo.locked_detector import fold_detector, load_locked
from noli.zoo.style import StyleGenerator, load_generator, save_generator
from noli.zoo.text import WORDS, load_text
from noli.zoo.tinylm import TinyLM

Kept = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def kept() -> Kept:
    """Call something, and check that the global generator did not move."""

    def call(work: Callable[[], Any]) -> Any:
        torch.manual_seed(5)
        state = torch.random.get_rng_state()
        found = work()
        assert torch.equal(torch.random.get_rng_state(), state)
        return found

    return call


@pytest.mark.parametrize("arch", sorted({**zoo.NETWORKS, **zoo.PATCHED}))
def test_classifiers(arch: str, tmp_path: Path, kept: Kept) -> None:
    sized = {"side": 32} if arch in ("vit", "ele-adaptnet") else {}
    model = zoo.network(arch, 3, **sized)
    model.save(tmp_path / "m")
    for load in (zoo.load, lambda file: load_encoder(str(file))):
        assert kept(lambda load=load: load(tmp_path / "m")).weight_hash() == model.weight_hash()


@pytest.mark.parametrize("arch", sorted(DETECTORS))
def test_detectors(arch: str, tmp_path: Path, kept: Kept) -> None:
    args = {"classes": 2} | ({"width": 8} if arch == "small-detector" else {})
    with seeded(0):
        net = build_detector(arch, args)
    Detector(net, class_names=("a", "b"), arch=arch, arch_args=args).save(tmp_path / "m")
    kept(lambda: load_detector(tmp_path / "m"))


def test_locked_models(tmp_path: Path, kept: Kept) -> None:
    plain = detector(("a",), width=8).eval()
    fold_detector(plain, ["body.3"], KEYS[0], torch.zeros(1, 3, 64, 64)).save(tmp_path / "d")
    kept(lambda: load_locked(tmp_path / "d"))
    base = zoo.network("vit", 3, size=16, side=16)
    for name, model in {
        "trained": KeyedModel(base, [untrained_pair(base, KEYS[0])]),
        "folded": converted(base, KEYS[0]),
    }.items():
        save_keyed(model, tmp_path / name)
        kept(lambda name=name: load_keyed(tmp_path / name, KEYS[0]))
        kept(lambda name=name: load_bare(tmp_path / name))
    base.save(tmp_path / BASE)
    fleet = Fleet(base=digest(tmp_path / BASE), scale=1.0, devices=[])
    kept(lambda: read_base(tmp_path, fleet))


def test_generators_and_language_models(tmp_path: Path, kept: Kept) -> None:
    with seeded(0):
        save_generator(StyleGenerator(side=16, style=16, width=8), tmp_path / "style")
    kept(lambda: load_generator(tmp_path / "style"))
    new_latent(text=WORDS, side=16, width=8, coder=8).save(tmp_path / "latent")
    kept(lambda: LatentDiffusion.load(tmp_path / "latent"))
    imagine.new_generator(load_text(WORDS), side=16).save(tmp_path / "noise")
    kept(lambda: imagine.load_generator(str(tmp_path / "noise")))
    watermark.new_mark(4, (4, 4, 4)).save(tmp_path / "mark")
    kept(lambda: Model.load(tmp_path / "mark", watermark.build))
    TinyLM.new([], tokenizer="bytes", width=16, context=16).save(tmp_path / "lm")
    kept(lambda: TinyLM.load(tmp_path / "lm"))


def test_folders_of_others(tmp_path: Path, kept: Kept) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    kept(lambda: load_encoder(str(tmp_path / "vit"), 32))


def test_a_network_may_be_read_while_another_is_drawn(tmp_path: Path) -> None:
    zoo.network("small", 3).save(tmp_path / "m")
    with seeded(1):
        before = torch.random.get_rng_state()
        zoo.load(tmp_path / "m")
        assert torch.equal(torch.random.get_rng_state(), before)
