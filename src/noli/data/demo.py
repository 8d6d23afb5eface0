"""The embedded demo set: crops of fourteen photographs that ship inside the scikit-image package.

One photograph is one class. Its left 75 % of columns give the training crops, the right 25 % the test
crops; a crop is cut before it is resized, so training and test share no pixel. Windows are one to three
times the crop size (32 to 96 pixels for 32-pixel crops), placed by SHA-256 of class, split and number: no
random generator, the same bytes on every run with the same Pillow.

The files are read from the installed package's ``data`` folder and nowhere else. `skimage.data` is never
imported, because its functions may download what they miss. All of :data:`PHOTOS` lie inside the
scikit-image 0.26 wheel; should another version lack some, the others are used and the marker file names
the missing ones. Six photographs are grey (camera, brick, grass, gravel, coins, moon). They are stored as
RGB with three equal channels, so that every picture of the set has the same mode.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from noli.core.errors import DataError, MissingPrerequisite, OutputExists, RunError, UsageError

PHOTOS: tuple[str, ...] = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
MARKER = ".noli-demo.json"
SPLITS = ("train", "test")
TRAIN_PART = 0.75
# The narrowest photograph (coins, 384 x 303) leaves a test strip 96 pixels wide.
SIZES = range(8, 97)
TRIES_PER_CROP = 50


def photo_folder() -> Path:
    """Return the photograph folder of the installed scikit-image, without importing it.

    Raises:
        MissingPrerequisite: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise MissingPrerequisite(
            "The demo set is cut from photographs of scikit-image, which is not installed.",
            fix="pip install scikit-image",
        )
    return Path(next(iter(found.submodule_search_locations))) / "data"


def photo_crops(
    dest: str | Path, *, size: int = 32, per_class_train: int = 400, per_class_test: int = 100
) -> Path:
    """Write the demo set as ``train/<class>/*.png`` and ``test/<class>/*.png``.

    The set appears under its name only when complete, with a hidden marker file that lists the photographs
    and their digests. A second call with the same arguments does nothing.

    Args:
        dest: Folder to create; may exist empty.
        size: Side of the crops in pixels, 8 to 96.
        per_class_train: Training crops per class, at least 1.
        per_class_test: Test crops per class, at least 1.

    Returns:
        The folder.

    Raises:
        UsageError: A number outside its range.
        OutputExists: `dest` holds something else, or the demo set with other numbers.
        DataError: `dest` holds this demo set, but pictures were removed or added.
        MissingPrerequisite: scikit-image, or most of its photographs, are missing.
        RunError: The folder cannot be written.
    """
    if size not in SIZES or per_class_train < 1 or per_class_test < 1:
        raise UsageError(
            "The demo set cannot be cut with these numbers.",
            why=f"size {size}, {per_class_train} + {per_class_test} per class",
            fix=f"take a size from {SIZES[0]} to {SIZES[-1]} and at least one crop per class and split",
        )
    dest = Path(dest)
    wanted = {"size": size, "train": per_class_train, "test": per_class_test}
    if _finished(dest, wanted):
        return dest
    folder = photo_folder()
    photos = [name for name in PHOTOS if (folder / name).is_file()]
    missing = [name for name in PHOTOS if name not in photos]
    if len(photos) < 2:
        raise MissingPrerequisite(
            "The installed scikit-image lacks the demo photographs.",
            where=str(folder),
            fix="pip install --force-reinstall scikit-image",
        )
    try:
        _build(dest, [folder / name for name in photos], missing, wanted)
    except OSError as error:
        raise RunError(
            "The demo set could not be written; nothing was left behind.",
            where=str(dest),
            why=str(error),
            fix="free space or choose another folder",
        ) from error
    return dest


