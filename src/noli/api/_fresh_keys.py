"""Was this key lucky? Protect the same images with fresh keys and measure ordinary training on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any

import numpy as np

from noli import registry
from noli.core.dataset import Item, content_id
from noli.core.errors import UsageError
from noli.core.evidence import Evidence, Row
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.manifest import Manifest
from noli.core.method import DataSummary, Spec
from noli.methods.verify.battery import REFERENCE
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import measure_row
from noli.methods.verify.rows import recipe_scope
from noli.methods.verify.subject import Images, LearnabilityData

ROW = REFERENCE
LIMIT = "Fresh keys were applied to the images at the training size and not stored in files."
_GROUP = 256


def with_fresh_keys(
    evidence: Evidence,
    subject: LearnabilityData,
    cfg: Config,
    manifest: Manifest,
    count: int,
    cache: MutableMapping[str, dict[str, Any]],
    note: Callable[[int, int, str], None],
) -> Evidence:
    """Add context rows for ``count`` fresh keys, and their mean and worst accuracy as reference values.

    Args:
        evidence: Evidence of the data as published.
        subject: Its images.
        cfg: How to train.
        manifest: Manifest of the run that protected the data: method and its Config.
        count: Number of keys.
        cache: Rows that were finished before; the keys themselves are never kept.
        note: Called with ``(done, all, what)``.

    Raises:
        UsageError: The method needs no key.
    """
    spec = registry.get(str(manifest.method))
    if "key" not in spec.needs:
        raise UsageError("This method needs no key, so there is nothing to compare.", where=spec.name)
    scope = _scope(subject, cfg, manifest)
    rows = []
    for number in range(count):
        note(number, count, f"fresh key {number + 1}")
        place = f"fresh-key|{scope}|{number}"
        if place not in cache:
            images = protect_arrays(spec, manifest, subject, Key.generate())
            row = measure_row(replace(subject, protected_x=images, restored_x=None), cfg, ROW)
            cache[place] = row.model_dump(mode="json")
        rows.append(_renamed(Row.model_validate(cache[place]), number))
    note(count, count, "fresh keys")
    values = [row.value for row in rows]
    numbers = {
        "fresh_keys": float(count),
        "fresh_keys_mean": float(np.mean(values)),
        "fresh_keys_worst": max(values),
        "fresh_keys_best": min(values),
    }
    return evidence.model_copy(
        update={
            "rows": (*evidence.rows, *rows),
            "reference": evidence.reference | numbers,
            "limits": (*evidence.limits, LIMIT),
        }
    )


def protect_arrays(spec: Spec, manifest: Manifest, subject: LearnabilityData, key: Key) -> Images:
    """Return the clean training images protected in memory, ``uint8 [N, S, S, C]``."""
    method = registry.module(spec.name)
    cfg = spec.config.model_validate(manifest.args_resolved["config"])
    x = subject.clean_x
    labels = [subject.classes[label] for label in subject.clean_y]
    shapes = Counter({(x.shape[1], x.shape[2], x.shape[3]): len(x)})
    state = method.prepare(DataSummary(len(x), tuple(sorted(set(labels))), dict(shapes)), key, cfg, None)
    out = np.empty_like(x)
    for start in range(0, len(x), _GROUP):
        part = slice(start, start + _GROUP)
        items = [_item(image, label) for image, label in zip(x[part], labels[part], strict=True)]
        out[part] = to_uint8(method.apply(state, to_float(x[part]), items, key, cfg))
    return out


def _item(image: Images, label: str) -> Item:
    short, full = content_id(image)
    return Item(short, short, label, sha256=full)


def _renamed(row: Row, number: int) -> Row:
    about = f"{row.about}; fresh key {number + 1} instead of the owner's"
    return row.model_copy(update={"name": f"fresh-key-{number + 1}", "about": about, "level": "context"})


def _scope(subject: LearnabilityData, cfg: Config, manifest: Manifest) -> str:
    hashes = subject.hashes()
    parts = [
        recipe_scope(cfg),
        str(cfg.seed_count),
        str(manifest.method),
        str(manifest.args_resolved.get("config")),
    ]
    text = "".join([*parts, *(hashes[name] for name in ("clean", "labels", "test", "test_labels"))])
    return content_id(text.encode())[0]
