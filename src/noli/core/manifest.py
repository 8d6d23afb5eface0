"""The manifest of a run: what `run.json` holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
Status = Literal["running", "done", "failed", "interrupted"]


class _Part(BaseModel):
    # Unknown fields are ignored, not refused: a newer noli of the same schema may have added some.
    model_config = ConfigDict(extra="ignore", frozen=True)


class KeyInfo(_Part):
    """Public facts about the key: its id and its commitment, nothing secret."""

    id: str
    commitment: str


class DataInfo(_Part):
    """One side of a data arrow.

    Attributes:
        uri, layout: Where the data lies, and how (``class-folders``, ``parquet``, ...).
        items, skipped: Items processed, and left out by the error policy.
        bytes: Sum of stored bytes (encoded files, or arrays for array sources).
        hash: SHA-256 over names and content digests in run order, hex.
        format, metadata: Policies of the output, such as ``png`` and ``keep``; empty for an input.
    """

    uri: str
    layout: str = ""
    items: int = 0
    skipped: int = 0
    bytes: int = 0
    hash: str = ""
    format: str = ""
    metadata: str = ""


class ModelInfo(_Part):
    """Identity of a model that took part: name and the SHA-256 of its weights."""

    id: str
    weights_sha256: str


class ShardInfo(_Part):
    """One finished shard: its number, its items, and the SHA-256 over its output names and digests."""

    index: int
    items: int
    sha256: str


class Generation(_Part):
    """Items that entered together, at the first scan or as an extension; file `index` lists them."""

    index: str
    first_shard: int
    shards: int
    items: int


class Environment(_Part):
    """The machine and the software a run was made with."""

    noli: str = ""
    python: str = ""
    platform: str = ""
    cpu: str = ""
    cpu_cores: int = 0
    cpu_features: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    packages: dict[str, str] = Field(default_factory=dict)
    git_commit: str | None = None
    git_dirty: bool | None = None


class Resources(_Part):
    """What a run cost, summed over its sessions (starts, resumes and extensions).

    CPU seconds are user and system time with workers; the peak is the main process plus its workers, in MiB.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    sessions: int = 0


class ErrorInfo(_Part):
    """A typed error as it is kept in the manifest; at most 1,000 items, `items_total` says how many."""

    type: str
    what: str
    where: str | None = None
    why: str | None = None
    fix: str | None = None
    items: tuple[str, ...] = ()
    items_total: int = 0


class Manifest(_Part):
    """Everything needed to say what a run did, with which inputs, on which machine.

    Attributes:
        created, finished: UTC times, ISO 8601.
        verb, method: What was run.
        args_passed, args_resolved: Arguments as the user gave them, and all of them after defaults.
        key: Public facts about the key, when one was used.
        input, output: The data on both sides.
        state: The method's prepared state (no secrets).
        shard_size, shard_pixels: Most items and pixels of one shard (a larger image gets one of its own).
        generations: Batches of items that entered the run.
        shards: One entry per finished shard.
        model: A model that took part.
        environment, threads, resources: Machine, threads per process, cost.
        results: The run's figures.
        error: Why it failed, if it did.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: str
    finished: str | None = None
    status: Status = "running"
    verb: str
    method: str | None = None
    args_passed: dict[str, Any] = Field(default_factory=dict)
    args_resolved: dict[str, Any] = Field(default_factory=dict)
    key: KeyInfo | None = None
    input: DataInfo | None = None
    output: DataInfo | None = None
    state: dict[str, Any] | None = None
    shard_size: int = 256
    shard_pixels: int = 1 << 24
    generations: tuple[Generation, ...] = ()
    shards: tuple[ShardInfo, ...] = ()
    model: ModelInfo | None = None
    environment: Environment = Environment()
    threads: int | None = None
    resources: Resources = Resources()
    results: dict[str, Any] = Field(default_factory=dict)
    error: ErrorInfo | None = None
