"""Pictures with boxes: a folder or a zip file with Pascal-VOC XML, one file a picture.

XML comes from strangers: a document type is refused, so that no entity can grow or fetch anything; depth and
sizes are bounded. Nothing of a zip file is unpacked to a disk.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from noli.core.dataset import ID_LENGTH, Item
from noli.core.errors import DataError
from noli.data.codec import upright
from noli.data.place import listed, local_path
from noli.data.study import square

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_XML_BYTES, _PICTURE_BYTES = 4 << 20, 256 << 20
_DEEPEST, _MOST_BOXES = 32, 10_000
_SHOWN = 3
_PICTURE_FOLDERS = frozenset(("JPEGImages", "images"))
Reader = Callable[[str, int], bytes]
# Text of the fields of one object or of the file, by path below it: ``bndbox/xmin``.
Fields = dict[str, str]


@dataclass(frozen=True)
class Annotation:
    """What a VOC file says of a picture.

    Attributes:
        names: Class of every box.
        boxes: ``float64 [N, 4]``, left, top, right, bottom in pixels of the picture.
        size: Width and height that the file names; 0 where it names none.
        picture: File name of the picture that it names, or empty.
    """

    names: tuple[str, ...]
    boxes: npt.NDArray[np.float64]
    size: tuple[int, int]
    picture: str


@dataclass(frozen=True)
class BoxedPictures:
    """Pictures of one size with boxes.

    Attributes:
        images: ``uint8 [N, side, side, 3]``, squeezed, not cropped.
        boxes: Per picture ``float32 [M, 4]``: left, top, right, bottom in pixels of the squeezed picture.
        labels: Per picture ``int64 [M]``, places in `classes`.
        classes: Sorted names.
        items: Name of the picture, its digest as `id`, that of picture and annotation together as `sha256`.
        dropped: Boxes without an area inside their picture, which were left out.
    """

    images: npt.NDArray[np.uint8]
    boxes: tuple[npt.NDArray[np.float32], ...]
    labels: tuple[npt.NDArray[np.int64], ...]
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    dropped: int = 0

    def split(self, share: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the places of those that train and of those that only test.

        A picture's own digest decides: it stays on its side when others come or go, and so do its copies.

        Args:
            share: Of those that test, in (0, 1); reached on average.

        Raises:
            DataError: One of the sides has fewer than two pictures.
        """
        held = np.array([int(item.id[:13], 16) / 16**13 < share for item in self.items], bool)
        if min(held.sum(), (~held).sum()) < 2:
            why = f"{held.sum()} of {len(held)} fall to the test"
            raise DataError("There are too few pictures with boxes.", why=why, fix="give more pictures")
        return np.flatnonzero(~held), np.flatnonzero(held)


def read_boxes(
    place: str | Path, side: int, *, skip: bool = False, progress: Callable[[int], object] = int
) -> BoxedPictures:
    """Read pictures with boxes from a folder or a zip file.

    An XML file belongs to the picture of the same name without suffix, else to the one that it names: in its
    own folder; else in one that differs in a single part (``Annotations`` and ``JPEGImages``, ``xml/train``
    and ``images/train``); else anywhere, where there is but one. A picture claimed twice is refused.
    Pictures without an XML file are passed over; those with one that names no box are kept.

    Args:
        place: Local folder, or zip file.
        side: Pictures are squeezed to squares of so many pixels.
        skip: Leave out what cannot be used instead of refusing everything.
        progress: Called with 1 after every picture.

    Raises:
        DataError: No such place, no annotations, or files that cannot be used, with their names.
    """
    found: list[_One] = []
    bad: list[tuple[str, DataError]] = []
    with _opened(place) as (names, read):
        pictures = _pictures(names)
        for name in (one for one in names if one.lower().endswith(".xml")):
            try:
                found.append(_read_one(name, pictures, read, side))
            except DataError as error:
                bad.append((name, error))
            progress(1)
    found = _claimed_once(found, bad)
    if (bad and not skip) or not found:
        raise _refusal(str(place), bad, len(found))
    classes = tuple(sorted({name for one in found for name in one.told.names}))
    number = {name: i for i, name in enumerate(classes)}
    return BoxedPictures(
        np.stack([one.image for one in found]),
        tuple(one.told.boxes.astype(np.float32) for one in found),
        tuple(np.array([number[name] for name in one.told.names], np.int64) for one in found),
        classes,
        tuple(one.item for one in found),
        sum(one.dropped for one in found),
    )


