from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from noli.core.errors import OutputExists, RunError
from noli.core.files import TEMP_SUFFIX, atomic_write, write_new


def test_write_new_refuses_what_is_there_and_leaves_it_alone(tmp_path: Path) -> None:
    place = tmp_path / "photo.png"
    place.write_bytes(b"original")
    with pytest.raises(OutputExists, match="nothing is overwritten"):
        write_new(place, b"sheet")
    assert place.read_bytes() == b"original"
    dangling = tmp_path / "link.png"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        write_new(dangling, b"sheet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.png", "photo.png"]


def test_write_new_makes_folders_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_new(tmp_path / "a" / "b.png", b"sheet")
    assert (tmp_path / "a" / "b.png").read_bytes() == b"sheet"
    atomic_write(tmp_path / "a" / "b.png", b"again")
    assert (tmp_path / "a" / "b.png").read_bytes() == b"again"
    atomic_write(tmp_path / "a" / "b.png", lambda file: [file.write(part) for part in (b"in ", b"parts")])
    assert (tmp_path / "a" / "b.png").read_bytes() == b"in parts"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.png"]


def test_a_disk_that_fills_up_while_the_content_is_made_keeps_the_old_file(tmp_path: Path) -> None:
    def half(file: BinaryIO) -> None:
        file.write(b"ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    atomic_write(tmp_path / "noise.npy", b"old")
    with pytest.raises(RunError, match="disk is full"):
        atomic_write(tmp_path / "noise.npy", half)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("noise.npy", b"old")]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_private_file_was_never_readable_by_others(tmp_path: Path) -> None:
    place, seen = tmp_path / "order.npy", []
    temp = place.with_name(f".{place.name}{TEMP_SUFFIX}")
    temp.write_text("left by a kill, readable by all")
    temp.chmod(0o644)

    def content(file: BinaryIO) -> None:
        seen.append(os.fstat(file.fileno()).st_mode & 0o777)
        file.write(b"secret")

    atomic_write(place, content, private=True)
    assert (seen, place.stat().st_mode & 0o777) == ([0o600], 0o600)
    assert place.read_bytes() == b"secret"
    assert [file.name for file in tmp_path.iterdir()] == ["order.npy"]
