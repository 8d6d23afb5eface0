"""Pillow's colour modes to grey or RGB planes with alpha; every conversion leaves a note."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from noli.data.header import unsupported
from noli.data.picture import Pixels


@dataclass
class Planes:
    """Pixels ``[H, W, C]``, alpha ``[H, W]`` or None, the profile that now applies, and notes."""

    pixels: Pixels
    alpha: Pixels | None
    icc: bytes | None
    notes: list[str]


def to_planes(image: Image.Image, icc: bytes | None, where: str) -> Planes:
    """Convert a loaded Pillow image.

    Raises:
        DataError: A mode with float or integer samples, or one that is neither grey, RGB nor CMYK.
    """
    notes: list[str] = []
    mode = image.mode
    if mode == "1":
        notes.append("1-bit picture stored as 8-bit grey")
        image = image.convert("L")
    elif mode in ("P", "PA"):
        image = _expand_palette(image, notes)
    elif mode == "CMYK":
        image, icc = _from_cmyk(image, icc, notes), None
    elif mode in ("YCbCr", "RGBX", "RGBa", "La"):
        notes.append(f"{mode} converted to RGB")
        image = image.convert({"RGBa": "RGBA", "La": "LA"}.get(mode, "RGB"))
    if mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint16)[..., None]
        return Planes(wide, None, icc, notes)
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        fix = "convert it to 8 or 16-bit grey or RGB"
        raise unsupported(where, f"picture of mode {image.mode}", fix)
    array = np.asarray(image)
    if array.ndim == 2:
        return Planes(array[..., None].copy(), None, icc, notes)
    if array.shape[2] in (2, 4):
        return Planes(array[..., :-1].copy(), array[..., -1].copy(), icc, notes)
    return Planes(array.copy(), None, icc, notes)


def _expand_palette(image: Image.Image, notes: list[str]) -> Image.Image:
    with_alpha = image.mode == "PA" or "transparency" in image.info
    colours = image.convert("RGBA")
    grey = _is_grey(colours)
    target = ("LA" if with_alpha else "L") if grey else ("RGBA" if with_alpha else "RGB")
    notes.append(f"palette expanded to {target}")
    if not grey:
        return colours if with_alpha else colours.convert("RGB")
    # The red plane is taken as it is: Pillow's luma weights could round an equal triple by one level.
    plane = colours.getchannel("R")
    return Image.merge("LA", (plane, colours.getchannel("A"))) if with_alpha else plane


def _is_grey(colours: Image.Image) -> bool:
    red, green, blue, _ = (np.asarray(band) for band in colours.split())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def _from_cmyk(image: Image.Image, icc: bytes | None, notes: list[str]) -> Image.Image:
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            target = ImageCms.createProfile("sRGB")
            turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            turned = None
        if turned is not None:
            notes.append("CMYK converted to sRGB through its profile")
            return turned
    notes.append("CMYK converted to RGB without a usable profile")
    return image.convert("RGB")
