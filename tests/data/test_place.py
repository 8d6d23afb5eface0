"""Places: listing, loops of links, odd names, and writing that never leaves half a file."""

import errno
import os
import sys
from pathlib import Path

import fsspec
import pytest
from making import pickled

from noli.core.errors import DataError, RunError
from noli.data import batch
from noli.data.batch import write_files
from noli.data.place import Place, inside, is_url, local_path

ODD = [
    "a b.txt",
    "ünï çode.txt",
    "new\nline.txt",
    "percent%20.txt",
    "star*?[1].txt",
    "-dash.txt",
    "x" * 240 + ".txt",
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_while_writing(place: Place, name: str) -> None:
    with place.create(name) as handle:
        handle.write(b"new")
        raise ZeroDivisionError


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://root"
    fs.store.clear()


def test_which_locations_are_urls() -> None:
    assert is_url("memory://a")
    assert is_url("zip://x::s3://b/c.zip")
    assert not is_url("/home/a")
    assert not is_url("file:///home/a")
    assert local_path("file:///home/../home/a") == Path("/home/a")


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_write_list_read(kind: str, tmp_path: Path, memory: str) -> None:
    place = Place(tmp_path if kind == "local" else memory)
    for number, name in enumerate(ODD):
        place.write(f"deep/er/{name}", bytes([number]))
    assert place.listing("deep/er") == ([], sorted(ODD))
    assert place.listing("deep") == (["er"], [])
    assert list(place.walk()) == [f"deep/er/{name}" for name in sorted(ODD)]
    assert all(place.read(f"deep/er/{name}") == bytes([n]) for n, name in enumerate(ODD))
    assert place.stat(f"deep/er/{ODD[0]}")[0] == 1
    assert place.exists("deep")
    assert place.is_dir("deep")
    assert not place.exists("shallow")
    again = pickled(place)
    assert again.read(f"deep/er/{ODD[1]}") == bytes([1])


def test_hidden_names_and_run_folders_are_not_listed(tmp_path: Path) -> None:
    for name in (".git/x", "safe.noli/run.json", "a/.hidden", "a/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(Place(tmp_path).walk()) == ["a/b"]


def test_links_are_followed_but_loops_end(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "1").write_text("1")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "data" / "a")
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "data" / "self").symlink_to("self")
    assert list(Place(tmp_path / "data").walk()) == ["gone", "self", "a/1", "b/1"]


def test_missing_and_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for action in (place.read, place.stat, place.listing):
        with pytest.raises(DataError, match="missing") as caught:
            action("nothing")
        assert "nothing" in str(caught.value.where)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        place.read("folder")


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write("a", b"old")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(place, "a")
    assert place.read("a") == b"old"
    assert names(tmp_path) == ["a"]


def test_a_left_over_temporary_is_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.create("a") as handle:
        handle.write(b"1")
        handle.flush()
        (left,) = names(tmp_path)
    (tmp_path / left).write_bytes(b"killed here")
    place.write("a", b"2")
    assert names(tmp_path) == ["a"]
    assert place.read("a") == b"2"


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "space"), (errno.EROFS, "can be written"), (errno.EACCES, "permission")],
)
def test_refusals_of_the_disk_name_the_remedy(
    number: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(batch, "_flush_file_system", lambda _: False)
    place = Place(tmp_path)
    with pytest.raises(RunError, match=r"is full|cannot be written") as caught:
        place.write("a", b"x")
    assert word in str(caught.value.fix)
    with pytest.raises(RunError) as caught:
        write_files(place, [(f"{i}", b"x") for i in range(20)])
    assert word in str(caught.value.fix)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "beside", lambda _: (str(tmp_path), "/dev/full"))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(RunError) as caught:
        write_files(Place(tmp_path), [("a", b"x" * 9)])
    assert "space" in str(caught.value.fix)


def test_write_files_writes_all(tmp_path: Path) -> None:
    files = [(f"{i % 3}/{i}.bin", bytes([i]) * i) for i in range(40)]
    place = Place(tmp_path)
    write_files(place, files)
    write_files(place, files)  # idempotent
    write_files(place, files[:3])  # few files take the other way
    assert dict(files) == {name: place.read(name) for name in place.walk()}
    assert sum(1 for p in tmp_path.rglob("*") if p.is_file()) == 40


def test_write_files_removes_temporaries_when_one_file_fails(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()  # a folder where a file should go
    with pytest.raises(RunError):
        write_files(Place(tmp_path), [(str(i), b"x") for i in range(10)])
    assert not list(tmp_path.glob(".noli*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="syncfs is Linux's")
def test_file_system_flush_works_here(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert batch._flush_file_system(str(tmp_path / "a"))


def test_remote_writes_go_through_a_temporary(memory: str) -> None:
    place = Place(memory)
    place.write("a", b"1")
    place.write("a", b"2")
    assert place.read("a") == b"2"
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(place, "a")
    assert place.read("a") == b"2"
    assert [name for name in fsspec.filesystem("memory").store if "noli" in name] == []


def test_unknown_protocols_name_the_remedy() -> None:
    with pytest.raises(DataError, match="cannot be opened") as caught:
        Place("nosuchprotocol://bucket/x")
    assert "driver" in str(caught.value.fix)


@pytest.mark.parametrize("bad", ["/etc/passwd", "../up.png", "a/../../b", "", "http://x/y.png"])
def test_paths_that_leave_the_folder_are_refused(bad: str) -> None:
    assert inside(bad) is None


def test_harmless_paths_are_normalised() -> None:
    assert inside("./a//b.png") == "a/b.png"
