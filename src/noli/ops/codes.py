"""What methods share that publish codes instead of pictures: an option to be chosen knowingly, a scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.images import to_float, to_uint8
from noli.core.method import MethodConfig

# Mean and spread of CIFAR-10, which the published code of InstaHide takes for all data.
MEAN, SPREAD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class BrokenConfig(MethodConfig):
    """Options of every method whose protection is known to be broken."""

    i_understand_this_is_broken: bool = Field(
        False, description="say that this protects nothing, and is to be compared or attacked"
    )


def normalised(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return stored images ``uint8 [N, H, W, C]`` as ``[N, C, H, W]``, on the scale of CIFAR-10."""
    mean, spread = (np.array(values[: images.shape[3]])[:, None, None] for values in (MEAN, SPREAD))
    found: npt.NDArray[np.float64] = (to_float(images) - mean) / spread
    return found


def stored(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return normalised values ``[N, C, H, W]`` as stored images ``uint8 [N, H, W, C]``, the way back."""
    mean, spread = (np.array(known[: values.shape[1]])[:, None, None] for known in (MEAN, SPREAD))
    return to_uint8((values * spread + mean).clip(0, 1).astype(np.float32))
