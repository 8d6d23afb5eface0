"""Radioactive data in the table of marks: the law of its cosines, its marks, and its row in the summary."""

from __future__ import annotations

import hashlib
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import combine_pvalues, kstest
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import common
import radioactive
import taggants
from noli import zoo
from noli.core.images import to_float
from noli.core.key import Key
from radioactive import Marking, alignment, black_box, chosen, cosines, directions, fisher, mark, tail

WIDTH, CLASSES = 64, 10


def key_of(number):
    return Key.from_bytes(hashlib.sha256(f"test {number}".encode()).digest())


def pictures(count, seed=0):
    """Smooth pictures that reach black and white."""
    drawn = np.random.default_rng(seed).normal(size=(count, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(128 + 90 * drawn, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def marker():
    """Not trained, but with batch statistics of pictures, so that its features are of the usual size."""
    found = zoo.network("tiny", CLASSES, seed=1)
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        found(torch.from_numpy(to_float(pictures(64, 2))))
    return found


@pytest.mark.parametrize("width", [2, 7, 64])
def test_tail_is_the_share_of_random_directions(width):
    drawn = np.random.default_rng(0).normal(size=(100_000, width))
    found = drawn[:, 0] / np.linalg.norm(drawn, axis=1)
    for cosine in (-0.3, -0.05, 0.0, 0.1, 0.25):
        p = float(tail(np.array(cosine), width))
        assert (found >= cosine).mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / len(found)))


def test_tail_in_closed_form():
    cosine = np.linspace(-1, 1, 41)
    assert tail(cosine, 2) == pytest.approx(np.arccos(cosine) / np.pi, abs=1e-12)
    assert tail(cosine, 3) == pytest.approx((1 - cosine) / 2, abs=1e-12)
    assert tail(cosine, 5) == pytest.approx((2 - 3 * cosine + cosine**3) / 4, abs=1e-12)
    # Rounding may leave a cosine a little outside of [-1, 1].
    assert tail(np.array([1 + 1e-15, -1 - 1e-15]), 64).tolist() == [0, 1]


def test_tail_keeps_the_digits_of_small_values():
    """In five dimensions (2 - 3c + c^3) / 4 = (1 - c)^2 (2 + c) / 4."""
    near = 1 - np.array([1e-3, 1e-6])
    assert tail(near, 5) == pytest.approx(np.square(1 - near) * (2 + near) / 4, rel=1e-9)


def test_fisher_is_scipy_s():
    for seed in range(5):
        p = np.random.default_rng(seed).uniform(size=10) ** (1 + seed)
        assert fisher(p) == pytest.approx(combine_pvalues(p, "fisher").pvalue, rel=1e-9)
    assert fisher([0.3]) == pytest.approx(0.3)
    assert 0 <= fisher([0.0, 0.5, 1.0]) < 1e-250


def test_alignment_recovers_a_planted_map():
    generator = np.random.default_rng(0)
    features, planted = generator.normal(size=(300, 6)), generator.normal(size=(9, 6))
    assert alignment(features @ planted.T, features) == pytest.approx(planted)
    noisy = features @ planted.T + 0.1 * generator.normal(size=(300, 9))
    assert alignment(noisy, features) == pytest.approx(planted, abs=0.05)


def test_keys_decide_directions_and_images():
    y = np.random.default_rng(0).integers(CLASSES, size=1000)
    first, again, other = (directions(key_of(n), CLASSES, WIDTH) for n in (0, 0, 1))
    assert first.shape == (CLASSES, WIDTH)
    assert np.linalg.norm(first, axis=1) == pytest.approx(1)
    assert np.array_equal(first, again)
    assert np.abs(first @ other.T).max() < 0.6
    assert np.abs(first @ first.T - np.eye(CLASSES)).max() < 0.6
    rows = [chosen(key_of(n), y, 0.1) for n in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert len(np.intersect1d(rows[0], rows[2])) < 30
    for c in range(CLASSES):
        assert (y[rows[0]] == c).sum() == round(0.1 * (y == c).sum())
    assert np.array_equal(rows[0], np.unique(rows[0]))


@pytest.mark.parametrize("levels", [4, 10])
def test_marks_move_features_along_the_direction_within_eps(marker, levels):
    x = pictures(20)
    aim = directions(key_of(0), CLASSES, WIDTH)[np.arange(20) % CLASSES]
    how = Marking(levels / 255, steps=24, step=levels / 8 / 255)
    before, kept = marker.weight_hash(), x.copy()
    found = mark(marker, x, aim, how, torch.Generator().manual_seed(0), batch=8)
    assert (found.dtype, found.shape) == (np.uint8, x.shape)
    assert np.abs(found.astype(int) - x).max() == levels
    assert np.array_equal(x, kept)
    assert marker.weight_hash() == before
    assert marker.training
    moves = radioactive.features(marker, found) - radioactive.features(marker, x)
    along, aside = (moves * aim).sum(1), (moves * np.roll(aim, 1, axis=0)).sum(1)
    assert (along > 0).mean() >= 0.9
    assert along.mean() > 3 * abs(aside.mean())
    assert np.array_equal(found, mark(marker, x, aim, how, torch.Generator().manual_seed(0), batch=8))


def test_penalties_hold_features_and_pixels_back(marker):
    x, aim = pictures(10), directions(key_of(0), CLASSES, WIDTH)

    def found(**penalties):
        how = Marking(10 / 255, steps=8, **penalties)
        images = mark(marker, x, aim, how, torch.Generator().manual_seed(0))
        moves = radioactive.features(marker, images) - radioactive.features(marker, x)
        return np.linalg.norm(moves, axis=1).mean(), np.square(images.astype(float) - x).mean()

    free, still, near = found(near=0, still=0), found(near=0, still=100), found(near=1, still=0)
    assert still[0] < 0.7 * free[0]
    assert near[1] < 0.7 * free[1]


def other_space(marker, mixing):
    """A network whose features are those of the marking network, mixed: its head is free."""
    suspect = deepcopy(marker)
    mix = nn.Conv2d(WIDTH, WIDTH, 1, bias=False)
    mix.weight.data = torch.from_numpy(mixing).float()[:, :, None, None]
    suspect.net.body.append(mix)
    return suspect


def test_a_planted_head_is_found_in_another_space(marker):
    generator, x = np.random.default_rng(0), pictures(300)
    marker = deepcopy(marker).eval()
    mixing = generator.normal(size=(WIDTH, WIDTH)) / 8 + np.eye(WIDTH)
    suspect, along = other_space(marker, mixing), directions(key_of(0), CLASSES, WIDTH)
    anchor = radioactive.features(marker, x)
    p, unplanted = radioactive.white_box(suspect, anchor, along, x)
    assert p > 1e-3
    # Beside the direction of length 1, noise of length 2 or so: a trace, as training leaves it.
    planted = along + generator.normal(size=along.shape) / 4
    suspect.net.head.weight.data = torch.from_numpy(planted @ np.linalg.inv(mixing)).float()
    p, found = radioactive.white_box(suspect, anchor, along, x)
    assert p < 1e-8
    assert found == pytest.approx(cosines(planted, along), abs=0.02)
    assert found.mean() > unplanted.mean() + 0.2
    # Another key says nothing about it.
    assert radioactive.white_box(suspect, anchor, directions(key_of(1), CLASSES, WIDTH), x)[0] > 1e-3


@pytest.mark.parametrize("kind", ["random", "all rows alike", "few features matter"])
def test_heads_that_do_not_depend_on_the_key_give_uniform_p_values(kind):
    rows = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    if kind == "all rows alike":
        rows[:] = rows[0]
    if kind == "few features matter":
        rows *= np.arange(WIDTH) < 2
    found = [fisher(tail(cosines(rows, directions(key_of(n), CLASSES, WIDTH)), WIDTH)) for n in range(400)]
    assert kstest(found, "uniform").pvalue > 1e-3


def test_black_box_is_the_difference_of_mean_losses(marker):
    x, changed, y = pictures(6), pictures(6, seed=1), np.arange(6)
    losses = []
    for images in (x, changed):
        scores = marker.predict(images).astype(np.float64)
        losses.append(np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(6), y]))
    assert black_box(marker, x, changed, y) == pytest.approx(losses[0] - losses[1], abs=1e-5)
    assert black_box(marker, x, x, y) == 0


