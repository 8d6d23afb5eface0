"""What must never appear: secrets, names of patients, names that act as code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_making import COMMITMENT, Page, build, evidence, record

from noli.core.errors import DataError
from noli.core.key import Key
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.run import Run
from noli.report.build import write_report

HOSTILE = [
    "<script>alert(1)</script>/a.png",
    '"><img src=x onerror=alert(1)>.png',
    "{{ 7*7 }}{% raw %}.png",
    "</style></title><b>.png",
    "\u202egnp.exe",
    "`a|b`*c*[d](javascript:alert(1)).png",
    "$\\frac{1}{0}$.png",
    "naïve 猫.png",
]


@pytest.mark.parametrize("pictures", [True, False])
def test_hostile_names_are_inert(protect_run: Callable[..., Run], pictures: bool) -> None:
    rows = [record(i, name, notes=[name]) for i, name in enumerate(HOSTILE)]
    rows.append({"path": HOSTILE[0], "error": f"cannot read {HOSTILE[1]}"})
    found = evidence(
        reason=HOSTILE[0], claim=HOSTILE[1], limits=tuple(HOSTILE), config={HOSTILE[0]: HOSTILE[1]}
    )
    worst = found.rows[0].model_copy(
        update={"name": HOSTILE[6], "about": HOSTILE[0], "detail": {HOSTILE[3]: 1.0}}
    )
    found = found.model_copy(update={"rows": (worst, *found.rows[1:])})
    run = protect_run(names=HOSTILE, records=rows, args_passed={HOSTILE[0]: HOSTILE[1]})
    html = build(run, found, pictures=pictures)
    page = Page(html)
    assert not page.all("script")
    assert len(page.all("img")) == (32 if pictures else 0)
    assert "<script" not in html
    # The hostile attributes and template code exist as text only; the parser saw them as no tag.
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "{{ 7*7 }}" in page.text or not pictures
    if pictures:
        for name in HOSTILE:
            assert name in " ".join(page.words)


@given(name=st.text(min_size=1, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_survives_as_text(tmp_path: Path, name: str) -> None:
    if not Run.exists(tmp_path):
        Run.create(tmp_path, verb="protect").finish({})
    run = Run.open(tmp_path)
    run.write_shard_record(0, [{"path": name, "error": name}])
    shown = "".join(Page(build(run)).words)
    for piece in re.split(r"[\x00\r\n\s\ud800-\udfff]+", name):
        assert shown.count(piece) >= 2


def test_secrets_never_appear(protect_run: Callable[..., Run], tmp_path: Path) -> None:
    key = Key.new(tmp_path / "owner.key", passphrase="correct horse battery")
    raw = (tmp_path / "owner.key").read_text(encoding="utf-8")
    run = protect_run(
        key=KeyInfo(id=key.id, commitment=key.commit()),
        args_passed={
            "key": "/home/ann/owner.key",
            "passphrase": "correct horse battery",
            "url": "s3://AKIA:hunter2@bucket/x?X-Amz-Signature=deadbeef",
            "nested": [{"api_token": ["tok-123"], "kernel": 3}],
        },
        state={"filters": "state-stays-in-run-json"},
    )
    write_report(run.path, evidence=evidence(config={"password": "pw-77", "seeds": 3}))
    for name in ("report.html", "report.json", "card.md"):
        text = (run.path / name).read_text(encoding="utf-8")
        assert key.commit() in text
        for secret in (
            "correct horse",
            "hunter2",
            "deadbeef",
            "tok-123",
            "pw-77",
            "/home/ann",
            "state-stays",
        ):
            assert secret not in text, (name, secret)
        for piece in re.findall(r"[0-9A-Za-z+/=]{24,}", raw):
            assert piece in (key.id, key.commit()) or piece not in text


def test_without_pictures_nothing_names_a_patient(protect_run: Callable[..., Run], tmp_path: Path) -> None:
    names = [f"Doe_Jane_{n}/scan_{n}.png" for n in range(8)]
    rows = [record(i, name) for i, name in enumerate(names)]
    rows.append({"path": "Doe_John/bad.png", "id": "", "error": "Doe_John/bad.png is truncated"})
    run = protect_run(
        names=names,
        records=rows,
        input=DataInfo(uri=str(tmp_path / "Doe_ward"), layout="class-folders", items=8, hash="11" * 32),
        args_passed={"Doe_Jane": 4},
        args_resolved={"source": "/Doe_ward", "config": {"mode": "keyed", "k": 3}},
    )
    run.update(results={"worst": "Doe_Jane_3", "psnr_mean": 31.0})
    found = evidence(reason=f"Read from {tmp_path / 'Doe_ward'}.", config={"clean": "/Doe_ward", "seeds": 3})
    write_report(run.path, evidence=found)
    private = {name: (run.path / name).read_bytes() for name in ("report.html", "report.json", "card.md")}
    page = write_report(run.path, tmp_path / "out.html", evidence=found, pictures=False)
    public = write_report(run.path, evidence=found, pictures=False)
    assert public == run.path / "report-public.html"
    assert all((run.path / name).read_bytes() == content for name, content in private.items())
    for file in (page, public, run.path / "card.md"):
        text = file.read_text(encoding="utf-8")
        assert "Doe_" not in text, file.name
        assert "scan_" not in text
        assert "data:image" not in text
    html = page.read_text(encoding="utf-8")
    assert re.search(r"item 0{11}\d", html)  # the content id, which the run folder resolves
    assert "keyed" in html
    assert COMMITMENT in html
    # With pictures the same report does name them: the test above is not empty.
    assert "Doe_Jane_3" in build(run, found)


def test_without_pictures_the_reason_may_not_list_classes(protect_run: Callable[..., Run]) -> None:
    found = evidence("inconclusive", rows=False, value=None, reason="Too few images: Doe_Jane, Doe_John.")
    run = protect_run()
    assert "Doe_" not in build(run, found, pictures=False)
    assert "Doe_John" in build(run, found)


def test_failed_run_without_pictures_hides_the_items(protect_run: Callable[..., Run]) -> None:
    run = protect_run(finish=False)
    run.fail(DataError("Broken.", where="Doe/1.png", why="Doe/1.png is empty", items=["Doe/1.png"]))
    assert "Doe/" not in build(run, pictures=False)
    assert "DataError stopped the run" in build(run, pictures=False)
    assert "Doe/1.png is empty" in build(run)
