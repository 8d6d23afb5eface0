"""Effect tests: thresholds are the Config's defaults, fixed before anything was measured."""

import ast
import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from coloured_shapes import EQUAL_LUMA, NAMES, frame, subject

from noli.core.errors import DataError
from noli.core.evidence import LEVELS, Evidence
from noli.methods.verify import battery, learnability
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import SPEC, judge, measure_row

QUICK = Config(min_steps=0, device="cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unprotected():
    """Evidence on images that were not protected, the progress calls and the filled cache."""
    calls, cache = [], {}
    evidence = judge(subject(), None, QUICK, progress=lambda *call: calls.append(call), cache=cache)
    return evidence, calls, cache


def forbid_training(monkeypatch):
    def refuse(*_):
        raise AssertionError("something was trained")

    monkeypatch.setattr(battery.Trainer, "run", refuse)


def test_unprotected_data_is_not_supported_at_any_level(unprotected):
    evidence, _, _ = unprotected
    assert evidence.verdict == "not supported"
    assert not evidence.supported
    assert [level.verdict for level in evidence.levels] == ["not supported"] * 3
    assert evidence.low > evidence.bound
    assert "not hold" in evidence.reason or "allows at most" in evidence.reason


def test_evidence_is_complete(unprotected):
    evidence, _, _ = unprotected
    names = [row.name for row in evidence.rows]
    assert names == [m.name for m in battery.table(QUICK)]
    assert {row.level for row in evidence.rows} == {*LEVELS, "context"}
    for row in evidence.rows:
        assert 0 <= row.low <= row.value <= row.high <= 1
        assert row.values == (row.value,)
        assert row.n == evidence.n == 200
        assert row.detail["images_per_second"] > 0
    decisive = [row.value for row in evidence.rows if row.level in ("naive", "routine")]
    assert evidence.value == max(decisive)
    by_name = {row.name: row for row in evidence.rows}
    assert {"test_untouched", "test_transformed"} <= set(by_name["grayscale"].detail)
    assert by_name["grayscale"].value == max(
        by_name["grayscale"].detail["test_untouched"], by_name["grayscale"].detail["test_transformed"]
    )
    assert "clean_part_only" in by_name["partial-50"].detail
    leaked = by_name["leak-1-pair"].detail
    assert {"leak_gain_db", "leaked_only", "leaked_only_high"} <= set(leaked)
    assert leaked["leaked_only"] < by_name["leak-1-pair"].value  # unprotected data teach by themselves
    assert evidence.reference["chance"] == 0.25
    assert evidence.reference["training_items"] == 400
    assert len(evidence.hashes["protected"]) == 64
    assert evidence.config["claim"] == "routine"
    assert len(evidence.limits) >= 5
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


def test_progress_counts_every_training_once(unprotected):
    _, calls, cache = unprotected
    done, totals = [call[0] for call in calls], {call[1] for call in calls}
    assert done == sorted(done)
    assert done[0] == 0
    assert totals == {done[-1]} == {len(cache)}
    assert {call[2] for call in calls} == {m.name for m in battery.table(QUICK)}


def test_finished_trainings_are_not_repeated(unprotected, monkeypatch):
    evidence, _, cache = unprotected
    forbid_training(monkeypatch)
    assert judge(subject(), None, QUICK, cache=cache) == evidence
    # Another claim or bound asks the same trainings another question.
    other = judge(subject(), None, QUICK.model_copy(update={"claim": "naive", "bound": 0.3}), cache=cache)
    assert (other.level, other.verdict) == ("naive", "not supported")


def test_other_data_or_other_training_never_use_the_cache(unprotected, monkeypatch):
    _, _, cache = unprotected
    forbid_training(monkeypatch)
    with pytest.raises(AssertionError, match="trained"):
        judge(subject(frame), None, QUICK, cache=cache)
    with pytest.raises(AssertionError, match="trained"):
        judge(subject(), None, QUICK.model_copy(update={"epochs": 9}), cache=cache)


def test_a_killed_judge_continues(unprotected, monkeypatch):
    _, _, cache = unprotected
    kept = dict(list(cache.items())[:5])
    ran = []
    original = battery.Trainer.run

    def stop_after_two(self, measure, part, seed):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(measure.name)
        return original(self, measure, part, seed)

    monkeypatch.setattr(battery.Trainer, "run", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        judge(subject(), None, QUICK, cache=kept)
    assert len(kept) == 7
    # A fresh training gives the bits that the uninterrupted run got: seeds and data decide alone.
    assert all(kept[key]["correct"] == cache[key]["correct"] for key in kept)


def test_side_by_side_gives_the_same_bits_and_leaves_the_thread_count(unprotected):
    _, _, cache = unprotected
    some = {key: value for i, (key, value) in enumerate(cache.items()) if i % 2}
    torch.set_num_threads(2)
    try:
        judge(subject(), None, QUICK, cache=some)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert {key: value["correct"] for key, value in some.items()} == {
        key: value["correct"] for key, value in cache.items()
    }


def test_one_failing_training_stops_the_others_and_keeps_what_is_finished(monkeypatch):
    original, begun, cache = battery.Trainer.run, [], {}

    def fail_third(self, measure, part, seed):
        begun.append(measure.name)
        if len(begun) == 3:
            raise RuntimeError("out of luck")
        return original(self, measure, part, seed)

    monkeypatch.setattr(battery.Trainer, "run", fail_third)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="out of luck"):
            judge(subject(), None, QUICK, cache=cache)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert 1 <= len(cache) < len(begun) <= 5


def test_a_stopped_training_ends_at_its_next_batch():
    trainer = battery.Trainer(subject(train=60, test=50), QUICK)
    trainer.stopped.set()
    with pytest.raises(battery.Stopped):
        trainer.run(battery.table(QUICK)[0], "protected", 0)


def test_a_shortcut_that_no_countermeasure_removes_is_supported():
    evidence = judge(subject(frame), None, QUICK.model_copy(update={"claim": "naive"}))
    assert evidence.verdict == "supported"
    assert evidence.level == "naive"
    assert evidence.high <= evidence.bound
    assert evidence.value < 0.5 < evidence.reference["clean"]


def test_a_colour_code_holds_naively_and_falls_to_grayscale():
    evidence = judge(subject(lambda x, y: frame(x, y, EQUAL_LUMA)), {"key": "commitment"}, QUICK)
    verdicts = {level.level: level.verdict for level in evidence.levels}
    rows = {row.name: row.value for row in evidence.rows}
    assert verdicts["naive"] == "supported"
    assert verdicts["routine"] == verdicts["adaptive"] == "not supported"
    assert rows["grayscale"] > rows["plain"] + 0.3
    assert evidence.verdict == "not supported"
    assert "At the naive level: supported" in evidence.reason
    assert evidence.hashes["key"] == "commitment"


def shuffled(y):
    return np.random.default_rng(5).permutation(y)


def constant(x, y):
    return np.full_like(x, 90)


@pytest.mark.parametrize(
    "data",
    [
        subject(labels=shuffled),
        replace(subject(), clean_x=np.full((400, 16, 16, 3), 90, np.uint8)),
    ],
    ids=["wrong labels", "constant images"],
)
def test_data_that_teaches_nothing_is_inconclusive(data):
    evidence = judge(data, None, QUICK)
    assert evidence.verdict == "inconclusive"
    assert "does not teach" in evidence.reason
    assert (evidence.value, evidence.low, evidence.rows, evidence.levels) == (None, None, (), ())
    assert evidence.reference["clean"] < 0.45


def test_twenty_images_are_inconclusive_before_training(monkeypatch):
    forbid_training(monkeypatch)
    evidence = judge(subject(train=16, test=4), None, QUICK)
    assert evidence.verdict == "inconclusive"
    assert "Too few held-out" in evidence.reason
    assert evidence.value is None
    assert evidence.n == 4


def test_a_poor_class_is_named_before_training(monkeypatch):
    forbid_training(monkeypatch)
    data = subject()
    labels = np.where(data.protected_y == 2, 1, data.protected_y)
    evidence = judge(replace(data, protected_y=labels), None, QUICK)
    assert evidence.verdict == "inconclusive"
    assert "ring" in evidence.reason


def test_one_class_is_an_error(monkeypatch):
    forbid_training(monkeypatch)
    zero = np.zeros(400, np.int64)
    data = replace(subject(), clean_y=zero, protected_y=zero, test_y=zero[:200])
    with pytest.raises(DataError, match="one class"):
        judge(data, None, QUICK)
    with pytest.raises(DataError, match="one class"):
        judge(replace(data, classes=("only",)), None, QUICK)


def test_grey_data_and_several_seeds():
    data = subject(train=320, test=120)
    grey = replace(
        data, **{name: getattr(data, name)[..., :1] for name in ("clean_x", "protected_x", "test_x")}
    )
    row = measure_row(grey, QUICK.model_copy(update={"seeds": 2}), "grayscale", "clean")
    assert len(row.values) == 2
    assert row.value == pytest.approx(np.mean(row.values))
    assert row.value > 0.4


def test_measure_row_repeats_and_refuses_unknown_rows():
    data, cfg = subject(train=60, test=50), QUICK.model_copy(update={"epochs": 1})
    first, second = measure_row(data, cfg), measure_row(data, cfg)
    assert first.values == second.values
    with pytest.raises(DataError, match="no row"):
        measure_row(data, cfg, "sorcery")


def test_restored_images_from_the_loader_are_what_the_leak_row_sees():
    data = subject(frame, train=60, test=50)
    blank = replace(data, restored=lambda labels, pairs: data.clean_x)  # whatever else is tried, this is best
    trainer = battery.Trainer(blank, QUICK)
    leak = next(m for m in battery.table(QUICK) if m.leaked)
    assert np.array_equal(trainer.training_set(leak, "protected")[0], data.clean_x)


def test_arrays_that_do_not_fit_are_refused():
    data = subject(train=40, test=20)
    for change in (
        {"protected_x": data.protected_x[:5]},
        {"test_x": data.test_x[:, :8]},
        {"test_y": data.test_y[:3]},
        {"classes": ("a", "b")},
    ):
        with pytest.raises(DataError):
            replace(data, **change)


def test_hashes_follow_the_content():
    data = subject(train=40, test=20)
    assert data.hashes() == replace(data).hashes()
    changed = replace(data, protected_x=data.protected_x ^ 1).hashes()
    assert {k for k, v in data.hashes().items() if changed[k] != v} == {"protected"}


def test_the_method_is_a_registry_citizen():
    assert (SPEC.name, SPEC.arrow, SPEC.config) == ("verify/learnability", "judge", Config)
    assert set(SPEC.options) <= set(Config.model_fields)
    assert Config.model_validate_json(Config(seeds=2, size=48).model_dump_json()) == Config(seeds=2, size=48)
    described = inspect.getdoc(Config)
    assert all(f"{name}:" in described or f"{name}," in described for name in Config.model_fields)
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(learnability)))
        if isinstance(node, ast.ImportFrom)
    }
    assert not any(name.startswith("torch") for name in imported)
    assert subject(train=8, test=8).classes == NAMES
