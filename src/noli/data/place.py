"""A folder on disk or behind an fsspec URL: list, read, and write without ever leaving half a file."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from noli.core.errors import DataError, RunError

_FIXES = {
    errno.ENOSPC: "free some space and run the same command again; it resumes",
    errno.EDQUOT: "raise the quota or free some space and run the same command again; it resumes",
    errno.EROFS: "choose an output on a writable disk",
    errno.EACCES: "choose an output you may write to, or correct the permissions",
    errno.EPERM: "choose an output you may write to, or correct the permissions",
}
# Systems keep small copies of pictures here; as companions they would publish them unprotected.
_CACHES = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx"])
_COPY_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing."""

    name: str
    is_dir: bool
    size: int
    mtime_ns: int
    real: tuple[int, int] = (0, 0)


def is_url(uri: str | Path) -> bool:
    """Tell whether a location needs fsspec (``file://`` does not)."""
    text = str(uri)
    return ("://" in text or "::" in text) and not text.startswith(("file://", "local://"))


def local_path(uri: str | Path) -> Path:
    """Return the absolute path of a local location, symlinks untouched."""
    text = str(uri)
    for head in ("file://", "local://"):
        text = text.removeprefix(head)
    return Path(os.path.abspath(text))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def listed(name: str) -> bool:
    """Tell whether a name is looked at; hidden files, run folders and thumbnail caches are not."""
    return not name.startswith(".") and not name.endswith(".noli") and name.lower() not in _CACHES


@contextlib.contextmanager
def write_errors(where: str) -> Iterator[None]:
    """Turn an operating system's refusal to write into a typed error with the remedy."""
    try:
        yield
    except OSError as error:
        raise RunError(
            "Writing failed.",
            where=where,
            why=error.strerror or str(error),
            fix=_FIXES.get(error.errno or 0, "correct the cause and run the same command again; it resumes"),
        ) from error


