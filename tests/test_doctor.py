"""Each finding of the doctor, on machines that are not this one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from noli.api import _doctor
from noli.api._doctor import Check, DoctorReport, doctor
from noli.core.manifest import Environment


def answers(monkeypatch: pytest.MonkeyPatch, **known: tuple[bool, str]) -> None:
    def says(code: str) -> tuple[bool, str]:
        return next((answer for word, answer in known.items() if word in code), (True, ""))

    monkeypatch.setattr(_doctor, "_python_says", says)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        _doctor.importlib.util, "find_spec", lambda name: None if name in names else real(name)
    )


def test_a_broken_torchvision_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor.importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    answers(monkeypatch, torchvision=(False, "RuntimeError: operator torchvision::nms does not exist"))
    (check,) = _doctor._torchvision()
    assert check.status == "warning"
    assert "nms does not exist" in check.found
    assert "pip uninstall torchvision" in (check.fix or "")
    answers(monkeypatch, torchvision=(True, "0.28"))
    (check,) = _doctor._torchvision()
    assert check.status == "ok"


def test_no_torchvision_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision")
    assert list(_doctor._torchvision()) == []


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ((True, "2.13.0+cpu, CPU only"), "ok"),
        ((True, "2.9.1, CPU only"), "warning"),
        ((False, "ImportError: libfoo.so"), "problem"),
    ],
)
def test_torch_versions(monkeypatch: pytest.MonkeyPatch, says: tuple[bool, str], status: str) -> None:
    answers(monkeypatch, torch=says)
    check = _doctor._torch()
    assert check.status == status
    assert check.found.startswith(says[1])
    assert check.fix == (None if status == "ok" else 'pip install "torch==2.13.0"')


def test_missing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    assert _doctor._torch().status == "problem"


def test_a_package_that_is_there_but_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, cv2=(False, "ImportError: libGL.so.1"))
    first, broken = _doctor._packages()
    assert (first.status, broken.status, broken.found) == ("ok", "problem", "ImportError: libGL.so.1")
    assert broken.fix == "pip install --force-reinstall opencv-python-headless"
    answers(monkeypatch, PIL=(False, "a"), scipy=(False, "b"))
    assert [check.fix for check in _doctor._packages()][1:] == [
        "pip install --force-reinstall pillow", "pip install --force-reinstall scipy"
    ]  # fmt: skip


def test_missing_packages_come_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "cv2", "yaml")
    (check,) = _doctor._packages()
    assert check.fix == "pip install opencv-python-headless pyyaml"


def test_two_opencv_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "package_version", lambda name: "4.10" if "contrib" not in name else None)
    (check,) = _doctor._opencv_twins()
    assert "pip uninstall opencv-python &&" in (check.fix or "")
    monkeypatch.setattr(_doctor, "package_version", lambda name: None)
    assert list(_doctor._opencv_twins()) == []


@pytest.mark.parametrize(
    ("features", "threads", "status", "word"),
    [(("amx_bf16",), None, "ok", "amx_bf16"), ((), None, "ok", "no bf16"), ((), "1", "warning", "no bf16")],
)
def test_the_processor(
    monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], threads: str | None, status: str, word: str
) -> None:
    machine = Environment(cpu="Test CPU", cpu_features=features, gpu=("Test GPU",))
    monkeypatch.setattr(_doctor, "capture_environment", lambda: machine)
    monkeypatch.setattr(_doctor, "available_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    check = _doctor._processor()
    assert (check.status, word in check.found, "Test GPU" in check.found) == (status, True, True)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, temporary = _doctor._disk(tmp_path / "absent")
    assert (output.status, temporary.status) == ("problem", "ok")
    assert "write" in (output.fix or "")


def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**9))
    assert [check.status for check in _doctor._disk(tmp_path)] == ["warning", "warning"]


def test_a_fresh_interpreter_answers_or_explains() -> None:
    assert _doctor._python_says("print(6 * 7)") == (True, "42")
    assert _doctor._python_says("raise ValueError('no')") == (False, "ValueError: no")
    assert _doctor._python_says("import os; os._exit(3)") == (False, "exit status 3")


def test_one_problem_is_enough() -> None:
    assert DoctorReport((Check("a", "ok", ""), Check("b", "warning", "", "x"))).ok
    assert not DoctorReport((Check("a", "problem", "", "x"),)).ok


def test_the_whole_report_is_json_ready(tmp_path: Path) -> None:
    document = doctor(tmp_path).as_dict()
    assert document["ok"] is True
    assert str(tmp_path.resolve()) in next(
        c["found"] for c in document["checks"] if c["name"] == "output folder"
    )
