"""The gate before training: protected versions of the originals pass, everything else gets no verdict."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from coloured_shapes import frame, shapes, subject

from noli import registry
from noli.core.dataset import Item, content_id
from noli.core.evidence import Row
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.verify import battery
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import judge
from noli.methods.verify.pairing import likeness
from noli.methods.verify.rows import cache_scope
from noli.methods.verify.verdicts import explain, judge_levels
from noli.ops.countermeasures import grayscale, jpeg

CFG = Config(device="cpu")
X, Y = shapes(240, side=32)
NOISE = np.random.default_rng(3)


def cuda(x, y, **options):
    spec, method = registry.get("protect/cuda"), registry.module("protect/cuda")
    cfg, key = spec.config(**options), Key.from_bytes(bytes(range(32)), "test")
    summary = DataSummary(len(x), tuple(sorted({str(label) for label in y})), dict(Counter([x.shape[1:]])))
    items = [Item(*[content_id(a)[0]] * 2, str(label)) for a, label in zip(x, y, strict=True)]
    state = method.prepare(summary, key, cfg, None)
    return to_uint8(method.apply(state, to_float(x), items, key, cfg))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: x,
        cuda,
        lambda x, y: cuda(x, y, mode="paper"),
        lambda x, y: jpeg(cuda(x, y), quality=10),
        lambda x, y: np.repeat(grayscale(cuda(x, y))[..., :1], 3, axis=3),
        lambda x, y: np.roll(cuda(x, y), (2, -2), (1, 2)),
        lambda x, y: (cuda(x, y) * 0.3).astype(np.uint8),
        frame,
    ],
    ids=["unprotected", "keyed", "paper", "jpeg", "grey", "shift", "dark", "frame"],
)
def test_versions_of_the_originals_pass(change):
    assert likeness(X, change(X, Y)) > 0.97


def rotated(x):
    """Class c gets the pictures of class c + 1: labels come in turn, so a shift by one does it."""
    return np.roll(x, 1, axis=0)


@pytest.mark.parametrize(
    "change",
    [
        rotated,
        lambda x: np.roll(x, 4, axis=0),
        lambda x: NOISE.integers(0, 256, x.shape, np.uint8),
        lambda x: np.full_like(x, 90),
        lambda x: np.where(np.arange(len(x))[:, None, None, None] % 2, x, rotated(x)),
        lambda x: np.where(np.arange(len(x))[:, None, None, None] % 5, x, rotated(x)),
    ],
    ids=["rotated folders", "other pictures of the class", "noise", "constant", "half of them", "a fifth"],
)
def test_other_pictures_get_no_verdict_and_no_training(change, monkeypatch):
    def refuse(*_):
        raise AssertionError("something was trained")

    monkeypatch.setattr(battery.Trainer, "run", refuse)
    data = subject()
    evidence = judge(replace(data, protected_x=change(data.clean_x)), None, CFG)
    assert (evidence.verdict, evidence.value, evidence.rows) == ("inconclusive", None, ())
    assert evidence.reason.startswith("These are not protected versions of these originals")
    assert evidence.reference["likeness"] < CFG.min_likeness


def test_what_cannot_be_compared_is_not_counted():
    assert likeness(X[:1], X[:1]) is None
    assert likeness(X[:19], X[:19]) is None
    assert likeness(X[:20], X[:20]) == 1
    assert likeness(np.full_like(X, 7), X) is None
    same = np.repeat(X[:1], 50, axis=0)
    assert likeness(same, NOISE.integers(0, 256, same.shape, np.uint8)) is None


def test_the_share_is_that_of_true_versions():
    mixed = cuda(X, Y)
    mixed[::5] = np.roll(X, 7, axis=0)[::5]
    assert 0.8 < likeness(X, mixed) < 0.9


@pytest.mark.parametrize("wrong", [2, 5])
def test_other_labels_than_the_true_ones_get_no_verdict(wrong, monkeypatch):
    class Trained(Exception):
        pass

    def train(*_):
        raise Trained

    monkeypatch.setattr(battery.Trainer, "run", train)
    data = subject()
    labels = data.protected_y.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 4
    data = replace(data, protected_y=labels)
    if wrong <= CFG.max_relabelled * len(labels):
        with pytest.raises(Trained):
            judge(data, None, CFG)
        return
    evidence = judge(data, None, CFG)
    assert (evidence.verdict, evidence.value) == ("inconclusive", None)
    assert "another label" in evidence.reason


def test_a_doubt_about_the_data_ends_it():
    evidence = judge(replace(subject(), doubt="Exchanged."), None, CFG)
    assert (evidence.verdict, evidence.reason) == ("inconclusive", "Exchanged.")


def test_trainings_of_another_version_are_not_recalled(monkeypatch):
    hashes = dict.fromkeys(("clean", "protected", "labels", "test", "test_labels"), "0")
    before = cache_scope(hashes, CFG)
    assert cache_scope(hashes, CFG.model_copy(update={"min_likeness": 0.5})) == before
    scopes = {before}
    for package in ("noli", "torch"):
        changed = {"noli": "1", "torch": "1"} | {package: "99"}
        monkeypatch.setattr("noli.methods.verify.rows.distribution_version", changed.get)
        scopes.add(cache_scope(hashes, CFG))
    assert len(scopes) == 3


def test_below_chance_is_said():
    row = {"about": "", "level": "naive", "values": (0.1,), "n": 100}
    clean = Row(name="clean", value=0.9, low=0.85, high=0.95, **row)
    low = Row(name="plain", value=0.1, low=0.05, high=0.15, **row)
    text = explain(judge_levels([low], clean, 0.25, 0.5), "naive", clean, 0.25)
    assert "below chance by its whole interval" in text
    near = low.model_copy(update={"high": 0.3})
    text = explain(judge_levels([near], clean, 0.25, 0.5), "naive", clean, 0.25)
    assert "below chance" not in text
