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


def read_network(place: Path, classes: Sequence[str], *, new_head: bool = False) -> Model:
    """Read a network of patches; one from a folder knows only `classes` afterwards, in their order.

    Args:
        place: File or folder.
        classes: Class names.
        new_head: Give it an untrained head for `classes`, whatever it knows.

    Raises:
        MissingPrerequisite, UsageError, DataError: See :func:`noli.zoo.imported.load_imported`, and
            :meth:`noli.core.model.Model.load` for files.
    """
    from noli import zoo
    from noli.zoo.imported import for_classes, load_imported
    from noli.zoo.keyed import with_head

    if not place.is_dir():
        found = zoo.load(place)
        return with_head(found, classes) if new_head else found
    found = load_imported(place)
    return with_head(found, classes) if new_head else for_classes(found, classes, str(place))


def network_file(request: LockRequest) -> Path:
    """Return the file of the network that is locked: what was given, else its place in the run folder.

    A folder of others is read once, and noli's own file of it kept with the run; so is a network that gets a
    new head.
    """
    given = Path(request.model) if request.model else None
    as_it_is = given is not None and not given.is_dir() and not _new_head(request)
    return given if given is not None and as_it_is else request.folder / "artifacts" / BODY


def read_given(request: LockRequest, classes: Sequence[str]) -> Model:
    """Read the network that a request names, or the copy that an earlier call made of it."""
    file = network_file(request)
    if file.exists():
        return read_network(file, classes)
    return read_network(Path(request.model), classes, new_head=_new_head(request))


def _new_head(request: LockRequest) -> bool:
    return bool(getattr(request.cfg, "new_head", False))


def sided(request: R) -> R:
    """Return a request whose pictures have the side that the given network takes, where it says none itself.

    Raises:
        UsageError, DataError: The network cannot be read, its side is none of the method's, or a new head is
            wanted for none.
    """
    if _new_head(request) and not request.model:
        fix = "name the network with --model (model=...), or leave --new-head out"
        raise UsageError("A new head is for a network that is given.", why="there is none", fix=fix)
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
            fix="give pictures of the classes that it was trained on, let it have a new head (--new-head of "
            "noli lock embeddings), or leave the network out",
        )
