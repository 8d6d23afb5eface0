"""noli protect, undo, diff, report and verify: flags, results on stdout, hints on stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from noli import registry
from noli.cli import console, dynamic, protect
from noli.core.key import Key
from noli.core.method import Card, MethodConfig, Spec
from noli.core.run import Run as RunFolder
from noli.testing.fixtures import tree

Run = Callable[..., Any]
SMALL_TEST = ("--set", "min_test=10", "--set", "min_per_class=5")


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    Key.new(tmp_path / "owner.key")
    return tmp_path / "owner.key"


@pytest.fixture
def made(noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path) -> tuple[Path, Path]:
    photos, safe = class_folders(each=20), tmp_path / "safe"
    assert noli("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1).code == 0
    return photos, safe


def test_protect_says_what_was_done_and_what_comes_next(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    photos, safe = class_folders(), tmp_path / "safe"
    done = noli("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1)
    assert done.code == 0
    for word in ("12 pictures", str(safe), "PSNR", "GPS", "report.html"):
        assert word in done.out
    assert f"noli verify {safe} --clean {photos}" in done.err
    assert "%" not in done.out.split("quality")[0]


def test_protect_json_is_one_document(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    done = noli(
        "protect", "cuda", class_folders(), "-o", tmp_path / "safe", "--key", owner, "-j", 1, "--json"
    )
    assert done.json["results"]["items"] == 12
    assert Path(done.json["report"]).is_file()
    assert done.json["key"]["commitment"] == Key.load(owner).commit()
    assert done.err == ""


def test_options_come_as_flags_settings_and_files(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("mode: keyed\nkernel: 5\nblur: 1/8\n")
    words = (
        "-o",
        tmp_path / "safe",
        "--key",
        owner,
        "-j",
        1,
        "--config",
        file,
        "--set",
        "kernel=7",
        "--mode",
        "paper",
    )
    assert noli("protect", "cuda", class_folders(), *words).code == 0
    resolved = RunFolder.open(tmp_path / "safe.noli").manifest.args_resolved["config"]
    assert (resolved["mode"], resolved["kernel"], resolved["blur"]) == ("paper", 7, 0.125)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--set", "kernal=3"], 2, "did you mean kernel?"),
        (["--set", "kernel=4"], 2, "kernel must be odd"),
        (["--set", "blur=9/8"], 2, "blur is number"),
        (["--set", "workers=3"], 2, "no option of this name"),
        (["--config", "absent.yaml"], 2, "absent.yaml"),
        (["--format", "gif"], 2, "webp"),
        (["--workers", "0"], 2, "workers"),
        (["--modus", "paper"], 2, "--mode"),
    ],
)
def test_wrong_options_are_usage_errors(
    noli: Run,
    class_folders: Callable[..., Path],
    owner: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    says: str,
) -> None:
    done = noli("protect", "cuda", class_folders(), "-o", tmp_path / "safe", "--key", owner, *words)
    assert (done.code, says in done.err) == (code, True), done.err
    assert not (tmp_path / "safe").exists()


def test_a_missing_key_says_how_to_make_one(
    noli: Run, class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    done = noli("protect", "cuda", class_folders(), "-o", tmp_path / "safe")
    assert done.code == 2
    assert "noli key new" in done.err


def test_dry_run_and_preview_write_nothing_else(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    photos, safe = class_folders(), tmp_path / "safe"
    plan = noli("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1, "--dry-run")
    assert "Nothing was written" in plan.out
    assert "12 in 3 classes" in plan.out
    document = noli(
        "protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1, "--dry-run", "--json"
    ).json
    assert (document["items"], document["fits"]) == (12, True)
    shown = noli("protect", "cuda", photos, "-o", safe, "--key", owner, "--preview", 2)
    assert "safe.preview.png" in shown.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["owner.key", "photos", "safe.preview.png"]


def test_broken_pictures_are_listed_with_exit_code_4(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    photos = class_folders(each=30)
    for number in range(22):
        (photos / f"class-1/{number}.png").write_bytes(b"no picture")
    done = noli("protect", "cuda", photos, "-o", tmp_path / "safe", "--key", owner, "-j", 1)
    assert done.code == 4
    assert sum(line.lstrip().startswith("- ") for line in done.err.splitlines()) == 20
    assert "22 of 90" in done.err
    skipped = noli(
        "protect", "cuda", photos, "-o", tmp_path / "safe", "--key", owner, "-j", 1, "--on-error", "skip"
    )
    assert skipped.code == 0
    assert "22 unusable" in skipped.out


def test_undo_diff_and_report(noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path) -> None:
    photos, safe = made
    back = noli("undo", safe, "-o", tmp_path / "back", "--key", owner, "-j", 1)
    assert (back.code, "60 pictures" in back.out) == (0, True), back.err
    found = noli("diff", photos, safe, "-o", tmp_path / "diff.png", "--json").json
    assert (found["items"], (tmp_path / "diff.png").is_file()) == (60, True)
    text = noli("diff", photos, safe, "--no-ssim").out
    assert "60 pictures" in text
    assert "Most changed" in text
    page = noli("report", safe, "-o", tmp_path / "page.html", "--json").json["report"]
    assert Path(page) == tmp_path / "page.html"
    assert noli("report", photos).code == 2
    assert noli("diff", photos, tmp_path / "absent").code in (2, 4)


def test_pages_with_originals_stay_out_of_the_data(
    noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path
) -> None:
    photos, safe = made
    before = tree(tmp_path)
    for words in (
        ("report", safe, "-o", safe / "report.html"),
        ("report", f"{safe}.noli", "-o", photos / "deep/report.html"),
        ("diff", photos, safe, "-o", safe / "diff.png"),
        ("diff", photos, safe, "-o", photos / "diff.png"),
    ):
        done = noli(*words)
        assert (done.code, "inside the data" in done.err) == (2, True), done.err
    assert tree(tmp_path) == before


def test_dry_run_with_preview_is_one_document(
    noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    words = (
        "protect",
        "cuda",
        class_folders(),
        "-o",
        tmp_path / "safe",
        "--key",
        owner,
        "-j",
        1,
        "--dry-run",
    )
    document = noli(*words, "--preview", 2, "--json").json
    assert (document["items"], document["examples"]) == (12, 2)
    assert Path(document["preview"]).is_file()
    Path(document["preview"]).unlink()
    said = noli(*words, "--preview", 2).out
    assert "Nothing else was written." in said
    assert "Nothing was written" not in said


def test_a_finished_run_says_so_and_an_extension_counts(
    noli: Run, made: tuple[Path, Path], owner: Path
) -> None:
    photos, safe = made
    words = ("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1)
    assert "already done, nothing new" in noli(*words).out
    assert noli(*words, "--json").json["worked"] is False
    Image.new("RGB", (16, 16), (200, 30, 70)).save(photos / "class-0/another.png")
    extended = noli(*words).out
    assert "61 pictures with protect/cuda; 1 of them are new" in extended


def test_after_a_rotation_the_advice_is_a_new_output(noli: Run, made: tuple[Path, Path], owner: Path) -> None:
    photos, safe = made
    assert noli("key", "rotate", owner).code == 0
    for more in ((), ("--dry-run",)):
        refused = noli("protect", "cuda", photos, "-o", safe, "--key", owner, *more)
        assert refused.code == 2
        assert "adds nothing new" in " ".join(refused.err.split())
        assert "new output" in refused.err


def test_undo_of_moved_data_names_its_run(
    noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path
) -> None:
    _, safe = made
    moved = safe.rename(tmp_path / "elsewhere")
    words = ("undo", moved, "-o", tmp_path / "back", "--key", owner, "-j", 1)
    assert noli(*words).code == 2
    assert not (tmp_path / "back").exists()
    done = noli(*words, "--protected-run", f"{safe}.noli", "--json")
    assert (done.code, done.json["items"]) == (0, 60), done.err


def test_undo_says_that_the_key_was_revoked(
    noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path
) -> None:
    old = Key.load(owner).id
    Key.rotate(owner)
    Key.revoke(owner, old)
    done = noli("undo", made[1], "-o", tmp_path / "back", "--key", owner)
    assert done.code == 4
    assert "was revoked" in done.err
    assert "no other key" in done.err


def test_undo_finds_a_rotated_key_and_refuses_another(
    noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path
) -> None:
    _, safe = made
    assert noli("key", "rotate", owner).code == 0
    assert noli("undo", safe, "-o", tmp_path / "back", "--key", owner, "-j", 1, "--json").json["items"] == 60
    Key.new(tmp_path / "other.key")
    refused = noli("undo", safe, "-o", tmp_path / "back2", "--key", tmp_path / "other.key")
    assert refused.code == 4
    assert not (tmp_path / "back2").exists()


@pytest.mark.parametrize(("accuracy", "code"), [(0.34, 0), (0.9, 1)])
def test_verify_exits_by_its_verdict(
    noli: Run,
    class_folders: Callable[..., Path],
    training: Any,
    owner: Path,
    tmp_path: Path,
    accuracy: float,
    code: int,
) -> None:
    training.accuracy["protected"] = accuracy
    photos = class_folders(each=100, size=8)
    noli("protect", "cuda", photos, "-o", tmp_path / "safe", "--key", owner, "-j", 1)
    done = noli("verify", tmp_path / "safe", "--clean", photos, *SMALL_TEST, "--keys", 1)
    assert done.code == code, done.out
    for word in ("crop+flip", "adaptive", "guessing", "fresh keys", "90.0 %"):
        assert word in done.out
    assert ("NOT SUPPORTED" if code else "SUPPORTED") in done.out
    document = noli("verify", tmp_path / "safe", "--clean", photos, *SMALL_TEST, "--json").json
    assert document["verdict"] == ("not supported" if code else "supported")


def test_verify_passes_its_flags_on(noli: Run, made: tuple[Path, Path], training: Any) -> None:
    photos, safe = made
    words = ("--claim", "naive", "--seeds", 2, "--set", "network=resnet9", *SMALL_TEST, "--json")
    document = noli("verify", safe, "--clean", photos, *words).json
    assert (document["level"], document["config"]["seeds"], document["config"]["network"]) == (
        "naive",
        2,
        "resnet9",
    )
    assert noli("verify", safe, "--clean", photos, "--set", "epoch=3").code == 2


# ---------------------------------------------------------------- commands made from a Spec


class Greedy(MethodConfig):
    workers: int = 3
    level: float = 0.5
    fast: bool = False


CARD = Card("G", "none", (), ())
GREEDY = Spec("protect/greedy", "protect", "data->data", Greedy, CARD, options=("workers", "level", "fast"))


def test_config_fields_never_take_a_flag_of_the_command() -> None:
    assert dynamic.flag_fields(GREEDY, protect.protect) == ("level", "fast")


def test_flags_carry_type_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    got: dict[str, Any] = {}

    def body(spec: Spec, data: str, *, method_options: dict[str, object]) -> None:
        got.update(method_options, data=data, name=spec.name)

    run = dynamic.command(GREEDY, body, "Help text.")
    run.main(["in", "--level", "8/255", "--fast"], standalone_mode=False)
    assert got == {"level": "8/255", "fast": True, "data": "in", "name": "protect/greedy"}
    got.clear()
    run.main(["in"], standalone_mode=False)
    assert got == {"data": "in", "name": "protect/greedy"}
    run.main(["--help"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "Help text." in said
    assert "Default: 3" in said
    assert "--level" not in said
    run.main(["--help-all"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "Default: 0.5" in said
    assert "--no-fast" in said


@pytest.mark.parametrize("name", [n for n in registry.TABLE if n.startswith("protect/")])
def test_no_method_has_more_than_eight_flags(name: str) -> None:
    assert len(dynamic.flag_fields(registry.get(name), protect.protect)) <= 8


# ---------------------------------------------------------------- words


def test_gps_and_quality_in_words() -> None:
    assert protect._gps(0, "keep") == "no picture carries a position"
    assert "--metadata strip" in protect._gps(3, "keep")
    assert protect._gps(1200, "strip") == "removed from 1,200 pictures"
    assert protect._quality({"psnr_mean": None}) == "no picture was changed"
    found = {"psnr_mean": 30.04, "psnr_min": 20.0, "identical": 2}
    scale = "(above 35 dB hardly visible, below 25 clearly)"
    said = f"PSNR 30.0 dB on average, 20.0 dB at worst {scale}, 2 unchanged"
    assert protect._quality(found) == said


def test_a_plan_warns_when_it_resumes_or_does_not_fit(
    noli: Run, made: tuple[Path, Path], owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, safe = made
    monkeypatch.setattr("noli.engine.plan._free", lambda output: 10)
    done = noli("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1, "--dry-run")
    assert "only what is missing" in done.out
    assert "will not fit" in done.err


@pytest.mark.parametrize(
    ("count", "label", "says"),
    [
        ("skipped", "left out", "3 unusable, listed in safe.noli/events.jsonl"),
        ("removed_from_source", "gone", "3 no longer in the source"),
        ("outputs_changed", "changed", "3 in the output, not as noli wrote it"),
        ("outputs_gone", "lost", "3 gone from the output, and so is the original"),
        ("companions_kept", "kept", "3 of the other files were changed in the output and stay"),
        ("protected_missing", "missing", "3 gone from the protected data and left out"),
    ],
)
def test_what_a_run_found_is_said(count: str, label: str, says: str) -> None:
    rows = console.notices({"items": 9, "outputs_changed": 0, count: 3}, "safe.noli")
    assert [(head, str(text).startswith(says)) for head, text in rows] == [(label, True)]


def test_changes_on_both_sides_are_shown(noli: Run, made: tuple[Path, Path], owner: Path) -> None:
    photos, safe = made
    words = ("protect", "cuda", photos, "-o", safe, "--key", owner, "-j", 1)
    (photos / "README.md").write_text("one")
    Image.new("RGB", (16, 16), (1, 2, 3)).save(photos / "class-0/later.png")
    assert noli(*words).code == 0
    (photos / "class-0/0.png").unlink()  # its copy stays
    (photos / "class-1/1.png").unlink()
    (safe / "class-1/1.png").unlink()
    (safe / "class-2/2.png").write_bytes(b"edited")
    (safe / "README.md").write_text("edited, and longer")
    (photos / "README.md").write_text("two")
    Image.new("RGB", (16, 16), (3, 2, 1)).save(photos / "class-0/last.png")
    said = [line.split(maxsplit=1) for line in noli(*words).out.splitlines() if line.strip()]
    shown = dict(said)
    assert shown["gone"].startswith("2 no longer in the source")
    assert shown["changed"].startswith("1 in the output")
    assert shown["lost"].startswith("1 gone from the output")
    assert shown["kept"].startswith("1 of the other files were changed")
    found = noli(*words, "--json").json["results"]
    counts = ("removed_from_source", "outputs_changed", "outputs_gone", "companions_kept")
    assert [found[count] for count in counts] == [2, 1, 1, 1]


def test_undo_tells_what_was_missing(noli: Run, made: tuple[Path, Path], owner: Path, tmp_path: Path) -> None:
    _, safe = made
    (safe / "class-0/3.png").unlink()
    words = ("undo", safe, "--key", owner, "-j", 1)
    said = noli(*words, "-o", tmp_path / "back").out
    assert "59 pictures" in said
    assert "1 gone from the protected data and left out" in said
    document = noli(*words, "-o", tmp_path / "back2", "--json").json
    assert (document["items"], document["missing"], document["results"]["protected_missing"]) == (59, 1, 1)


def test_restored_in_words() -> None:
    from noli.cli.data import _restored

    assert "not where they were" in _restored(0, 0, None, None)
    assert _restored(5, 5, None, None) == "5 of 5 are identical to the original"
    assert _restored(5, 0, 40.26, 31.0) == "PSNR 40.3 dB on average, 31.0 dB at worst, against 5 originals"


def test_what_a_method_reached_is_said() -> None:
    from noli.cli.protect import _learned

    state = {"reached": [{"steps": 9.0}, {"steps": 20.0, "error": 0.25, "passes_per_visit": 61.0}]}
    error = "error of the surrogate on protected pictures"
    assert _learned(state) == [("learned", f"steps 20, {error} 25.0 %, passes per visit 61")]
    assert _learned({"draws": {}}) == _learned(None) == []
    late = {"reached": [{"steps": 9.0, "error": 0.5, "out_of_time": 500.0}]}
    assert _learned(late) == [("learned", f"steps 9 of 500, ended by --time, {error} 50.0 %")]
    good = {"reached": [{"steps": 9.0, "error": 0.5, "good_enough": 500.0}]}
    assert _learned(good)[0][1].startswith("steps 9 of 500, ended by the error asked for (stop), error")
    clusters = {"encoder": "own", "reached": [{"moved": 0.125, "smallest": 3.0}]}
    told = "clusters of the encoder own, pictures taken for the wanted cluster 12.5 %, smallest cluster 3"
    assert _learned(clusters) == [("learned", told)]


def test_an_encoder_that_is_missing_is_told(
    noli: Run,
    class_folders: Callable[..., Path],
    owner: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("noli.train.clustered.packaged", lambda: False)
    photos = class_folders()
    trial = {**registry.get("protect/uc").trial, "encoder": "auto"}
    words = [word for option, value in trial.items() for word in ("--set", f"{option}={value}")]
    done = noli("protect", "uc", photos, "-o", tmp_path / "a", "--key", owner, "-j", 1, *words)
    assert done.code == 0, done.err
    assert "clusters of the encoder own" in done.out
    assert "pip install 'noli[encoders]'" in done.err
    asked = [word.replace("encoder=auto", "encoder=own") for word in words]
    done = noli("protect", "uc", photos, "-o", tmp_path / "b", "--key", owner, "-j", 1, *asked)
    assert "noli[encoders]" not in done.err


@pytest.mark.parametrize("method", registry.names("protect"))
def test_every_method_ends_with_a_summary(
    method: str, noli: Run, class_folders: Callable[..., Path], owner: Path, tmp_path: Path
) -> None:
    trial = registry.get(method).trial
    words = [word for option, value in trial.items() for word in ("--set", f"{option}={value}")]
    name = method.removeprefix("protect/")
    done = noli("protect", name, class_folders(), "-o", tmp_path / "safe", "--key", owner, "-j", 1, *words)
    assert done.code == 0, done.err
    assert f"12 pictures with {method}" in done.out
    assert "Next: noli verify" in done.err


def test_no_next_step_is_printed_that_cannot_work(noli: Run, owner: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(4):
        Image.effect_noise((16, 16), 60 + number).save(flat / f"{number}.png")
    trial = [w for n, v in registry.get("protect/uc").trial.items() for w in ("--set", f"{n}={v}")]
    done = noli("protect", "uc", flat, "-o", tmp_path / "safe", "--key", owner, "-j", 1, *trial)
    assert done.code == 0, done.err
    assert "Next:" not in done.err
    assert "noli verify needs classes" in done.err
