"""T2UE: noise from what is said of the pictures; the pictures themselves are never asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.images import to_uint8
from noli.core.method import FOLDER, DataSummary
from noli.methods.protect import t2ue
from noli.methods.protect.t2ue import Config
from noli.ops import noisestore
from noli.testing import KEYS
from noli.testing.fixtures import pictures
from noli.zoo.imagine import load_generator, new_generator
from noli.zoo.text import WORDS, load_text

FREE = Config(generator="untrained")
CAPTIONS = ("a cat", "two dogs", "a cat", "the sea")


@dataclass
class Blind:
    """A study that shows no picture."""

    items: list[Item]
    folder: Path
    told: list[int] = field(default_factory=list)

    def images(self, side: int) -> Any:
        raise AssertionError("a picture was asked for")

    def tell(self, done: int, total: int, what: str) -> None:
        self.told.append(done)


def items(n: int = 4, first: int = 0) -> list[Item]:
    return [
        Item(f"{i:020x}", f"pets/my_cat-{i}.png", ("cat", "dog")[i % 2], text=CAPTIONS[i % 4])
        for i in range(first, first + n)
    ]


def prepared(folder: Path, cfg: Config = FREE, of: list[Item] | None = None, **more: Any) -> dict[str, Any]:
    study = Blind(of or items(), folder)
    summary = DataSummary(len(study.items), ("cat", "dog"), {}, study=study)
    state = t2ue.prepare(summary, more.get("key", KEYS[0]), cfg, more.get("previous"))
    return {**state, FOLDER: str(folder)}


def noise_of(state: dict[str, Any], of: list[Item], cfg: Config = FREE) -> np.ndarray:
    batch = np.full((len(of), 3, 32, 32), 0.5, np.float32)
    return t2ue.apply(state, batch, of, KEYS[0], cfg) - batch


def test_noise_is_made_without_a_picture_one_for_each_item(tmp_path: Path) -> None:
    state = prepared(tmp_path)
    assert state["generator"] == load_generator("untrained").weight_hash()
    noise = noise_of(state, items())
    # The same caption, another random vector.
    assert not np.array_equal(noise[0], noise[2])
    assert len(noisestore.read(str(tmp_path), "noise-0").rows) == 4
    # No caption goes into the manifest.
    assert "cat" not in str(state).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        (FREE, list(CAPTIONS)),
        (FREE.model_copy(update={"prompts": "name"}), [f"a photo of a my cat {i}" for i in range(4)]),
        (FREE.model_copy(update={"prompts": "class", "template": "{}s"}), ["cats", "dogs", "cats", "dogs"]),
    ],
    ids=["caption", "name", "class"],
)
def test_prompts_come_from_captions_names_or_classes(
    cfg: Config, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    inner = t2ue._imagined

    def imagined(prompts: dict[str, str], *rest: Any) -> Any:
        asked.extend(prompts.values())
        return inner(prompts, *rest)

    monkeypatch.setattr(t2ue, "_imagined", imagined)
    prepared(tmp_path, cfg)
    assert asked == expected


def test_class_wise_noise_is_one_for_each_prompt(tmp_path: Path) -> None:
    cfg = FREE.model_copy(update={"noise": "class"})
    noise = noise_of(prepared(tmp_path, cfg), items(), cfg)
    assert np.array_equal(noise[0], noise[2])
    assert not np.array_equal(noise[0], noise[1])


def test_the_key_decides_the_random_vectors(tmp_path: Path) -> None:
    first, again, other = (
        noise_of(prepared(tmp_path / name, key=key), items())
        for name, key in (("a", KEYS[0]), ("b", KEYS[0]), ("c", KEYS[1]))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_extension_makes_noise_for_new_items_only(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    before = noise_of(first, items())
    grown = prepared(tmp_path, of=items(6), previous=first)
    assert grown["noise"] == ["noise-0", "noise-1"]
    assert list(noisestore.read(str(tmp_path), "noise-1").rows) == [item.id for item in items(2, first=4)]
    assert np.array_equal(noise_of(grown, items()), before)
    assert prepared(tmp_path, of=items(6), previous=grown) == grown


def test_another_generator_cannot_extend_a_run(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    new_generator(load_text(WORDS), side=16, seed=5).save(tmp_path / "other.safetensors")
    other = Config(generator=str(tmp_path / "other.safetensors"))
    with pytest.raises(DataError, match="not the one this run was begun with") as caught:
        prepared(tmp_path, other, of=items(6), previous=first)
    assert first["generator"] in (caught.value.why or "")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for cfg in (Config(), FREE.model_copy(update={"store": "noise"})):
        with pytest.raises(UsageError, match="needs a trained generator") as caught:
            prepared(tmp_path, cfg)
        assert "noli t2ue train" in (caught.value.fix or "")
    silent = [*items(2), Item("f" * 20, "flat/---.png")]
    for how in ("caption", "class", "name"):
        with pytest.raises(DataError, match="prompt for every picture") as lacking:
            prepared(tmp_path, FREE.model_copy(update={"prompts": how}), of=silent)
        assert lacking.value.items == ("flat/---.png",)
    with pytest.raises(UsageError, match="smaller bound") as bound:
        prepared(tmp_path, FREE.model_copy(update={"eps": 16 / 255}))
    assert "8/255" in (bound.value.why or "")


def test_numbered_classes_differ_and_classes_of_the_same_words_are_refused(tmp_path: Path) -> None:
    cfg = FREE.model_copy(update={"prompts": "class", "noise": "class"})
    numbered = [replace(item, label=f"{i % 2}") for i, item in enumerate(items())]
    noise = noise_of(prepared(tmp_path / "a", cfg, of=numbered), numbered, cfg)
    assert np.array_equal(noise[0], noise[2])
    assert not np.array_equal(noise[0], noise[1])
    alike = [replace(item, label=("big cat", "big_cat")[i % 2]) for i, item in enumerate(items())]
    with pytest.raises(DataError, match="same prompt") as caught:
        prepared(tmp_path / "b", cfg, of=alike)
    assert caught.value.items == ("big cat, big_cat",)


def loud(folder: Path) -> str:
    """A generator whose noise reaches the bound, as a trained one's does."""
    import torch

    model = new_generator(load_text(WORDS), side=16, seed=1)
    with torch.no_grad():
        model.net.end.weight.mul_(400)
    model.save(folder / "loud.safetensors")
    return str(folder / "loud.safetensors")


