"""Was this key lucky? Protect the same images with fresh keys and measure ordinary training on each."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from noli import registry
from noli.core.dataset import Item, content_id
from noli.core.evidence import Evidence, Row
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.manifest import Manifest
from noli.core.method import FOLDER, DataSummary, Spec
from noli.data.study import ArrayStudy
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import measure_row
from noli.methods.verify.rows import recipe_scope
from noli.methods.verify.subject import Images, LearnabilityData

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

    `cache` keeps finished rows, never keys; `note` is called with ``(done, all, what)``.
    """
    spec = registry.get(str(manifest.method))
    hashes = subject.hashes()
    decides = [recipe_scope(cfg), str(cfg.seed_count), spec.name, str(manifest.args_resolved.get("config"))]
    decides += [hashes[name] for name in ("clean", "labels", "test", "test_labels")]
    scope, rows = content_id("".join(decides).encode())[0], []
    for number in range(1, count + 1):
        note(number - 1, count, f"fresh key {number}")
        place = f"fresh-key|{scope}|{number - 1}"
        if place not in cache:
            images = protect_arrays(spec, manifest, subject, Key.generate())
            row = measure_row(replace(subject, protected_x=images, restored=None), cfg)
            cache[place] = row.model_dump(mode="json")
        row = Row.model_validate(cache[place])
        about = f"{row.about}; fresh key {number} instead of the owner's"
        named = {"name": f"fresh-key-{number}", "about": about, "level": "context"}
        rows.append(row.model_copy(update=named))
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
    named = zip([content_id(image) for image in x], labels, strict=True)
    items = [Item(short, short, label, sha256=full) for (short, full), label in named]
    out = np.empty_like(x)
    with TemporaryDirectory() as folder:
        study = ArrayStudy(items, list(x), Path(folder))
        summary = DataSummary(len(x), tuple(sorted(set(labels))), {x.shape[1:]: len(x)}, study=study)
        state = {**method.prepare(summary, key, cfg, None), FOLDER: folder}
        for start in range(0, len(x), _GROUP):
            part = slice(start, start + _GROUP)
            out[part] = to_uint8(method.apply(state, to_float(x[part]), items[part], key, cfg))
    return out
