"""Small pictures cut from the embedded photographs: many, natural, and none twice."""

from __future__ import annotations

import cv2
import numpy as np

from noli.data.demo import PHOTOS, photo_folder


def crops(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Return ``uint8 [count, side, side, 3]``: squares of 48 to 160 pixels at random places, made smaller."""
    draw = np.random.default_rng(seed)
    photos = [cv2.imread(str(photo_folder() / name)) for name in PHOTOS if (photo_folder() / name).exists()]
    photos = [photo for photo in photos if photo is not None and min(photo.shape[:2]) > 170]
    found = []
    while len(found) < count:
        photo = photos[len(found) % len(photos)]
        size = int(draw.integers(48, 160))
        top, left = (int(draw.integers(0, photo.shape[axis] - size)) for axis in (0, 1))
        part = photo[top : top + size, left : left + size, ::-1]
        found.append(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA))
    return np.stack(found)
