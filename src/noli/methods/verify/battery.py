"""The battery: the data it runs on, what trainers do to protected images, one training under one of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.dataset import content_id
from noli.core.errors import DataError
from noli.core.evidence import Level
from noli.methods.verify.config import Config
from noli.ops.countermeasures import grayscale, jpeg, sharpen_lowpass
from noli.ops.leak import leak_attack

if TYPE_CHECKING:
    from noli.train.fit import Callback

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Part = Literal["protected", "clean", "mixed", "clean-part"]
REFERENCE = "crop+flip"
_VIEWED = 500


@dataclass(frozen=True)
class LearnabilityData:
    """Images at the training size; row i of the clean and of the protected arrays is the same item.

    Attributes:
        clean_x, protected_x: ``uint8 [N, S, S, C]``.
        clean_y, protected_y: ``int64 [N]`` in ``0 .. K - 1``.
        test_x, test_y: Held-out clean images ``uint8 [M, S, S, C]`` and labels, disjoint from the above.
        classes: K class names.
        restored: Makes the protected images as the leaked-pairs attack at native resolution leaves them;
            called when a training needs them. None runs the attack on ``protected_x``.
        notes: What the reader must know about how the data was matched and sampled.
        counts: Numbers behind the notes.
        doubt: Why nothing may be concluded from this data, in a sentence; nothing is trained then.

    Raises:
        DataError: Arrays that do not fit together.
    """

    clean_x: Images
    protected_x: Images
    clean_y: Labels
    protected_y: Labels
    test_x: Images
    test_y: Labels
    classes: tuple[str, ...]
    restored: Callable[[], Images] | None = None
    notes: tuple[str, ...] = ()
    counts: dict[str, float] = field(default_factory=dict)
    doubt: str = ""

    def __post_init__(self) -> None:
        shapes = {self.clean_x.shape[1:], self.protected_x.shape[1:], self.test_x.shape[1:]}
        lengths = {len(a) for a in (self.clean_x, self.protected_x, self.clean_y, self.protected_y)}
        if len(lengths) != 1 or len(self.test_x) != len(self.test_y) or len(shapes) != 1:
            raise DataError(
                "Clean, protected and held-out arrays do not fit together.",
                why=f"lengths {sorted(lengths)}, image shapes {sorted(map(str, shapes))}",
                fix="give equally many clean and protected images of one size, in the same order",
            )
        top = max((int(y.max()) for y in (self.clean_y, self.protected_y, self.test_y) if len(y)), default=-1)
        if top >= len(self.classes):
            raise DataError(f"Label {top} has no class name.", why=f"{len(self.classes)} names are given")

    @property
    def relabelled(self) -> float:
        """Share of items whose protected label is not the original's, class names of its own included."""
        changed = max(float(np.sum(self.clean_y != self.protected_y)), self.counts.get("changed_labels", 0.0))
        return changed / max(len(self.clean_y), 1)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every array (dtype, shape, bytes), by name."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "clean": self.clean_x,
            "protected": self.protected_x,
            "labels": np.stack([self.clean_y, self.protected_y]),
            "test": self.test_x,
            "test_labels": self.test_y,
        }
        return {name: content_id(array)[1] for name, array in arrays.items()}


@dataclass(frozen=True)
class Measure:
    """One countermeasure.

    Attributes:
        name: Row name; it also decides the callbacks of the training.
        about: What the trainer does, in plain words.
        level: Attacker level; ``context`` rows never decide.
        squeeze: Applied once to all training images.
        view: Second form of the test images (what the trainer would do at test time as well).
        leaked: Train on images restored with leaked pairs.
        share: Share of protected images of a partial-protection row, else 0.
    """

    name: str
    about: str
    level: Level | Literal["context"]
    squeeze: Callable[[Images], Images] | None = None
    view: Callable[[Images], npt.NDArray[Any]] | None = None
    leaked: bool = False
    share: float = 0.0


def table(cfg: Config) -> tuple[Measure, ...]:
    """Return all rows of the configured battery, in the order in which they are run."""
    pgd = f"PGD-{cfg.adversarial_steps}, {cfg.adversarial_eps * 255:.3g}/255"
    pairs = f"{cfg.leak_pairs} leaked clean/protected {'pair' if cfg.leak_pairs == 1 else 'pairs'} per class"
    squeezes = [(q, partial(jpeg, quality=q)) for q in ((10, 30, 75) if cfg.battery == "standard" else (10,))]
    return (
        Measure("plain", "trains on the images as they are", "naive"),
        Measure(REFERENCE, "random shifts and mirroring", "naive"),
        Measure("cutout+mixup", "blends images, blanks squares", "routine"),
        Measure("grayscale", "drops colour", "routine", grayscale, grayscale),
        *(Measure(f"jpeg-{q}", f"recompresses at JPEG quality {q}", "routine", s, s) for q, s in squeezes),
        Measure("adversarial", f"adversarial training ({pgd})", "routine"),
        Measure("rsk+ff", "random sharpening, then a frequency filter", "adaptive", view=_sharpened),
        Measure("coin", "moves every pixel at random", "adaptive"),
        Measure(
            f"leak-{cfg.leak_pairs}-pair",
            f"inverts class filters learned from {pairs}",
            "adaptive",
            leaked=True,
        ),
        *(
            Measure(f"partial-{100 * s:g}", f"{100 * s:g} % of the images are protected", "context", share=s)
            for s in cfg.shares
        ),
    )


def _sharpened(x: Images) -> npt.NDArray[np.float32]:
    import torch

    from noli.core.images import to_float

    parts = (torch.from_numpy(to_float(x[i : i + _VIEWED])) for i in range(0, len(x), _VIEWED))
    return np.concatenate([sharpen_lowpass(part, None).numpy() for part in parts])


def callbacks(measure: Measure, classes: int, cfg: Config) -> list[Callback]:
    """Return the callbacks of `fit` for one row: all but ``plain`` crop and flip, some add their own."""
    from noli.train import callbacks as own

    extra: dict[str, Callable[[], Callback]] = {
        "cutout+mixup": lambda: own.CutoutMixup(classes),
        "adversarial": lambda: own.Adversarial(cfg.adversarial_eps, cfg.adversarial_steps),
        "rsk+ff": own.SharpenLowpass,
        "coin": lambda: own.Displace(cfg.coin_reach),
    }
    if measure.name == "plain":
        return []
    return [own.CropFlip(), *([extra[measure.name]()] if measure.name in extra else [])]


class Stopped(Exception):
    """A training was ended because its result is no longer wanted."""


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
        self._restored: Images | None = None
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
        correct = {
            form: pack(model.predict(view).argmax(1) == subject.test_y) for form, view in views.items()
        }
        detail = {"images_per_second": trained.images_per_second, "seconds": trained.seconds}
        if measure.leaked and self._leak_gain is not None:
            detail["leak_gain_db"] = self._leak_gain
        return {"correct": correct, "n": len(subject.test_y), "detail": detail}

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
            if self._restored is None and self.subject.restored is not None:
                self._restored = self.subject.restored()
            if self._restored is None:
                s = self.subject
                attack = leak_attack(s.clean_x, s.protected_x, s.protected_y, self.cfg.leak_pairs)
                # A thief whose inversion makes things worse trains on the images as they are.
                self._restored = attack.restored if attack.gain > 0 else s.protected_x
                self._leak_gain = attack.gain
            return self._restored


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
