"""Image classifiers in folders of Hugging Face's layout, as networks of the zoo; nothing is downloaded.

Taken are ViT (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877). Weights
go into the ``vit`` of :mod:`noli.zoo.isotropic`; transformers is needed once, to compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safe_torch
from torch import Tensor

from noli import zoo
from noli.core import foreign
from noli.core.errors import DataError, UsageError
from noli.core.model import Model, evaluating, rebuilt
from noli.zoo.folders import reading

CONFIG, WEIGHTS, LOOKS = "config.json", "model.safetensors", "preprocessor_config.json"
# Architectures by model type; tokens before those of the patches, by their names in the file.
TAKEN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "vit": ("ViTForImageClassification", ("cls_token",)),
    "deit": ("DeiTForImageClassification", ("cls_token", "distillation_token")),
}
TOLERANCE = 1e-4  # of the largest logit
_COMPARED = 4
_LEVELS = 255
_TAKEN = "a folder with ViTForImageClassification or DeiTForImageClassification and the activation gelu"
# Of a block, ours -> theirs.
_BLOCK = {
    "norms.0": "layernorm_before",
    "norms.1": "layernorm_after",
    "merge": "attention.output.dense",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
}
_ARCH = "vit"
T = TypeVar("T", bound=BaseModel)
Positive = Annotated[int, Field(ge=1, le=2**16)]
Square = Positive | tuple[Positive, Positive]


class _Sizes(BaseModel):
    """What ``config.json`` says, with the defaults of the format."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hidden_act: Any = "gelu"
    hidden_size: Positive = 768
    num_hidden_layers: int = Field(12, ge=1, le=1000)
    num_attention_heads: Positive = 12
    intermediate_size: Positive = 3072
    layer_norm_eps: FiniteFloat = Field(1e-12, gt=0)
    image_size: Square = 224
    patch_size: Square = 16
    num_channels: int = 3
    qkv_bias: bool = True
    id2label: dict[int, str] = Field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})


class _Looks(BaseModel):
    """What ``preprocessor_config.json`` says of values, with the defaults of the format."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    do_rescale: bool = True
    rescale_factor: FiniteFloat = Field(1 / _LEVELS, gt=0)
    do_normalize: bool = True
    image_mean: list[FiniteFloat] | FiniteFloat = 0.5
    image_std: list[Annotated[FiniteFloat, Field(gt=0)]] | Annotated[FiniteFloat, Field(gt=0)] = 0.5

    def per_channel(self, channels: int, where: Path) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of working images, one for every channel."""
        factor = _LEVELS * (self.rescale_factor if self.do_rescale else 1.0)
        mean, std = (self.image_mean, self.image_std) if self.do_normalize else (0.0, 1.0)
        found = [one if isinstance(one, list) else [one] * channels for one in (mean, std)]
        if any(len(one) != channels for one in found):
            why = f"mean and deviation of {len(found[0])} and {len(found[1])} channels, of {channels}"
            raise DataError("The folder's normalisation does not fit.", where=str(where), why=why)
        return [m / factor for m in found[0]], [s / factor for s in found[1]]


def side_of(folder: Path) -> int:
    """Return the side in pixels of the pictures that a folder's network takes; only its config is read.

    Raises:
        UsageError, DataError: See :func:`load_imported`.
    """
    _, sizes = _config(folder)
    return _square(sizes.image_size, folder)


def load_imported(folder: Path) -> Model:
    """Read an image classifier from a folder and return it as a network of the zoo, arch ``vit``.

    Weights become ``float32``. Where the folder normalises the channels differently, the difference goes into
    the first layer (computed in double precision), and the model's mean and deviation are one for all
    channels: a permutation of values across channels stays one of columns, bit for bit.

    Args:
        folder: Local folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.

    Returns:
        A model in evaluation mode; its logits were compared with those of transformers on made-up pictures.

    Raises:
        MissingPrerequisite: transformers is not installed.
        UsageError: Another kind of model, activation or class.
        DataError: Files are missing or damaged, weights are pickled, or the logits differ by more than 1e-4
            of the largest.
    """
    kind, sizes = _config(folder)
    looks = _read(folder / LOOKS, _Looks, "save it with its image processor")
    mean, std = looks.per_channel(sizes.num_channels, folder / LOOKS)
    names = [sizes.id2label[number] for number in range(len(sizes.id2label))]
    args = {
        "classes": len(names),
        "channels": sizes.num_channels,
        "width": sizes.hidden_size,
        "depth": sizes.num_hidden_layers,
        "heads": sizes.num_attention_heads,
        "patch": _square(sizes.patch_size, folder),
        "side": _square(sizes.image_size, folder),
        "wide": sizes.intermediate_size,
        "eps": sizes.layer_norm_eps,
        "firsts": len(TAKEN[kind][1]),
    }
    weights = _weights(folder)
    try:
        state, one_mean, one_std = _levelled(_translated(weights, kind, sizes), mean, std)
        model = _made(state, args, mean=one_mean, std=one_std, class_names=names)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        what, why = "The weights do not fit the network that the folder names.", str(error).partition("\n")[0]
        raise DataError(what, where=str(folder), why=why) from error
    _compare(model, folder, TAKEN[kind][0], mean, std)
    return model