@pytest.fixture
def small_table(tmp_path, monkeypatch, marker):
    """The benchmark on 60 pictures, with two controls; all networks are the one that did not train."""
    x, labels = pictures(60), np.arange(60) % CLASSES
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(taggants, "data", lambda: (x, labels, pictures(80, 1), np.arange(80) % CLASSES))
    monkeypatch.setattr(taggants, "work_file", lambda name: tmp_path / name.replace("/", "_"))
    monkeypatch.setattr(taggants, "CONTROLS", 2)
    monkeypatch.setattr(taggants, "trained", lambda *_: marker)
    monkeypatch.setitem(taggants.SETTINGS, "radioactive", ("radioactive", {"share": 0.5, "steps": 20}))
    return common.Cells("table"), x, labels


def test_images_are_marked_once_and_networks_say_what_the_summary_needs(small_table, marker):
    cells, x, labels = small_table
    found = taggants.marked("radioactive", 0, cells)
    changed = (found.x != x).any((1, 2, 3))
    assert np.array_equal(np.flatnonzero(changed), chosen(common.bench_key(0), labels, 0.5))
    moves = radioactive.features(marker, found.x[changed]) - radioactive.features(marker, x[changed])
    along = directions(common.bench_key(0), CLASSES, WIDTH)[labels[changed]]
    assert ((moves * along).sum(1) > 0).mean() > 0.8
    assert cells.done["radioactive/made/0"]["signed"] == changed.sum()
    assert np.array_equal(found.y, labels)
    assert np.array_equal(taggants.marked("radioactive", 0, cells).x, found.x)
    said = taggants.controls("radioactive", 0, cells)
    assert {name: np.shape(values) for name, values in said.items()} == {
        "p": (2,), "cosines": (2, CLASSES), "loss_gap": (2,)
    }  # fmt: skip
    assert all(0 < p <= 1 for p in said["p"])


