"""The parts of a report one by one: pictures, quality, words, privacy, card, manifest tables."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_making import blurred, record, textured

from noli.ops import metrics
from noli.report import build, facts, pictures, privacy, quality, words

GAP, DASH = "\u00a0", "\u2013"


# Pictures


def decode(tile: pictures.Tile) -> np.ndarray:
    data = base64.b64decode(tile.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_enlarged_pixel_by_pixel(channels: int) -> None:
    first = textured(1)[..., :channels]
    found = pictures.strip("a", first, blurred(first), "original", "protected")
    assert [tile.caption for tile in found.tiles] == [
        "Original",
        "Protected",
        "Difference \u00d710",
        "Spectrum",
    ]
    tile = decode(found.tiles[0]).reshape(192, 192, channels)
    assert (tile == np.kron(first, np.ones((6, 6, 1), np.uint8))).all()
    assert found.psnr == metrics.in_words(metrics.psnr(first, blurred(first)))
    assert found.ssim == metrics.ssim(first, blurred(first))


def test_large_pictures_are_reduced_and_middle_ones_kept() -> None:
    for side, expected in ((300, (256, 128)), (200, (200, 100)), (96, (192, 96)), (97, (97, 48))):
        picture = textured(2, side)[: side // 2]
        tile = pictures.strip("a", picture, picture, "original", "protected").tiles[0]
        assert (tile.width, tile.height) == expected, side
        assert tile.smooth == (side != 96)


def test_one_pixel_and_thin_pictures() -> None:
    for shape in ((1, 1, 3), (1, 500, 1), (3, 2, 3)):
        picture = np.full(shape, 7, np.uint8)
        found = pictures.strip("a", picture, picture, "original", "protected")
        assert len(found.tiles) == 4
        assert found.psnr == "identical"


def test_spectra_join_two_halves() -> None:
    first, second = textured(1), textured(2)
    joined = pictures.spectra(first, second)[..., 0]
    assert (joined[:, :16] == metrics.spectrum(first)[:, :16]).all()
    assert (joined[:, 16:] == metrics.spectrum(second)[:, 16:]).all()


def test_preview_files(tmp_path: Path) -> None:
    file = tmp_path / "preview.npz"
    assert pictures.load_strips(file) == ()
    arrays = {f"{side}_{i}": textured(i) for i in range(2) for side in ("original", "protected")}
    grey = textured(1)[..., :1]
    np.savez(file, names=np.array(["a", "b"]), **{**arrays, "original_1": grey, "protected_1": grey})
    strips = pictures.load_strips(file)
    assert [strip.name for strip in strips] == ["a", "b"]
    assert (decode(strips[1].tiles[0])[::6, ::6] == grey[..., 0]).all()
    assert strips[1].psnr == "identical"
    assert pictures.load_strips(file, undone=True)[0].tiles[1].caption == "Restored"


# Quality


def summarise(rows: Any, **options: Any) -> quality.Quality:
    return quality.summarise(rows, lambda row: row["path"], **options)


def test_summarise_matches_plain_statistics() -> None:
    rows = [record(i, f"{i}.png") for i in range(9)]
    rows[4] |= {"psnr": None, "linf": 0}
    rows[5] |= {"notes": ["CMYK converted to RGB"]}
    rows.append({"path": "bad.png", "error": "truncated"})
    found = summarise(iter(rows))
    assert (found.items, found.skipped, found.identical) == (9, 1, 1)
    assert found.errors == (("bad.png", "truncated"),)
    assert found.notes == {"CMYK converted to RGB": 1}
    by_name = {m.name: m for m in found.measures}
    assert list(by_name) == ["psnr", "linf"]
    psnr = [row["psnr"] for row in rows[:9] if row["psnr"] is not None]
    assert by_name["psnr"].mean == pytest.approx(sum(psnr) / 8)
    assert by_name["psnr"].median == pytest.approx(float(np.median(psnr)))
    assert by_name["psnr"].worst == min(psnr)
    assert by_name["linf"].worst == max(row["linf"] for row in rows[:9])
    assert by_name["psnr"].worst_item == next(r["path"] for r in rows if r.get("psnr") == min(psnr))


def test_sixteen_bit_changes_are_counted_in_levels_of_255() -> None:
    found = summarise([record(0, "a", bits=16, linf=257)])
    assert next(m for m in found.measures if m.name == "linf").worst == pytest.approx(1.0)


def test_missing_psnr_is_not_identical() -> None:
    row = record(0, "a")
    del row["psnr"], row["linf"]
    assert summarise([row]).identical == 0


def test_only_the_first_errors_are_kept() -> None:
    found = summarise({"path": str(i), "error": "x"} for i in range(1000))
    assert found.skipped == 1000
    assert len(found.errors) == 20


def test_an_item_that_was_repaired_is_not_left_out() -> None:
    found = summarise([{"path": "a", "error": "torn"}, {"path": "b", "error": "torn"}, record(0, "a")])
    assert (found.items, found.skipped, found.errors) == (1, 1, (("b", "torn"),))


def test_ssim_is_that_of_the_sample() -> None:
    found = summarise([record(0, "a")], ssim={"b": 0.5, "c": 0.25}).measures[-1]
    assert (found.name, found.worst, found.worst_item, found.sampled) == ("ssim", 0.25, "c", True)


# Words


def test_numbers_in_words() -> None:
    assert words.percent(0.5317) == f"53.2{GAP}%"
    assert words.percent(None) == DASH
    assert words.interval(0.501, 0.563) == f"50.1{DASH}56.3{GAP}%"
    assert words.interval(None, 0.5) == DASH
    assert words.count(1, "item") == f"1{GAP}item"
    assert words.count(1200, "item") == f"1,200{GAP}items"


def test_duration_in_words() -> None:
    assert [words.duration(s) for s in (0.26, 9.96, 59.4, 130, 11100)] == [
        "0.3 s", "10.0 s", "59 s", "2 min 10 s", "3 h 5 min"
    ]  # fmt: skip


def test_command_survives_a_shell() -> None:
    import shlex

    manifest = {"verb": "protect", "status": "done", "error": None, "input": {"uri": "my photos/'a'"},
                "output": {"uri": "out; rm -rf x"}}  # fmt: skip
    command = words.banner(manifest, None, quality.Quality(), names=True).command
    assert command is not None
    assert shlex.split(command) == ["noli", "verify", "out; rm -rf x", "--clean", "my photos/'a'"]
    hidden = words.banner(manifest, None, quality.Quality(), names=False).command
    assert hidden == "noli verify OUT --clean DATA"


# Privacy


def test_redact_by_name_by_place_and_in_urls() -> None:
    data = {
        "key": "/home/a/owner.key",
        "key_file": "x.key",
        "passphrase": "p",
        "aws_secret": {"deep": "s"},
        "tokens": ["t1", "t2"],
        "has_password": True,
        "uri": "s3://user:pw@bucket/x?X-Amz-Signature=1#f and https://b/c?d=e",
        "kernel": 3,
        "nothing": None,
        "commitment": "abc",
    }
    found = privacy.redact(data)
    assert found["key"] == found["key_file"] == found["passphrase"] == found["tokens"] == privacy.NOT_SHOWN
    assert "s" not in str(found["aws_secret"]).replace(privacy.NOT_SHOWN, "").replace("deep", "").replace(
        "s'", ""
    )
    assert found["has_password"] is True
    assert found["uri"] == "s3://bucket/x and https://b/c"
    assert (found["kernel"], found["nothing"], found["commitment"]) == (3, None, "abc")


@given(st.recursive(st.text(max_size=5), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x)))
def test_a_secret_is_blanked_wherever_it_is_nested(data: Any) -> None:
    found = privacy.redact({"outer": [data, {"my_password": "hunter2"}], "passphrase": ["hunter2", data]})
    assert "hunter2" not in str(found)


def test_a_manifest_without_names_keeps_numbers_digests_and_the_machine() -> None:
    found = privacy.without_names(
        {
            "run_id": "r1",
            "input": {"uri": "/ward/doe", "layout": "flat", "items": 3, "hash": "ab" * 32},
            "output": None,
            "args_passed": {"source": "/ward/doe", "Doe Jane": 1},
            "args_resolved": {"source": "/ward/doe", "config": {"mode": "keyed", "k": 3, "note": "doe"}},
            "results": {"doe_jane": 0.5},
            "environment": {"cpu": "Some CPU"},
            "shards": [{"index": 0, "sha256": "cd" * 32}],
            "field of a newer noli": "doe",
        }
    )
    assert found["input"] == {"layout": "flat", "items": 3, "hash": "ab" * 32}
    assert found["args_resolved"] == {"mode": "keyed", "k": 3}
    assert found["environment"] == {"cpu": "Some CPU"}
    assert found["shards"][0]["sha256"] == "cd" * 32
    assert "doe" not in str(found).lower()


def test_item_names() -> None:
    row = {"path": "doe/1.png", "id": "0123456789abcdef0123"}
    assert privacy.item_name(row, "r", names=True) == "doe/1.png"
    assert privacy.item_name(row, "r", names=False) == "item 0123456789ab"
    first = privacy.item_name({"path": "doe/1.png"}, "r", names=False)
    assert re.fullmatch(r"item [0-9a-f]{12}", first)
    assert first != privacy.item_name({"path": "doe/1.png"}, "other run", names=False)


# Card and manifest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, with (brackets).", "plain words, with (brackets)."),
        ("<script>", "&lt;script&gt;"),
        ("a|b*c*`d`[e](f)_g_", r"a\|b\*c\*\`d\`\[e\](f)\_g\_"),
        ("# head\n- item", r"\# head - item"),
        ("1. first", r"1\. first"),
        ("- list", r"\- list"),
    ],
)
def test_markdown_is_shown_as_text(text: str, expected: str) -> None:
    assert build.markdown(text) == expected


def test_unknown_methods_have_no_card() -> None:
    assert facts.method_card(None) is None
    assert facts.method_card("nobody/nothing") is None
    card = facts.method_card("protect/cuda")
    assert card is not None
    assert card.does_not_stop


def test_a_reader_sees_only_the_details_that_mean_something() -> None:
    technical = {"images_per_second": 2075.0, "seconds": 1.08, "test_transformed": 0.325}
    assert words.row_details(technical) == ""
    said = words.row_details({"leak_gain_db": 2.0, "leaked_pairs": 80.0})
    assert said.replace("\xa0", " ") == "what leaked (80 pairs) brings pictures 2.0 dB closer"
    said = words.row_details({"leak_gain_db": -2.04})
    assert said.replace("\u00a0", " ") == "what leaked brings pictures 2.0 dB further away"
    said = words.row_details({**technical, "leak_gain_db": 3.14159, "clean_part_only": 0.61})
    assert said.replace("\u00a0", " ") == (
        "what leaked brings pictures 3.1 dB closer; the unprotected part alone teaches 61.0 %"
    )


@pytest.mark.parametrize(
    ("holds", "unbroken", "headline"),
    [
        (True, True, "Not verified yet"),
        (False, True, "The trial of this protection was not finished"),
        (False, False, "The trial of this protection did not hold"),
    ],
)
def test_what_a_trial_found_stands_at_the_top(holds: bool, unbroken: bool, headline: str) -> None:
    places = {"input": {"uri": "a"}, "output": {"uri": "b"}}
    manifest = {"verb": "protect", "status": "done", "error": None, **places}
    tried: Any = SimpleNamespace(holds=holds, unbroken=unbroken, reason="Why.")
    found = words.banner(manifest, None, quality.Quality(), names=True, choice=tried)
    assert found.headline == headline
    assert ("Why." in found.sentences) == (not holds)
