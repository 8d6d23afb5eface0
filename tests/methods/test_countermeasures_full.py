"""Rows of the full battery: what they do to data and labels; the trainings are seconds long."""

import numpy as np
import pytest
import torch
from coloured_shapes import frame, shapes, subject

from noli.core.images import to_float
from noli.methods.verify.battery import Trainer, cross_fitted, owned, unpack
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import battery, find, own
from noli.methods.verify.countermeasures.projection import learned
from noli.methods.verify.countermeasures.training import shorter
from noli.methods.verify.rows import parts
from noli.ops.countermeasures import grayscale, jpeg
from noli.train.recipe import Recipe

FULL = Config(battery="full", min_steps=0, epochs=1, device="cpu", seeds=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noisy(x, y):
    """Class-wise noise of 12 levels."""
    noise = np.random.default_rng(7).choice([-12, 12], (4, *x.shape[1:]))
    return np.clip(x.astype(int) + noise[y], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [3, 1])
def test_every_row_trains_on_small_and_grey_data(channels):
    from dataclasses import replace

    data = subject(noisy, train=48, test=20)
    if channels == 1:
        data = replace(data, clean_x=data.clean_x[..., :1], protected_x=data.protected_x[..., :1],
                       test_x=data.test_x[..., :1])  # fmt: skip
    trainer = Trainer(data, FULL)
    for measure in own(FULL):
        if measure.battery == "full":
            found = trainer.run(measure, "protected", 0)
            assert found["n"] == (15 if measure.own else 20)
            two = measure.view or measure.learn or measure.own
            forms = {"untouched", "transformed"} if two else {"untouched"}
            assert set(found["correct"]) == forms, measure.name
            assert all(np.isfinite(list(found["detail"].values()))), measure.name


@pytest.mark.parametrize("name", ["test-time", "purifier"])
def test_the_fewest_held_out_images_are_enough_for_attackers_with_images_of_their_own(name):
    (fewest,) = (limit.ge for limit in Config.model_fields["min_test"].metadata)
    found = Trainer(subject(train=16, test=fewest), FULL).run(find(name, FULL), "protected", 0)
    assert found["n"] == fewest - fewest // 4


def test_projection_removes_class_wise_noise():
    x, y = shapes(400)
    protected = noisy(x, y)
    change = learned(protected, y, FULL)
    assert np.array_equal(change(protected), learned(protected, y, FULL)(protected))
    basis = change.keywords["basis"]
    # The weights of a softmax from zero add up to zero: one direction fewer than classes.
    assert basis.shape == (16 * 16 * 3, 3)
    noise = np.random.default_rng(7).choice([-12, 12], (4, *x.shape[1:]))
    flat = to_float(np.clip(128 + noise, 0, 255).astype(np.uint8)).reshape(4, -1) - 128 / 255
    flat -= flat.mean(0)  # what all classes share tells none of them apart
    left = flat - (flat @ basis) @ basis.T
    random = np.linalg.qr(np.random.default_rng(0).normal(size=(768, 4)))[0]
    missed = flat - (flat @ random) @ random.T
    assert np.linalg.norm(left) < 0.8 * np.linalg.norm(flat) < np.linalg.norm(missed)


def test_projection_undoes_a_class_wise_frame_at_least_in_part():
    cfg = FULL.model_copy(update={"epochs": 8})
    trainer = Trainer(subject(frame, train=240, test=120), cfg)
    reached = {}
    for name in ("crop+flip", "op"):
        forms = trainer.run(find(name, cfg), "protected", 0)["correct"]
        reached[name] = max(unpack(right, 120).mean() for right in forms.values())
    assert reached["op"] > reached["crop+flip"] + 0.05


def test_grey_projection_projects_grey_images():
    x, y = shapes(64)
    out = find("grayscale+op", FULL).learn(x, y, FULL)(x)
    assert np.array_equal(out, learned(grayscale(x), y, FULL)(grayscale(x)))


def test_jpeg_and_displacement_are_combined():
    row, x = find("jpeg-75+coin", FULL), shapes(4)[0]
    assert np.array_equal(row.squeeze(x), jpeg(x, 75))
    assert [type(c).__name__ for c in row.callbacks(4, FULL)] == ["CropFlip", "Displace"]


def test_a_short_training_is_a_quarter():
    recipe = shorter(Recipe(epochs=8, min_steps=250, seed=3))
    assert (recipe.epochs, recipe.min_steps, recipe.seed) == (2, 62, 3)
    assert shorter(Recipe(epochs=1)).epochs == 1


def test_cross_fitting_equals_the_definition_and_is_unbiased():
    generator = np.random.default_rng(0)
    correct = generator.random((5, 31)) < generator.random((5, 1))
    order = np.random.default_rng(0).permutation(31)
    halves, picked = (order[::2], order[1::2]), cross_fitted(correct)
    for judged, picking in (halves, halves[::-1]):
        best = max(range(5), key=lambda e: (correct[e, picking].sum(), -e))
        assert np.array_equal(picked[judged], correct[best, judged])
    # Of 20 worthless epochs the best looks better than it is; the cross-fitted answer does not.
    fair = [cross_fitted(generator.random((20, 100)) < 0.5).mean() for _ in range(200)]
    assert abs(np.mean(fair) - 0.5) < 0.01


def test_best_epoch_looks_at_every_epoch():
    cfg = FULL.model_copy(update={"epochs": 4})
    data = subject(train=80, test=40)
    one, best = (Trainer(data, cfg).run(find(n, cfg), "protected", 0) for n in ("crop+flip", "best-epoch"))
    assert one["n"] == best["n"] == 40
    assert unpack(best["correct"]["untouched"], 40).shape == (40,)


def test_leaks_in_all_restore_class_wise_noise_and_say_how():
    data = subject(noisy, train=120, test=20)
    restored, found = find("leak-10-in-all", FULL).restore(data, FULL)
    error = np.mean((restored.astype(float) - data.clean_x) ** 2)
    assert error < 0.3 * np.mean((data.protected_x.astype(float) - data.clean_x) ** 2)
    assert found["leak_gain_db"] > 5
    assert (found["leak_by_filter"], found["leaked_pairs"]) == (0, 8)
    assert sum(found[f"leak_by_{name}"] for name in ("residual", "patterns", "both")) == 1


def test_a_leak_is_followed_by_what_removes_its_traces():
    data = subject(noisy, train=48, test=20)
    trainer, (first, grey, moved) = Trainer(data, FULL), (
        find(f"leak-1-pair{further}", FULL) for further in ("", "+grayscale", "+coin")
    )  # fmt: skip
    restored, _ = trainer.training_set(first, "protected")
    assert (restored != data.protected_x).any()
    for row in (grey, moved):
        assert row.level == "adaptive"
        assert trainer.training_set(row, "protected")[0] is restored  # attacked once
    assert np.array_equal(grey.squeeze(restored), grayscale(restored))
    assert np.array_equal(grey.view(data.test_x), grayscale(data.test_x))
    assert [type(one).__name__ for one in moved.callbacks(4, FULL)] == ["CropFlip", "Displace"]


WAYS = ("residual", "patterns", "filter", "both")


def test_each_leak_attack_is_a_row_of_its_own():
    data = subject(noisy, train=120, test=20)
    rows = {way: find(f"leak-1-pair-{way}", FULL) for way in WAYS}
    assert {(row.level, row.battery) for row in rows.values()} == {("adaptive", "full")}
    found = {way: row.restore(data, FULL)[1] for way, row in rows.items()}
    for way, numbers in found.items():
        assert [name for name in numbers if name.startswith("leak_by_")] == [f"leak_by_{way}"]
    # Class-wise noise is no filter.
    assert found["residual"]["leak_gain_db"] > 5 > found["filter"]["leak_gain_db"]
    best = find("leak-1-pair", FULL).restore(data, FULL)[1]["leak_gain_db"]
    assert best == max(numbers["leak_gain_db"] for numbers in found.values())


def test_leak_rows_say_how_many_pairs():
    cfg = FULL.model_copy(update={"leak_pairs": 5})
    names = [row.name for row in own(cfg) if row.name.startswith("leak-5-pair")]
    assert names == ["leak-5-pair", *(f"leak-5-pair+{then}" for then in ("grayscale", "coin", "op")),
                     *(f"leak-5-pair-{way}" for way in WAYS)]  # fmt: skip
    assert find("leak-5-pair-both", cfg).about.endswith(
        "learned from 5 leaked clean/protected pairs per class"
    )


def test_a_single_leak_attack_is_used_even_where_it_harms():
    own = np.random.default_rng(5)
    data = subject(lambda x, y: (x + own.integers(-8, 9, x.shape)).astype(np.uint8), train=120, test=20)
    restored, found = find("leak-1-pair-residual", FULL).restore(data, FULL)
    assert found["leak_gain_db"] < 0
    assert (restored != data.protected_x).any(axis=(1, 2, 3)).mean() > 0.9


def test_projection_is_followed_by_displacement():
    data = subject(frame, train=80, test=20)
    for name in ("op+coin", "leak-1-pair+op"):
        row = find(name, FULL)
        assert (row.level, row.learn) == ("adaptive", find("op", FULL).learn)
    moved = find("op+coin", FULL)
    assert [type(one).__name__ for one in moved.callbacks(4, FULL)] == ["CropFlip", "Displace"]
    assert moved.restore is None
    trainer = Trainer(data, FULL)
    leak, both = find("leak-1-pair", FULL), find("leak-1-pair+op", FULL)
    restored = trainer.training_set(leak, "protected")[0]
    assert trainer.training_set(both, "protected")[0] is restored


def test_images_stay_as_published_where_no_leak_helps():
    own = np.random.default_rng(5)
    data = subject(lambda x, y: (x + own.integers(-8, 9, x.shape)).astype(np.uint8), train=120, test=20)
    restored, found = find("leak-10-in-all", FULL).restore(data, FULL)
    same = (restored == data.protected_x).all(axis=(1, 2, 3))
    assert found["leak_gain_db"] == 0
    assert (restored[~same] == data.clean_x[~same]).all()
    assert (~same).sum() == found["leaked_pairs"] == 8
    assert not any(value for name, value in found.items() if name.startswith("leak_by_"))


def test_leaks_use_the_loader_where_images_were_larger():
    from dataclasses import replace

    asked = []
    data = subject(frame, train=120, test=20)

    def restored(labels, pairs):
        asked.append((len(np.unique(labels)), pairs))
        return data.clean_x

    native = replace(data, restored=restored)
    found = find("leak-100-in-all", FULL).restore(native, FULL)
    assert asked == [(4, 10)]
    assert np.array_equal(found[0], data.clean_x)
    assert found[1]["leak_by_filter"] == 1


@pytest.mark.parametrize(("classes", "groups"), [(2, 2), (3, 2), (4, 2), (5, 2), (10, 5), (11, 5)])
def test_regrouping_merges_into_half_as_many(classes, groups):
    made = [find(f"regroup-{n}", FULL).regroup(classes) for n in (1, 2)]
    for group in made:
        assert group.shape == (classes,)
        assert set(group) == set(range(groups))
    together = [group[:, None] == group for group in made]
    assert np.array_equal(*together) == (classes == 2)


def test_regrouped_rows_bring_their_chance():
    found = Trainer(subject(train=60, test=40), FULL).run(find("regroup-1", FULL), "protected", 0)
    assert found["detail"]["chance"] == 0.5


def test_the_thief_trains_on_the_originals_he_holds():
    data = subject(noisy, train=80, test=20)
    for name in ("leak-10-in-all", "leak-100-bridge"):
        images, found = find(name, FULL).restore(data, FULL)
        same = (images == data.clean_x).all((1, 2, 3))
        assert found["leaked_pairs"] <= same.sum() < len(same)
        row = find(name, FULL)
        alone, labels = Trainer(data, FULL).training_set(row, "leaked-alone")
        rows = row.held(data, FULL)
        assert len(rows) == found["leaked_pairs"] == len(set(rows.tolist()))
        assert np.array_equal(alone, data.clean_x[rows])
        assert np.array_equal(labels, data.clean_y[rows])
        assert np.array_equal(images[rows], alone)


def test_every_row_with_leaked_pairs_has_what_they_teach_alone_beside_it():
    for row in battery(FULL):
        assert (row.held is not None) == row.leaked
        assert ("leaked-alone" in parts(row, context=False)) == row.leaked
    trainer = Trainer(subject(noisy, train=80, test=20), FULL)
    alone = trainer.run(find("leak-1-pair", FULL), "leaked-alone", 0)
    assert "leak_gain_db" not in alone["detail"]


def test_networks_are_adapted_to_images_that_are_not_tested_on():
    data = subject(noisy, train=48, test=20)
    found = Trainer(data, FULL).run(find("test-time", FULL), "protected", 0)
    assert (set(found["correct"]), found["n"]) == ({"untouched", "renormalised", "balanced"}, 15)
    tested = unpack(found["correct"]["untouched"], 15)
    whole = unpack(
        Trainer(data, FULL).run(find("crop+flip", FULL), "protected", 0)["correct"]["untouched"], 20
    )
    assert np.array_equal(tested, whole[~owned(20)])
