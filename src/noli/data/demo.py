"""The embedded demo set: crops of fourteen photographs that ship inside the scikit-image package.

One photograph is one class. Its left 75 % of columns give the training crops, the right 25 % the test
crops; a crop is cut before it is resized, so training and test share no pixel. Windows are one to three
times the crop size, placed by SHA-256 of class, split and number: no random generator, the same bytes on
every run with the same Pillow.

The files are read from the installed package's ``data`` folder. `skimage.data` is never imported, because
its functions may download what they miss. All photographs lie inside the scikit-image 0.26 wheel; should
another version lack some, the others are used. The grey ones are stored as RGB with three equal channels,
so that every picture of the set has the same mode.

Most of these photographs can be told apart by colour and brightness alone. The set therefore comes in a
second form, ``equalised``: the same crops in grey with equal histograms, where only detail is left to learn.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps

from noli.core.errors import DataError, MissingPrerequisite, OutputExists, UsageError
from noli.core.files import storage_error

# fmt: off
PHOTOS: tuple[str, ...] = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
    "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg",
    "rocket.jpg",
)
# fmt: on
MARKER = ".noli-demo"
NOTE = "Crops of photographs from scikit-image (public domain or CC0, see its data README)"
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
        what = "The demo set is cut from photographs of scikit-image, which is not installed."
        raise MissingPrerequisite(what, fix="pip install scikit-image")
    return Path(found.submodule_search_locations[0]) / "data"


def photo_crops(
    dest: str | Path,
    *,
    size: int = 32,
    per_class_train: int = 400,
    per_class_test: int = 100,
    equalised: bool = False,
) -> Path:
    """Write the demo set as ``train/<class>/*.png`` and ``test/<class>/*.png``.

    The set appears under its name only when complete. A second call with the same arguments does nothing.

    Args:
        dest: Folder to create; may exist empty.
        size: Side of the crops in pixels, 8 to 96.
        per_class_train: Training crops per class, at least 1.
        per_class_test: Test crops per class, at least 1.
        equalised: Take colour and exposure out: grey crops with equal histograms.

    Returns:
        The folder.

    Raises:
        UsageError: A number outside its range.
        OutputExists: `dest` holds something else, or the demo set with other numbers.
        DataError: The photographs do not give that many different crops.
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
    note = f"{NOTE}: {size} pixels, {per_class_train} + {per_class_test} of each{', equalised' * equalised}\n"
    if _finished(dest, note):
        return dest
    folder = photo_folder()
    photos = [folder / name for name in PHOTOS if (folder / name).is_file()]
    if len(photos) < 2:
        what, fix = "The installed scikit-image lacks the demo photographs.", "pip install --force-reinstall"
        raise MissingPrerequisite(what, where=str(folder), fix=f"{fix} scikit-image")
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}.") as beside:
            made, seen = Path(beside) / dest.name, set[bytes]()
            for photo in photos:
                counts = {"train": per_class_train, "test": per_class_test}
                _cut_photo(photo, made, size, counts, seen, equalised)
            (made / MARKER).write_text(note, encoding="utf-8")
            if dest.exists():
                dest.rmdir()  # an empty folder the user made; not every system renames over it
            made.rename(dest)
    except OSError as error:
        raise storage_error(error, str(dest)) from error
    return dest


def _finished(dest: Path, note: str) -> bool:
    """Tell whether `dest` already holds the wanted set; raise when it holds something else."""
    if not dest.exists() or (dest.is_dir() and not any(dest.iterdir())):
        return False
    marker = dest / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == note:
        return True
    raise OutputExists(
        "The place for the demo set is taken.",
        where=str(dest),
        why="it holds something else, or the demo set with other numbers",
        fix="choose another folder",
    )


def _cut_photo(
    photo: Path, root: Path, size: int, counts: dict[str, int], seen: set[bytes], equalised: bool
) -> None:
    """Write the crops of one photograph; `seen` holds digests of all crops so far."""
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    picture.info.clear()  # profiles and resolutions of single photographs would travel into their crops
    border = int(picture.width * TRAIN_PART)
    columns = {"train": (0, border), "test": (border, picture.width)}
    for split, part in columns.items():
        folder = root / split / photo.stem
        folder.mkdir(parents=True)
        for number in range(counts[split]):
            crop = _fresh_crop(picture, part, size, f"{photo.stem}/{split}/{number}", seen)
            if equalised:
                crop = ImageOps.equalize(crop.convert("L"))
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
    what, fix = "A photograph does not hold that many different crops.", "ask for fewer crops per class"
    raise DataError(what, where=purpose, fix=fix)


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
