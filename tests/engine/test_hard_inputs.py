"""Inputs as people have them: keys and originals beside the pictures, logins, odd and long names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_data import make_folder
from PIL import Image

from noli.core.errors import DataError
from noli.core.key import Key
from noli.engine import shard
from noli.engine.request import RunRequest
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]


def test_a_key_beside_the_pictures_and_files_of_unknown_kinds_are_not_published(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    Key.new(data / "owner.json")
    (data / "sketch.xcf").write_bytes(b"an original")
    (data / "README.md").write_text("words")
    run = run_data(ask())
    others = {file.name for file in (tmp_path / "out").iterdir() if file.is_file()}
    assert others == {"README.md"}
    assert run.manifest.results["companions_left_out"] == 2
    (event,) = (event for event in run.events() if event["kind"] == "companions-left-out")
    assert event["items"] == ["owner.json", "sketch.xcf"]


def test_a_login_in_a_url_is_written_nowhere(data: Path, ask: Ask, tmp_path: Path) -> None:
    passed = {"data": "memory://user:hunter2@host/photos?sig=hunter2"}
    run = run_data(ask(args_passed=passed))
    run.fail(DataError("Gone.", where="s3://user:hunter2@host/x", why="s3://u:hunter2@h/y?a=hunter2"))
    written = b"".join(file.read_bytes() for file in run.path.rglob("*") if file.is_file())
    assert b"hunter2" not in written
    assert run.manifest.status == "done"


def test_class_folders_whose_names_are_not_utf8(tmp_path: Path, ask: Ask) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9")
    make_folder(tmp_path / "in", 4)
    next(path for path in (tmp_path / "in").iterdir() if path.is_dir()).rename(odd)
    run = run_data(ask())
    assert run.manifest.results["items"] == 4
    assert run_data(ask()).manifest == run.manifest


def test_a_name_that_would_grow_too_long_is_refused_before_any_work(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    folder = next(path for path in sorted(data.iterdir()) if path.is_dir())
    some = next(path for path in sorted(folder.iterdir()) if path.suffix == ".png")
    long = "ü" * 125
    for suffix in (".png", ".jpg"):
        Image.open(some).convert("RGB").save(folder / f"{long}{suffix}")
    with pytest.raises(DataError, match="too long") as caught:
        run_data(ask())
    assert caught.value.items == (f"{folder.name}/{long}.jpg",)
    assert not (tmp_path / "out").exists()
    run = run_data(ask(on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (24, 1)


def test_what_a_format_cannot_hold_is_skipped_by_name(
    data: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shard.encode

    def encode(picture: Any, **how: Any) -> bytes:
        if picture.pixels.shape[:2] == (3, 50):
            raise DataError("PNG cannot hold this.")
        return real(picture, **how)

    folder = next(path for path in sorted(data.iterdir()) if path.is_dir())
    Image.new("RGB", (50, 3)).save(folder / "wide.png")
    monkeypatch.setattr(shard, "encode", encode)
    with pytest.raises(DataError, match="cannot hold") as caught:
        run_data(ask(workers=1))
    assert caught.value.where == f"{folder.name}/wide.png"
    run = run_data(ask(workers=1, on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (23, 1)


def test_an_item_that_comes_back_in_another_format_gets_a_name_of_its_own(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    run_data(ask())
    folder = next(path for path in sorted(data.iterdir()) if path.is_dir())
    some = next(path for path in sorted(folder.iterdir()) if path.suffix == ".png")
    with Image.open(some) as image:
        image.convert("RGB").save(some.with_suffix(".jpg"))
    some.unlink()
    assert run_data(ask()).manifest.status == "done"
    assert (tmp_path / "out" / folder.name / f"{some.stem}.png.png").exists()
