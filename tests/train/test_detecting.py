"""Training detectors: which cell answers for which box, how boxes move, and what the lock does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boxes_making import scenes
from noli.core.errors import UsageError, WrongKey
from noli.core.key import Key
from noli.core.theft import BOXED
from noli.data.annotations import read_boxes
from noli.methods.lock import detector as method
from noli.testing import KEYS
from noli.train.checkpoint import Checkpoint
from noli.train.detecting import (
    RECIPE,
    BoxTargets,
    assigned,
    detection_loss,
    packed,
    precision,
    train_detector,
    unpacked,
)
from noli.train.detector_target import DetectorLock, pickable
from noli.train.fit import Callback
from noli.train.picking import Effort, natural, pick
from noli.zoo.detector import Detector, SmallDetector, detector
from noli.zoo.fastestdet import FastestDet
from noli.zoo.locked_detector import LockedDetector, fold_detector, paper_lock, without_change
from noli.zoo.turns import Form

KEY = Key.from_bytes(bytes(32))
CFG = method.Config(side=64, width=32, epochs=12, wrong_keys=5)
Data = tuple[np.ndarray, Tensor, np.ndarray, Tensor, tuple[str, ...]]


def slow_assigned(centre: np.ndarray, y: np.ndarray, stride: int) -> list[int]:
    found = []
    for cx, cy in centre:
        best, size = -1, float("inf")
        for box, (label, left, top, right, bottom) in enumerate(y):
            near = (
                abs(cx - (left + right) / 2) <= 1.5 * stride and abs(cy - (top + bottom) / 2) <= 1.5 * stride
            )
            inside = left < cx < right and top < cy < bottom
            if label >= 0 and near and inside and (right - left) * (bottom - top) < size:
                best, size = box, (right - left) * (bottom - top)
        found.append(best)
    return found


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_cells_answer_for_the_smallest_box_around_them(seed: int, count: int) -> None:
    rng, net = np.random.default_rng(seed), SmallDetector(2, width=8)
    corner = rng.integers(0, 40, (count, 2)).astype(float)
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (count, 2))], 1)
    y = packed([boxes, boxes[:0]], [rng.integers(0, 2, count), np.zeros(0)])
    centre = net.centres((6, 6), torch.device("cpu"))
    expected = [slow_assigned(centre.numpy(), rows, 8) for rows in y.numpy()]
    assert assigned(centre, y, 8).tolist() == expected


def test_boxes_are_packed_and_come_back() -> None:
    boxes = [np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32), np.zeros((0, 4), np.float32)]
    found = unpacked(packed(boxes, [np.array([1, 0]), np.zeros(0)]))
    assert [one.boxes.tolist() for one in found] == [one.tolist() for one in boxes]
    assert found[0].labels.tolist() == [1, 0]
    assert packed([], []).shape == (0, 1, 5)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_boxes_move_with_their_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, boxes = np.zeros((4, 32, 32, 1), np.float32), []
    for image in x:
        left, top = rng.integers(6, 16, 2)
        right, bottom = left + rng.integers(3, 10), top + rng.integers(3, 10)
        image[top:bottom, left:right] = 1
        boxes.append(np.array([[left, top, right, bottom]], np.float32))
    target = BoxTargets(packed(boxes, [np.zeros(1)] * 4))
    given_ = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    moved, y = target.prepare_batch(given_, torch.arange(4), torch.Generator().manual_seed(seed))
    for image, rows in zip(moved, y, strict=True):
        left, top, right, bottom = rows[0, 1:].int().tolist()
        expected = torch.zeros(32, 32)
        expected[top:bottom, left:right] = 1
        assert torch.equal(image[0], expected)


def test_the_loss_falls_to_nothing_for_what_is_right_and_counts_what_is_missing() -> None:
    net = SmallDetector(2, width=8)
    y = packed([np.array([[8, 8, 40, 40]])], [np.array([1])])
    box = assigned(net.centres((6, 6), torch.device("cpu")), y, 8)[0].reshape(6, 6)
    raw = torch.full((1, 6, 6, 6), -20.0)
    centre = net.centres((6, 6), torch.device("cpu")).reshape(6, 6, 2)
    raw[0, 1][box >= 0] = 20
    raw[0, 2:4] = ((centre - 8) / 8).clamp(min=0.01).log().permute(2, 0, 1)
    raw[0, 4:6] = ((40 - centre) / 8).clamp(min=0.01).log().permute(2, 0, 1)
    right = float(detection_loss(net)(raw, y))
    assert right < 1e-3
    raw[0, 1] = -20
    assert float(detection_loss(net)(raw, y)) > 1
    empty = packed([np.zeros((0, 4))], [np.zeros(0)])
    assert float(detection_loss(net)(raw, empty)) < 1e-3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    found = read_boxes(scenes(tmp_path_factory.mktemp("scenes") / "s.zip", 160, side=64), 64)
    boxes = packed(found.boxes, found.labels)
    seen, held = found.split(0.25)
    return found.images[seen], boxes[seen], found.images[held], boxes[held], found.classes


@pytest.fixture(scope="module")
def trained(data: Data) -> Detector:
    return method.public_network(data[0], data[1], data[4], CFG)


def test_the_lock_costs_nothing_with_the_key_and_nearly_everything_without(
    data: Data, trained: Detector
) -> None:
    """Bounds from the specification: within a point with the key, less than a tenth of it without."""
    locked = method.transform(trained, data[0], data[1], KEY, CFG)
    found = method.matrix(locked, trained, KEY, data[2], data[3], CFG)
    rows = found["map50"]
    assert rows["plain"] > 0.5  # it learned something that can be lost
    assert abs(rows["key"] - rows["plain"]) <= 0.01
    assert rows["no key"] < 0.1 * rows["key"]
    assert rows["worst wrong key"] <= 0.5 * rows["key"]
    assert list(found["displaced"]) == ["2", "4", "8", "16", "32"]
    assert found["displaced"]["2"] > found["displaced"]["32"]


def test_trained_with_the_change_it_needs_the_key(data: Data) -> None:
    cfg = CFG.model_copy(update={"mode": "paper"})
    base = detector(data[4], width=32)
    locked = method.transform(base, data[0], data[1], KEY, cfg)
    rows = {name: precision(one, data[2], data[3], 2).at_half
            for name, one in (("key", locked.opened(KEY)), ("none", locked.stolen))}  # fmt: skip
    assert rows["key"] > 0.5
    assert rows["none"] <= 0.5 * rows["key"]


def test_killed_in_the_middle_it_goes_on_to_the_same_weights(data: Data, tmp_path: Path) -> None:
    short, x, y = RECIPE.model_copy(update={"epochs": 3}), data[0][:20], data[1][:20]

    class Killed(Callback):
        def on_epoch_end(self, model: object, epoch: int, loss: float) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def fresh() -> Detector:
        model, lock = paper_lock(
            detector(data[4], width=8).eval(), ["body.3"], KEY, torch.zeros(1, 3, 64, 64), "cp"
        )
        locks.append(lock)
        return model

    locks: list[object] = []
    whole, part, again = fresh(), fresh(), fresh()
    train_detector(whole, x, y, short)
    seconds = iter(range(0, 10**6, 100))
    with pytest.raises(KeyboardInterrupt):
        train_detector(part, x, y, short, [Killed()], Checkpoint(tmp_path, lambda: float(next(seconds))))
    train_detector(again, x, y, short, checkpoint=Checkpoint(tmp_path))
    assert again.weight_hash() == whole.weight_hash()
    assert part.weight_hash() != whole.weight_hash()


@pytest.mark.parametrize(
    ("form", "layers"), [("cp", ["body.3"]), ("both", ["body.1", "body.3"]), ("np", ["body.3"])]
)
def test_a_locked_detector_is_picked(data: Data, trained: Detector, form: Form, layers: list[str]) -> None:
    locked = fold_detector(trained, layers, KEY, torch.zeros(1, 3, 64, 64), form)
    lock = DetectorLock(locked, KEY)
    x, y = data[2][:12], data[3][:12]
    opened, wrong = lock.opened(lock.right), lock.opened(natural(lock.right))
    assert lock.score(opened, x, y) == lock.score(trained, x, y) > lock.score(wrong, x, y)
    assert lock.loss(opened, x, y) < lock.loss(wrong, x, y)
    assert (lock.placed, lock.signed) == (form != "np", form != "cp")
    model = lock.adapted()
    weights = [one for one in model.parameters() if one.requires_grad]
    assert [tuple(one.shape) for one in weights] == [(turn.size, turn.size, 1, 1) for turn in lock.right]
    assert np.allclose(model.predict(x), wrong.predict(x), atol=1e-4)  # it begins as the file is
    for weight, turn in zip(weights, lock.right, strict=True):  # and can become the key's turn
        weight.data = (torch.eye(turn.size)[turn.order] * turn.sign[:, None])[..., None, None]
    assert np.allclose(model.predict(x), trained.predict(x), rtol=1e-3, atol=1e-3)
    before = {name: value.clone() for name, value in lock.adapted().state_dict().items()}
    learned = lock.trained(lock.adapted(), x, y, 2)
    moved = {name for name, value in learned.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all("adapter" in name or name.endswith("0.weight") for name in moved), moved
    assert sum(learned.state_dict()[name].numel() for name in moved) <= 2 * sum(map(torch.numel, weights))
    assert lock.score(lock.trained(lock.fresh(), x, y, 1), x, y) < lock.score(trained, x, y)
    assert all(one.requires_grad for one in lock.loosened().parameters())
    assert lock.few(x, y, 13) is None
    with pytest.raises(WrongKey):
        DetectorLock(locked, KEYS[1])


def test_pictures_with_boxes_are_counted(data: Data, trained: Detector) -> None:
    locked = fold_detector(trained, ["body.3"], KEY, torch.zeros(1, 3, 64, 64), "np")
    effort = Effort(labels=(2, 4), searched=(), wrong_keys=1, epochs=1)
    part = data[2][:6], data[3][:6]
    found = pick(DetectorLock(locked, KEY), part, part, effort, unit=BOXED)
    assert found.unit == BOXED
    assert found.labels == (2, 4)
    assert found.score == DetectorLock(locked, KEY).score(trained, *part)


def test_other_locks_are_no_targets(trained: Detector) -> None:
    x = torch.zeros(1, 3, 64, 64)
    model, lock = paper_lock(trained, ["body.3"], KEY, x, "pp", block=2)
    many = fold_detector(trained, ["body.1", "body.3"], KEY, x)
    foreign = LockedDetector(Detector(FastestDet().eval(), class_names=("a",)), many.lock)
    for one in (without_change(model, lock), foreign):
        assert not pickable(one)
        with pytest.raises(UsageError, match="Only channels of small detectors"):
            DetectorLock(one, KEY)
    with pytest.raises(UsageError, match="Only small detectors"):
        train_detector(cast(Detector, foreign.stolen), np.zeros((2, 64, 64, 3), np.uint8), packed([], []))
