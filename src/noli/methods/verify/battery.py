"""The battery: its rows, and one training under one of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from noli.methods.verify import countermeasures
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures.training import REFERENCE as _REFERENCE
from noli.methods.verify.measure import Measure as Measure
from noli.methods.verify.measure import Own, Restore, Squeeze, View
from noli.methods.verify.subject import Images as Images
from noli.methods.verify.subject import Labels as Labels
from noli.methods.verify.subject import LearnabilityData as LearnabilityData

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.fit import Callback

Right = npt.NDArray[np.bool_]
Part = Literal["protected", "clean", "mixed", "clean-part", "leaked-alone"]
# Trained model, held-out images by form, their labels -> numbers for the result's detail.
Look = Callable[["Model", Mapping[str, npt.NDArray[Any]], Labels], dict[str, float]]
REFERENCE = _REFERENCE.name
# Restored images of a whole data set are large; rows with leaked pairs are run one after the other.
_RESTORED_KEPT = 2
_OWNED = 1000

table = countermeasures.battery


class Stopped(Exception):
    """A training was ended because its result is no longer wanted."""


class Trainer:
    """Runs single trainings on one subject, several at a time if asked from several threads.

    What `look` measures on every trained model joins the result's ``detail``.

    Attributes:
        stopped: Once set, running trainings end with :class:`Stopped` at their next batch.
    """

    def __init__(self, subject: LearnabilityData, cfg: Config, look: Look | None = None) -> None:
        self.subject, self.cfg, self.look = subject, cfg, look
        self.stopped = threading.Event()
        self._restoring = threading.Lock()
        # By what restores them: rows that go on from the same attack share it.
        self._restored: dict[Restore, Images] = {}
        self._found: dict[Restore | None, dict[str, float]] = {}
        self._from_own: dict[str, Squeeze] = {}

    def run(self, measure: Measure, part: Part, seed: int) -> dict[str, Any]:
        """Train on all protected images, clean ones, a mixture, its clean part, or leaked ones; then test.

        Returns:
            JSON-serialisable: ``correct`` (test form -> packed bits, hex), ``n``, ``detail`` (numbers).
        """
        from noli.train.fit import fit

        subject, cfg = self.subject, self.cfg
        x, y = self.training_set(measure, part)
        test_x, test_y, names = subject.test_x, subject.test_y, subject.classes
        if measure.regroup is not None:
            groups = measure.regroup(len(names))
            y, test_y, names = groups[y], groups[test_y], tuple(map(str, np.unique(groups)))
        change, view = self._changes(measure, x, y)
        mine = owned(len(test_y))
        if measure.own is not None or measure.adapt is not None:
            test_x, test_y = test_x[~mine], test_y[~mine]
        if change is not None:
            x = change(x)
        views: dict[str, npt.NDArray[Any]] = {"untouched": test_x}
        if view is not None:
            views["transformed"] = view(test_x)
        recipe = cfg.recipe(seed) if measure.recipe is None else measure.recipe(cfg.recipe(seed))
        epochs: list[dict[str, Right]] = []

        def test(model: Model) -> None:
            epochs.append({form: model.predict(view).argmax(1) == test_y for form, view in views.items()})

        model = measure.start(x, names, recipe, cfg, [_watch(self.stopped)])
        watch = _watch(self.stopped, test if measure.best_epoch else None)
        trained = fit(model, x, y, recipe, [watch, *measure.callbacks(len(names), cfg)])
        if not epochs:
            test(model)
        right = {form: cross_fitted(np.stack([epoch[form] for epoch in epochs])) for form in views}
        if measure.adapt is not None:
            adapted = measure.adapt(model, subject.test_x[mine], y)
            right |= {form: logits(test_x).argmax(1) == test_y for form, logits in adapted.items()}
        correct = {form: pack(answers) for form, answers in right.items()}
        detail = {"images_per_second": trained.images_per_second, "seconds": trained.seconds}
        if measure.regroup is not None:
            detail["chance"] = float(np.bincount(test_y).max() / len(test_y))
        if self.look is not None:
            detail |= self.look(model, views, test_y)
        found = self._found.get(measure.restore, {}) if part == "protected" else {}
        return {"correct": correct, "n": len(test_y), "detail": detail | found}

    def training_set(self, measure: Measure, part: Part) -> tuple[Images, Labels]:
        """Return the images and labels of one training, before squeezing."""
        subject = self.subject
        if part == "clean":
            return subject.clean_x, subject.clean_y
        if part == "protected":
            images = subject.protected_x if measure.restore is None else self._restore(measure.restore)
            return images, subject.protected_y
        if part == "leaked-alone" and measure.held is not None:
            rows = measure.held(subject, self.cfg)
            return subject.clean_x[rows], subject.clean_y[rows]
        chosen = mixture(subject.clean_y, measure.share)
        if part == "clean-part":
            return subject.clean_x[~chosen], subject.clean_y[~chosen]
        x = np.where(chosen[:, None, None, None], subject.protected_x, subject.clean_x)
        return x, np.where(chosen, subject.protected_y, subject.clean_y)

    def _changes(self, measure: Measure, x: Images, y: Labels) -> tuple[Squeeze | None, View | None]:
        """Return what is done to the training images, and to the test images in their second form."""
        if measure.learn is not None:
            change = measure.learn(x, y, self.cfg)
        elif measure.own is not None:
            change = self._learned_from_own(measure.name, measure.own)
        else:
            return measure.squeeze, measure.view
        return change, change

    def _learned_from_own(self, name: str, learn: Own) -> Squeeze:
        with self._restoring:
            if name not in self._from_own:
                mine = self.subject.test_x[owned(len(self.subject.test_x))]
                self._from_own[name] = learn(mine, self.cfg, [_watch(self.stopped)])
            return self._from_own[name]

    def _restore(self, restore: Restore) -> Images:
        with self._restoring:
            if restore not in self._restored:
                for old in list(self._restored)[: 1 - _RESTORED_KEPT]:
                    del self._restored[old]
                self._restored[restore], self._found[restore] = restore(self.subject, self.cfg)
            return self._restored[restore]


def _watch(stopped: threading.Event, test: Callable[[Model], None] | None = None) -> Callback:
    """Return the callback that ends unwanted trainings and tests every epoch where that is asked for."""
    from noli.train.fit import Callback

    class Watch(Callback):
        def prepare_batch(self, x: Any, y: Any, generator: Any) -> tuple[Any, Any]:
            if stopped.is_set():
                raise Stopped
            return x, y

        def on_epoch_end(self, model: Model, epoch: int, loss: float) -> None:
            if test is not None:
                test(model)

    return Watch()


def cross_fitted(correct: Right) -> Right:
    """Pick the best epoch without judging it on the images that picked it; a single one is taken as it is.

    The images are cut into two fixed random halves. Each half is answered by the epoch that is best on the
    other half (the earliest of equals), so that every answer comes from an epoch chosen without it.

    Args:
        correct: ``bool [E, M]``, which of M held-out images each epoch gets right.

    Returns:
        ``bool [M]``.
    """
    order = np.random.default_rng(0).permutation(correct.shape[1])
    picked = np.empty(correct.shape[1], bool)
    for judged, picking in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        picked[judged] = correct[correct[:, picking].sum(1).argmax(), judged]
    return picked


def mixture(labels: Labels, share: float) -> npt.NDArray[np.bool_]:
    """Choose which items of a partial-protection row are protected: `share` of every class, rounded down.

    Returns:
        ``bool [N]``; the same items for the same labels.
    """
    chosen = np.zeros(len(labels), bool)
    generator = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: math.floor(share * len(rows))]] = True
    return chosen


def owned(count: int) -> npt.NDArray[np.bool_]:
    """Choose which held-out images an attacker with clean images of his own has: a quarter, at most 1,000.

    They are of the same collection, which is an upper bound for somebody whose own images are of another;
    none is the original of a protected image that is trained on, which would be a leaked pair; and nothing is
    tested on them.

    Returns:
        ``bool [count]``; the same images for the same number.
    """
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(0).permutation(count)[: min(count // 4, _OWNED)]] = True
    return chosen


def pack(correct: npt.NDArray[np.bool_]) -> str:
    """Pack booleans ``[N]`` into hex digits."""
    return np.packbits(correct).tobytes().hex()


def unpack(packed: str, count: int) -> npt.NDArray[np.bool_]:
    """Undo :func:`pack`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=count).astype(bool)
