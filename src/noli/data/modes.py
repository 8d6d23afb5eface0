"""From decoders to grey or RGB planes with alpha; every conversion of colours leaves a note."""

from __future__ import annotations

import io
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageCms

from noli.data.picture import Pixels

Planes = tuple[Pixels, Pixels | None]
_SPELT = {"1": "L", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB", "RGBX": "RGB"}


def opencv(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> Planes:
    """Decode with OpenCV into pixels ``[H, W, C]`` (grey or RGB) and alpha ``[H, W]``.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            "the pixel data cannot be decoded; it is damaged, or of a rare kind such as lossless JPEG"
        )
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[2] == 3:
        return cast(Pixels, cv2.cvtColor(array, cv2.COLOR_BGR2RGB)), None
    return cast(Pixels, cv2.cvtColor(array, cv2.COLOR_BGRA2RGB)), array[..., 3].copy()


def to_planes(image: Image.Image, notes: list[str]) -> Planes:
    """Convert a Pillow image into pixels ``[H, W, C]`` and alpha ``[H, W]``.

    Raises:
        ValueError: A mode with float or integer samples, or one that is neither grey, RGB nor CMYK.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None], None
    if image.mode in ("P", "PA"):
        image = _expand_palette(image, notes)
    elif image.mode == "CMYK":
        image = _from_cmyk(image, notes)
    elif image.mode in _SPELT:
        grey = "1-bit picture stored as 8-bit grey"
        notes.append(grey if image.mode == "1" else f"{image.mode} converted to RGB")
        image = image.convert(_SPELT[image.mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ValueError(f"pictures of mode {image.mode} are not supported")
    array = np.array(image)
    if array.ndim == 2:
        return array[..., None], None
    return (array[..., :-1].copy(), array[..., -1].copy()) if array.shape[2] in (2, 4) else (array, None)


def _expand_palette(image: Image.Image, notes: list[str]) -> Image.Image:
    colours = image.convert("RGBA")
    red, green, blue, alpha = colours.split()
    grey = red == green == blue
    target = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
    notes.append(f"palette expanded to {target}")
    if not grey:
        return colours.convert(target)
    # The red plane is taken as it is: Pillow's luma weights could round an equal triple by one level.
    return red if target == "L" else Image.merge("LA", (red, alpha))


def _from_cmyk(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info.get("icc_profile") or b""))
        turned = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        notes.append("CMYK converted to sRGB through its profile")
    except (ImageCms.PyCMSError, OSError):
        turned = image.convert("RGB")
        notes.append("CMYK converted to RGB without a usable profile")
    return cast(Image.Image, turned)
