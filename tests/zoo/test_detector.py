"""Detectors: what their outputs mean, doubles, files; locked ones in files, without a key in them."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.key import Key
from noli.zoo.base import seeded
from noli.zoo.detector import COUNTER, Detector, SmallDetector, detector, import_fastestdet, load_detector
from noli.zoo.fastestdet import FastestDet
from noli.zoo.locked_detector import (
    LockedDetector,
    fold_detector,
    is_locked,
    load_locked,
    paper_lock,
    read_locked,
    without_change,
)

KEY, OTHER = Key.from_bytes(bytes(32)), Key.from_bytes(bytes([1]) * 32)
X = torch.zeros(1, 3, 64, 64)


def small(seed: int = 0) -> Detector:
    return detector(("a", "b"), width=16, seed=seed).eval()


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def test_boxes_are_where_cells_and_distances_say() -> None:
    net = SmallDetector(2, stride=16)
    raw = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(0))
    scores, boxes = net.located(raw)
    for n in range(2):
        for row in range(3):
            for column in range(5):
                cell, values = row * 5 + column, raw[n, :, row, column].tolist()
                x, y = (column + 0.5) * 16, (row + 0.5) * 16
                left, top, right, bottom = (math.exp(v) * 16 for v in values[2:])
                assert boxes[n, cell].tolist() == pytest.approx(
                    [x - left, y - top, x + right, y + bottom], rel=1e-4
                )
                assert scores[n, cell].tolist() == pytest.approx([1 / (1 + math.exp(-v)) for v in values[:2]])


def test_what_fastestdet_says_is_decoded_as_published() -> None:
    net = FastestDet(3)
    raw = torch.randn(1, 8, 2, 4, generator=torch.Generator().manual_seed(0))
    scores, boxes = net.located(raw)
    for row in range(2):
        for column in range(4):
            cell, v = row * 4 + column, raw[0, :, row, column].tolist()
            x, y = (math.tanh(v[1]) + column) / 4 * 64, (math.tanh(v[2]) + row) / 2 * 32
            w, h = (1 / (1 + math.exp(-one)) * size for one, size in ((v[3], 64), (v[4], 32)))
            expected = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            assert boxes[0, cell].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
            total = sum(math.exp(one) for one in v[5:])
            sure = [(1 / (1 + math.exp(-v[0]))) ** 0.6 * (math.exp(one) / total) ** 0.4 for one in v[5:]]
            assert scores[0, cell].tolist() == pytest.approx(sure, rel=1e-4)


class Planted(SmallDetector):
    """Sees two boxes that overlap by 0.9 in one class, and one of another class in the same place."""

    def located(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30]]).float()
        scores = torch.tensor([[0.8, 0], [0.9, 0], [0, 0.7], [0.01, 0.02]])
        return scores.expand(len(raw), -1, -1), boxes.expand(len(raw), -1, -1)


def test_doubles_go_and_what_is_unsure() -> None:
    model = Detector(Planted(2, width=16), class_names=("a", "b"))
    first, second = model.detect(images(2))
    assert first.labels.tolist() == second.labels.tolist() == [0, 1]
    assert first.scores.tolist() == pytest.approx([0.9, 0.7])
    assert first.boxes[0].tolist() == [0, 0, 10, 9]
    assert model.detect(images(0)) == []


def test_a_detector_comes_back_from_its_file(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "d.safetensors")
    again = load_detector(tmp_path / "d.safetensors")
    assert again.weight_hash() == model.weight_hash()
    assert again.class_names == ("a", "b")
    assert small(0).weight_hash() != small(1).weight_hash()
    with pytest.raises(UsageError, match="stride"):
        detector(("a",), stride=4)


def test_published_weights_are_imported_as_tensors_only(tmp_path: Path) -> None:
    with seeded(1):
        state = {
            name: value for name, value in FastestDet().state_dict().items() if not name.endswith(COUNTER)
        }
    torch.save(state, tmp_path / "good.pth")
    model = import_fastestdet(tmp_path / "good.pth")
    assert all(torch.equal(model.net.state_dict()[name], value) for name, value in state.items())
    torch.save({**state, "more": torch.zeros(1)}, tmp_path / "more.pth")
    torch.save({**state, "SPP.S1.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save(FastestDet(), tmp_path / "code.pth")  # a pickle that would run code
    for name in ("more", "other", "code", "none"):
        with pytest.raises(DataError):
            import_fastestdet(tmp_path / f"{name}.pth")


def same(one: Detector, other: Detector) -> bool:
    return bool(np.array_equal(one.predict(images()), other.predict(images())))


def test_a_locked_detector_comes_back_from_its_file_and_needs_its_key(tmp_path: Path) -> None:
    model = small()
    locked = fold_detector(model, ["body.3", "body.5"], KEY, X)
    locked.save(tmp_path / "l.safetensors")
    again = load_locked(tmp_path / "l.safetensors")
    assert again.lock == locked.lock
    assert same(again.opened(KEY), model)
    assert not same(again.stolen, model)
    with pytest.raises(WrongKey):
        again.opened(OTHER)
    data = (tmp_path / "l.safetensors").read_bytes()
    assert is_locked(data, "it")
    secret = np.asarray(locked.lock.turns(KEY)[0].order)
    for form in (secret.tobytes(), secret.astype(np.int32).tobytes(), json.dumps(secret.tolist()).encode()):
        assert form not in data
    assert KEY.export_secret().hex().encode() not in data


@pytest.mark.parametrize(
    "change",
    [lambda d: d[:-1], lambda d: d[:-9] + bytes([d[-9] ^ 1]) + d[-8:], lambda d: d.replace(b"cp", b"np", 1),
     lambda d: b"", lambda d: b"x" * 40],
)  # fmt: skip
def test_damaged_files_are_refused(change: object) -> None:
    data = fold_detector(small(), ["body.3"], KEY, X).to_bytes()
    with pytest.raises(DataError):
        read_locked(change(data), "it")  # type: ignore[operator]


def claiming(data: bytes, header: str, **args: object) -> bytes:
    """Let a file's description name other sizes, with a digest that fits where there is one."""
    length = int.from_bytes(data[:8], "little")
    described = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][header])
    described["arch_args"] |= args
    if "digest" in described:
        described.pop("digest")
        text = json.dumps(described, sort_keys=True)
        described["digest"] = hashlib.sha256(text.encode()).hexdigest()
    state = safetensors.torch.load(data)
    return safetensors.torch.save(state, {header: json.dumps(described)})


