"""Run folders written by hand: the report must work from the files alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_making import COMMITMENT, evidence, record, write_preview

from noli.core.evidence import Evidence
from noli.core.files import atomic_write
from noli.core.manifest import DataInfo, KeyInfo, ShardInfo
from noli.core.run import Run


@pytest.fixture
def protect_run(tmp_path: Path) -> Callable[..., Run]:
    """Make a finished protect run; keyword arguments change records, names and manifest fields."""

    def make(
        names: list[str] | None = None,
        records: list[dict[str, Any]] | None = None,
        preview: bool = True,
        finish: bool = True,
        **fields: Any,
    ) -> Run:
        names = names or [f"{kind}/{number:04d}.png" for kind in ("cat", "dog") for number in range(4)]
        run = Run.create(
            tmp_path / "safe.noli",
            verb="protect",
            method="protect/cuda",
            **{
                "args_passed": {"source": "photos", "key": "/home/ann/owner.key"},
                "args_resolved": {"config": {"mode": "keyed", "kernel": 3}, "workers": 2},
                "key": KeyInfo(id="5eedfeed", commitment=COMMITMENT),
                "input": DataInfo(
                    uri=str(tmp_path / "photos"), layout="class-folders", items=8, hash="11" * 32
                ),
                "output": DataInfo(uri=str(tmp_path / "safe"), items=8, hash="22" * 32),
                "shards": (ShardInfo(index=0, items=8, sha256="33" * 32),),
                **fields,
            },
        )
        run.write_shard_record(0, records if records is not None else [record(*x) for x in enumerate(names)])
        if preview:
            write_preview(run, names[:8])
        if finish:
            run.finish({"items": len(names)})
        return run

    return make


@pytest.fixture
def verify_run(tmp_path: Path) -> Callable[..., Run]:
    """Make a finished verify run beside the protect run."""

    def make(found: Evidence | None = None, **fields: Any) -> Run:
        run = Run.create(
            tmp_path / "safe.verify.noli",
            verb="verify",
            method="verify/learnability",
            input=DataInfo(uri=str(tmp_path / "safe"), items=8),
            args_resolved={"clean": str(tmp_path / "photos"), "battery": "quick"},
            **fields,
        )
        atomic_write(run.artifact("evidence.json"), (found or evidence()).model_dump_json().encode())
        run.finish({})
        return run

    return make
