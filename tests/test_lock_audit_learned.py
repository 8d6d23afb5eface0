"""Learned attacks as rows of an audit: only when asked for, beside the classical ones, in the page, too."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import noli
from noli.cli.main import app
from noli.core.audit import Audit
from noli.core.errors import DataError, OutputExists, UsageError
from noli.testing import KEYS
from noli.zoo.style import save_generator, style_generator

NAMES = ["block statistics", "embedding", "style encoder", "guided styles", "guided diffusion"]
LITTLE = {"share": 0.002, "pictures": 12, "samples": 1, "sampling": 2}


def written(folder: Path, seed: int, count: int, size: tuple[int, int] = (40, 36)) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        coarse = rng.integers(30, 226, (4, 4, 3), dtype=np.uint8)
        large = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), large)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    work = tmp_path_factory.mktemp("learned")
    clean, public = written(work / "clean", 0, 3), written(work / "public", 1, 5, (40, 40))
    noli.lock(clean, work / "out", "etc", key=KEYS[0], workers=1, block=8, fresh=True)
    return work / "out", clean, public


def test_learned_rows_come_on_request(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out, clean, public = places
    page, keep = tmp_path / "page.html", tmp_path / "keep"
    found = noli.audit(
        out, clean=clean, public=public, learned=True, learning=LITTLE, keep=keep, html=page, seconds=5
    )
    assert [row.name for row in found.rows] == ["jigsaw", *NAMES]
    for row in found.rows[1:]:
        assert row.has == "pictures like these"
        assert row.guessing == pytest.approx(1 / 3)
        assert row.retrieval is not None
        assert row.retrieval in (
            pytest.approx(0),
            pytest.approx(1 / 3),
            pytest.approx(2 / 3),
            pytest.approx(1),
        )
        assert "reconstruction" in row.note or row.name == "block statistics"
    # Every key leaves blocks as they are but for their position: nothing has to be learned to tell pictures.
    assert found.rows[1].retrieval == 1
    assert any("which of many plain ones" in words for words in found.words)
    text = page.read_text()
    assert text.count("<img") == 3 * 8
    assert "Found again (chance)" in text
    assert not keep.exists()
    again = noli.audit(out, clean=clean, public=public, learned=True, learning=LITTLE, seconds=5)
    drop = {"seconds"}
    assert [row.model_dump(exclude=drop) for row in again.rows] == [
        row.model_dump(exclude=drop) for row in found.rows
    ]


def test_a_learned_attack_is_made_alone(places: tuple[Path, Path, Path]) -> None:
    out, clean, public = places
    whole = noli.audit(out, clean=clean, public=public, learned=True, learning=LITTLE, seconds=5)
    for row in whole.rows:
        only = row.name.replace(" ", "-")
        how = LITTLE if row.name in NAMES else None
        (alone,) = noli.audit(out, clean=clean, public=public, learning=how, only=only, seconds=5).rows
        assert alone.model_dump(exclude={"seconds"}) == row.model_dump(exclude={"seconds"})
    learning = {**LITTLE, "diffusion": False}
    with pytest.raises(UsageError, match="no attack on this"):
        noli.audit(out, clean=clean, public=public, learning=learning, only="guided-diffusion")
    with pytest.raises(UsageError, match="need learned attacks"):
        noli.audit(out, clean=clean, only="jigsaw", learning=LITTLE)
    words = ["attack", "block-statistics", str(out), "--clean", str(clean), "--public", str(public)]
    result = CliRunner().invoke(app, [*words, "--set", "pictures=12"])
    assert result.exit_code == 0
    assert "block" in result.output
    assert "jigsaw" not in result.output


def test_nothing_is_learned_unless_asked(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out, clean, public = places
    page = tmp_path / "page.html"
    found = noli.audit(out, clean=clean, public=public, html=page, seconds=5)
    assert [row.name for row in found.rows] == ["jigsaw"]
    assert found.rows[0].retrieval is found.rows[0].guessing is None
    assert "Found again (chance)" not in page.read_text()
    old = json.loads(found.model_dump_json())
    for row in old["rows"]:
        del row["retrieval"], row["guessing"]
    assert Audit.model_validate(old) == found


def test_a_generator_can_be_given_and_grey_planes_are_attacked(tmp_path: Path) -> None:
    clean, public = written(tmp_path / "clean", 2, 3), written(tmp_path / "public", 3, 4, (40, 40))
    noli.lock(clean, tmp_path / "out", "etc", key=KEYS[0], workers=1, block=8, planes="half")
    file = tmp_path / "g.safetensors"
    save_generator(style_generator(side=32, latent=8, style=8, width=16), file)
    learning = LITTLE | {"diffusion": False}
    found = noli.audit(
        tmp_path / "out",
        clean=clean,
        public=public,
        learned=True,
        learning=learning,
        generator=file,
        seconds=5,
    )
    assert [row.name for row in found.rows][-4:] == NAMES[:-1]
    with pytest.raises(UsageError, match="32 pixels, not 64"):
        noli.audit(
            tmp_path / "out", clean=clean, public=public, learned=True, learning={"side": 64}, generator=file
        )
    with pytest.raises(DataError, match="cannot be read"):
        noli.audit(tmp_path / "out", clean=clean, public=public, learned=True, generator=tmp_path / "none")
    with pytest.raises(UsageError, match="need learned attacks"):
        noli.audit(tmp_path / "out", clean=clean, public=public, generator=file)
    with pytest.raises(OutputExists):
        noli.audit(tmp_path / "out", clean=clean, public=public, learned=True, keep=clean / "keep")
    for wrong in ({"pictures": 1}, {"share": "all"}, {"nothing": 1}):
        with pytest.raises(UsageError, match="cannot be learned"):
            noli.audit(tmp_path / "out", clean=clean, public=public, learned=True, learning=wrong)


def test_the_command_line_shows_how_often_pictures_are_found(
    places: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    out, clean, public = places
    words = ["lock", "audit", str(out), "--clean", str(clean), "--public", str(public), "--learned"]
    for name, value in (LITTLE | {"diffusion": "false"}).items():
        words += ["--set", f"{name}={value}"]
    page = tmp_path / "page.html"
    told = CliRunner().invoke(app, [*words, "-o", str(page), "--json"])
    assert told.exit_code in (0, 1), told.output
    rows = json.loads(told.stdout)["rows"]
    assert [row["name"] for row in rows][1:] == NAMES[:-1]
    assert rows[1]["retrieval"] == 1
    assert not page.with_suffix(".learning").exists()