@pytest.mark.parametrize("args", [{"width": 1200}, {"width": 1 << 40}, {"classes": 1 << 33}])
@pytest.mark.parametrize("locked", [True, False])
def test_a_small_file_that_names_a_large_network_allocates_nothing(
    args: dict[str, int], locked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.nn.Module] = []

    class Seen(SmallDetector):
        def __init__(self, *some: object, **more: object) -> None:
            made.append(self)
            super().__init__(*some, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("noli.zoo.detector.DETECTORS", {"small-detector": Seen})
    file = tmp_path / "d.safetensors"
    small().save(file)
    good = fold_detector(small(), ["body.3"], KEY, X).to_bytes() if locked else file.read_bytes()
    header = "noli_locked_detector" if locked else "noli_model"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        made.clear()
        (load_locked if locked else load_detector)(file)

    read(claiming(good, header))
    assert [next(one.parameters()).device.type for one in made] == ["meta", "cpu"]
    with pytest.raises(DataError, match="damaged" if locked else "do not fit") as caught:
        read(claiming(good, header, **args))
    assert caught.value.where == str(file)
    assert caught.value.why
    assert len(made) == 1
    assert {value.device.type for value in made[0].state_dict().values()} <= {"meta"}


@pytest.mark.parametrize(
    "args",
    [{"width": -4}, {"width": "wide"}, {"more": 1}, {"width": None}, {"width": 10**30}, {"width": 10**400}],
)
def test_a_file_that_names_no_network_is_refused(args: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "d.safetensors"
    small().save(file)
    file.write_bytes(claiming(file.read_bytes(), "noli_model", **args))
    with pytest.raises(DataError, match="do not fit"):
        load_detector(file)
    locked = fold_detector(small(), ["body.3"], KEY, X).to_bytes()
    with pytest.raises(DataError, match="damaged"):
        read_locked(claiming(locked, "noli_locked_detector", **args), "it")


def test_other_files_are_no_locked_detectors(tmp_path: Path) -> None:
    small().save(tmp_path / "plain.safetensors")
    with pytest.raises(DataError, match="no locked detector"):
        load_locked(tmp_path / "plain.safetensors")
    assert not is_locked((tmp_path / "plain.safetensors").read_bytes(), "it")
    with pytest.raises(DataError, match="cannot be read"):
        load_locked(tmp_path / "none")


@pytest.mark.parametrize(
    ("form", "more"),
    [("cp", {}), ("np", {}), ("both", {}), ("np", {"negation": "max"}), ("pp", {"block": 2})],
)
def test_the_published_way_changes_maps_and_files_do_not_hold_it(form: str, more: dict[str, object]) -> None:
    model = small()
    changing, lock = paper_lock(model, ["body.3"], KEY, X, form, **more)  # type: ignore[arg-type]
    assert not same(changing, model)
    locked = without_change(changing, lock)
    assert same(locked.stolen, model)  # untrained, so that without the change it is as it was
    assert same(read_locked(locked.to_bytes(), "it").opened(KEY), changing)
    guess = LockedDetector(locked.stolen, lock).guessed(lock.turns(OTHER))
    assert not same(guess, changing)
    if lock.foldable:
        np.testing.assert_allclose(locked.plain(KEY).predict(images()), changing.predict(images()), atol=1e-4)
        moved = locked.relocked(KEY, OTHER)
        assert moved.lock.mode == "folded"
        np.testing.assert_allclose(
            moved.opened(OTHER).predict(images()), changing.predict(images()), atol=1e-4
        )
    else:
        with pytest.raises(UsageError, match="cannot be put into weights"):
            locked.plain(KEY)


def test_every_customer_gets_weights_of_his_own() -> None:
    locked = fold_detector(small(), ["body.3"], KEY, X)
    moved = locked.relocked(KEY, OTHER)
    assert moved.stolen.weight_hash() != locked.stolen.weight_hash()
    assert moved.opened(OTHER).weight_hash() == locked.opened(KEY).weight_hash()
    for broken in (lambda: moved.opened(KEY), lambda: locked.relocked(OTHER, KEY)):
        with pytest.raises(WrongKey):
            broken()
