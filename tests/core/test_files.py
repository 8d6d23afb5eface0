from __future__ import annotations

from pathlib import Path

import pytest

from noli.core.errors import OutputExists
from noli.core.files import atomic_write, write_new


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
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.png"]