def test_the_summary_sets_radioactive_data_beside_the_others(small_table):
    cells, *_ = small_table
    for seed, p in enumerate((0.2, 1e-4)):
        said = {"p": p, "cosines": [0.1] * CLASSES, "loss_gap": 0.3, "accuracy": 0.6}
        cells.done[f"radioactive/tiny/{seed}"] = said
    cells.done["radioactive/controls/0"] = {"p": [0.04, 0.7], "cosines": [], "loss_gap": [-0.2, 0.1]}
    cells.done["gratings/tiny/0"] = {"hits": [1] * 11 + [0] * 9, "accuracy": 0.6}
    cells.done["gratings/controls/0"] = {"hits": [[0] * 20, [1] * 4 + [0] * 16]}
    found = taggants.summary(cells)["settings"]
    assert set(found) == {"gratings", "radioactive"}
    row = found["radioactive"]
    assert (row["needs"], row["keys"]) == ("weights", CLASSES)
    assert row["victims"]["tiny"]["p"] == [0.2, 1e-4]
    assert row["victims"]["tiny"]["loss_gap"] == [0.3, 0.3]
    assert row["controls"] == {
        "models": 2, "smallest_p": 0.04, "p_at_most_0.05": 1, "largest_loss_gap": 0.1
    }  # fmt: skip
    row = found["gratings"]
    assert (row["needs"], row["victims"]["tiny"]["hits"]) == ("first class", [11])
    assert row["victims"]["tiny"]["p"][0] == pytest.approx(7.1e-7, rel=0.01)
    assert row["controls"]["smallest_p"] == pytest.approx(0.13295, rel=0.001)


def test_only_the_settings_that_are_asked_for_are_measured(small_table, monkeypatch):
    cells, *_ = small_table
    monkeypatch.setattr(cells, "get", lambda cell, work: cells.done.setdefault(cell, {}))
    taggants.measure(cells, taggants.RADIOACTIVE, 0, 1)
    measured = [cell for cell in cells.done if not cell.startswith("clean/")]
    rows = ("small, cutout", "tiny", "controls")
    wanted = {f"{name}/{row}/{s}" for name in taggants.RADIOACTIVE for row in rows for s in range(3)}
    assert set(measured) == wanted
    cells.done.clear()
    shares = []
    for part in range(2):
        taggants.measure(cells, ["radioactive"], part, 2)
        shares.append(set(cells.done))
        cells.done.clear()
    assert {"radioactive/controls/0"} == {
        cell for cell in shares[1] - shares[0] if cell.endswith("controls/0")
    }
    assert not shares[0] & shares[1]
