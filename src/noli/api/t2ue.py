"""T2UE in three steps that share nothing but files: train a generator, make noise from texts, add the noise.

Only :func:`train` and :func:`apply` see pictures: the first those of anybody, the second yours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from noli.core.errors import DataError, UsageError
from noli.core.files import refuse_existing
from noli.core.images import Stored, to_float, to_uint8, to_uint16
from noli.engine.progress import Progress, stage
from noli.engine.request import KeyLike, open_key
from noli.ops import noisestore
from noli.ops.noisestore import Noise
from noli.options import configure

EPS = 8 / 255


def train(
    data: str | Path,
    output: str | Path,
    *,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **options: object,
) -> dict[str, float]:
    """Train a generator on captioned pictures, which may be anybody's, and write it to one file.

    After a kill the same call goes on from the last finished epoch, kept in a hidden folder beside the file.

    Args:
        data: Folder with ``metadata.csv`` (columns ``file_name`` and ``caption``), CSV, or Parquet.
        output: The safetensors file to make.
        progress: Where progress goes.
        config: Fields of :class:`noli.train.options.GeneratorConfig` as a mapping.
        options: The same as arguments; they win over ``config``.

    Returns:
        What the training reached: ``loss``, ``steps``, ``seconds``, ``pictures``, ``captions``.

    Raises:
        UsageError: Unknown option or bad value.
        OutputExists: The file exists.
        DataError: Pictures without a caption, or that cannot be read.
        RunError: The time budget ended before the first pass over the pictures.
        MissingPrerequisite: An encoder is not installed.
    """
    from noli.data.captions import captioned
    from noli.data.sources import open_source
    from noli.train.checkpoint import Checkpoint
    from noli.train.options import GeneratorConfig
    from noli.train.t2ue import learn_generator

    cfg = configure(GeneratorConfig, "t2ue train", {**(config or {}), **options})
    refuse_existing(output)
    bar = progress or Progress()
    checkpoint = Checkpoint(Path(output).with_name(f".{Path(output).name}.learning"))
    try:
        x, captions = captioned(open_source(data), cfg.side, stage(bar, "read"))
        generator, reached = learn_generator(x, captions, cfg, stage(bar, "train"), checkpoint)
    finally:
        bar.finish()
    generator.save(output)
    checkpoint.clear()
    return reached


def generate(
    prompts: Sequence[str],
    key: KeyLike,
    generator: str | Path,
    output: str | Path | None = None,
    *,
    variants: int = 1,
    progress: Progress | None = None,
) -> Noise:
    """Make noise for texts. No picture can go in: there is no argument for one.

    Args:
        prompts: Texts, each as the pictures will have it.
        key: The owner's key; it decides the random vectors.
        generator: File of a trained generator.
        output: New folder that ``noli.protect(..., method="t2ue", store=...)`` takes; None keeps nothing.
        variants: Different noises per prompt.
        progress: Where progress goes.

    Returns:
        Noise ``int8 [N * variants, S, S, 3]``, variants of a prompt side by side; 127 is the bound.
        Equal prompts have equal noise.

    Raises:
        UsageError: One text instead of a sequence, or no key.
        DataError: No prompts, no generator, or one for another text encoder.
        OutputExists: The folder exists.
        MissingPrerequisite: The generator's text encoder is not installed.
    """
    from noli.methods.protect import t2ue

    if isinstance(prompts, str):
        raise UsageError("Prompts are several texts, and this is one.", where="prompts", fix=f"[{prompts!r}]")
    if not prompts or not all(prompt.strip() for prompt in prompts):
        fix = "give one text or more, none of them empty"
        raise DataError("There is no text to make noise from.", where="prompts", fix=fix)
    owner = open_key(key)
    if owner is None:
        raise UsageError("Noise needs a key.", where="key", fix="make one with `noli key new owner.key`")
    if output is not None:
        refuse_existing(output)
    bar = progress or Progress()
    with TemporaryDirectory() as scratch:
        folder = Path(output or scratch)
        try:
            t2ue.generate(
                prompts, owner, str(generator), folder, variants=variants, tell=stage(bar, "imagine")
            )
        finally:
            bar.finish()
        store = noisestore.read(str(folder), t2ue.NOISE)
        return np.array(store.noise[[store.rows[name] for name in t2ue.noise_names(prompts, variants)]])


def apply(picture: Stored, noise: Noise, eps: float = EPS) -> Stored:
    """Add noise to one picture; needs neither torch nor a generator.

    Args:
        picture: ``uint8`` or ``uint16 [H, W, C]``, C is 1 or 3, any size.
        noise: One noise of :func:`generate`, ``int8 [S, S, 3]``.
        eps: Its bound, in [0, 1] units; no channel changes by more.

    Returns:
        The protected picture, of the type and shape of the original.
    """
    height, width, channels = picture.shape
    noisy = to_float(picture[None]) + noisestore.stretched(noise[None], eps, height, width, channels)
    safe: Stored = (to_uint16 if picture.dtype == np.uint16 else to_uint8)(noisy)[0]
    return safe
