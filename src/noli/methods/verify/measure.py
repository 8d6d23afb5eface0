"""One countermeasure as a value: everything a training under it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.evidence import Level
from noli.methods.verify.config import Config
from noli.methods.verify.subject import Images, Labels, LearnabilityData

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.fit import Callback
    from noli.train.recipe import Recipe

Battery = Literal["quick", "standard", "full"]
BATTERIES: tuple[Battery, ...] = ("quick", "standard", "full")
Squeeze = Callable[[Images], Images]
View = Callable[[Images], npt.NDArray[Any]]
Restored = tuple[Images, dict[str, float]]
Restore = Callable[[LearnabilityData, Config], Restored]
Held = Callable[[LearnabilityData, Config], Labels]
Own = Callable[[Images, Config, Sequence["Callback"]], Squeeze]
Logits = Callable[[Images], npt.NDArray[np.float32]]
Adapt = Callable[["Model", Images, Labels], dict[str, Logits]]
Start = Callable[[Images, Sequence[str], "Recipe", Config, Sequence["Callback"]], "Model"]


def trained_with(*makes: Callable[[Any, int, Config], Callback]) -> Callable[[int, Config], list[Callback]]:
    """Return callbacks that begin like those of every training but ``plain``, and end with more.

    Args:
        makes: Called with the module :mod:`noli.train.callbacks`, the number of classes and the options.
    """

    def callbacks(classes: int, cfg: Config) -> list[Callback]:
        from noli.train import callbacks as known

        return [known.CropFlip(), *(make(known, classes, cfg) for make in makes)]

    return callbacks


crop_flip = trained_with()


def untrained(
    x: Images, names: Sequence[str], recipe: Recipe, cfg: Config, callbacks: Sequence[Callback]
) -> Model:
    """Return the configured network with fresh weights, which nearly every training begins with."""
    from noli import zoo

    return zoo.network(cfg.network, names, x.shape[3], size=x.shape[1], seed=recipe.seed)


@dataclass(frozen=True)
class Measure:
    """One countermeasure.

    The level follows a fixed rule. *Naive*: the images as they are, with shifts and mirroring at most.
    *Routine*: what is in use for other reasons and treats every data set alike: augmentation, compression,
    smoothing and resizing, adversarial training, stopping early, other starts than fresh weights. *Adaptive*:
    what was published or built to undo protections, changes that are learned from the protected images, and
    whatever uses leaked pairs.

    Attributes:
        name: Row name; ``package/name`` for plug-ins.
        about: What the trainer does, in plain words.
        level: Attacker level; ``context`` rows never decide.
        battery: The smallest battery that has it; empty for none: it is run by name.
        squeeze: ``uint8 [N, S, S, C]`` -> the same, applied once to all training images.
        view: Second form of the test images (what the trainer would do at test time as well): ``uint8`` in,
            ``uint8 [N, S, S, C]`` or working ``float32 [N, C, S, S]`` out.
        learn: ``(training images, labels, cfg)`` -> a squeeze learned from them; also the view.
        own: ``(clean images of the attacker's own, cfg, callbacks)`` -> a squeeze learned from them; also the
            view. The callbacks are for its training. The images are held-out ones that are not tested on.
        restore: What a thief with leaked pairs makes of the protected images, and numbers about it.
        held: Rows ``int64 [L]`` of the originals that he holds, where there is a `restore`. What they teach
            alone is measured beside it: no protection reaches that.
        recipe: Changes the training recipe.
        start: ``(training images, class names, recipe, cfg, callbacks)`` -> the network that is then trained;
            the callbacks are for whatever training makes it.
        callbacks: ``(classes, cfg)`` -> callbacks of `fit`, called in order; random shifts and mirroring
            where nothing else is given.
        adapt: ``(trained model, unlabelled images like the tested ones, training labels)`` -> further test
            forms: name -> what turns test images into logits ``[N, K]``. The images are not tested on.
        best_epoch: The trainer takes the best epoch instead of the last one.
        regroup: ``K`` -> ``int64 [K]``: the class that each class becomes part of.
        missing: Says how to install what the row needs, if that is not there; empty otherwise.
        share: Share of protected images of a partial-protection row, else 0.
        origin: Package, version and source digest of a plug-in; part of the names under which trainings are
            kept.
    """

    name: str
    about: str
    level: Level | Literal["context"]
    battery: Battery | Literal[""] = "full"
    squeeze: Squeeze | None = None
    view: View | None = None
    learn: Callable[[Images, Labels, Config], Squeeze] | None = None
    own: Own | None = None
    restore: Restore | None = None
    held: Held | None = None
    recipe: Callable[[Recipe], Recipe] | None = None
    start: Start = untrained
    callbacks: Callable[[int, Config], list[Callback]] = crop_flip
    adapt: Adapt | None = None
    best_epoch: bool = False
    regroup: Callable[[int], Labels] | None = None
    missing: Callable[[], str] = str
    share: float = 0.0
    origin: str = ""

    @property
    def leaked(self) -> bool:
        """Whether the trainer holds leaked clean/protected pairs."""
        return self.restore is not None


Made = Measure | Callable[[Config], Measure | tuple[Measure, ...]]
