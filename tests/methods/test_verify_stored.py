"""`verify` and the run that protected the data: unfinished runs, exchanged files, its labels column."""

import pytest

import noli
from noli.core.errors import UsageError
from noli.core.run import Run

SMALL = {"device": "cpu", "min_test": 10, "epochs": 1, "min_steps": 0}


@pytest.fixture
def protected(class_folders, key, tmp_path):
    photos = class_folders(classes=3, each=20, size=8)
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    return photos


@pytest.mark.parametrize("place", ["safe", "safe.noli"])
def test_an_unfinished_run_is_refused(place, protected, training, tmp_path):
    Run.open(tmp_path / "safe.noli").update(status="interrupted")
    with pytest.raises(UsageError, match="not finished"):
        noli.verify(tmp_path / place, clean=protected, **SMALL)
    assert training.asked == []


@pytest.mark.parametrize("exchanged", [0, 2, 40])
def test_files_that_the_run_did_not_write_are_counted(exchanged, protected, training, tmp_path):
    for file in sorted((tmp_path / "safe").rglob("*.png"))[:exchanged]:
        file.write_bytes((protected / file.relative_to(tmp_path / "safe")).read_bytes())
    evidence = noli.verify(tmp_path / "safe", clean=protected, **SMALL)
    assert evidence.reference["stored_checked"] == 60
    assert evidence.reference["stored_changed"] == exchanged
    assert any("recorded SHA-256" in limit for limit in evidence.limits) == (exchanged > 0)
    assert (evidence.value is None) == (exchanged == 40)
    if exchanged == 40:
        assert evidence.verdict == "inconclusive"
        assert training.asked == []


def test_the_runs_labels_column_is_the_default(protected, training, tmp_path, monkeypatch):
    run, asked = Run.open(tmp_path / "safe.noli"), []
    run.update(args_resolved={**run.manifest.args_resolved, "labels": "kind"})

    def stop(place, *, labels=None):
        asked.append(labels)
        raise UsageError("enough")

    monkeypatch.setattr("noli.data.sources.open_source", stop)
    for given in (None, "other"):
        with pytest.raises(UsageError, match="enough"):
            noli.verify(tmp_path / "safe", clean=protected, labels=given, **SMALL)
    assert asked == ["kind", "other"]
