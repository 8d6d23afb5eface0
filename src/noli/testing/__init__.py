"""The contract every method keeps, noli's own and those of plug-ins.

A plug-in's whole test file::

    import pytest
    from noli.testing import checks

    @pytest.mark.parametrize("check", checks("my-package/my-method"), ids=lambda c: c.__name__)
    def test_contract(check, tmp_path):
        check("my-package/my-method", tmp_path)
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, cast

import numpy as np

from noli import options, registry
from noli.core.dataset import Item
from noli.core.errors import DataError, Interrupted
from noli.core.images import Stored, Working, check_images, to_float, to_uint8
from noli.core.key import Key
from noli.core.method import FOLDER, DataSummary, MethodConfig, Spec
from noli.data.study import ArrayStudy
from noli.testing.fixtures import CLASSES, SHAPES, StopsAfter, global_state, pictures, tree, write_folder

Check = Callable[[str, Path], None]
# Fixed keys: a contract that fails must fail again tomorrow.
KEYS = tuple(Key.from_bytes(hashlib.sha256(f"noli.testing {n}".encode()).digest()) for n in (1, 2))

# The pure functions of each arrow.
_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "data->data": ("prepare", "apply"),
    "data->codes": ("coder",),
    "texts->texts": ("propose", "passages"),
    "model->model": ("transform",),
    "model->models": ("device",),
    "judge": ("judge",),
}


class ContractError(AssertionError):
    """A method broke the contract; the message says which promise and where."""


def checks(name: str) -> tuple[Check, ...]:
    """Return the checks that apply to a method; each is called with its name and an empty folder."""
    spec = registry.get(name)
    if spec.arrow != "data->data":
        return _EVERY
    return (*_EVERY, *_DATA, *((undo_comes_closer_to_the_original,) if spec.reversible else ()))


def config_survives_json_and_words(name: str, folder: Path) -> None:
    """The Config round-trips through JSON and through what a user types; every field is documented."""
    spec = registry.get(name)
    default = spec.config()
    _expect(spec.config.model_validate_json(default.model_dump_json()) == default, "JSON round trip", name)
    for field in spec.config.model_fields:
        _expect(bool(options.meaning(spec.config, field)), "every option is explained", field)
        value = getattr(default, field)
        if not isinstance(value, dict | MethodConfig):
            typed = getattr(options.resolve(spec, {field: options.show(value)}), field)
            _expect(typed == value, "what is shown can be typed", f"{field}={options.show(value)}")
    _expect(set(spec.options) <= set(spec.config.model_fields), "options name Config fields", spec.options)
    _expect(len(spec.options) <= 8, "at most 8 options are flags", spec.options)


def documentation_is_complete(name: str, folder: Path) -> None:
    """Module, functions and card say what a user must know."""
    module, spec = registry.module(name), registry.get(name)
    text = " ".join((module.__doc__ or "").lower().split())
    for topic, words in _TOPICS.items():
        _expect(any(word in text for word in words), f"the module docstring speaks of its {topic}", name)
    for function in _FUNCTIONS[spec.arrow]:
        _expect(bool(inspect.getdoc(getattr(module, function))), "public functions have docstrings", function)
    card = spec.card
    complete = card.title and card.paper and card.stops and card.does_not_stop
    _expect(bool(complete), "the card is complete", name)


def shape_type_and_range_hold(name: str, folder: Path) -> None:
    """Same shape, float32, finite, in [0, 1]; the input stays as it was; ``eps``, if any, is a budget."""
    kit = Kit(name)
    for shape in SHAPES:
        batch, items = pictures(4, shape)
        before = batch.copy()
        out = kit.apply(batch, items)
        check_images(out, where=f"output of {name} for {shape}")
        _expect(kit.spec.reshapes or out.shape == batch.shape, "the shape is kept", shape)
        _expect(len(out) == len(batch), "every image comes out", shape)
        _expect(np.array_equal(batch, before), "the input is not modified", shape)
        eps = getattr(kit.cfg, "eps", None)
        if eps is not None:
            change = np.abs(to_uint8(out).astype(int) - to_uint8(batch)).max()
            _expect(change <= 255 * eps + 1, "the change stays within eps after rounding", (shape, change))
    extreme = np.stack([np.zeros((3, 8, 8)), np.ones((3, 8, 8)), np.full((3, 8, 8), 0.5)]).astype(np.float32)
    check_images(kit.apply(extreme, pictures(3, (8, 8, 3))[1]), where="black, white and flat images")


def keys_decide_the_bytes(name: str, folder: Path) -> None:
    """The same key gives the same bytes, another key others; the state holds no secret and is JSON."""
    kit = Kit(name)
    batch, items = pictures(6, (32, 32, 3))
    first = to_uint8(kit.apply(batch, items))
    _expect(np.array_equal(first, to_uint8(Kit(name).apply(batch, items))), "same key, same bytes", name)
    if "key" in kit.spec.needs:
        other = to_uint8(Kit(name, KEYS[1]).apply(batch, items))
        _expect(not np.array_equal(first, other), "another key gives other bytes", name)
    text = json.dumps(kit.state, allow_nan=False)
    _expect(KEYS[0].export_secret().hex() not in text, "the state holds no secret", name)
    kit.state = json.loads(text)
    _expect(np.array_equal(first, to_uint8(kit.apply(batch, items))), "the state survives JSON", name)


def batches_do_not_matter(name: str, folder: Path) -> None:
    """One by one, seven at a time, all at once and backwards give identical bytes."""
    kit = Kit(name)
    batch, items = pictures(15, (20, 24, 3))
    whole = kit.apply(batch, items)
    for size in (1, 7):
        parts = [kit.apply(batch[i : i + size], items[i : i + size]) for i in range(0, len(batch), size)]
        _expect(np.array_equal(np.concatenate(parts), whole), "batch size does not matter", size)
    _expect(np.array_equal(kit.apply(batch[::-1], items[::-1])[::-1], whole), "order does not matter", name)


def new_classes_change_nothing_old(name: str, folder: Path) -> None:
    """A run that is extended by items and classes keeps the bytes of what it had."""
    kit = Kit(name)
    batch, items = pictures(6, (32, 32, 3))
    before = kit.apply(batch, items)
    kit.extend(*pictures(3, (32, 32, 3), first=6), "eel")
    _expect(np.array_equal(kit.apply(batch, items), before), "an extension keeps old bytes", name)


def global_state_is_left_alone(name: str, folder: Path) -> None:
    """No generator, grad mode, default type or thread count is changed."""
    before = global_state()
    Kit(name).apply(*pictures(3, (32, 32, 3)))
    after = global_state()
    for part, value in before.items():
        _expect(after.get(part) == value, f"{part} is not changed", name)


def files_of_every_kind_survive(name: str, folder: Path) -> None:
    """Grey, palette, alpha, 16-bit, odd, tall and one-pixel files keep name, size and depth on disk."""
    from PIL import Image

    write_folder(folder / "in")
    _run(name, folder / "in", folder / "out")
    for source in sorted((folder / "in").rglob("*.png")):
        made = folder / "out" / source.relative_to(folder / "in")
        _expect(made.is_file(), "every file has its counterpart", source.name)
        with Image.open(source) as one, Image.open(made) as two:
            deep = one.mode.startswith("I")
            _expect(two.mode.startswith("I") == deep, "16 bits stay 16 bits", source.name)
            if registry.get(name).reshapes:  # what the undo brings back is checked instead
                continue
            _expect(one.size == two.size, "the size is kept", source.name)
            alpha = [i.convert("RGBA").getchannel("A").tobytes() for i in (one, two) if not deep]
            _expect(len(set(alpha)) <= 1, "alpha is kept", source.name)
    (folder / "nothing").mkdir()
    try:
        _run(name, folder / "nothing", folder / "out2")
        raise ContractError(f"an empty set is an error: {name}")
    except DataError as error:
        _expect(bool(error.fix), "the error of an empty set says what to do", name)


def workers_and_interruptions_do_not_matter(name: str, folder: Path) -> None:
    """One worker, two workers, and a run that was stopped and resumed give identical trees."""
    write_folder(folder / "in")
    _run(name, folder / "in", folder / "one")
    _run(name, folder / "in", folder / "two", workers=2)
    try:
        _run(name, folder / "in", folder / "three", progress=StopsAfter(2))
        raise ContractError(f"the run was not interrupted: {name}")
    except Interrupted:
        _run(name, folder / "in", folder / "three")
    _expect(tree(folder / "one") == tree(folder / "two"), "workers do not matter", name)
    _expect(tree(folder / "one") == tree(folder / "three"), "interruptions do not matter", name)


def undo_comes_closer_to_the_original(name: str, folder: Path) -> None:
    """What the key gives back, after rounding to 8 bits, is on average closer to the originals."""
    from noli.engine.pictures import common
    from noli.ops.metrics import psnr

    kit = Kit(name)
    for shape in ((32, 32, 3), (17, 40, 3)):
        batch, items = pictures(6, shape)
        stored = to_uint8(kit.apply(batch, items))
        extras: list[dict[str, float]] = [{} for _ in items]
        if hasattr(kit.module, "extras"):
            extras = kit.module.extras(kit.located, batch, items, kit.key, kit.cfg)
        json.dumps(extras, allow_nan=False)
        back = kit.module.invert(kit.located, to_float(stored), items, kit.key, kit.cfg, extras)
        check_images(back, where="undone images")
        rows = list(zip(to_uint8(batch), stored, to_uint8(back), strict=True))
        before = float(np.mean([psnr(*common(made, original)) for original, made, _ in rows]))
        after = float(np.mean([psnr(restored, original) for original, _, restored in rows]))
        _expect(after > before, "undo comes closer to the originals", (shape, before, after))
        _expect(back.shape == batch.shape, "undo gives the size back", shape)


# What a module docstring must speak of, and words that show that it does.
_TOPICS = {
    "paper": ("paper", "arxiv"),
    "threat model": ("threat model",),
    "limits": ("not stop", "not show"),
    "shapes": ("shape", "float32 [", "uint8 ["),
    "ranges": ("range", "in [0, 1]"),
}
_EVERY: tuple[Check, ...] = (config_survives_json_and_words, documentation_is_complete)
_DATA: tuple[Check, ...] = (
    shape_type_and_range_hold,
    keys_decide_the_bytes,
    batches_do_not_matter,
    new_classes_change_nothing_old,
    global_state_is_left_alone,
    files_of_every_kind_survive,
    workers_and_interruptions_do_not_matter,
)


class Kit:
    """A data -> data method, prepared and ready to apply."""

    def __init__(self, name: str, key: Key = KEYS[0]) -> None:
        self.spec: Spec = registry.get(name)
        self.module: ModuleType = registry.module(name)
        self.cfg = options.resolve(self.spec, dict(self.spec.trial))
        self.key = key
        self.state: dict[str, Any] = {}
        self._items: dict[str, tuple[Item, Stored]] = {}
        self._scratch = TemporaryDirectory()
        if not self.spec.studies:
            self._prepare(CLASSES)

    def apply(self, batch: Working, items: list[Item]) -> Working:
        """Return the transformed batch; a method that learns has learned from it, or does so first."""
        if self.spec.studies and any(item.id not in self._items for item in items):
            self._learn(batch, items)
        return cast(Working, self.module.apply(self.located, batch, items, self.key, self.cfg))

    def extend(self, batch: Working, items: list[Item], label: str) -> None:
        """Add items, the last of them with a new class, as an extended run does."""
        named = [*items[:-1], replace(items[-1], label=label)]
        if self.spec.studies:
            self._learn(batch, named)
        else:
            self._prepare((*CLASSES, label))

    def _learn(self, batch: Working, items: list[Item]) -> None:
        self._items |= {item.id: (item, image) for item, image in zip(items, to_uint8(batch), strict=True)}
        labels = (str(item.label) for item, _ in self._items.values())
        self._prepare(tuple(sorted({*CLASSES, *labels})))

    def _prepare(self, classes: tuple[str, ...]) -> None:
        found = list(self._items.values())
        folder = Path(self._scratch.name)
        items, pixels = [item for item, _ in found], [image for _, image in found]
        study = ArrayStudy(items, pixels, folder, shown=self.spec.sees)
        shapes = Counter(image.shape for _, image in found) or {(32, 32, 3): 6}
        summary = DataSummary(len(found) or 6, classes, dict(shapes), study=study)
        self.state = self.module.prepare(summary, self.key, self.cfg, self.state or None)

    @property
    def located(self) -> dict[str, Any]:
        """The state as `apply` gets it."""
        return {**self.state, FOLDER: self._scratch.name}


def _run(name: str, source: Path, output: Path, **fields: Any) -> None:
    from noli.engine.request import RunRequest
    from noli.engine.runner import run_data

    spec = registry.get(name)
    cfg = options.resolve(spec, dict(spec.trial))
    run_data(RunRequest(str(source), str(output), spec, cfg, KEYS[0], shard_size=2, **fields))


def _expect(kept: bool, promise: str, where: object) -> None:
    if not kept:
        raise ContractError(f"{promise}: {where}")


__all__ = ["Check", "ContractError", "checks"]
