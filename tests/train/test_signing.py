"""Which pictures are signed, and that a killed signing goes on with the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lpips_making import named
from noli.core.dataset import Item
from noli.core.errors import DataError, UsageError
from noli.core.images import to_float
from noli.core.method import DataSummary
from noli.data.study import ArrayStudy
from noli.methods.mark import taggants
from noli.ops import noisestore
from noli.testing import KEYS
from noli.train import signing
from noli.train.signing import choose
from noli.zoo.likeness import load_lpips

CFG = taggants.Config(keys=6, alpha=0.05, share=0.5, iterations=2, epochs=1, size=16, device="cpu")


def test_pictures_are_chosen_of_the_query_s_class_and_only_once():
    y = np.repeat(np.arange(4), 25)
    chosen = choose(y, [0, 2, 2, 3], 4, 0.2, KEYS[0], "claim")
    assert [len(rows) for rows in chosen] == [5, 5, 5, 5]
    assert [set(y[rows]) for rows in chosen] == [{0}, {2}, {2}, {3}]
    assert len(set(np.concatenate(chosen))) == 20
    other = choose(y, [0, 2, 2, 3], 4, 0.2, KEYS[1], "claim")
    assert not all(np.array_equal(a, b) for a, b in zip(chosen, other, strict=True))


def test_queries_share_a_class_that_has_too_few_pictures():
    y = np.repeat(np.arange(2), [6, 94])
    assert [len(rows) for rows in choose(y, [0, 0, 1], 2, 0.9, KEYS[0], "c")] == [3, 3, 30]
    few = choose(np.array([0, 1, 1, 1, 1, 1]), [0, 0, 1], 2, 0.9, KEYS[0], "c")
    assert [len(rows) for rows in few] == [1, 0, 1]
    with pytest.raises(DataError, match="too few pictures"):
        choose(y, [0] * 30, 2, 0.2, KEYS[0], "c")


def pixels_of() -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(24)]


def summary_of(folder: Path) -> DataSummary:
    pixels = pixels_of()
    items = [Item(f"{i:020d}", f"{i}.png", "ab"[i % 2], sha256="0" * 64) for i in range(24)]
    return DataSummary(24, ("a", "b"), {(16, 16, 3): 24}, study=ArrayStudy(items, pixels, folder))


def test_a_killed_signing_goes_on_with_the_same_bytes(tmp_path, monkeypatch):
    whole = taggants.prepare(summary_of(tmp_path / "one"), KEYS[0], CFG)
    found = noisestore.read(str(tmp_path / "one"), whole["noise"])
    monkeypatch.setattr(signing.Checkpoint, "save", _always(signing.Checkpoint.save))
    calls, real = 0, signing.match

    def stops(*args):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(signing, "match", stops)
    with pytest.raises(KeyboardInterrupt):
        taggants.prepare(summary_of(tmp_path / "two"), KEYS[0], CFG)
    again = taggants.prepare(summary_of(tmp_path / "two"), KEYS[0], CFG)
    assert calls == 3 + 4  # two of six were done
    assert again == whole
    resumed = noisestore.read(str(tmp_path / "two"), again["noise"])
    assert resumed.rows == found.rows
    assert np.array_equal(resumed.noise, found.noise)
    assert taggants.prepare(summary_of(tmp_path / "two"), KEYS[0], CFG, again) == again


def _always(save):
    return lambda self, stage, make, *, now=False: save(self, stage, make, now=True)


def test_permuted_classes_are_each_drawn_once_and_make_no_evidence(tmp_path):
    cfg = CFG.model_copy(update={"labels": "permuted", "keys": 5})
    drawn = taggants.targets({"classes": list("abcde")}, KEYS[0], cfg)
    assert sorted(drawn) == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError, match="a class per secret"):
        taggants.targets({"classes": list("ab")}, KEYS[0], cfg)
    with pytest.raises(UsageError, match="permuted classes"):
        taggants.vault({"classes": list("abcde"), "side": 16, "channels": 3}, KEYS[0], cfg)


def test_given_lpips_weights_keep_signed_pictures_nearer(tmp_path):
    save_file(named("vgg16", "authors"), tmp_path / "lpips")
    distance, moved = load_lpips(tmp_path / "lpips"), {}
    for weight in (0.0, 100.0):
        more = {"perceptual": weight, "lpips": str(tmp_path / "lpips") if weight else None, "iterations": 3}
        folder = tmp_path / f"{weight}"
        state = taggants.prepare(summary_of(folder), KEYS[0], CFG.model_copy(update=more))
        store = noisestore.read(str(folder), state["noise"])
        x = torch.from_numpy(np.stack([to_float(picture[None])[0] for picture in pixels_of()]))
        rows = [int(name) for name in store.rows]
        noise = torch.tensor(store.noise).permute(0, 3, 1, 2) / 127 * CFG.eps
        moved[weight] = float(distance(x[rows], (x[rows] + noise).clamp(0, 1)).mean())
    assert moved[100.0] < 0.7 * moved[0.0]


def test_weights_that_cannot_be_used_are_refused_first(tmp_path):
    unused, absent = {"lpips": "file"}, {"lpips": str(tmp_path / "absent"), "perceptual": 1.0}
    for more, error, why in (
        (unused, UsageError, "perceptual is 0"),
        (absent, DataError, "cannot be read"),
    ):
        summary = summary_of(tmp_path / "run")
        with pytest.raises(error, match=why):
            taggants.fixed(summary, CFG.model_copy(update=more))


def test_restarts_keep_the_nearest(tmp_path, monkeypatch):
    distances = iter([0.5, 0.2, 0.9, 0.4, 0.3, 0.6, 0.1, 0.8, 0.7, 0.7, 0.9, 0.2])
    monkeypatch.setattr(signing, "match", lambda models, x, *rest: (x * 0, next(distances)))
    state = taggants.prepare(summary_of(tmp_path), KEYS[0], CFG.model_copy(update={"restarts": 2}))
    assert state["reached"][0]["distance"] == pytest.approx(np.mean([0.2, 0.4, 0.3, 0.1, 0.7, 0.2]))


def test_secrets_that_can_never_be_evidence_are_refused_first(tmp_path):
    with pytest.raises(UsageError, match="never be evidence"):
        taggants.prepare(summary_of(tmp_path), KEYS[0], CFG.model_copy(update={"alpha": 1e-6}))
    assert not any(tmp_path.iterdir())
