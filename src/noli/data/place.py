"""A folder or file, local or behind an fsspec URL: list, read, and write without leaving half a file."""

from __future__ import annotations

import contextlib
import copy
import datetime
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NoReturn, cast

from noli.core.errors import DataError, OutputExists
from noli.core.files import refuse_existing, storage_error

# Systems keep small copies of pictures here; as companions they would publish them unprotected.
_CACHES = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx"])
_REPOSITORIES = frozenset([".git", ".hg", ".svn", ".venv", ".dvc"])
_LISTED = 1000


def is_url(uri: str | Path) -> bool:
    """Tell whether a location needs fsspec (``file://`` does not)."""
    text = str(uri)
    return ("://" in text or "::" in text) and not text.startswith(("file://", "local://"))


def local_path(uri: str | Path) -> Path:
    """Return the absolute path of a local location, symlinks untouched."""
    text = str(uri).removeprefix("file://").removeprefix("local://")
    return Path(os.path.abspath(text))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def refuse_inside(
    target: str | Path, *data: str | Path | None, new: bool = False, why: str = "it can show originals"
) -> None:
    """Refuse a file inside a local data folder, with which it would be published; if `new`, a taken one, too.

    `why` says what is wrong with it there.

    Raises:
        OutputExists: The target lies inside the data, or exists.
        RunError: Nothing can be written there (only if `new`).
    """
    place = Path(target)
    for folder in data:
        if folder is None or is_url(folder) or not local_path(folder).is_dir():
            continue
        if place.resolve().is_relative_to(local_path(folder).resolve()):
            raise OutputExists(
                "This file would lie inside the data.",
                where=str(target),
                why=f"{why}, and {folder} may be published or protected as a whole",
                fix="name a place outside the data",
            )
    if new:
        refuse_existing(place)


def listed(name: str) -> bool:
    """Tell whether a name is looked at; hidden files, run folders and thumbnail caches are not."""
    hidden = not name or name.startswith(".") or name.endswith(".noli")
    return not hidden and name.lower() not in _CACHES


def _is_device(path: str) -> bool:
    """Tell whether reading might never end: a pipe, a socket or a device."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - twice as fast as Path.stat
    except OSError:
        return False  # a dangling link is listed, and told as a missing file
    return not stat.S_ISREG(mode)


def inside(name: str) -> str | None:
    """Normalise a relative POSIX path; None if it is empty, absolute, a URL, or climbs out of its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "://" in name or not path.parts:
        return None
    return path.as_posix()


