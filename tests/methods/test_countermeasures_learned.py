"""Rows that learn something first: a purifier, a bridge, an encoder; and a row whose package is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from coloured_shapes import frame, subject

from noli.methods.verify import battery, countermeasures
from noli.methods.verify.battery import Trainer, owned, unpack
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import find
from noli.methods.verify.countermeasures.pretrained import few_steps
from noli.methods.verify.learnability import judge
from noli.methods.verify.measure import Measure
from noli.train.recipe import Recipe

SHORT = Config(battery="full", min_steps=0, epochs=1, device="cpu", seeds=1, network="tiny")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "mine"), [(0, 0), (7, 1), (100, 25), (4000, 1000), (9001, 1000)])
def test_an_attacker_owns_a_quarter_of_the_held_out_images_at_most_a_thousand(count, mine):
    assert owned(count).shape == (count,)
    assert owned(count).sum() == mine
    assert np.array_equal(owned(count), owned(count))


def test_own_images_are_neither_trained_on_nor_tested_on():
    data = subject(frame, train=80, test=60)
    seen = {"own": [], "changed": []}

    def learn(mine, cfg, callbacks):
        seen["own"].append(mine)

        def change(x):
            seen["changed"].append(x)
            return x

        return change

    row = Measure("mine", "is a test", "adaptive", own=learn)
    trainer = Trainer(data, SHORT)
    results = [trainer.run(row, part, 0) for part in ("protected", "clean")]
    assert len(seen["own"]) == 1  # learned once, whatever is trained on
    mine = {image.tobytes() for image in seen["own"][0]}
    assert len(mine) == 15
    trained, tested, clean, again = seen["changed"]
    assert np.array_equal(trained, data.protected_x)
    assert np.array_equal(clean, data.clean_x)
    assert np.array_equal(tested, again)
    assert len(tested) == results[0]["n"] == 45
    for others in (data.clean_x, data.protected_x, tested):
        assert mine.isdisjoint(image.tobytes() for image in others)
    # The labels of the tested images went with them.
    rest = ~owned(60)
    assert np.array_equal(tested, data.test_x[rest])
    model_free = unpack(results[0]["correct"]["untouched"], 45)
    assert np.array_equal(model_free, unpack(results[0]["correct"]["transformed"], 45))


def test_the_purifier_is_learned_from_own_images_alone():
    row = find("purifier", SHORT)
    mine = subject(train=40, test=60).test_x
    change, again = row.own(mine, SHORT, []), row.own(mine, SHORT, [])
    data = subject(frame, train=40, test=60)
    assert np.array_equal(change(data.protected_x), again(data.protected_x))
    assert row.learn is row.restore is None


def test_a_bridge_sees_the_leaked_pairs_only():
    data = subject(frame, train=160, test=20)
    images, found = find("leak-100-bridge", SHORT).restore(data, SHORT)
    assert found["leaked_pairs"] == 80  # half of the 40 images of a class: 25 were asked for
    assert np.isfinite(found["leak_gain_db"])
    other = data.clean_x.copy()
    other[80:] = 0  # classes in turn: the first 20 of each class are the first 80 images
    blind, measured = find("leak-100-bridge", SHORT).restore(replace(data, clean_x=other), SHORT)
    assert np.array_equal(images, blind)
    assert measured["leak_gain_db"] != found["leak_gain_db"]
    assert images.shape == data.protected_x.shape
    assert images.dtype == np.uint8


def test_a_learner_without_labels_tells_shapes_apart():
    cfg = Config(min_steps=60, epochs=1, device="cpu", seeds=1, network="tiny")
    found = Trainer(subject(train=240, test=120), cfg).run(find("self-supervised", cfg), "protected", 0)
    assert unpack(found["correct"]["untouched"], 120).mean() > 0.25 + 0.15  # chance, and clearly more


def test_encoders_learned_without_labels_do_not_depend_on_them():
    data, row = subject(train=40, test=20), find("self-supervised", SHORT)
    recipe = SHORT.recipe(3)
    models = [row.start(data.clean_x, names, recipe, SHORT, []) for names in (("a", "b"), tuple("abcd"))]
    bodies = [model.net.body.state_dict() for model in models]
    assert all(torch.equal(value, bodies[1][name]) for name, value in bodies[0].items())
    assert not any(weight.requires_grad for weight in models[0].net.body.parameters())


def test_an_unwanted_pre_training_ends_at_its_next_batch():
    trainer = Trainer(subject(train=40, test=20), SHORT)
    trainer.stopped.set()
    for name in ("self-supervised", "purifier"):
        with pytest.raises(battery.Stopped):
            trainer.run(find(name, SHORT), "protected", 0)


def test_fine_tuning_is_short_whatever_the_battery_asks_for():
    recipe = few_steps(Recipe(epochs=50, min_steps=1000, seed=5))
    assert (recipe.steps_for(100_000), recipe.seed) == (80, 5)


@pytest.mark.parametrize("level", ["routine", "adaptive"])
def test_a_row_that_cannot_be_measured_is_named_and_withholds_support(level, monkeypatch):
    absent = Measure("absent", "needs a package", level, missing=lambda: "pip install it")
    rows = (*countermeasures.battery(Config(partial=(0.5,))), absent)
    monkeypatch.setattr("noli.methods.verify.learnability.table", lambda cfg: rows)
    monkeypatch.setattr(Trainer, "run", lambda self, measure, part, seed: accuracy(part))
    evidence = judge(subject(frame, train=80, test=200), None, Config(seeds=1))
    assert "absent" not in [row.name for row in evidence.rows]
    assert len(evidence.rows) == len(rows) - 1
    assert "Not measured: absent" in evidence.reason
    assert "pip install it" in evidence.reason
    assert ("At the naive level: supported" in evidence.reason) == (level == "routine")
    assert "At the adaptive level: supported" not in evidence.reason
    assert evidence.verdict == ("inconclusive" if level == "routine" else "supported")
    assert [at.verdict for at in evidence.levels][-1] == "inconclusive"


def accuracy(part):
    right = np.arange(200) < (180 if part == "clean" else 60)
    return {"correct": {"untouched": battery.pack(right)}, "n": 200, "detail": {}}