def for_classes(model: Model, classes: Sequence[str], where: str) -> Model:
    """Return a copy that knows only these classes, in this order: the others' rows leave the head.

    Args:
        model: What :func:`load_imported` returned.
        classes: At least one name.
        where: What the model is from, for errors.

    Raises:
        UsageError: A class that the model does not know, or knows twice.
    """
    known = model.class_names
    odd = [name for name in classes if known.count(name) != 1]
    if odd:
        twice = odd[0] in known
        some = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        what = "The network knows a class of the pictures twice." if twice else None
        raise UsageError(
            what or "The network does not know a class of the pictures.",
            where=f"{odd[0]} ({where})",
            why=f"of {len(classes)} classes, {len(odd)} are not among its names once; it knows {some}",
            fix=f"name the folders of the pictures as id2label of its {CONFIG} does; or, for other "
            "classes, let noli lock embeddings train a new head (--new-head)",
        )
    rows = torch.tensor([known.index(name) for name in classes])
    state = dict(model.net.state_dict())
    state |= {name: state[name][rows] for name in ("head.weight", "head.bias")}
    args = {**model.arch_args, "classes": len(classes)}
    return _made(state, args, mean=model.mean, std=model.std, class_names=classes)


def _made(state: Mapping[str, Tensor], args: Mapping[str, Any], **described: Any) -> Model:
    net = rebuilt({"arch": _ARCH, "arch_args": args}, state, zoo.build)
    return Model(net, **described, arch=_ARCH, arch_args=args).eval()


def _config(folder: Path) -> tuple[str, _Sizes]:
    """Return model type and sizes of what is taken."""
    file = folder / CONFIG
    told = _json(file, "name a file of noli, or a folder in the layout of Hugging Face")
    kind, archs = str(told.get("model_type")), told.get("architectures")
    if kind not in TAKEN or archs != [TAKEN[kind][0]]:
        why = f"it holds {kind!r} with architectures {archs!r}"
        raise UsageError(
            "This kind of model cannot be locked.", where=str(folder), why=why, fix=f"give {_TAKEN}"
        )
    sizes = _checked(file, told, _Sizes)
    if sizes.hidden_act != "gelu":
        what, why = "This activation cannot be locked.", f"hidden_act is {sizes.hidden_act!r}"
        raise UsageError(what, where=str(folder), why=why, fix=f"give {_TAKEN}")
    if sizes.num_channels not in (1, 3) or sizes.hidden_size % sizes.num_attention_heads:
        why = f"{sizes.num_channels} channels, width {sizes.hidden_size}, {sizes.num_attention_heads} heads"
        raise UsageError(
            "The network needs 1 or 3 channels, and heads that divide its width.", where=str(file), why=why
        )
    side, patch = _square(sizes.image_size, folder), _square(sizes.patch_size, folder)
    if side % patch:
        why = f"{side} pixels, patches of {patch}"
        raise UsageError("The network's pictures do not consist of whole patches.", where=str(file), why=why)
    if sorted(sizes.id2label) != list(range(len(sizes.id2label))):
        raise DataError("The classes are not numbered from 0.", where=str(file), why="see its id2label")
    return kind, sizes


def _square(size: Square, folder: Path) -> int:
    side, across = (size, size) if isinstance(size, int) else size
    if side != across:
        what, why = "Only square pictures and patches are taken.", f"{side} x {across} pixels"
        raise UsageError(what, where=str(folder / CONFIG), why=why)
    return side


def _json(file: Path, fix: str) -> dict[str, Any]:
    try:
        told = foreign.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        what = "A file of the model folder cannot be read."
        raise DataError(what, where=str(file), why=str(error), fix=fix) from error
    if not isinstance(told, dict):
        raise DataError("A file of the model folder is damaged.", where=str(file), why="it is no JSON object")
    return told