def parse_voc(data: bytes, where: str) -> Annotation:
    """Read a Pascal-VOC annotation.

    Args:
        data: The XML file.
        where: Its name, for messages.

    Raises:
        DataError: No XML, one with a document type, boxes without a name or with sides that are no numbers.
    """
    try:
        top, objects = _fields(data)
        boxes = [[_number(one[f"bndbox/{side}"]) for side in _SIDES] for one in objects]
        names = tuple(one["name"] for one in objects)
        if not all(names):
            raise ValueError("a box has no name")
        width, height = (int(_number(top.get(f"size/{side}") or "0")) for side in ("width", "height"))
    except (expat.ExpatError, LookupError, ValueError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError("The annotation cannot be read.", where=where, why=why, items=[where]) from None
    return Annotation(names, np.array(boxes, float).reshape(-1, 4), (width, height), top.get("filename", ""))


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of pixels")
    return value


def _fields(data: bytes) -> tuple[Fields, list[Fields]]:
    """Return the texts of the file by path, and those of each of its objects."""
    top, objects, path, texts = Fields(), list[Fields](), list[str](), list[list[str]]()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which no annotation needs")

    def start(name: str, _: object) -> None:
        path.append(name)
        texts.append([])
        if len(path) > _DEEPEST or len(objects) > _MOST_BOXES:
            raise ValueError("it is nested too deeply, or has too many boxes")
        if path[1:] == ["object"]:
            objects.append({})

    def text(part: str) -> None:
        if texts:
            texts[-1].append(part)

    def end(_: str) -> None:
        inside, whole = len(path) > 2 and path[1] == "object", "".join(texts.pop()).strip()
        # The first of several counts: parts of an object have boxes of their own, deeper down.
        (objects[-1] if inside else top).setdefault("/".join(path[2 if inside else 1 :]), whole)
        path.pop()

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.Parse(data, True)
    return top, objects


@dataclass(frozen=True)
class _One:
    """A squeezed picture, its XML file, its item, boxes at its size, and how many boxes had no area."""

    name: str
    item: Item
    image: npt.NDArray[np.uint8]
    told: Annotation
    dropped: int


def _read_one(name: str, pictures: Mapping[str, list[str]], read: Reader, side: int) -> _One:
    xml = read(name, _XML_BYTES)
    told = parse_voc(xml, name)
    stem = PurePosixPath(name).stem
    picture = _picture(name, pictures.get(stem) or pictures.get(PurePosixPath(told.picture).stem, []), told)
    if picture is None:
        why = f"there is no {stem}.jpg, and no {told.picture or 'other picture that it names'}"
        raise DataError("The annotation has no picture.", where=name, why=why, items=[name])
    content = read(picture, _PICTURE_BYTES)
    pixels = upright(content, picture)
    height, width = pixels.shape[:2]
    if told.size != (width, height) and all(told.size):
        why = f"it was made for {told.size[0]} x {told.size[1]} pixels, the picture has {width} x {height}"
        raise DataError("The annotation is of another picture.", where=name, why=why, items=[name])
    boxes = np.clip(told.boxes, 0, [width, height, width, height])
    good = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    scaled = boxes[good] * ([side / width, side / height] * 2)
    names = tuple(one for one, whole in zip(told.names, good.tolist(), strict=True) if whole)
    own = hashlib.sha256(content)
    both = hashlib.sha256(own.digest() + hashlib.sha256(xml).digest()).hexdigest()
    item = Item(own.hexdigest()[:ID_LENGTH], picture, sha256=both)
    told = Annotation(names, scaled, (side, side), picture)
    return _One(name, item, square(pixels, side, 3), told, int((~good).sum()))


def _pictures(names: list[str]) -> dict[str, list[str]]:
    """Return pictures by name without folder and suffix."""
    found = defaultdict[str, list[str]](list)
    for name in names:
        if name.lower().endswith(_PICTURES):
            found[PurePosixPath(name).stem].append(name)
    return dict(found)


def _picture(name: str, found: list[str], told: Annotation) -> str | None:
    """Return which of several pictures of one stem an XML file is about; None where there is none."""
    own = PurePosixPath(name).parent.parts
    folders = {one: PurePosixPath(one).parent for one in found}

    def near(parts: tuple[str, ...]) -> int:
        differ = sum(a != b for a, b in zip(own, parts, strict=False))
        return min(differ, 2) if len(own) == len(parts) else 2

    nearest = min((near(folder.parts) for folder in folders.values()), default=2)
    left = [one for one in found if near(folders[one].parts) == nearest]
    named = [one for one in left if PurePosixPath(one).name == PurePosixPath(told.picture).name]
    left = named or left
    # Pascal VOC keeps masks of the same name beside its pictures.
    left = [one for one in left if not _PICTURE_FOLDERS.isdisjoint(folders[one].parts)] or left
    if len(left) > 1:
        why = f"it could be of {' or of '.join(left[:_SHOWN])}"
        raise DataError("The annotation has several pictures.", where=name, why=why, items=[name])
    return left[0] if left else None


def _claimed_once(found: list[_One], bad: list[tuple[str, DataError]]) -> list[_One]:
    """Return those whose picture no other XML file claims; the others go to `bad`."""
    claims = defaultdict[str, list[str]](list)
    for one in found:
        claims[one.item.path].append(one.name)
    for picture, names in claims.items():
        for name in names if len(names) > 1 else ():
            why = f"{picture} is claimed by {' and '.join(names[:_SHOWN])}"
            error = DataError("The picture has several annotations.", where=name, why=why, items=[name])
            bad.append((name, error))
    bad.sort(key=lambda one: one[0])
    return [one for one in found if len(claims[one.item.path]) == 1]


@contextmanager
def _opened(place: str | Path) -> Iterator[tuple[list[str], Reader]]:
    """Give the sorted names of all files, and what reads one of them."""
    root, fix = local_path(place), "give a folder or a zip file with pictures and their XML files"
    if root.is_dir():
        names = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_file() and all(map(listed, path.relative_to(root).parts))
        )
        yield names, lambda name, most: _limited(name, lambda: (root / name).open("rb").read(most + 1), most)
        return
    try:
        archive = zipfile.ZipFile(root)
    except (OSError, zipfile.BadZipFile) as error:
        what = "This is neither a folder nor a zip file."
        raise DataError(what, where=str(place), why=str(error), fix=fix) from error
    with archive:
        shown = {one for one in archive.namelist() if all(map(listed, PurePosixPath(one).parts))}
        names = sorted(one for one in shown if not one.endswith("/"))
        yield names, lambda name, most: _limited(name, lambda: archive.open(name).read(most + 1), most)


# zipfile raises what its parts raise, NotImplementedError and RuntimeError (encrypted) among them.
_UNREADABLE = (
    OSError, zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError
)  # fmt: skip


def _limited(name: str, read: Callable[[], bytes], most: int) -> bytes:
    try:
        content = read()
    except _UNREADABLE as error:
        raise DataError("The file cannot be read.", where=name, why=str(error), items=[name]) from error
    if len(content) > most:
        raise DataError("The file is too large.", where=name, why=f"over {most:,} bytes", items=[name])
    return content


def _refusal(place: str, bad: list[tuple[str, DataError]], good: int) -> DataError:
    if not bad:
        fix = "give a folder or a zip file with one XML file a picture, as Pascal VOC has them"
        return DataError("There are no pictures with boxes.", where=place, fix=fix)
    listing = "; ".join(f"{name}: {error.what} ({error.why})" for name, error in bad[:_SHOWN])
    return DataError(
        f"{len(bad)} of {len(bad) + good} annotated pictures cannot be used.",
        where=place,
        why=listing,
        fix="repair or remove them" + (", or leave them out with --on-error skip" if good else ""),
        items=[name for name, _ in bad],
    )
