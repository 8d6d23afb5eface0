"""Unlearnable clusters: everybody gets noise, labels play no part, additions learn nothing anew."""

import errno
import os

import numpy as np
import pytest
import torch
from studies import joined, some_study

from noli.core.errors import DataError, RunError, UsageError
from noli.core.method import FOLDER, DataSummary
from noli.methods.protect import uc
from noli.ops.clusters import k_means, nearest
from noli.ops.noisestore import published, read
from noli.testing import KEYS
from noli.train import clustered
from noli.train.clustered import CENTRES, OWN_ENCODER, features_of
from noli.train.universal import towards
from noli.zoo.encoders import load_encoder

QUICK = {"network": "tiny", "size": 16, "encoder": "own", "encoder_epochs": 1, "clusters": 3, "steps": 2}
CFG = uc.Config(**QUICK)


def prepared(study, cfg=CFG, key=KEYS[0], previous=None):
    summary = DataSummary(len(study.items), (), {(16, 16, 3): len(study.items)}, study=study)
    return uc.prepare(summary, key, cfg, previous)


def rows(state, study):
    return uc._rows({**state, FOLDER: str(study.folder)}, study.items, KEYS[0], CFG)


@pytest.mark.parametrize("maker", ["direct", "generator"])
def test_every_picture_gets_the_noise_of_its_nearest_centre(tmp_path, maker):
    study = some_study(tmp_path, 19)
    state = prepared(study, uc.Config(**QUICK, maker=maker, width=4, patterns=2))
    encoder = load_encoder(str(tmp_path / OWN_ENCODER))
    groups = nearest(features_of(encoder, study.images(16)), np.load(tmp_path / CENTRES))
    assert [int(row.split("/")[0]) for row in rows(state, study)] == groups.tolist()
    assert {row.split("/")[1] for row in rows(state, study)} == {"0", "1"}
    noise = read(str(tmp_path), state["noise"][0])
    assert sorted(noise.rows) == [f"{cluster}/{pattern}" for cluster in range(3) for pattern in range(2)]
    assert all(np.abs(one).max() > 0 for one in noise.noise)
    assert 0 <= state["reached"][0]["moved"] <= 1


def test_an_encoder_that_takes_only_its_own_size_gets_it(tmp_path, clip_folder):
    cfg = uc.Config(**{**QUICK, "encoder": str(clip_folder)})
    study = some_study(tmp_path / "study", 7)
    state = prepared(study, cfg)
    more = joined(study, some_study(tmp_path / "more", 3, first=100))
    extended = prepared(more, cfg, previous=state)
    assert extended["weights"] == state["weights"] == load_encoder(str(clip_folder)).weight_hash()
    assert len(rows(extended, more)) == 10
    with pytest.raises(DataError, match="cannot look at pictures of this size"):
        prepared(some_study(tmp_path / "other", 7), cfg.model_copy(update={"encoder_size": 48}))


def test_every_cluster_is_pushed_to_another_one_which_the_key_draws(tmp_path):
    # A budget so large that it does not depend on how a processor rounds how far the noise comes.
    quick = QUICK | {"clusters": 4, "steps": 60, "encoder_epochs": 20}
    cfg = uc.Config(**quick, eps=64 / 255, shifted=False)
    study = some_study(tmp_path, 40)
    for number, image in enumerate(study.pixels):  # four kinds of pictures
        image[:] = image // 8 + 64 * (number % 4) * np.array([1, 0, 1], np.uint8)
    state = prepared(study, cfg)
    order = KEYS[0].stream("protect/uc", "targets").permutation(4)
    target = {int(a): int(b) for a, b in zip(order, np.roll(order, -1), strict=True)}
    assert all(own != other for own, other in target.items())
    assert sorted(target.values()) == [0, 1, 2, 3]
    encoder, centres = load_encoder(str(tmp_path / OWN_ENCODER)), np.load(tmp_path / CENTRES)
    x, noise = study.images(16), read(str(tmp_path), state["noise"][0])
    groups = nearest(features_of(encoder, x), centres)
    noisy = np.stack(
        [published(one, noise.noise[noise.rows[f"{g}/0"]], cfg.eps) for one, g in zip(x, groups, strict=True)]
    )
    before, after = features_of(encoder, x), features_of(encoder, noisy)
    wanted = np.array([target[int(group)] for group in groups])
    assert np.mean(nearest(after, centres) == wanted) == pytest.approx(state["reached"][0]["moved"])
    for group in range(4):
        divergence = towards(torch.from_numpy(centres[target[group]]).float())
        far, near = (divergence(torch.from_numpy(some[groups == group]), None) for some in (before, after))
        assert near < 0.8 * far, (group, near, far)


@pytest.mark.parametrize("data", ["cluster", "all"])
def test_noise_is_learned_on_the_cluster_or_on_everything(data, tmp_path, monkeypatch):
    seen = []
    learn = clustered.fit
    monkeypatch.setattr(
        clustered, "fit", lambda model, x, *rest: seen.append(len(x)) or learn(model, x, *rest)
    )
    study = some_study(tmp_path, 19)
    prepared(study, uc.Config(**QUICK, data=data))
    groups = nearest(
        features_of(load_encoder(str(tmp_path / OWN_ENCODER)), study.images(16)), np.load(tmp_path / CENTRES)
    )
    alone = np.maximum(np.bincount(groups, minlength=3), 2)  # a single picture is shown twice
    assert seen == ([19] * 3 if data == "all" else alone.tolist())