def _checked(file: Path, told: dict[str, Any], kind: type[T]) -> T:
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError("A file of the model folder is damaged.", where=str(file), why=why) from error


def _read(file: Path, kind: type[T], fix: str) -> T:
    return _checked(file, _json(file, fix), kind)


def _weights(folder: Path) -> dict[str, Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        found = sorted(one.name for one in folder.iterdir() if one.suffix in (".bin", ".pt", ".pth", ".json"))
        why = f"noli reads {WEIGHTS} only, as reading a pickle can run code; there is {', '.join(found)}"
        fix = "load it with transformers where that is safe, and save_pretrained it again in one file"
        raise DataError("The folder has no weights in safetensors.", where=str(folder), why=why, fix=fix)
    try:
        return {name: value.float() for name, value in safe_torch.load(file.read_bytes()).items()}
    except (OSError, SafetensorError) as error:
        what = "The weights of the model folder cannot be read."
        raise DataError(what, where=str(file), why=str(error)) from error


def _translated(found: Mapping[str, Tensor], kind: str, sizes: _Sizes) -> dict[str, Tensor]:
    """Return the weights under our names; a KeyError where one is missing."""
    start = f"{kind}.embeddings"
    places = found[f"{start}.position_embeddings"]
    firsts = torch.cat([found[f"{start}.{name}"] for name in TAKEN[kind][1]], 1)
    lead = firsts.shape[1]
    made = {"body.blocks.places": places[:, lead:], "body.blocks.firsts": firsts + places[:, :lead]}
    for end in ("weight", "bias"):
        made[f"body.embed.{end}"] = found[f"{start}.patch_embeddings.projection.{end}"]
        made[f"head.{end}"] = found[f"classifier.{end}"]
        made[f"body.blocks.layers.{sizes.num_hidden_layers}.{end}"] = found[f"{kind}.layernorm.{end}"]
        for number in range(sizes.num_hidden_layers):
            ours, theirs = f"body.blocks.layers.{number}", f"{kind}.encoder.layer.{number}"
            for name, other in _BLOCK.items():
                made[f"{ours}.{name}.{end}"] = found[f"{theirs}.{other}.{end}"]
            parts = [f"{theirs}.attention.attention.{one}.{end}" for one in ("query", "key", "value")]
            none = end == "bias" and not sizes.qkv_bias
            joint = torch.zeros(3 * sizes.hidden_size) if none else torch.cat([found[one] for one in parts])
            made[f"{ours}.query_key_value.{end}"] = joint
    return {name: value.contiguous() for name, value in made.items()}


def _levelled(
    state: dict[str, Tensor], mean: list[float], std: list[float]
) -> tuple[dict[str, Tensor], list[float], list[float]]:
    """Return one mean and one deviation for all channels; what they differ by goes into the first layer."""
    if len(set(mean)) == len(set(std)) == 1:
        return state, mean, std
    m, s = float(np.mean(mean)), float(np.mean(std))
    old, bias = (state[f"body.embed.{name}"].double() for name in ("weight", "bias"))
    shift, scale = (old.new_tensor(one).view(1, -1, 1, 1) for one in (mean, std))
    moved = bias + (old * ((m - shift) / scale)).sum((1, 2, 3))
    new = {"body.embed.weight": (old * (s / scale)).float(), "body.embed.bias": moved.float()}
    return state | new, [m] * len(mean), [s] * len(std)


def _compare(
    model: Model, folder: Path, architecture: str, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Refuse what answers otherwise than in transformers, on made-up pictures of every contrast."""
    side, channels = model.arch_args["side"], model.arch_args["channels"]
    rng = np.random.default_rng(0)
    level, contrast = rng.random((2, _COMPARED, channels, 1, 1))
    x = np.clip(level + contrast * (rng.random((_COMPARED, channels, side, side)) - 0.5), 0, 1)
    shift, scale = (np.reshape(one, (-1, 1, 1)) for one in (mean, std))
    fix = f"give {_TAKEN}, whole"
    with reading(folder, "image classifier", fix) as transformers:
        net = (
            getattr(transformers, architecture)
            .from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True)
            .float()
        )
        with evaluating(net), torch.no_grad():
            wanted = net(pixel_values=torch.from_numpy((x - shift) / scale).float()).logits.numpy()
    found = model.predict(x.astype(np.float32))
    if not np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max():  # also where one is no number
        why = f"logits differ by up to {np.abs(found - wanted).max():.2g} of {np.abs(wanted).max():.2g}"
        what = "The network answers otherwise here than in transformers."
        raise DataError(what, where=str(folder), why=why, fix="report this, with its config.json")
