"""The medical data sets of the benchmarks: chest X-rays and blood cells. Both files are optional."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from common import DATA
from noli.data.study import square

BLOOD_CLASSES = ("Platelets", "RBC", "WBC")
SIDE = 32


@dataclass(frozen=True)
class MedicalSet:
    """Training and held-out images ``uint8 [N, S, S, C]`` with labels and the names of the classes."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]

    def counts(self) -> dict[str, list[int]]:
        """Images per class, in the order of the names."""
        parts = {"training": self.y, "test": self.test_y}
        return {part: np.bincount(y, minlength=len(self.classes)).tolist() for part, y in parts.items()}


def available(name: str) -> Path:
    """The path of a data file; exits with a message where it is not there."""
    path = DATA / name
    if not path.exists():
        raise SystemExit(f"not available: {path} (set NOLI_BENCH_DATA)")
    return path


def chest(side: int) -> MedicalSet:
    """Chest X-rays, grey: no finding, pneumonia, COVID-19 (4 : 4 : 1).

    Identical images are kept once; a quarter of every class is held out. The file names no patients: two
    images of one may lie on either side. The classes come from two collections, which a network can tell
    apart by more than the disease.
    """
    stored = np.load(available("covid_xray_64.npz"))
    _, first = np.unique(stored["images"].reshape(len(stored["images"]), -1), axis=0, return_index=True)
    first.sort()
    x = np.stack([square(image[..., None], side, 1) for image in stored["images"][first]])
    y = stored["labels"][first].astype(np.int64)
    held = held_out(y, 0.25)
    return MedicalSet(x[~held], y[~held], x[held], y[held], tuple(map(str, stored["classes"])))


def held_out(labels: np.ndarray, share: float) -> np.ndarray:
    """Choose `share` of every class, rounded; always the same items for the same labels."""
    chosen, generator = np.zeros(len(labels), bool), np.random.default_rng(0)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: round(share * len(rows))]] = True
    return chosen


def blood() -> MedicalSet:
    """Blood cells in colour: platelets, red and white cells, cut out of smears and squeezed to 32 x 32 px.

    The package's own lists: training on `train`, testing on `val` and `test`, so no smear is in both. Red
    cells are ten times as many as the others: of either part as many are drawn as it has white cells.
    """
    with zipfile.ZipFile(available("bccd.zip")) as package:
        parts = [balanced(*cells(package, names)) for names in (("train",), ("val", "test"))]
    return MedicalSet(*parts[0], *parts[1], BLOOD_CLASSES)


def cells(package: zipfile.ZipFile, lists: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All cells of some lists of smears: ``uint8 [N, 32, 32, 3]`` and labels."""
    images, labels = [], []
    for name in (line for part in lists for line in package.read(f"BCCD/ImageSets/Main/{part}.txt").split()):
        smear = name.decode()
        data = np.frombuffer(package.read(f"BCCD/JPEGImages/{smear}.jpg"), np.uint8)
        pixels = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        for label, (left, top, right, bottom) in boxes(package.read(f"BCCD/Annotations/{smear}.xml")):
            images.append(square(pixels[top:bottom, left:right], SIDE, 3))
            labels.append(BLOOD_CLASSES.index(label))
    return np.stack(images), np.array(labels, np.int64)


def boxes(xml: bytes) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Class and ``left, top, right, bottom`` (from 0, the ends exclusive) of every box of 8 px or more."""
    for found in ElementTree.fromstring(xml).iter("object"):  # noqa: S314 - our own data, no entities
        left, top, right, bottom = (
            int(found.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        left, top = max(left - 1, 0), max(top - 1, 0)
        if min(right - left, bottom - top) >= 8:
            yield found.findtext("name", ""), (left, top, right, bottom)


def balanced(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep as many red cells as there are white ones, drawn with a fixed seed."""
    red, white = (BLOOD_CLASSES.index(name) for name in ("RBC", "WBC"))
    reds = np.random.default_rng(0).permutation(np.flatnonzero(y == red))[: int((y == white).sum())]
    kept = np.sort(np.concatenate([reds, np.flatnonzero(y != red)]))
    return x[kept], y[kept]