def beside(path: str) -> tuple[str, str]:
    """Return the folder of a path and the hidden temporary name that belongs to it."""
    folder, _, base = path.rpartition("/")
    mark = hashlib.sha256(base.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return folder, f"{folder}/.noli-{mark}.tmp"


@contextlib.contextmanager
def write_errors(where: str) -> Iterator[None]:
    """Turn a refusal to write into a `RunError` that names the remedy."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, where) from error


@contextlib.contextmanager
def _read_errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("The file is missing.", where=where, fix="check the path") from error
    except OSError as error:
        why, fix = error.strerror or str(error), "check its permissions, or --on-error skip"
        raise DataError("The file cannot be read.", where=where, why=why, fix=fix) from error


class Place:
    """A root location; all names given to its methods are POSIX paths relative to it. Picklable.

    Methods that read raise `DataError` for what is missing or unreadable, methods that write `RunError`.

    Raises:
        DataError: A URL without a driver.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        self._fs: Any = None
        if not is_url(uri):
            self.root = str(local_path(uri))
            return
        from fsspec.core import url_to_fs

        try:
            self._fs, root = url_to_fs(self.uri)
        except (ImportError, ValueError) as error:
            fix = "install the fsspec driver for this protocol (s3fs, gcsfs, adlfs ...)"
            raise DataError("This URL cannot be opened.", where=self.uri, why=str(error), fix=fix) from error
        self.root = str(root).rstrip("/")

    @property
    def local(self) -> bool:
        """Whether it lies on a local disk."""
        return self._fs is None

    def split(self) -> tuple[Place, str]:
        """Return the folder that holds this place, still with this ``uri``, and the name in that folder."""
        folder = copy.copy(self)
        head, _, name = self.root.rpartition("/")
        folder.root = head or "/"
        return folder, name

    def full(self, name: str = "") -> str:
        """Return the complete path of a name."""
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        """Tell whether a file or folder exists."""
        path = self.full(name)
        return Path(path).exists() if self.local else bool(self._fs.exists(path))

    def is_dir(self, name: str = "") -> bool:
        """Tell whether a folder exists."""
        path = self.full(name)
        return Path(path).is_dir() if self.local else bool(self._fs.isdir(path))

    def listing(self, name: str = "") -> tuple[list[str], list[str]]:
        """Return the subfolders and the other entries of a folder, sorted, without those not `listed`."""
        path = self.full(name)
        with _read_errors(path):
            if self.local:
                _, folders, files = next(os.walk(path, onerror=_raise))
            else:
                _, folders, files = next(self._fs.walk(path, maxdepth=1, on_error="raise"))
        if self.local:
            files = [file for file in files if not _is_device(os.path.join(path, file))]  # noqa: PTH118
        return sorted(filter(listed, folders)), sorted(filter(listed, files))

    def walk(self, name: str = "", _above: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield all files below a folder: a folder's files first, then its subfolders.

        Linked folders are followed, except into one of their own ancestors.
        """
        folders, files = self.listing(name)
        prefix = f"{name}/" if name else ""
        yield from (prefix + file for file in files)
        above = (*_above, self._real(name))
        for folder in folders:
            if self._real(prefix + folder) not in above:
                yield from self.walk(prefix + folder, above)

    def hidden(self) -> Iterator[str]:
        """Yield the files that :meth:`walk` passes over; none of caches, repositories or run folders.

        Only on a local disk: behind a URL nothing is hidden by custom.
        """
        for path, folders, files in os.walk(self.root) if self.local else ():
            above = PurePosixPath(path).relative_to(self.root)
            folders[:] = [
                name
                for name in folders
                if name.lower() not in _CACHES | _REPOSITORIES
                and not Path(path, name, "run.json").exists()  # a run folder
            ]
            inside_hidden = not all(map(listed, above.parts))
            for file in files:
                # "._" files are what macOS writes beside every file on other disks.
                if (inside_hidden or not listed(file)) and not file.startswith("._"):
                    yield (above / file).as_posix()

    def _real(self, name: str) -> str:
        path = self.full(name)
        return os.path.realpath(path) if self.local else path

    def stat(self, name: str = "") -> tuple[int, int]:
        """Return ``(size, modification time in ns)``; 0 where unknown."""
        path = self.full(name)
        with _read_errors(path):
            if self.local:
                status = os.stat(path)  # noqa: PTH116 - twice as fast as Path.stat
                return status.st_size, status.st_mtime_ns
            info = self._fs.info(path)
        return int(info.get("size") or 0), _moment(info)

    def open(self, name: str = "") -> BinaryIO:
        """Open a file for reading."""
        path = self.full(name)
        with _read_errors(path):
            return Path(path).open("rb") if self.local else cast(BinaryIO, self._fs.open(path, "rb"))

    def read(self, name: str = "", size: int = -1) -> bytes:
        """Read a file, or its first ``size`` bytes."""
        with self.open(name) as handle, _read_errors(self.full(name)):
            return handle.read(size)

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step."""
        with self.create(name) as handle:
            handle.write(data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file that takes its place when the block ends well; otherwise nothing is left behind.

        The temporary name depends only on the target, so a redo after a kill replaces its rest. Behind a
        URL the file system's own transaction does the same.
        """
        path = self.full(name)
        folder, temporary = beside(path)
        with write_errors(path):
            if not self.local:
                self._fs.makedirs(folder, exist_ok=True)
                with self._fs.transaction, self._fs.open(path, "wb") as handle:
                    yield handle
                return
            Path(folder).mkdir(parents=True, exist_ok=True)
            try:
                with Path(temporary).open("wb") as handle:
                    yield handle
                    handle.flush()
                    os.fsync(handle.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def copy_missing(self, source: Place, names: Iterable[str]) -> list[str]:
        """Copy files that are not here; return (at most 1,000) names of those that are here otherwise."""
        differ: list[str] = []
        for name in names:
            if not self.exists(name):
                with source.open(name) as reader, self.create(name) as writer:
                    shutil.copyfileobj(reader, writer, 4 << 20)
            elif len(differ) < _LISTED and not self._same(source, name):
                differ.append(name)
        return differ

    def _same(self, source: Place, name: str) -> bool:
        (size, changed), (here, written) = source.stat(name), self.stat(name)
        return size == here and (changed <= written or source.read(name) == self.read(name))


def _raise(error: OSError) -> NoReturn:
    raise error


def _moment(info: dict[str, Any]) -> int:
    known = ("mtime", "LastModified", "last_modified", "updated", "created")
    value = next((info[key] for key in known if info.get(key)), 0)
    if isinstance(value, datetime.datetime):
        value = value.timestamp()
    return int(value * 1e9) if isinstance(value, int | float) else 0