def beside(path: str) -> tuple[str, str]:
    """Return the folder of a path and the hidden temporary name that belongs to it."""
    folder, _, base = path.rpartition("/")
    mark = hashlib.sha256(base.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return folder, f"{folder}/.noli-{mark}.tmp"


class Place:
    """A root location; all names given to its methods are POSIX paths relative to it. Picklable."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        self._fs: Any = None
        if is_url(uri):
            from fsspec.core import url_to_fs

            try:
                self._fs, root = url_to_fs(self.uri)
            except (ImportError, ValueError) as error:
                fix = "install the fsspec driver for this protocol (s3fs, gcsfs, adlfs ...)"
                raise DataError(
                    "This URL cannot be opened.", where=self.uri, why=str(error), fix=fix
                ) from error
            self.root = str(root).rstrip("/")
        else:
            self.root = str(local_path(uri))

    @property
    def local(self) -> bool:
        """Whether it lies on a local disk."""
        return self._fs is None

    @property
    def shared(self) -> bool:
        """Whether other processes see the same content (not so for ``memory://``)."""
        return self._fs is None or "memory" not in self._fs.protocol

    def full(self, name: str = "") -> str:
        """Return the complete path of a name."""
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def exists(self, name: str = "") -> bool:
        """Tell whether a file or folder exists."""
        path = self.full(name)
        return Path(path).exists() if self._fs is None else bool(self._fs.exists(path))

    def is_dir(self, name: str = "") -> bool:
        """Tell whether a folder exists."""
        path = self.full(name)
        return Path(path).is_dir() if self._fs is None else bool(self._fs.isdir(path))

    def entries(self, name: str = "") -> list[Entry]:
        """List one folder, sorted by name, without hidden names and run folders.

        Raises:
            DataError: The folder cannot be listed.
        """
        path = self.full(name)
        try:
            found = _local_entries(path) if self._fs is None else self._remote_entries(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return sorted(found, key=lambda entry: entry.name)

    def _remote_entries(self, path: str) -> list[Entry]:
        found = []
        for info in self._fs.ls(path, detail=True):
            name = str(info["name"]).rstrip("/").rpartition("/")[2]
            if name and listed(name) and str(info["name"]).rstrip("/") != path:
                size, moment = int(info.get("size") or 0), _moment(info)
                found.append(Entry(name, info["type"] == "directory", size, moment))
        return found

    def walk(self, name: str = "", _above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, Entry]]:
        """Yield ``(path, entry)`` of all files below a folder: a folder's files first, then its subfolders.

        Linked folders are followed, except into one of their own ancestors.
        """
        if self.local and not _above:
            status = Path(self.full(name)).stat()
            _above = ((status.st_dev, status.st_ino),)
        entries = self.entries(name)
        prefix = f"{name}/" if name else ""
        for entry in entries:
            if not entry.is_dir:
                yield prefix + entry.name, entry
        for entry in entries:
            if entry.is_dir and (not self.local or entry.real not in _above):
                yield from self.walk(prefix + entry.name, (*_above, entry.real))

    def stat(self, name: str = "") -> tuple[int, int]:
        """Return ``(size, modification time in ns)``; 0 where unknown.

        Raises:
            DataError: The file is missing or unreadable.
        """
        path = self.full(name)
        try:
            if self._fs is None:
                status = os.stat(path)  # noqa: PTH116 - twice as fast as Path.stat
                return status.st_size, status.st_mtime_ns
            info = self._fs.info(path)
            return int(info.get("size") or 0), _moment(info)
        except OSError as error:
            raise _unreadable(path, error) from error

    def open(self, name: str = "") -> BinaryIO:
        """Open a file for reading.

        Raises:
            DataError: The file is missing or unreadable.
        """
        path = self.full(name)
        try:
            return Path(path).open("rb") if self._fs is None else cast(BinaryIO, self._fs.open(path, "rb"))
        except OSError as error:
            raise _unreadable(path, error) from error

    def read(self, name: str = "", size: int = -1) -> bytes:
        """Read a file, or its first ``size`` bytes.

        Raises:
            DataError: The file is missing or unreadable.
        """
        with self.open(name) as handle:
            try:
                return handle.read(size)
            except OSError as error:
                raise _unreadable(self.full(name), error) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step.

        Raises:
            RunError: The disk refused; nothing half-written stays.
        """
        with self.create(name) as handle:
            handle.write(data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file through a temporary one beside it, which takes its place when the block ends well.

        The temporary name depends only on the target, so a redo after a kill replaces what was left behind.

        Raises:
            RunError: The disk refused; nothing half-written stays.
        """
        path = self.full(name)
        folder, temporary = beside(path)
        with write_errors(path):
            if self._fs is not None:
                with self._create_remote(folder, temporary, path) as handle:
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

    @contextlib.contextmanager
    def _create_remote(self, folder: str, temporary: str, path: str) -> Iterator[IO[bytes]]:
        self._fs.makedirs(folder, exist_ok=True)
        try:
            with self._fs.open(temporary, "wb") as handle:
                yield handle
            if self._fs.exists(path):
                self._fs.rm_file(path)
            self._fs.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    def copy_from(self, source: Place, name: str) -> None:
        """Copy one file of another place to the same name here, unless it is there already, unchanged.

        Raises:
            DataError: The source is unreadable.
            RunError: The disk refused.
        """
        size, moment = source.stat(name)
        if self.exists(name):
            here, written = self.stat(name)
            if here == size and written >= moment:
                return
        with source.open(name) as reader, self.create(name) as writer:
            shutil.copyfileobj(reader, writer, _COPY_CHUNK)


def check_name(name: str, where: str) -> str:
    """Normalise a relative POSIX path from a table.

    Raises:
        DataError: The path is absolute, a URL, or climbs out of its folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "://" in name or not path.parts:
        raise DataError(
            "A listed path lies outside the folder of its table.",
            where=where,
            why=f"got {name!r}",
            fix="move the images beside or below the table and list them by relative paths",
            items=(name,),
        )
    return path.as_posix()


def _local_entries(path: str) -> list[Entry]:
    found = []
    with os.scandir(path) as handle:
        for item in handle:
            if not listed(item.name):
                continue
            try:
                folder = item.is_dir()
                status = item.stat()
                real = (status.st_dev, status.st_ino)
                found.append(Entry(item.name, folder, status.st_size, status.st_mtime_ns, real))
            except OSError:  # a dangling or circular link: kept, so that the scan can name it
                found.append(Entry(item.name, False, 0, 0))
    return found


def _moment(info: dict[str, Any]) -> int:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime.datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0


def _unreadable(path: str, error: OSError) -> DataError:
    missing = isinstance(error, FileNotFoundError)
    return DataError(
        "The file is missing." if missing else "The file cannot be read.",
        where=path,
        why=None if missing else error.strerror or str(error),
        fix="check the path" if missing else "check its permissions, or --on-error skip",
    )
