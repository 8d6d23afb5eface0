"""Every example in the documentation runs as printed, on small data."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, ROOT, blocks

from noli.cli.main import main
from noli.data.demo import photo_crops
from noli.testing import checks

PAGES = [page for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if page.is_file()]
WITH_PYTHON = [p for p in PAGES if any(b.language == "python" and not b.title for b in blocks(p))]
WITH_COMMANDS = [p for p in PAGES if p.stem in ("README", "index", "quickstart-dataset-owner")]
GUIDE = DOCS / "add-a-method.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with ``photos/``: fourteen classes, too few pictures for a verdict."""
    photo_crops(tmp_path / "photos", per_class_train=3, per_class_test=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package of the guide, written to disk and installed offline: ``(package, site folder)``."""
    package, site = tmp_path_factory.mktemp("guide"), tmp_path_factory.mktemp("site")
    for block in blocks(GUIDE):
        if block.title:
            file = package / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
               "--no-index", "--target", str(site), str(package)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    return package, site


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, place: Path) -> None:
    script = "\n".join(b.text for b in blocks(page) if b.language == "python" and not b.title)
    done = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "noli.protect" in script:
        # What the lines promise: a copy with the same tree, and a page.
        made = next(
            folder
            for folder in place.glob("*.noli")
            if ".verify" not in folder.name and ".attack" not in folder.name
        )
        names = {str(f.relative_to(place / "photos")) for f in (place / "photos").rglob("*.png")}
        safe = place / made.stem
        assert names == {str(f.relative_to(safe)) for f in safe.rglob("*.png")}
        assert (made / "report.html").stat().st_size > 0
        assert (place / "report.html").is_file() == (".report(" in script)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_run_in_the_printed_order(
    page: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for b in blocks(page) if b.language in ("bash", "") for line in b.text.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("noli ")]
    assert len(words) >= 3
    for _, *args in words:
        # Too few pictures for a verdict: verify and attack must say so and exit with 1.
        # An audit does, too, when pictures come back.
        expected = 1 if args[0] in ("verify", "attack") or args[:2] == ["lock", "audit"] else 0
        found = main([*args, *([] if args[0] in ("key", "doctor", "report") else ["--quiet"])])
        assert found == expected, f"{shlex.join(args)}\n{capsys.readouterr().err}"
    if page.name.startswith("quickstart"):
        assert {"safe", "safe.noli", "safe.preview.png", "back"} <= {f.name for f in place.iterdir()}
        assert "INCONCLUSIVE" in capsys.readouterr().out


def test_the_plugin_of_the_guide_passes_its_own_tests(guide: tuple[Path, Path]) -> None:
    package, site = guide
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    # The checks of a data -> data method that cannot be undone.
    assert f"{len(checks('protect/cuda')) - 1} passed" in done.stdout


def test_the_commands_of_the_guide_run(guide: tuple[Path, Path], place: Path) -> None:
    subprocess.run([sys.executable, "-m", "noli", "key", "new", "owner.key"], check=True, capture_output=True)
    lines = [line for b in blocks(GUIDE) if b.language == "bash" for line in b.text.splitlines()]
    assert any("my-noli/cast" in line for line in lines)
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line)]
        env = {**os.environ, "PYTHONPATH": str(guide[1])}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len(list((place / "safe").rglob("*.png"))) == len(list((place / "photos").rglob("*.png")))
