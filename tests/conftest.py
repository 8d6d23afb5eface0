"""Fixtures that several test folders share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noli.core.key import Key

PLUGIN_PACKAGE = Path(__file__).parent / "plugin_pkg"


@pytest.fixture
def key() -> Key:
    """A fixed key: a test that fails must fail again tomorrow."""
    return Key.from_bytes(bytes(range(32)), "test")


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """Write ``NAME/CLASS/*.png`` with smooth coloured pictures; returns the folder."""

    def write(name: str = "photos", classes: int = 3, each: int = 4, size: int = 16) -> Path:
        y, x = np.mgrid[0:size, 0:size]
        for label in range(classes):
            folder = tmp_path / name / f"class-{label}"
            folder.mkdir(parents=True)
            for number in range(each):
                planes = [
                    128 + 90 * np.sin(x / (2 + label) + number) * np.cos(y / (3 + channel))
                    for channel in range(3)
                ]
                Image.fromarray(np.stack(planes, -1).astype(np.uint8)).save(folder / f"{number}.png")
        return tmp_path / name

    return write


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A small CLIP with random weights for pictures of 32 pixels, in the layout of Hugging Face."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 50},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    described = {"crop_size": {"height": 32, "width": 32}, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(described))
    return tmp_path / "clip"


class FakeTraining:
    """Stands in for single trainings: accuracy by row and part, and a list of what was asked for."""

    def __init__(self) -> None:
        self.accuracy: dict[str, float] = {"clean": 0.9, "protected": 0.4}
        self.asked: list[str] = []
        self.stop_after: int | None = None

    def run(self, trainer: Any, measure: Any, part: str, seed: int) -> dict[str, Any]:
        from noli.methods.verify.battery import pack

        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(f"{measure.name}|{part}|{seed}")
        n = len(trainer.subject.test_y)
        share = self.accuracy.get(measure.name if part != "clean" else "clean", self.accuracy["protected"])
        correct = np.arange(n) < round(share * n)
        return {"correct": {"untouched": pack(correct)}, "n": n, "detail": {"seconds": 0.0}}


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    """Replace the trainings of verify by invented accuracies: clean 90 %, protected 40 %."""
    from noli.methods.verify.battery import Trainer

    fake = FakeTraining()
    monkeypatch.setattr(Trainer, "run", lambda self, measure, part, seed: fake.run(self, measure, part, seed))
    return fake


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and install the plug-in package into a folder of its own; offline."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
               "--no-index", "--target", str(target), str(PLUGIN_PACKAGE)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@pytest.fixture
def plugin(plugin_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make the installed plug-in visible to this process; returns its method's name."""
    monkeypatch.syspath_prepend(str(plugin_path))
    # Worker processes find it through the environment.
    monkeypatch.setenv("PYTHONPATH", str(plugin_path))
    yield "noli-plugin-example/tint"
    for name in [name for name in sys.modules if name.startswith("noli_plugin_example")]:
        del sys.modules[name]
