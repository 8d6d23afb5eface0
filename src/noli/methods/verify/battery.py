"""The battery: what trainers do to protected images, and one training under one of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.evidence import Level
from noli.methods.verify.config import Config
from noli.methods.verify.subject import Images, Labels, LearnabilityData
from noli.ops.countermeasures import grayscale, jpeg
from noli.ops.leak import leak_attack

if TYPE_CHECKING:
    from noli.train.fit import Callback

Extra = Literal["", "cutout+mixup", "adversarial", "rsk+ff", "coin"]
View = Callable[[Images], npt.NDArray[Any]]
Part = Literal["protected", "clean", "mixed", "clean-part"]
REFERENCE = "crop+flip"


@dataclass(frozen=True)
class Measure:
    """One countermeasure.

    Attributes:
        name: Row name.
        about: What the trainer does, in plain words.
        level: Attacker level; ``context`` rows never decide.
        augment: Whether random crops and flips are used as well.
        extra: Callback that acts on every batch.
        squeeze: Applied once to all training images.
        view: Second form of the test images (what the trainer would do at test time as well).
        leaked: Train on images restored with leaked pairs.
        share: Share of protected images of a partial-protection row, else 0.
    """

    name: str
    about: str
    level: Level | Literal["context"]
    augment: bool = True
    extra: Extra = ""
    squeeze: Callable[[Images], Images] | None = None
    view: View | None = None
    leaked: bool = False
    share: float = 0.0


def table(cfg: Config) -> tuple[Measure, ...]:
    """Return all rows of the configured battery, in the order in which they are run."""
    pgd = f"PGD-{cfg.adversarial_steps}, {cfg.adversarial_eps * 255:.3g}/255"
    qualities = (10, 30, 75) if cfg.battery == "standard" else (10,)
    pairs = "pair" if cfg.leak_pairs == 1 else "pairs"
    return (
        Measure("plain", "trains on the images as they are", "naive", augment=False),
        Measure(REFERENCE, "random shifts and mirroring", "naive"),
        Measure("cutout+mixup", "blends images, blanks squares", "routine", extra="cutout+mixup"),
        Measure("grayscale", "drops colour", "routine", squeeze=grayscale, view=grayscale),
        *(
            Measure(
                f"jpeg-{q}", f"recompresses at JPEG quality {q}", "routine", squeeze=squeeze, view=squeeze
            )
            for q, squeeze in ((q, partial(jpeg, quality=q)) for q in qualities)
        ),
        Measure("adversarial", f"adversarial training ({pgd})", "routine", extra="adversarial"),
        Measure(
            "rsk+ff",
            "random sharpening, then a frequency filter",
            "adaptive",
            extra="rsk+ff",
            view=_sharpened,
        ),
        Measure("coin", "moves every pixel at random", "adaptive", extra="coin"),
        Measure(
            f"leak-{cfg.leak_pairs}-pair",
            f"inverts class filters learned from {cfg.leak_pairs} leaked clean/protected {pairs} per class",
            "adaptive",
            leaked=True,
        ),
        *(
            Measure(
                f"partial-{100 * s:.0f}", f"{100 * s:.0f} % of the images are protected", "context", share=s
            )
            for s in cfg.shares
        ),
    )


def _sharpened(x: Images) -> npt.NDArray[np.float32]:
    import torch

    from noli.core.images import to_float
    from noli.ops.countermeasures import sharpen_lowpass

    parts = [
        sharpen_lowpass(torch.from_numpy(to_float(x[i : i + 500])), None).numpy()
        for i in range(0, len(x), 500)
    ]
    return np.concatenate(parts)


def callbacks(measure: Measure, classes: int, cfg: Config) -> list[Callback]:
    """Return the callbacks of `fit` for one row."""
    from noli.train import callbacks as own

    made: list[Callback] = [own.CropFlip()] if measure.augment else []
    if measure.extra == "cutout+mixup":
        made.append(own.CutoutMixup(classes))
    elif measure.extra == "adversarial":
        made.append(own.Adversarial(cfg.adversarial_eps, cfg.adversarial_steps))
    elif measure.extra == "rsk+ff":
        made.append(own.SharpenLowpass())
    elif measure.extra == "coin":
        made.append(own.Displace(cfg.coin_reach))
    return made


class Trainer:
    """Runs single trainings on one subject, several at a time if asked from several threads.

    Args:
        subject: The data.
        cfg: Configuration.

    Attributes:
        stopped: Once set, running trainings end with :class:`Stopped` at their next batch.
    """

    def __init__(self, subject: LearnabilityData, cfg: Config) -> None:
        self.subject, self.cfg = subject, cfg
        self.stopped = threading.Event()
        self._restoring = threading.Lock()
        self._restored = subject.restored_x
        self._leak_gain: float | None = None

    def run(self, measure: Measure, part: Part, seed: int) -> dict[str, Any]:
        """Train once and test.

        Args:
            measure: Countermeasure.
            part: Which images to train on: all protected, all clean, a mixture, or the mixture's clean part.
            seed: Seed of weights and training.

        Returns:
            JSON-serialisable: ``correct`` (test form -> packed bits, hex), ``n``, ``detail`` (numbers).
        """
        from noli import zoo
        from noli.train.fit import fit

        subject, cfg = self.subject, self.cfg
        x, y = self.training_set(measure, part)
        if measure.squeeze is not None:
            x = measure.squeeze(x)
        _, side, _, channels = x.shape
        model = zoo.network(cfg.network, subject.classes, channels, size=side, seed=seed)
        made = [_stopper(self.stopped), *callbacks(measure, len(subject.classes), cfg)]
        trained = fit(model, x, y, cfg.recipe(seed), made)
        views: dict[str, npt.NDArray[Any]] = {"untouched": subject.test_x}
        if measure.view is not None:
            views["transformed"] = measure.view(subject.test_x)
        correct = {name: model.predict(view).argmax(1) == subject.test_y for name, view in views.items()}
        detail = {"images_per_second": trained.images_per_second, "seconds": trained.seconds}
        if measure.leaked and self._leak_gain is not None:
            detail["leak_gain_db"] = self._leak_gain
        return {
            "correct": {k: pack(v) for k, v in correct.items()},
            "n": len(subject.test_y),
            "detail": detail,
        }

    def training_set(self, measure: Measure, part: Part) -> tuple[Images, Labels]:
        """Return the images and labels of one training, before squeezing."""
        subject = self.subject
        if part == "clean":
            return subject.clean_x, subject.clean_y
        if part == "protected":
            return (self._restore() if measure.leaked else subject.protected_x), subject.protected_y
        chosen = mixture(subject.clean_y, measure.share)
        if part == "clean-part":
            return subject.clean_x[~chosen], subject.clean_y[~chosen]
        x = np.where(chosen[:, None, None, None], subject.protected_x, subject.clean_x)
        return x, np.where(chosen, subject.protected_y, subject.clean_y)

    def _restore(self) -> Images:
        with self._restoring:
            if self._restored is None:
                s = self.subject
                attack = leak_attack(s.clean_x, s.protected_x, s.protected_y, self.cfg.leak_pairs)
                # A thief whose inversion makes things worse trains on the images as they are.
                self._restored = attack.restored if attack.gain > 0 else s.protected_x
                self._leak_gain = attack.gain
            return self._restored


class Stopped(Exception):
    """A training was ended because its result is no longer wanted."""


def _stopper(stopped: threading.Event) -> Callback:
    from noli.train.fit import Callback

    class Stopper(Callback):
        def prepare_batch(self, x: Any, y: Any, generator: Any) -> tuple[Any, Any]:
            if stopped.is_set():
                raise Stopped
            return x, y

    return Stopper()


def mixture(labels: Labels, share: float) -> npt.NDArray[np.bool_]:
    """Choose which items of a partial-protection row are protected: `share` of every class, rounded down.

    Args:
        labels: ``int64 [N]``.
        share: 0 .. 1.

    Returns:
        ``bool [N]``; the same items for the same labels.
    """
    chosen = np.zeros(len(labels), bool)
    generator = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: math.floor(share * len(rows))]] = True
    return chosen


def pack(correct: npt.NDArray[np.bool_]) -> str:
    """Pack booleans ``[N]`` into hex digits."""
    return np.packbits(correct).tobytes().hex()


def unpack(packed: str, count: int) -> npt.NDArray[np.bool_]:
    """Undo :func:`pack`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=count).astype(bool)
