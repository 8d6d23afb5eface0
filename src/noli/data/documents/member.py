"""One member of a zip file: read it, and put another content in its place without touching the others."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from noli.core.errors import DataError

_LOCATOR, _DESCRIPTOR = b"PK\6\7", b"PK\7\x08"
_END_SIZE, _ENTRY_SIZE, _LOCAL_SIZE, _LOCATOR_SIZE = 22, 46, 30, 20
_STREAMED = 8
_ZIP64 = 0xFFFFFFFF
_DAMAGE = (
    zipfile.BadZipFile,
    KeyError,
    RuntimeError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OSError,
)


class Member:
    """A member of a zip file.

    Args:
        name: The file's name, for messages.
        data: The zip file.
        member: The member's name.
        limit: The most bytes that its content may have.

    Raises:
        DataError: No zip file, or a damaged, encrypted or too large one; no such member.

    Attributes:
        content: What the member holds.
    """

    def __init__(self, name: str, data: bytes, member: str, limit: int) -> None:
        self._data = data
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                self._infos, self._info = archive.infolist(), archive.getinfo(member)
                self._end = len(data) - _END_SIZE - len(archive.comment)
                if max(self._info.file_size, self._info.compress_size) > limit:
                    raise ValueError(f"{member} is larger than {limit >> 20} MiB")
                self.content = archive.read(member)
            self._start, self._descriptor = self._place()
        except _DAMAGE as error:
            why = str(error).strip("\"'")
            raise DataError("The document cannot be read.", where=name, why=why, items=[name]) from None

    def replaced(self, content: bytes) -> bytes:
        """Return the zip file with another content; the bytes of all other members stay."""
        if content == self.content:
            return self._data
        body = content if self._info.compress_type == zipfile.ZIP_STORED else _deflated(content)
        sizes = struct.pack("<3I", zlib.crc32(content), len(body), len(content))
        stop = self._start + self._info.compress_size
        data = bytearray(self._data)
        self._move(data, len(body) - self._info.compress_size, sizes)
        if self._descriptor:
            data[self._descriptor : self._descriptor + 12] = sizes
        local = self._info.header_offset + 14
        if any(data[local : local + 12]):
            data[local : local + 12] = sizes
        data[self._start : stop] = body
        return bytes(data)

    def _move(self, data: bytearray, distance: int, sizes: bytes) -> None:
        """Set the sizes in the directory, and the places of what stands behind the member."""
        (at,) = struct.unpack_from("<I", data, self._end + 16)
        struct.pack_into("<I", data, self._end + 16, at + distance)
        for info in self._infos:
            if info is self._info:
                data[at + 16 : at + 28] = sizes
            elif info.header_offset > self._info.header_offset:
                struct.pack_into("<I", data, at + 42, info.header_offset + distance)
            at += _ENTRY_SIZE + sum(struct.unpack_from("<3H", data, at + 28))

    def _place(self) -> tuple[int, int]:
        """Return where the member's data starts, and where its sizes stand behind it (0: nowhere)."""
        info, data, at = self._info, self._data, self._info.header_offset
        size, directory = struct.unpack_from("<2I", data, self._end + 12)
        large = data[self._end - _LOCATOR_SIZE :].startswith(_LOCATOR)
        if large or directory + size != self._end or _ZIP64 in struct.unpack_from("<2I", data, at + 18):
            raise ValueError("it is a zip file of the kind for large files, or has other data around it")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("its text is compressed in an unusual way")
        if [other.filename for other in self._infos].count(info.filename) > 1:
            raise ValueError(f"it has two members {info.filename}")
        start = at + _LOCAL_SIZE + sum(struct.unpack_from("<2H", data, at + 26))
        behind = start + info.compress_size
        if not info.flag_bits & _STREAMED:
            return start, 0
        behind += 4 * data[behind : behind + 4].startswith(_DESCRIPTOR)
        if struct.unpack_from("<3I", data, behind) != (info.CRC, info.compress_size, info.file_size):
            raise ValueError("the sizes behind its text are damaged, or of the kind for large files")
        return start, behind


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()
