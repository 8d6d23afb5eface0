"""noli detect --bodies: what was sent and received is kept, bundled, and held against the transcript."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import noli
from noli.api import MarkRun, _bodies
from noli.api._model_suspects import ModelQueries
from noli.cli.main import main
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.methods.mark import sleepermark
from noli.proof.records import now, sha256

sys.path.insert(0, str(Path(__file__).parent / "adapters"))
from servers import said, serve

OPTIONS: dict[str, Any] = {"keys": 25, "tests": 3}
TOKEN = "a-secret-token-of-the-owner"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    Key.new(tmp_path / "owner.key")
    return tmp_path / "owner.key"


@pytest.fixture
def marked(tmp_path: Path, key: Path) -> MarkRun:
    drawn = np.random.default_rng(3)
    for i in range(24):
        place = tmp_path / "in" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return noli.mark(tmp_path / "in", tmp_path / "out", key=key, share=1.0, workers=1, **OPTIONS)


def described(folder: Path, url: str) -> Path:
    body = {"kind": "json", "template": {"image": "{image_png_base64}"}}
    headers = {"Authorization": "Bearer env:SUSPECT_TOKEN"}
    file = folder / "suspect.yaml"
    file.write_text(yaml.safe_dump({"url": url, "body": body, "response_path": "label", "headers": headers}))
    return file


def page(bundle: Path, name: str) -> str:
    with zipfile.ZipFile(bundle) as packed:
        return packed.read(name).decode()


def test_bodies_are_kept_and_bundled_when_they_are_wanted(
    marked: MarkRun, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    kept = marked.path / "proof" / "bodies"
    with serve(lambda _: said({"label": "a"})) as server:
        suspect = described(tmp_path, server.url)
        given = {"key": key, "endpoint": suspect}
        found = noli.detect(marked.path, suspect="one", bundle=tmp_path / "bare.zip", **given)
        assert not kept.exists()
        command = ["detect", marked.path, "--key", key, "--endpoint", suspect, "--suspect", "two"]
        command += ["--since", now(), "--bodies", "-o", tmp_path / "proof.zip"]
        assert main(list(map(str, command))) == 1
    with zipfile.ZipFile(tmp_path / "bare.zip") as bare:
        assert not any(name.startswith("bodies/") for name in bare.namelist())
    with zipfile.ZipFile(tmp_path / "proof.zip") as packed:
        entries = [json.loads(line) for line in packed.read("transcript.jsonl").splitlines()]
        environment = json.loads(packed.read("environment.json"))
        bodies = {name: packed.read(name) for name in packed.namelist() if name.startswith("bodies/")}
    assert {"noli", "python", "platform", "packages", "randomness"} <= set(environment)
    assert {"numpy", "torch"} <= set(environment["packages"])
    assert environment["randomness"]["protocol"] == found.protocol.digest
    assert len(entries) == found.protocol.budget
    wanted = {entry[side] for entry in entries for side in ("request", "response")}
    assert set(bodies) == {f"bodies/{digest}" for digest in wanted}
    assert {name.removeprefix("bodies/"): sha256(body) for name, body in bodies.items()} == {
        digest: digest for digest in wanted
    }
    asked = json.loads(bodies[f"bodies/{entries[0]['request']}"])
    assert asked["image"].startswith("iVBOR")
    assert json.loads(bodies[f"bodies/{entries[0]['response']}"]) == {"label": "a"}
    listed = page(tmp_path / "proof.zip", "report.html")
    with zipfile.ZipFile(tmp_path / "proof.zip") as packed:
        for name in set(packed.namelist()) - {"report.html", "report.pdf", "signature.json"}:
            assert sha256(packed.read(name))[:16] in listed
        noli.check_bundle(tmp_path / "proof.zip", believe=["clock"], report=tmp_path / "page.html")
        theirs = (tmp_path / "page.html").read_text()
        assert all(sha256(packed.read(name))[:16] in theirs for name in packed.namelist())
        described_in = (Path(__file__).parents[1] / "docs" / "evidence.md").read_text("utf-8")
        for name in packed.namelist():
            folder, slash, _ = name.partition("/")
            assert f"`{folder}{slash}`" in described_in
    assert all(file.stat().st_mode & 0o077 == 0 for file in kept.iterdir())
    checked = noli.check_bundle(tmp_path / "proof.zip", believe=["clock"])
    assert checked.status == "not significant"


def test_a_response_that_repeats_a_secret_is_not_kept(
    marked: MarkRun, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    with serve(lambda seen: said({"label": "a", "you": seen.headers.get("authorization")})) as server:
        suspect = described(tmp_path, server.url)
        given = {"endpoint": suspect, "since": now(), "bodies": True}
        noli.detect(marked.path, key=key, bundle=tmp_path / "proof.zip", **given)
    assert TOKEN.encode() not in (tmp_path / "proof.zip").read_bytes()
    assert not any(TOKEN in file.read_text() for file in (marked.path / "proof" / "bodies").iterdir())
    assert noli.check_bundle(tmp_path / "proof.zip", believe=["clock"]).status == "not significant"


def test_bodies_that_are_not_to_be_had(
    marked: MarkRun, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="Only a served model has bodies"):
        noli.detect(marked.path, key=key, model=tmp_path / "x.safetensors", bodies=True)
    nothing: Any = None
    pictures = ModelQueries("bits", (), (), sleepermark.Config(), nothing, tmp_path)
    with pytest.raises(UsageError, match="not handed over"):
        pictures.served(tmp_path / "suspect.yaml", nothing, lambda _: None)
    monkeypatch.setenv("SUSPECT_TOKEN", TOKEN)
    monkeypatch.setattr(_bodies, "_MOST", 10)
    with serve(lambda _: said({"label": "a"})) as server, pytest.raises(UsageError, match="too large"):
        noli.detect(
            marked.path,
            key=key,
            endpoint=described(tmp_path, server.url),
            bundle=tmp_path / "p.zip",
            bodies=True,
        )
