"""From a data set to noise: nobody is left out, additions leave the old alone, budgets end it."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from studies import joined, some_lesson, some_study

from noli.core.dataset import Item
from noli.core.errors import DataError, UsageError
from noli.core.method import FOLDER, DataSummary
from noli.data.study import ArrayStudy
from noli.methods.protect import em, sem
from noli.ops.noisestore import read
from noli.testing import KEYS
from noli.train import minmin
from noli.train.fit import StopTraining
from noli.train.lesson import TimeBudget
from noli.train.minmin import sweep
from noli.train.perturb import Descent, search

QUICK = {"network": "tiny", "size": 16, "steps": 2}
EM = em.Config(**QUICK, train_steps=2, rounds=2)
SEM = sem.Config(**QUICK, noise_steps=1, samples=1, adversary_steps=1, batch=16)


def prepared(method, cfg, study, key=KEYS[0], previous=None):
    classes = tuple(sorted({item.label for item in study.items}))
    summary = DataSummary(len(study.items), classes, {(16, 16, 3): len(study.items)}, study=study)
    return method.prepare(summary, key, cfg, previous)


def noise_of(state, folder):
    stores = [read(str(folder), file) for file in state["noise"]]
    return {name: store.noise[row].copy() for store in stores for name, row in store.rows.items()}


@pytest.mark.parametrize(("method", "cfg"), [(em, EM), (sem, SEM)], ids=["em", "sem"])
@pytest.mark.parametrize("n", [3, 33])
def test_every_image_gets_noise_also_in_the_last_partial_batch(method, cfg, n, tmp_path):
    state = prepared(method, cfg.model_copy(update={"batch": 16}), some_study(tmp_path, n))
    noise = noise_of(state, tmp_path)
    assert len(noise) == n
    assert all(np.abs(one).max() > 20 for one in noise.values())
    assert state["reached"][0]["items"] == n


@pytest.mark.parametrize(("method", "cfg"), [(em, EM), (sem, SEM)], ids=["em", "sem"])
def test_new_images_of_known_classes_need_only_the_saved_surrogate(method, cfg, tmp_path):
    old = some_study(tmp_path, 9)
    first = prepared(method, cfg, old)
    before = noise_of(first, tmp_path)
    grown = prepared(method, cfg, joined(old, some_study(tmp_path, 4, first=100)), previous=first)
    after = noise_of(grown, tmp_path)
    assert set(after) == {f"{i:04d}" for i in (*range(9), *range(100, 104))}
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert (grown["surrogate"], grown["weights"]) == (first["surrogate"], first["weights"])
    assert all(np.abs(after[name]).max() > 0 for name in after)
    assert prepared(method, cfg, joined(old, some_study(tmp_path, 4, first=100)), previous=grown) == grown


def test_noise_that_cannot_win_over_a_saved_surrogate_is_not_searched_for_ever(tmp_path):
    cfg = em.Config(**QUICK | {"steps": 1}, train_steps=20, rounds=12, stop=0.0, eps=1 / 255)
    old = some_study(tmp_path, 12)
    first = prepared(em, cfg, old)
    # Other pictures, and too small a change for their classes to be seen: no sweep helps more than the last.
    study = some_study(tmp_path, 12, first=100)
    grown = prepared(em, cfg, joined(old, study), previous=first)
    assert grown["reached"][1]["error"] > 0
    assert grown["reached"][1]["rounds"] < 12


def test_a_new_class_gets_a_new_surrogate_and_leaves_the_old_noise(tmp_path):
    old = some_study(tmp_path, 9)
    first = prepared(em, EM, old)
    before = noise_of(first, tmp_path)
    grown = prepared(em, EM, joined(old, some_study(tmp_path, 4, 100, ("yak",))), previous=first)
    after = noise_of(grown, tmp_path)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert grown["classes"] == ["cat", "dog", "eel", "yak"]
    assert grown["surrogate"] != first["surrogate"]
    assert (tmp_path / first["surrogate"]).exists()


def test_colour_after_grey(tmp_path):
    old = some_study(tmp_path, 6, channels=1)
    first = prepared(em, EM, old)
    grown = prepared(em, EM, joined(old, some_study(tmp_path, 3, first=50)), previous=first)
    shapes = [read(str(tmp_path), file).noise.shape[3] for file in grown["noise"]]
    assert shapes == [1, 3]
    items = [*old.items[:2], *some_study(tmp_path, 2, first=50).items]
    batch = np.full((4, 3, 20, 17), 0.5, np.float32)
    added = em.apply({**grown, FOLDER: str(tmp_path)}, batch, items, KEYS[0], EM) - batch
    assert np.ptp(added[:2], axis=1).max() == 0
    assert np.ptp(added[2:], axis=1).max() > 0


def test_a_surrogate_that_learns_enough_ends_the_training(tmp_path):
    cfg = sem.Config(**QUICK | {"steps": 60}, noise_steps=2, samples=1, adversary_steps=1, batch=16, stop=0.7)
    reached = prepared(sem, cfg, some_study(tmp_path / "a", 33))["reached"][0]
    assert reached["steps"] % 3 == 0  # after a whole epoch
    assert reached["steps"] < reached["good_enough"] == 60
    patient = cfg.model_copy(update={"stop": 0.0, "steps": 6})
    assert prepared(sem, patient, some_study(tmp_path / "b", 33))["reached"][0]["steps"] == 6


def test_class_wise_noise_is_one_picture_a_class(tmp_path):
    cfg = em.Config(**QUICK | {"steps": 1}, noise="class", train_steps=2, rounds=3, batch=8)
    state = prepared(em, cfg, some_study(tmp_path, 21))
    noise = noise_of(state, tmp_path)
    assert set(noise) == {"cat", "dog", "eel"}
    assert all(np.abs(one).max() > 5 for one in noise.values())
    again = prepared(em, cfg, joined(some_study(tmp_path, 21), some_study(tmp_path, 3, 50)), previous=state)
    assert again == state


def test_the_search_lowers_the_training_error(tmp_path):
    cfg = em.Config(**QUICK | {"steps": 20}, train_steps=10, rounds=15, stop=0.05, batch=30)
    state = prepared(em, cfg, some_study(tmp_path, 60))
    reached = state["reached"][0]
    assert reached["error"] <= 0.05
    assert 1 <= reached["rounds"] < 15


def test_the_key_decides_and_nothing_global_does(tmp_path):
    made = []
    for number, key in enumerate((KEYS[0], KEYS[0], KEYS[1])):
        torch.manual_seed(number)
        folder = tmp_path / str(number)
        made.append(noise_of(prepared(em, EM, some_study(folder, 6), key), folder))
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])
    assert any(not np.array_equal(made[0][name], made[2][name]) for name in made[0])


def test_class_wise_noise_is_the_mean_of_what_every_image_asks_for(monkeypatch):
    # In bf16, which some processors take, more signs near zero differ between a batch and single images.
    monkeypatch.setattr("noli.train.lesson.fast_bf16", lambda device: False)
    lesson = some_lesson(em.Config(**QUICK, noise="class", batch=100), n=7, classwise=True)
    how, before = Descent(EM.eps, EM.eps / 10, 1), lesson.noise.copy()
    wanted: dict[int, list] = {0: [], 1: [], 2: []}
    for row in range(7):
        (x, y), noise = lesson.images(np.array([row])), lesson.noise_of(np.array([row]))
        wanted[int(y)].append(search(lesson.model, x, y, noise, how, torch.Generator())[0])
    sweep(lesson, how)
    for label, ones in wanted.items():
        mean = (sum(ones) / len(ones)).permute(1, 2, 0).numpy() / EM.eps * 127
        assert np.mean(np.abs(lesson.noise[label] - mean) < 0.51) > 0.98  # signs near zero may differ
        assert not np.array_equal(lesson.noise[label], before[label])


@pytest.mark.parametrize("fails", [False, True])
def test_noise_and_noisy_pictures_wait_on_disk_while_it_learns(fails, tmp_path, monkeypatch):
    kinds, sweeping = [], minmin.sweep

    def watched(lesson, *rest, **named):
        noisy = lesson.noisy()
        kinds.append((type(lesson.noise), type(noisy)))
        in_memory = dataclasses.replace(lesson, scratch=None).noisy()
        assert np.array_equal(noisy, in_memory)
        if fails:
            raise KeyboardInterrupt
        sweeping(lesson, *rest, **named)

    monkeypatch.setattr(minmin, "sweep", watched)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            prepared(em, EM, some_study(tmp_path, 9))
    else:
        prepared(em, EM, some_study(tmp_path, 9))
    assert set(kinds) == {(np.memmap, np.memmap)}
    assert not list(tmp_path.glob("*.noli-tmp"))


def test_steps_that_were_made_are_told(tmp_path):
    state = prepared(sem, SEM.model_copy(update={"steps": 5}), some_study(tmp_path, 33))
    reached = state["reached"][0]
    assert reached["steps"] == 5
    assert reached["passes_per_visit"] == 1 * 1 + 1 + 1


def test_a_spent_budget_ends_the_training_and_every_image_still_gets_noise(tmp_path, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(minmin.time, "monotonic", lambda: next(seconds))
    cfg = SEM.model_copy(update={"steps": 10_000, "time": 3.5})
    state = prepared(sem, cfg, some_study(tmp_path, 20))
    reached = state["reached"][0]
    assert (reached["steps"], reached["out_of_time"]) == (4, 10_000)
    assert all(np.abs(one).max() > 0 for one in noise_of(state, tmp_path).values())
    enough = prepared(sem, SEM.model_copy(update={"time": 1e6}), some_study(tmp_path / "b", 20))
    assert not {"out_of_time", "good_enough"} & set(enough["reached"][0])


def test_the_smallest_budget_allows_one_step(tmp_path):
    state = prepared(sem, SEM.model_copy(update={"steps": 9, "time": 1e-9}), some_study(tmp_path, 20))
    assert (state["reached"][0]["steps"], state["reached"][0]["out_of_time"]) == (1, 9)


def test_a_budget_is_read_as_people_write_it():
    found = [sem.Config(time=text).time for text in ("90", "1.5m", "2h", None)]
    assert found == [90, 90, 7200, None]
    with pytest.raises(ValueError, match="90s, 10m, 2h"):
        sem.Config(time="abc")


def test_the_budget_looks_at_the_clock():
    now = [0.0]
    budget = TimeBudget(10.0, lambda: now[0])
    x = torch.zeros(1, 3, 8, 8)
    for now[0] in (50.0, 59.9):  # what comes before the first step does not count
        assert budget.prepare_batch(x, x, torch.Generator())[0] is x
    now[0] = 60.0
    with pytest.raises(StopTraining):
        budget.prepare_batch(x, x, torch.Generator())


@pytest.mark.parametrize(
    ("typed", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5m", 90), (7, 7)]
)
def test_budgets_are_typed_as_people_do(typed, seconds):
    assert sem.Config(time=typed).time == seconds


def test_data_that_no_surrogate_can_learn_is_refused(tmp_path):
    study = some_study(tmp_path, 4)
    with pytest.raises(DataError, match="two classes"):
        prepared(em, EM, some_study(tmp_path, 4, classes=("cat",)))
    unlabelled = ArrayStudy([Item("9", "9.png"), *study.items], [study.pixels[0], *study.pixels], tmp_path)
    summary = DataSummary(5, ("cat", "dog", "eel"), {(16, 16, 3): 5}, study=unlabelled)
    with pytest.raises(DataError, match="a known class for every image") as caught:
        em.prepare(summary, KEYS[0], EM)
    assert caught.value.items == ("9.png",)
    with pytest.raises(UsageError, match="learns from the data"):
        em.prepare(DataSummary(4, ("a", "b"), {}), KEYS[0], EM)


def test_every_step_is_progress(tmp_path):
    said = []
    plain = some_study(tmp_path, 20)
    study = ArrayStudy(plain.items, plain.pixels, tmp_path, lambda *call: said.append(call))
    prepared(sem, SEM.model_copy(update={"steps": 3}), study)
    assert said == [(n, 3, "surrogate") for n in (1, 2, 3)] + [(10, 20, "noise"), (20, 20, "noise")]
