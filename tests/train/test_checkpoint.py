"""A killed training goes on from its checkpoint and ends with the very bytes of an uninterrupted one."""

import itertools

import numpy as np
import pytest
import torch
from studies import joined, some_study

from noli.core.method import DataSummary
from noli.data.study import ArrayStudy
from noli.methods.protect import em, rem, salm, sem, tap, uc
from noli.testing import KEYS
from noli.train import checkpoint as module
from noli.train import minmin
from noli.train.checkpoint import Checkpoint
from noli.train.fit import Callback, StopTraining, fit
from noli.train.lesson import TimeBudget
from noli.train.options import GeneratorConfig
from noli.train.recipe import Recipe
from noli.train.t2ue import learn_generator
from noli.zoo import network

QUICK = {"network": "tiny", "size": 16, "batch": 16}
ROBUST = {**QUICK, "steps": 5, "noise_steps": 1, "samples": 1, "adversary_steps": 1}
CASES = {
    "em": (em, em.Config(**QUICK, steps=1, train_steps=2, rounds=3)),
    "em class-wise": (em, em.Config(**QUICK, steps=1, train_steps=2, rounds=2, noise="class")),
    "rem": (rem, rem.Config(**ROBUST)),
    "sem": (sem, sem.Config(**ROBUST)),
    "sem by error": (sem, sem.Config(**ROBUST | {"steps": 12}, stop=0.6)),
    "salm": (salm, salm.Config(**QUICK, steps=1, train_steps=2, rounds=3, refresh=2)),
    "salm kept": (salm, salm.Config(**QUICK, steps=1, train_steps=2, rounds=2, refresh=0)),
    "tap": (tap, tap.Config(**QUICK, epochs=2, steps=2)),
    "uc": (uc, uc.Config(**QUICK, encoder="own", encoder_epochs=2, clusters=2, steps=2)),
}


class Killed(BaseException):
    """Stands for a kill: nothing in noli expects it."""


def prepared(method, cfg, folder, n=35, kill_at=None):
    """Prepare a method on a small study; `kill_at` ends it at that call of the progress."""
    calls = itertools.count(1)

    def tell(*_):
        if next(calls) == kill_at:
            raise Killed

    plain = some_study(folder, n)
    study = ArrayStudy(plain.items, plain.pixels, folder, tell)
    summary = DataSummary(n, ("cat", "dog", "eel"), {(16, 16, 3): n}, study=study)
    return method.prepare(summary, KEYS[0], cfg, None), next(calls) - 1


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0)


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_moment_the_result_is_identical(case, tmp_path, always):
    method, cfg = CASES[case]
    whole, calls = prepared(method, cfg, tmp_path / "whole")
    assert calls > 1
    wanted = contents(tmp_path / "whole")
    assert not [name for name in wanted if name.startswith("learning-")]
    for moment in range(1, calls + 1):
        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            prepared(method, cfg, folder, kill_at=moment)
        resumed, again = prepared(method, cfg, folder)
        assert resumed == whole
        assert contents(folder) == wanted
        assert again <= calls


@pytest.mark.parametrize("case", CASES)
def test_what_was_done_is_not_done_again(case, tmp_path, always):
    method, cfg = CASES[case]
    _, calls = prepared(method, cfg, tmp_path / "whole")
    with pytest.raises(Killed):
        prepared(method, cfg, tmp_path / "killed", kill_at=calls)
    assert prepared(method, cfg, tmp_path / "killed")[1] < calls / 2


def test_killed_over_and_over_it_still_ends(tmp_path, always):
    method, cfg = CASES["sem"]
    whole, calls = prepared(method, cfg, tmp_path / "whole")
    for _ in range(calls):
        try:
            found, _ = prepared(method, cfg, tmp_path / "cut", kill_at=4)
        except Killed:
            continue
        break
    assert found == whole
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_an_extension_that_is_killed_goes_on_too(tmp_path, always):
    method, cfg = CASES["em"]
    made = {}
    for name, moments in (("whole", [None]), ("killed", [1, None])):
        folder = tmp_path / name
        first, _ = prepared(method, cfg, folder)
        both = joined(some_study(folder, 35), some_study(folder, 8, 100))
        for moment in moments:
            calls = itertools.count(1)

            def tell(*_, moment=moment, calls=calls):
                if next(calls) == moment:
                    raise Killed

            study = ArrayStudy(both.items, both.pixels, folder, tell)
            summary = DataSummary(43, ("cat", "dog", "eel"), {(16, 16, 3): 43}, study=study)
            try:
                made[name] = method.prepare(summary, KEYS[0], cfg, first)
            except Killed:
                continue
    assert made["whole"] == made["killed"]
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")


@pytest.mark.parametrize("change", ["config", "picture", "key", "torch", "threads", "damage"])
def test_the_checkpoint_of_another_job_is_as_good_as_none(change, tmp_path, always, monkeypatch):
    cfg, folder = CASES["sem"][1], tmp_path / "a"
    with pytest.raises(Killed):
        prepared(sem, cfg, folder, kill_at=6)
    left = [file for file in folder.iterdir() if file.name.startswith("learning-")]
    assert {file.name for file in left} == {"learning-training.safetensors", "learning-sweep.safetensors"}
    summary_of, key = some_study(folder, 35), KEYS[0]
    if change == "config":
        cfg = cfg.model_copy(update={"radius": 0.02})
    elif change == "picture":
        summary_of.pixels[7][0, 0, 0] ^= 1
    elif change == "key":
        key = KEYS[1]
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    elif change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    else:
        for file in left:
            file.write_bytes(file.read_bytes()[:-5])
    said = []
    study = ArrayStudy(summary_of.items, summary_of.pixels, folder, lambda *call: said.append(call))
    sem.prepare(DataSummary(35, ("cat", "dog", "eel"), {(16, 16, 3): 35}, study=study), key, cfg)
    assert [call[2] for call in said].count("surrogate") == cfg.steps
    assert not [file for file in folder.iterdir() if file.name.startswith("learning-")]


