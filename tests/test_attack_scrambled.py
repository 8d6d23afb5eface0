"""``noli attack NAME`` makes one attack on scrambled pictures, and says which suit where one does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import noli
from noli.cli.main import main
from noli.core.attacks import GROUPS, LEARNED, MIXES, MODELS, PICTURES, SETS, named
from noli.core.audit import HAS
from noli.core.errors import UsageError
from noli.testing import KEYS


def test_names_are_typed_with_dashes_or_spaces() -> None:
    for group in GROUPS.values():
        assert len({one.word for one in group}) == len(group)
        for one in group:
            assert named(one.word, group) == named(one.name.upper(), group) == one
    assert len({one.word for one in MODELS}) == len(MODELS)
    assert all(one.has in HAS for one in (*PICTURES, *LEARNED, *SETS, *MIXES))
    assert named("coin") is None


@pytest.mark.parametrize("method", ["etc", "pixel", "shuffle"])
def test_every_row_of_the_audit_is_made_alone(
    class_folders: Callable[..., Path], tmp_path: Path, method: str
) -> None:
    photos = class_folders(classes=2, each=2, size=32)
    options = {"block": 8} if method == "etc" else {}
    noli.lock(photos, tmp_path / "out", method, key=KEYS[0], workers=1, **options)
    whole = noli.audit(tmp_path / "out", clean=photos)
    assert whole.rows
    for row in whole.rows:
        (alone,) = noli.audit(tmp_path / "out", clean=photos, only=row.name.replace(" ", "-")).rows
        assert (alone.name, alone.ssim, alone.back) == (row.name, row.ssim, row.back)
    other = next(one for one in PICTURES if one.name not in {row.name for row in whole.rows})
    with pytest.raises(UsageError, match="no attack on this") as error:
        noli.audit(tmp_path / "out", clean=photos, only=other.word)
    for row in whole.rows:
        assert row.name.replace(" ", "-") in str(error.value)


def test_from_the_command_line(
    class_folders: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = class_folders(classes=2, each=2, size=32)
    noli.lock(photos, tmp_path / "out", "etc", key=KEYS[0], workers=1, block=8)
    assert main(["attack"]) == 0
    listed = capsys.readouterr().out
    assert all(one.word in listed for group in GROUPS.values() for one in group)
    assert "coin" in listed
    words = [str(tmp_path / "out"), "--clean", str(photos)]
    assert main(["attack", "chosen-pictures", *words]) == 1
    told = capsys.readouterr()
    said = told.out
    assert "not confidentiality" in told.err
    assert "chosen" in said  # a narrow terminal breaks the name
    assert "jigsaw" not in said
    assert main(["attack", "coin", *words]) == 2
    assert "chosen-pictures" in capsys.readouterr().err
