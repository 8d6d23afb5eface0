"""Networks that users give to be locked: files of noli, or folders of Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from noli.core.errors import UsageError
from noli.engine.codes import StoredPictures
from noli.engine.lockedmodels import BODY
from noli.engine.locking import LockRequest
from noli.methods.lock.detector import NAME as DETECTOR
from noli.options import configure

if TYPE_CHECKING:
    from noli.core.model import Model

R = TypeVar("R", bound=LockRequest)


def read_network(place: Path, classes: Sequence[str]) -> Model:
    """Read a network of patches; one from a folder knows only `classes` afterwards, in their order.

    Raises:
        MissingPrerequisite, UsageError, DataError: See :func:`noli.zoo.imported.load_imported`, and
            :meth:`noli.core.model.Model.load` for files.
    """
    if not place.is_dir():
        from noli import zoo

        return zoo.load(place)
    from noli.zoo.imported import for_classes, load_imported

    return for_classes(load_imported(place), classes, str(place))


def network_file(request: LockRequest) -> Path:
    """Return the file of the network that is locked: what was given, else its place in the run folder.

    A folder of others is read once, and noli's own file of it kept with the run.
    """
    given = Path(request.model) if request.model else None
    return request.folder / "artifacts" / BODY if given is None or given.is_dir() else given


def read_given(request: LockRequest, classes: Sequence[str]) -> Model:
    """Read the network that a request names, or the copy that an earlier call made of it."""
    file = network_file(request)
    return read_network(file if file.exists() else Path(request.model), classes)


def sided(request: R) -> R:
    """Return a request whose pictures have the side that the given network takes, where it says none itself.

    Raises:
        UsageError, DataError: The network cannot be read, or its side is none of the method's.
    """
    if not request.model or request.spec.name == DETECTOR or "side" in request.cfg.model_fields_set:
        return request
    side = _side(Path(request.model))
    if side is None:
        return request
    chosen = request.cfg.model_dump(exclude_unset=True)
    cfg = configure(type(request.cfg), request.spec.name, {**chosen, "side": side})
    return replace(request, cfg=cfg)


def _side(place: Path) -> int | None:
    if place.is_dir():
        from noli.zoo.imported import side_of

        return side_of(place)
    from noli import zoo
    from noli.zoo.keyed import fixed_side

    return fixed_side(zoo.load(place))


def check_fits(model: Model, pictures: StoredPictures, side: int) -> None:
    """Refuse a network that does not fit the pictures, before anything is trained; grey ones may be widened.

    Args:
        model: The network.
        pictures: With classes; they take on the channels of the network where it has more.
        side: Pixels to which they are squeezed.

    Raises:
        UsageError: Its classes have other names, another order, or there are more or fewer; it takes pictures
            of another side, or grey ones only.
    """
    from noli.zoo.keyed import check_side, isotropic_parts

    same_classes(model, pictures.classes)
    check_side(model, side)
    channels = isotropic_parts(model)[0].in_channels
    if pictures.channels > channels:
        what, why = "The network takes grey pictures only.", f"they have {pictures.channels} channels"
        raise UsageError(what, why=why, fix="give grey pictures, or another network")
    pictures.channels = channels


def same_classes(model: Model, classes: Sequence[str]) -> None:
    """Refuse a network for other classes than the pictures have, before anything is trained.

    Raises:
        UsageError: Its classes have other names, another order, or there are more or fewer.
    """
    from noli.zoo.keyed import isotropic_parts

    known, count = tuple(model.class_names), isotropic_parts(model)[2].out_features
    if (known or tuple(classes)) != tuple(classes) or count != len(classes):
        raise UsageError(
            "The network is for other classes than the pictures have.",
            why=f"it knows {', '.join(known) or f'{count} without names'}; they are {', '.join(classes)}",
            fix="give pictures of the classes that it was trained on, or leave the network out",
        )