def test_a_budget_counts_the_time_before_the_kill():
    now = [0.0]
    first, second = (TimeBudget(10.0, lambda: now[0]) for _ in range(2))
    x = torch.zeros(1, 3, 8, 8)
    first.prepare_batch(x, x, torch.Generator())
    now[0] = 7.0
    kept = first.state()
    second.restore(kept)
    now[0] = 100.0
    second.prepare_batch(x, x, torch.Generator())
    now[0] = 102.9
    assert second.prepare_batch(x, x, torch.Generator())[0] is x
    now[0] = 103.0
    with pytest.raises(StopTraining):
        second.prepare_batch(x, x, torch.Generator())
    third = TimeBudget(10.0, lambda: now[0])
    third.restore(second.state())
    assert third.over


def test_a_spent_budget_stays_spent(tmp_path, always, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(minmin.time, "monotonic", lambda: next(seconds))
    cfg = CASES["sem"][1].model_copy(update={"steps": 1000, "time": 9.5})
    whole, calls = prepared(sem, cfg, tmp_path / "whole")
    with pytest.raises(Killed):
        prepared(sem, cfg, tmp_path / "killed", kill_at=calls)  # in the sweep: the budget is over by then
    assert prepared(sem, cfg, tmp_path / "killed")[0] == whole
    assert 0 < whole["reached"][0]["steps"] < 10
    assert whole["reached"][0]["out_of_time"] == 1000


class KilledAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, model, epoch, loss):
        if epoch == self.epochs:
            raise Killed


class NoStep(Callback):
    def prepare_batch(self, x, y, generator):
        pytest.fail("a step was made")


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("layout", [True, False], ids=["channels-last", "contiguous"])
def test_a_resumed_training_has_the_same_weights_losses_and_steps(optimiser, layout, tmp_path, always):
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (50, 11, 9, 3), np.uint8), generator.integers(0, 3, 50)
    recipe = Recipe(epochs=4, batch=16, optimiser=optimiser, lr=0.01, channels_last=layout, device="cpu")
    models = [network("tiny", 3, size=8, seed=1) for _ in range(3)]
    whole = fit(models[0], x, y, recipe)
    with pytest.raises(Killed):
        fit(models[1], x, y, recipe, [KilledAfter(2)], checkpoint=Checkpoint(tmp_path))
    resumed = fit(models[2], x, y, recipe, [KilledAfter(99)], checkpoint=Checkpoint(tmp_path))
    assert models[2].weight_hash() == models[0].weight_hash()
    assert (resumed.losses, resumed.steps) == (whole.losses, whole.steps)
    assert resumed.images_per_second == pytest.approx(200 / resumed.seconds)
    # An ended training is not made again.
    other = network("tiny", 3, size=8, seed=2)
    assert fit(other, x, y, recipe, [NoStep()], checkpoint=Checkpoint(tmp_path)).losses == whole.losses
    assert other.weight_hash() == models[0].weight_hash()


def test_a_generator_of_t2ue_goes_on_too(tmp_path, always):
    cfg = GeneratorConfig(text="words", surrogate="tiny", side=16, epochs=3, batch=8, device="cpu")
    x = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    captions = [f"a {name}" for name in ("cat", "dog", "eel", "yak")] * 5

    def killed(done, total, what):
        if done == 8:
            raise Killed

    whole, reached = learn_generator(x, captions, cfg)
    with pytest.raises(Killed):
        learn_generator(x, captions, cfg, killed, Checkpoint(tmp_path))
    said = []
    resumed, again = learn_generator(x, captions, cfg, lambda *call: said.append(call), Checkpoint(tmp_path))
    assert resumed.weight_hash() == whole.weight_hash()
    assert again["loss"] == reached["loss"]
    assert [call[0] for call in said] == [8, 9]


def test_saving_is_rare_unless_it_is_the_end(tmp_path):
    now, made = [0.0], []
    kept = Checkpoint(tmp_path, lambda: now[0])

    def make():
        made.append(now[0])
        return {"a": torch.arange(3)[::2], "b": torch.zeros(0)}

    for second in range(130):
        now[0] = float(second)
        kept.save("x", make)
    kept.save("x", make, now=True)
    assert made == [60.0, 120.0, 129.0]
    found = kept.load("x")
    assert found["a"].tolist() == [0, 2]
    assert found["b"].shape == (0,)
    assert kept.load("y") is None
    kept.depends_on("more")
    assert kept.load("x") is None
    kept.clear()
    assert not tmp_path.exists()


def test_parts_of_a_job_do_not_run_together(tmp_path):
    digests = set()
    for parts in (["ab", "c"], ["a", "bc"], ["abc"], [np.zeros(2, np.int8)], [np.zeros((2, 1), np.int8)], []):
        kept = Checkpoint(tmp_path)
        kept.depends_on(*parts)
        digests.add(kept._digest.hexdigest())
    assert len(digests) == 6
