"""What a folder with a locked model is, and what the run beside it knows: options, public network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noli import registry
from noli.core.errors import UsageError, WrongKey
from noli.core.key import Key
from noli.core.run import Run
from noli.data.place import is_url
from noli.engine.request import ROTATION, KeyLike, run_folder

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.zoo.keyed_folder import Manifest

Kind = Literal["keyed-model", "locked-detector", "fleet"]
# The file that says what a folder is, as the modules that write them name it; they need torch.
FILES: dict[Kind, str] = {
    "keyed-model": "keyed.json",
    "locked-detector": "detector.safetensors",
    "fleet": "fleet.json",
}
BACKGROUND = "background"
# Artifacts of a run: the public network, and the attacker's own model.
BODY, RIVAL = "public.safetensors", "rival"
Keys = KeyLike | Sequence[Key]


def kind_of(place: str | Path) -> Kind | None:
    """Return what kind of locked model lies in a folder, or its run folder is of; None where none is."""
    if is_url(place):
        return None
    folder = model_folder(place)
    return next((kind for kind, file in FILES.items() if (folder / file).is_file()), None)


def refuse_other_models(place: str | Path, done: str) -> None:
    """Refuse a locked model that is no keyed one; `done` is what cannot be done with it, a participle."""
    kind = kind_of(place)
    if kind not in (None, "keyed-model"):
        what = f"Of locked models only keyed ones (noli lock embeddings) are {done}."
        raise UsageError(what, where=str(place), why=f"this is a {str(kind).replace('-', ' ')}")


def model_folder(place: str | Path) -> Path:
    """Return the folder of a model whose run folder may be named instead."""
    folder = Path(place)
    folder = folder.resolve() if folder.is_symlink() else folder  # the run lies beside the folder itself
    if Run.exists(folder) and (output := Run.open(folder).manifest.output) is not None:
        beside = folder.with_name(folder.name.removesuffix(".noli"))  # both may have been moved
        return beside if beside != folder and beside.is_dir() else Path(output.uri)
    return folder


@dataclass(frozen=True)
class Background:
    """What is known of how a model was locked.

    Attributes:
        method: Registry name.
        config: Its options, as they were.
        public: File or folder of the network that it was made from; None where it is gone.
        rival: Folder with the attacker's own model of that run; None where there is none.
    """

    method: str
    config: dict[str, Any]
    public: Path | None
    rival: Path | None

    def stored(self) -> dict[str, Any]:
        """Return what a rotation keeps of it."""
        return {
            "method": self.method,
            "config": self.config,
            "public": self.public and str(self.public.resolve()),
            "rival": self.rival and str(self.rival.resolve()),
        }


def background(place: str | Path) -> Background | None:
    """Return what the run beside a model, or the record of its rotation, knows; None where there is none."""
    folder = Path(place) if Run.exists(place) else run_folder(model_folder(place))
    if not Run.exists(folder):
        return None
    run = Run.open(folder)
    told = run.manifest.args_resolved
    if run.manifest.method == ROTATION:
        kept: dict[str, Any] | None = (run.manifest.state or {}).get(BACKGROUND)
        if kept is None:
            return None
        return Background(kept["method"], kept["config"], _there(kept["public"]), _there(kept["rival"]))
    name = str(run.manifest.method)
    if name not in registry.names() or registry.get(name).arrow != "model->model":
        return None
    # Also of a network that was given, a copy lies there where the run had to make noli's own of it.
    public = run.artifact(BODY) if run.artifact(BODY).exists() else told.get("model")
    return Background(name, told["config"], _there(public), _there(run.artifact(RIVAL)))


def _there(place: str | Path | None) -> Path | None:
    return Path(place) if place and Path(place).exists() else None


def keys_of(facts: Manifest, keys: Keys, folder: Path, besides: Sequence[Key] = ()) -> list[Key]:
    """Return the keys of all pairs of a keyed model, from a key file by their ids; `besides` are known.

    Raises:
        UsageError: There is none.
        WrongKey: The key of a pair is not among them, or not in the file.
        KeyFileError: The file cannot be read, or the key was revoked.
    """
    if keys is None:
        fix = f"give the key with id {facts.pairs[0].key_id}"
        raise UsageError("A keyed model needs its key.", where=str(folder), fix=fix)
    given = [keys] if isinstance(keys, Key) else [] if isinstance(keys, str | Path) else list(keys)
    known = {(key.id, key.check_value): key for key in (*besides, *given)}
    for pair in facts.pairs:
        name = (pair.key_id, pair.check_value)
        if name not in known and isinstance(keys, str | Path):
            known[name] = Key.load(keys, key_id=pair.key_id)
        if name not in known:
            fix = f"give the key with id {pair.key_id}"
            raise WrongKey("None of the keys is the one of a pair.", where=str(folder), fix=fix)
    return list(known.values())


def side_for(model: Model, patch: int, place: Path, asked: int | None) -> int:
    """Return the side to which pictures are squeezed for a keyed model, in pixels.

    What is asked, else the only one that the network takes, else the one that it was locked with.

    Raises:
        UsageError: The network does not take it, or nothing says which.
    """
    from noli.zoo.keyed import check_side, fixed_side

    fixed, known = fixed_side(model), background(place)
    side: int | None = asked or fixed or (known.config.get("side") if known else None)
    if side is None:
        why = f"it takes any whole patches of {patch} pixels, and no run lies beside it"
        what, fix = (
            "Nothing says how large the model's pictures are.",
            "say --side PIXELS, as when it was locked",
        )
        raise UsageError(what, where=str(place), why=why, fix=fix)
    check_side(model, side)
    return side
