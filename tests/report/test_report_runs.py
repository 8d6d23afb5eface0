"""Which folders a report is made from, and which files it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_making import COMMITMENT, Page, build, evidence, record, textured, write_preview

from noli.core.errors import RunError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.manifest import DataInfo
from noli.core.run import Run
from noli.report.build import write_report
from noli.report.facts import find_evidence, find_protect_run, gather


def test_verify_run_refers_to_the_protect_run(
    protect_run: Callable[..., Run], verify_run: Callable[..., Run]
) -> None:
    made, test = protect_run(), verify_run()
    partner = find_protect_run(test)
    assert partner is not None
    assert partner.path == made.path
    alone = build(test)
    assert "Verification report" in alone
    assert "<img" not in alone
    write_report(test.path)
    full = (test.path / "report.html").read_text(encoding="utf-8")
    assert f"Protected in run <b>{made.manifest.run_id}" in full
    assert len(Page(full).all("img")) == 32
    assert "h-battery" in full
    summary = json.loads((test.path / "report.json").read_text(encoding="utf-8"))
    assert summary["protect_run"] == made.manifest.run_id
    assert summary["quality"]["items"] == 8


def test_protect_report_takes_up_evidence_about_its_data_only(
    protect_run: Callable[..., Run], verify_run: Callable[..., Run]
) -> None:
    made, test = protect_run(), verify_run()
    assert find_evidence(made) is None  # it does not say which data it judged
    found = evidence(hashes={"protected_items": "22" * 32})
    atomic_write(test.artifact("evidence.json"), found.model_dump_json().encode())
    assert find_evidence(made) == found
    write_report(made.path)
    assert "Protection holds" in (made.path / "report.html").read_text(encoding="utf-8")
    assert "Not verified yet" in build(made)  # the pure function reads its own folder only
    test.update(status="running")
    assert find_evidence(made) is None


def test_evidence_moves_with_the_run(
    protect_run: Callable[..., Run], verify_run: Callable[..., Run], tmp_path: Path
) -> None:
    made, test = protect_run(), verify_run(evidence(hashes={"protected_items": "22" * 32}))
    place = tmp_path / "elsewhere"
    place.mkdir()
    for run in (made, test):
        run.path.rename(place / run.path.name)
    moved = Run.open(place / made.path.name)
    assert find_evidence(moved) is not None
    (place / test.path.name).rename(tmp_path / "gone")
    assert find_evidence(moved) is None


def test_evidence_belongs_to_the_data_it_names(
    protect_run: Callable[..., Run], verify_run: Callable[..., Run]
) -> None:
    made, test = protect_run(), verify_run(evidence(hashes={"protected_items": "22" * 32}))
    assert find_evidence(made) is not None
    assert "earlier state" not in build(test, protect_run=made)
    assert made.manifest.output is not None
    made.update(output=made.manifest.output.model_copy(update={"hash": "44" * 32}))
    assert find_evidence(made) is None
    assert "about an earlier state" in build(test, protect_run=made)


@pytest.mark.parametrize("uri", ["s3://bucket/safe", "memory://x"])
def test_urls_have_no_neighbours(
    protect_run: Callable[..., Run], verify_run: Callable[..., Run], uri: str
) -> None:
    assert find_evidence(protect_run(output=DataInfo(uri=uri))) is None
    test = verify_run()
    test.update(input=DataInfo(uri=uri))
    assert find_protect_run(test) is None


def test_undo_run_compares_with_the_originals(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "back.noli", verb="undo", method="protect/cuda", output=DataInfo(uri="back"))
    run.write_shard_record(
        0,
        [
            record(0, "a.png", restored_psnr=41.5, restored_linf=3),
            record(1, "b.png", restored_psnr=None, restored_linf=0),
        ],
    )
    write_preview(run, ["a.png"])
    run.finish({})
    page = Page(build(run))
    assert "Restored" in page.text
    assert "41.5 dB" in page.text
    assert "Not verified" not in page.text
    assert {picture["alt"] for picture in page.all("img")} >= {
        "The protected picture of a.png",
        "The restored picture of a.png",
    }
    card = write_report(run.path).with_name("card.md").read_text("utf-8")
    for text in (page.text, card):
        assert "Meant to stop" not in text, "restored originals stop nothing"
        assert "measured" not in text.split("Manifest")[0]
        assert "noli verify" not in text
    assert "\n\n\n" not in card
    run.write_shard_record(0, [record(0, "a.png")])
    assert "The originals were not at hand" in build(run)


def test_ssim_of_the_shown_pictures_stands_in_for_missing_records(protect_run: Callable[..., Run]) -> None:
    run = protect_run()
    summary = gather(run).quality.summary()["measures"]["ssim"]
    assert summary["sampled"] is True
    assert summary["n"] == 8
    assert "8\u00a0pictures as shown" in build(run)
    assert gather(run, pictures=False).quality.summary()["measures"]["ssim"]["worst"] == summary["worst"]


def test_same_folder_same_bytes_and_nothing_written(protect_run: Callable[..., Run]) -> None:
    run = protect_run()
    before = sorted(run.path.rglob("*"))
    assert build(run, evidence()) == build(Run.open(run.path), evidence())
    assert sorted(run.path.rglob("*")) == before


def test_write_report_writes_three_files_and_a_copy(protect_run: Callable[..., Run], tmp_path: Path) -> None:
    run = protect_run()
    assert write_report(run.path) == run.path / "report.html"
    copy = write_report(run.path, tmp_path / "deep" / "page.html")
    assert copy.read_bytes() == (run.path / "report.html").read_bytes()
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "run.json",
        "events.jsonl",
        "shards",
        "artifacts",
        "report.html",
        "report.json",
        "card.md",
    }


def test_json_holds_the_figures(protect_run: Callable[..., Run]) -> None:
    run = protect_run()
    write_report(run.path, evidence=evidence("not supported"))

    def refuse(text: str) -> Any:
        raise AssertionError(text)

    found = json.loads((run.path / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["verdict"] == "not supported"
    assert found["levels"] == {"naive": "supported", "routine": "not supported", "adaptive": "not supported"}
    assert found["manifest"]["key"]["commitment"] == COMMITMENT
    psnr = [row["psnr"] for row in run.iter_records()]
    assert found["quality"]["measures"]["psnr"]["mean"] == pytest.approx(np.mean(psnr), abs=1e-5)
    assert found["quality"]["measures"]["psnr"]["worst"] == pytest.approx(min(psnr), abs=1e-5)


def test_damaged_folders_are_typed_errors(protect_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        write_report(tmp_path / "nothing")
    run = protect_run()
    run.artifact("evidence.json").write_text("{}")
    with pytest.raises(RunError, match="evidence"):
        build(run)
    run.artifact("evidence.json").unlink()
    run.artifact("preview.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(RunError, match="preview"):
        build(run)


def test_preview_without_items_and_with_large_pictures(protect_run: Callable[..., Run]) -> None:
    run = protect_run(preview=False)
    np.savez(run.artifact("preview.npz"), names=np.array([], dtype=str))
    assert "h-pictures" not in build(run)
    big = textured(1, 300)
    np.savez(run.artifact("preview.npz"), names=np.array(["b"]), original_0=big, protected_0=big[:, :, :1])
    page = Page(build(run))
    assert [(p["width"], p["height"]) for p in page.all("img")] == [("256", "256"), ("256", "256")]


def test_a_real_run_from_folder_to_report(tmp_path: Path) -> None:
    """No fixture: demo crops, the runner, CUDA, the saved files, the report."""
    from noli import registry
    from noli.data.demo import photo_crops
    from noli.engine.request import RunRequest
    from noli.engine.runner import run_data

    photos = photo_crops(tmp_path / "photos", per_class_train=2, per_class_test=1)
    spec = registry.get("protect/cuda")
    key = Key.new(tmp_path / "owner.key")
    run = run_data(RunRequest(str(photos), str(tmp_path / "safe"), spec, spec.config(), key))
    page = Page(write_report(run.path).read_text(encoding="utf-8"))
    found = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    assert found["quality"]["items"] == 42
    assert set(found["quality"]["measures"]) == {"psnr", "ssim", "linf"}
    assert len(page.all("img")) == 32
    assert key.commit() in page.text
    assert f"noli verify {tmp_path / 'safe'} --clean {photos}" in page.text
    for line in (*spec.card.stops, *spec.card.does_not_stop):
        assert " ".join(line.split()) in page.text


def test_a_place_that_cannot_be_written_is_a_typed_error(
    protect_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = protect_run(preview=False)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(run.path, tmp_path / "taken" / "page.html")
    assert (tmp_path / "taken").read_text() == "a file"


def test_many_items_stay_cheap(protect_run: Callable[..., Run]) -> None:
    run = protect_run(preview=False)
    row = record(0, "x.png")
    for shard in range(20):
        run.write_shard_record(
            shard, ({**row, "path": f"{shard}/{i}.png", "psnr": 20 + i / 1000} for i in range(1000))
        )
    html = build(run)
    assert "20,000" in html
    assert len(html) < 200_000  # the page does not grow with the data
    assert "0/0.png" in html


def test_the_card_can_be_published(protect_run: Callable[..., Run]) -> None:
    run = protect_run()
    write_report(run.path, evidence=evidence("not supported"))
    card = (run.path / "card.md").read_text(encoding="utf-8")
    assert card.startswith("# Protection report\n\n**Protection does not hold at the routine level**\n")
    assert "| adaptive | not supported | leaked-pairs | 82.0\u00a0% |" in card
    assert COMMITMENT in card
    assert "## Limits" in card
    for private in ("cat/", "dog/", "photos", "/safe", "<", "data:"):
        assert private not in card, private
    assert "\n\n\n" not in card


def test_the_card_of_unverified_data_says_so(protect_run: Callable[..., Run]) -> None:
    run = protect_run()
    write_report(run.path)
    card = (run.path / "card.md").read_text(encoding="utf-8")
    assert "**Not verified yet**" in card
    assert "nobody has measured yet" in card
    assert "| PSNR (dB) |" in card


def test_runs_of_unknown_verbs_and_methods_have_a_report(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", verb="heal", method="somebody/else")
    run.finish({"detected": 3})
    page = Page(build(run))
    assert "Report: heal" in page.text
    assert "Finished" in page.text
    assert "somebody/else" in page.text
    assert "detected: 3" in page.text
    assert "h-stops" not in build(run)


def test_skipped_items_are_listed_and_counted(protect_run: Callable[..., Run]) -> None:
    rows = [record(0, "a.png"), *({"path": f"bad{i}.png", "error": f"reason {i}"} for i in range(30))]
    page = Page(build(protect_run(names=["a.png"], records=rows)))
    assert "30\u00a0items could not be used" in " ".join(page.words)
    assert "The first 20:" in page.text
    assert "bad19.png : reason 19" in page.text
    assert "bad20.png" not in page.text


def test_notes_and_unchanged_pictures_are_mentioned(protect_run: Callable[..., Run]) -> None:
    rows = [
        record(0, "a.png", notes=["GPS position kept in the output"]),
        record(1, "black.png", psnr=None, linf=0),
    ]
    page = Page(build(protect_run(names=["a.png", "black.png"], records=rows)))
    assert "GPS position kept in the output: 1 picture" in page.text
    assert "1 picture did not change at all" in page.text


def test_rows_with_different_seeds_get_their_own_columns(protect_run: Callable[..., Run]) -> None:
    found = evidence()
    single = found.rows[0].model_copy(update={"values": (0.3,), "n": 7})
    run = protect_run()
    assert "Tested on" in build(run, found.model_copy(update={"rows": (single, *found.rows[1:])}))
    assert "Tested on" not in build(run, found)
    assert "Every row: 3\u00a0seeds, tested on 1,400\u00a0pictures" in build(run, found)


def test_the_card_says_what_was_measured_on_a_sample(protect_run: Callable[..., Run]) -> None:
    names = [f"cat/{number:04d}.png" for number in range(40)]
    run = protect_run(names)
    write_report(run.path)
    card = (run.path / "card.md").read_text("utf-8").replace("\u00a0", " ")
    assert "## Quality (40 pictures)" in card
    assert "| SSIM (only the 8 pictures in the report) |" in card
    assert "| PSNR (dB) |" in card