def _finished(dest: Path, wanted: dict[str, int]) -> bool:
    """Tell whether `dest` already holds the wanted set; raise when it holds something else."""
    if not dest.is_dir():
        if dest.exists():
            raise OutputExists("The demo set needs a folder.", where=str(dest), why="there is a file")
        return False
    try:
        note = json.loads((dest / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        if any(dest.iterdir()):
            raise OutputExists(
                "The folder for the demo set is taken.",
                where=str(dest),
                why="it holds files that are not a finished demo set",
                fix="choose another folder",
            ) from None
        return False
    if note.get("wanted") != wanted:
        raise OutputExists(
            "The folder holds the demo set with other numbers.",
            where=str(dest),
            why=f"it has {note.get('wanted')}, asked were {wanted}",
            fix="choose another folder",
        )
    there = sum(1 for split in SPLITS for _ in (dest / split).glob("*/*.png"))
    if there != note.get("crops"):
        raise DataError(
            "The demo set was changed after it was made.",
            where=str(dest),
            why=f"{there} pictures instead of {note.get('crops')}",
            fix="delete the folder and run again",
        )
    return True


def _build(dest: Path, photos: list[Path], missing: list[str], wanted: dict[str, int]) -> None:
    """Write everything beside `dest` and move it into place at the end."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    partial = dest.parent / f".{dest.name}.partial-{os.getpid()}-{secrets.token_hex(4)}"
    partial.mkdir()
    try:
        digests: dict[str, str] = {}
        seen: set[bytes] = set()
        for photo in photos:
            digests[photo.name] = hashlib.sha256(photo.read_bytes()).hexdigest()
            _cut_photo(photo, partial, wanted, seen)
        note = {
            "about": "Crops of photographs from scikit-image (public domain or CC0, see its data README)",
            "wanted": wanted,
            "crops": len(photos) * (wanted["train"] + wanted["test"]),
            "photos": digests,
            "missing": missing,
        }
        (partial / MARKER).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        _move(partial, dest, wanted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, dest: Path, wanted: dict[str, int]) -> None:
    if dest.is_dir():
        with contextlib.suppress(OSError):
            dest.rmdir()  # an empty folder the user made; not every system renames over it
    try:
        partial.rename(dest)
    except OSError:
        if not _finished(dest, wanted):  # somebody else finished the same set meanwhile: fine
            raise


def _cut_photo(photo: Path, root: Path, wanted: dict[str, int], seen: set[bytes]) -> None:
    """Write the crops of one photograph; `seen` holds digests of all crops so far."""
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    picture.info.clear()  # profiles and resolutions of single photographs would travel into their crops
    border = int(picture.width * TRAIN_PART)
    columns = {"train": (0, border), "test": (border, picture.width)}
    for split in SPLITS:
        folder = root / split / photo.stem
        folder.mkdir(parents=True)
        for number in range(wanted[split]):
            crop = _fresh_crop(
                picture, columns[split], wanted["size"], f"{photo.stem}/{split}/{number}", seen
            )
            crop.save(folder / f"{number:04d}.png", format="PNG", compress_level=6)


def _fresh_crop(
    picture: Image.Image, columns: tuple[int, int], size: int, purpose: str, seen: set[bytes]
) -> Image.Image:
    """Return a crop that is neither one flat colour (black sky) nor equal to an earlier one."""
    for left, top, side in _windows(columns, picture.height, size, purpose):
        # Cut first: Pillow's resize(box=...) reads beyond the box, across the border between the splits.
        crop = picture.crop((left, top, left + side, top + side))
        crop = crop.resize((size, size), Image.Resampling.BOX)
        pixels = np.asarray(crop)
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest not in seen and bool((pixels != pixels[0, 0]).any()):
            seen.add(digest)
            return crop
    raise DataError(
        "A photograph does not hold that many different crops.",
        where=purpose,
        fix="ask for fewer crops per class",
    )


def _windows(
    columns: tuple[int, int], height: int, size: int, purpose: str
) -> Iterator[tuple[int, int, int]]:
    """Yield candidate windows ``(left, top, side)`` inside the columns, fixed by `purpose` alone."""
    left, right = columns
    largest = min(3 * size, right - left, height)
    for attempt in range(TRIES_PER_CROP):
        digest = hashlib.sha256(f"noli photo crop {purpose} {attempt}".encode()).digest()
        a, b, c = (int.from_bytes(digest[i : i + 8]) for i in (0, 8, 16))
        side = size + a % (largest - size + 1)
        yield left + b % (right - left - side + 1), c % (height - side + 1), side
