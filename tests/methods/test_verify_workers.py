import threading

import pytest
import torch
from pydantic import ValidationError

from noli.methods.verify import workers as module
from noli.methods.verify.config import Config
from noli.methods.verify.workers import Workers, workers


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_workers_have_one_thread_each_and_the_caller_keeps_its_own(two_threads):
    pool, meet = Workers(2), threading.Barrier(2, timeout=20)

    def look():
        meet.wait()
        return {"threads": torch.get_num_threads()}

    futures = [pool.submit(look), pool.submit(look)]
    assert [f.result() for f in futures] == [{"threads": 1}] * 2
    assert torch.get_num_threads() == 2
    pool.close()
    assert torch.get_num_threads() == 2


def test_closing_drops_what_has_not_begun(two_threads):
    pool, begun, release = Workers(1), threading.Event(), threading.Event()

    def block():
        begun.set()
        release.wait(20)
        return {}

    first, second = pool.submit(block), pool.submit(dict)
    assert begun.wait(20)
    threading.Timer(0.05, release.set).start()
    pool.close()
    assert first.result() == {}
    assert second.cancelled()


def test_errors_reach_the_caller(two_threads):
    pool = Workers(2)
    future = pool.submit(lambda: {}["missing"])
    with pytest.raises(KeyError):
        future.result()
    pool.close()


@pytest.mark.parametrize(("threads", "trainings", "pooled"), [(2, 12, True), (1, 12, False), (2, 1, False)])
def test_a_pool_only_where_it_pays(threads, trainings, pooled, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "Workers", lambda count: count)
    assert workers("cpu", trainings) == (threads if pooled else None)


def test_gpus_train_one_after_the_other(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert workers("cuda", 12) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound": 0},
        {"bound": 1},
        {"claim": "context"},
        {"battery": "full"},
        {"size": 4},
        {"size": "big"},
        {"seeds": 0},
        {"holdout": 1.0},
        {"network": "vgg"},
        {"rows": ["plain"]},
        {"partial": (0.0,)},
        {"partial": (1.0,)},
    ],
)
def test_configurations_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Config(**wrong)


def test_defaults_follow_the_battery():
    quick, standard = Config(), Config(battery="standard")
    assert (quick.item_limit, standard.item_limit) == (5000, 20_000)
    assert (quick.shares, standard.shares) == ((0.5,), (0.2, 0.4, 0.6, 0.8))
    assert Config(partial=(0.3,), max_items=70, seeds=2, battery="standard").shares == (0.3,)
    assert Config(max_items=70).item_limit == 70
    recipe = Config(epochs=3, min_steps=9, device="cpu").recipe(4)
    assert (recipe.epochs, recipe.min_steps, recipe.device, recipe.seed) == (3, 9, "cpu", 4)
