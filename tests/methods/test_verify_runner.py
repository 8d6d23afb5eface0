"""Trainings side by side: threads, what is dropped, how errors travel; the trainings are invented."""

import threading

import pytest
import torch

from noli.methods.verify.battery import pack, table
from noli.methods.verify.config import Config
from noli.methods.verify.rows import Runner, Training

PLAIN = table(Config())[0]


class Invented:
    """Stands in for a Trainer; every training runs ``work(seed)``."""

    def __init__(self, work, device="cpu", seeds=2):
        self.cfg, self.stopped, self.work = Config(device=device, seeds=seeds), threading.Event(), work

    def run(self, measure, part, seed):
        self.work(seed)
        return {"correct": {"untouched": pack([True])}, "n": 1, "detail": {}}

    def runner(self, cache=None):
        planned = [Training(PLAIN, "protected", seed) for seed in range(self.cfg.seed_count)]
        return Runner(self, planned, cache=cache)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_workers_have_one_thread_each_and_the_caller_keeps_its_own(two_threads):
    meet, seen = threading.Barrier(2, timeout=20), []

    def work(seed):
        meet.wait()
        seen.append(torch.get_num_threads())

    with Invented(work).runner() as runner:
        runner.row(PLAIN, "protected")
        assert torch.get_num_threads() == 2
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2


def test_leaving_drops_what_has_not_begun_and_keeps_what_is_finished(two_threads):
    begun, cache, release = [], {}, threading.Event()

    def work(seed):
        begun.append(seed)
        if seed:
            assert release.wait(20)

    trainer = Invented(work, seeds=5)
    with trainer.runner(cache) as runner:
        runner._result(runner.planned[0])
        threading.Timer(0.05, release.set).start()
    assert trainer.stopped.is_set()
    assert set(begun) <= {0, 1, 2}
    assert list(cache) == ["|plain|protected|0"]


def test_errors_reach_the_caller(two_threads):
    with pytest.raises(KeyError, match="missing"), Invented(lambda _: {}["missing"]).runner() as runner:
        runner.row(PLAIN, "protected")


@pytest.mark.parametrize(
    ("threads", "seeds", "device", "pooled"),
    [(2, 12, "cpu", True), (1, 12, "cpu", False), (2, 1, "cpu", False), (8, 12, "cuda", False)],
)
def test_a_pool_only_where_it_pays(threads, seeds, device, pooled, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    used = set()
    with Invented(lambda _: used.add(threading.get_ident()), device, seeds).runner() as runner:
        runner.row(PLAIN, "protected")
    assert (threading.get_ident() not in used) == pooled