@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 40, 3), (33, 9, 1), (1, 1, 3), (224, 131, 3)])
@pytest.mark.parametrize("eps", [8 / 255, 3 / 255])
def test_the_bound_holds_at_every_size_after_rounding(
    shape: tuple[int, int, int], eps: float, tmp_path: Path
) -> None:
    cfg = Config(generator=loud(tmp_path), prompts="class", eps=eps)
    batch, of = pictures(3, shape)
    state = prepared(tmp_path / "run", cfg, of=of)
    change = to_uint8(t2ue.apply(state, batch, of, KEYS[0], cfg)).astype(int) - to_uint8(batch)
    assert np.abs(change).max() == round(eps * 255)


def test_a_noise_folder_takes_the_place_of_the_generator(tmp_path: Path) -> None:
    about = t2ue.generate(
        ["a cat", "the sea", "two dogs"], KEYS[0], "untrained", tmp_path / "noise", variants=3
    )
    assert (about["variants"], about["key"]) == (3, KEYS[0].id)
    cfg = Config(store=str(tmp_path / "noise"))
    many = items(40)
    state = prepared(tmp_path / "run", cfg, of=many)
    cats = noise_of(state, many, cfg)[::2]
    assert len({one.tobytes() for one in cats}) == 3
    # Class-wise noise is the same whichever way it was made.
    by_class = {"noise": "class"}
    stored = cfg.model_copy(update=by_class)
    direct = FREE.model_copy(update=by_class)
    left = noise_of(prepared(tmp_path / "left", stored), items(), stored)
    right = noise_of(prepared(tmp_path / "right", direct), items(), direct)
    assert np.abs(left - right).max() <= 1.01 / 127 * 8 / 255
    with pytest.raises(WrongKey, match="another key"):
        prepared(tmp_path / "other", cfg, key=KEYS[1])
    with pytest.raises(DataError, match="lacks 1 prompts") as caught:
        prepared(tmp_path / "more", cfg, of=[Item("e" * 20, "x.png", text="a fish")])
    assert caught.value.items == ("a fish",)
    with pytest.raises(DataError, match="cannot be read"):
        prepared(tmp_path / "none", Config(store=str(tmp_path)))


@pytest.mark.parametrize("content", ["[]", "{}", "5", "{", '{"key": 1}'])
def test_a_damaged_noise_folder_is_named(content: str, tmp_path: Path) -> None:
    t2ue.generate(["a cat"], KEYS[0], "untrained", tmp_path / "noise")
    (tmp_path / "noise" / t2ue.ABOUT).write_text(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        prepared(tmp_path / "run", Config(store=str(tmp_path / "noise")))
    assert (caught.value.where or "").endswith(t2ue.ABOUT)


def test_undo_takes_the_noise_off(tmp_path: Path) -> None:
    cfg = Config(generator=loud(tmp_path))
    state = prepared(tmp_path / "run", cfg)
    batch = np.full((4, 3, 20, 31), 0.5, np.float32)
    noisy = t2ue.apply(state, batch, items(), KEYS[0], cfg)
    assert np.abs(noisy - batch).max() > 0.02
    back = t2ue.invert(state, noisy, items(), KEYS[0], cfg, [{}] * 4)
    np.testing.assert_allclose(back, batch, atol=1e-6)