def test_labels_change_nothing(tmp_path):
    named, unnamed = some_study(tmp_path / "a", 12), some_study(tmp_path / "b", 12, classes=(None,))
    first, second = prepared(named), prepared(unnamed)
    assert first == second
    assert rows(first, named) == rows(second, unnamed)


def test_the_key_decides_and_the_same_key_repeats(tmp_path):
    studies = [some_study(tmp_path / name, 12) for name in "abc"]
    first, again, other = (
        prepared(study, key=key) for study, key in zip(studies, (KEYS[0], KEYS[0], KEYS[1]), strict=True)
    )
    noises = [read(str(study.folder), "noise").noise for study in studies]
    assert first == again
    assert np.array_equal(noises[0], noises[1])
    assert not np.array_equal(noises[0], noises[2])
    assert other["weights"] != first["weights"]


def test_new_pictures_are_assigned_and_nothing_is_learned_again(tmp_path):
    old = some_study(tmp_path, 12)
    first = prepared(old)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    both = joined(old, some_study(tmp_path, 5, first=100))
    grown = prepared(both, previous=first)
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
    assert rows(grown, both)[:12] == rows(first, old)
    encoder = load_encoder(str(tmp_path / OWN_ENCODER))
    groups = nearest(features_of(encoder, both.images(16)[12:]), np.load(tmp_path / CENTRES))
    assert [int(row.split("/")[0]) for row in rows(grown, both)[12:]] == groups.tolist()
    assert prepared(both, previous=grown) == grown


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_colour_pictures_can_follow_grey_ones_and_the_other_way_round(tmp_path, before, after):
    old = some_study(tmp_path, 12, channels=before)
    first = prepared(old)
    both = joined(old, some_study(tmp_path, 5, first=100, channels=after))
    grown = prepared(both, previous=first)
    assert rows(grown, both)[:12] == rows(first, old)
    assert len(rows(grown, both)) == 17


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_lost_or_damaged_centres_are_named(content, tmp_path):
    old = some_study(tmp_path, 12)
    first = prepared(old)
    (tmp_path / CENTRES).unlink()
    if content is not None:
        (tmp_path / CENTRES).write_bytes(content)
    with pytest.raises(RunError, match="centres of the clusters cannot be read"):
        prepared(joined(old, some_study(tmp_path, 2, 100)), previous=first)


def test_another_encoder_cannot_extend_a_run(tmp_path):
    old = some_study(tmp_path, 12)
    first = prepared(old)
    with pytest.raises(DataError, match="not the one of the run"):
        prepared(joined(old, some_study(tmp_path, 2, 100)), previous={**first, "weights": "0" * 64})


def test_noise_of_a_cluster_is_learned_on_its_own_pictures_or_on_all(tmp_path):
    """With data=all every cluster sees the same pictures; both ways give noise, and not the same."""
    studies = [some_study(tmp_path / name, 12) for name in "ab"]
    own = prepared(studies[0])
    everything = prepared(studies[1], uc.Config(**QUICK, data="all"))
    assert own["assigned"] == everything["assigned"]
    noises = [read(str(study.folder), "noise").noise for study in studies]
    assert not np.array_equal(*noises)


def test_a_cluster_that_lost_its_pictures_has_noise_for_those_that_come_later(tmp_path, monkeypatch):
    def with_an_empty_one(points, count, stream):
        found = k_means(points, count - 1, stream)
        return np.concatenate([found, found[:1] + 1e3])

    monkeypatch.setattr("noli.train.clustered.k_means", with_an_empty_one)
    study = some_study(tmp_path, 12)
    state = prepared(study)
    assert {row.split("/")[0] for row in rows(state, study)} == {"0", "1"}
    assert state["reached"][0]["smallest"] == 0
    store = read(str(tmp_path), "noise")
    assert np.abs(store.noise[store.rows["2/0"]]).max() > 0


def test_a_packaged_encoder_by_default(tmp_path):
    study = some_study(tmp_path, 5)
    state = prepared(study, uc.Config(size=16, clusters=2, steps=1, batch=2))
    assert state["encoder"] == "efficientnet-lite0"
    assert not (tmp_path / OWN_ENCODER).exists()


def test_a_full_disk_is_a_typed_error(tmp_path, monkeypatch):
    inner = np.save

    def full(file, found, **how):
        if found.dtype == np.float64:  # the centres
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        inner(file, found, **how)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="disk is full") as caught:
        prepared(some_study(tmp_path, 12))
    assert caught.value.where.endswith(CENTRES)
    assert not (tmp_path / CENTRES).exists()


def test_apply_adds_the_stored_noise(tmp_path):
    study = some_study(tmp_path, 6)
    state = {**prepared(study), FOLDER: str(tmp_path)}
    grey = np.full((6, 3, 16, 16), 0.5, np.float32)
    out = uc.apply(state, grey, study.items, KEYS[0], CFG)
    store = read(str(tmp_path), "noise")
    for number, row in enumerate(rows(state, study)):
        added = store.noise[store.rows[row]].transpose(2, 0, 1) / 127 * CFG.eps
        np.testing.assert_allclose(out[number], 0.5 + added, atol=1e-6)
    back = uc.invert(state, out, study.items, KEYS[0], CFG, [{}] * 6)
    np.testing.assert_allclose(back, grey, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "message"), [(0, "fewer than two"), (1, "fewer than two"), (2, "fewer different")]
)
def test_too_few_pictures(tmp_path, n, message):
    with pytest.raises(DataError, match=message):
        prepared(some_study(tmp_path, n))


def test_without_the_data_it_cannot_learn():
    with pytest.raises(UsageError, match="learns from the data"):
        uc.prepare(DataSummary(1, (), {}), KEYS[0], CFG)
