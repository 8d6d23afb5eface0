"""The steps of T2UE on files: what makes noise cannot be given a picture; the last step needs no torch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import noli
from noli.api._verify import _fresh_keys
from noli.cli import t2ue as commands
from noli.cli.main import main
from noli.core.errors import DataError, OutputExists, UsageError
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.methods.protect import t2ue

COLOURS = {"red": (200, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 210)}
QUICK = {"text": "words", "surrogate": "tiny", "side": 16, "epochs": 2, "batch": 12}


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Coloured pictures of odd sizes with captions in metadata.csv."""
    folder = tmp_path / "captioned"
    folder.mkdir()
    rows = ["file_name,caption"]
    rng = np.random.default_rng(0)
    for number in range(24):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = np.asarray(colour) + rng.integers(-40, 41, (19 + number, 23, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,a {name} wall")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_no_step_that_makes_noise_has_an_argument_for_a_picture() -> None:
    made = {"prompts", "key", "generator", "output", "variants", "progress"}
    assert set(inspect.signature(noli.t2ue.generate).parameters) == made
    words = made - {"progress"} | {"prompt", "passphrase_file", "json", "quiet"}
    assert set(inspect.signature(commands.generate).parameters) == words
    core = {"prompts", "key", "generator", "folder", "variants", "tell"}
    assert set(inspect.signature(t2ue.generate).parameters) == core


NO_PICTURES = """
import sys
kinds = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".bmp", ".npz", ".dcm")
opened = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str | bytes):
        name = str(args[0]).lower()
        opened.append(name)
        if {folder!r}.lower() in name or name.endswith(kinds):
            raise SystemExit("a picture was opened: " + name)
sys.addaudithook(watch)
from noli.cli.main import main
code = main(["t2ue", "generate", "--prompts", {prompts!r}, "--prompt", "a tree", "--generator", {generator!r},
             "--key", {key!r}, "-o", {output!r}])
assert not {{"PIL", "noli.data.codec"}} & set(sys.modules), "something that reads pictures was loaded"
assert any(name.endswith("prompts.txt") for name in opened), "the watch does not see files"
raise SystemExit(code)
"""


def test_generation_opens_no_picture(captioned: Path, tmp_path: Path) -> None:
    Key.new(tmp_path / "owner.key")
    (tmp_path / "prompts.txt").write_text("a red wall\n\n a blue wall \n")
    places = {"generator": "untrained", "key": "owner.key", "prompts": "prompts.txt", "output": "noise"}
    where = {n: p if n == "generator" else str(tmp_path / p) for n, p in places.items()}
    script = NO_PICTURES.format(folder=str(captioned), **where)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 pieces of noise of 32 x 32 pixels" in done.stdout
    assert {file.name for file in (tmp_path / "noise").iterdir()} == {"noise.npy", "noise.json", "about.json"}


NO_TORCH = """
import sys
sys.modules["torch"] = None
sys.modules["transformers"] = None
import numpy as np
import noli
noise = np.full((4, 4, 3), 127, np.int8)
safe = noli.t2ue.apply(np.full((5, 7, 3), 100, np.uint8), noise)
assert safe.shape == (5, 7, 3) and (safe == 108).all()
deep = noli.t2ue.apply(np.full((5, 7, 1), 1000, np.uint16), -noise, 2 / 255)
assert deep.dtype == np.uint16 and (deep == 1000 - 2 * 257).all()
noli.protect({source!r}, {output!r}, "t2ue", key={key!r}, store={store!r}, workers=1)
"""


def test_the_steps_one_after_the_other(captioned: Path, tmp_path: Path) -> None:
    generator, store, key = tmp_path / "g.safetensors", tmp_path / "noise", tmp_path / "owner.key"
    reached = noli.t2ue.train(captioned, generator, **QUICK)
    assert not list(tmp_path.glob(".*"))  # what was kept against a kill is gone
    assert (reached["pictures"], reached["captions"], reached["steps"]) == (24, 3, 4)
    Key.new(key)
    noise = noli.t2ue.generate([f"a {name} wall" for name in COLOURS], key, generator, store, variants=2)
    assert (noise.dtype, noise.shape) == (np.int8, (6, 16, 16, 3))
    names = [f"a {name} wall" for name in ("green", "red", "green")]
    twice = noli.t2ue.generate(names, key, generator, variants=2)
    assert np.array_equal(twice, noise[[2, 3, 0, 1, 2, 3]])
    places = {"source": captioned, "output": tmp_path / "safe", "key": key, "store": store}
    script = NO_TORCH.format(**{name: str(place) for name, place in places.items()})
    subprocess.run([sys.executable, "-c", script], check=True)
    found = noli.diff(captioned, tmp_path / "safe", ssim=False)
    assert (found.items, found.identical) == (24, 0)
    assert found.linf_max <= 8
    with pytest.raises(UsageError, match="works from texts"):
        noli.verify(tmp_path / "safe", clean=captioned, keys=1)
    run = noli.Run.open(tmp_path / "safe.noli")
    assert _fresh_keys(None, "standard", run, "safe") == 0
    # The run keeps the noise it used: undo and additions need neither the folder nor the generator.
    for file in (*store.iterdir(), generator):
        file.unlink()
    back = noli.undo(tmp_path / "safe", tmp_path / "back", key=key, workers=1)
    assert back.psnr_mean > 45


def test_existing_files_stay_and_captions_are_needed(captioned: Path, tmp_path: Path, key: Key) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(OutputExists):
        noli.t2ue.train(captioned, taken, **QUICK)
    with pytest.raises(OutputExists):
        noli.t2ue.generate(["a cat"], key, "untrained", taken)
    with pytest.raises(UsageError, match="several texts") as alone:
        noli.t2ue.generate("cat", key, "untrained")  # not "c", "a" and "t"
    assert "['cat']" in (alone.value.fix or "")
    for nothing in ([], ["a cat", " "]):
        with pytest.raises(DataError, match="no text"):
            noli.t2ue.generate(nothing, key, "untrained")
    with pytest.raises(UsageError, match="no option"):
        noli.t2ue.train(captioned, tmp_path / "g.safetensors", sides=16)
    (captioned / "metadata.csv").write_text("file_name,caption\n3.png,a red wall\n")
    with pytest.raises(DataError, match="some have no caption") as caught:
        noli.t2ue.train(captioned, tmp_path / "g.safetensors", **QUICK)
    assert len(caught.value.items) == 23


def test_a_picture_is_no_list_of_prompts(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Key.new(tmp_path / "owner.key")
    words = ["--generator", "untrained", "--key", str(tmp_path / "owner.key"), "-o", str(tmp_path / "noise")]
    assert main(["t2ue", "generate", "--prompts", str(captioned / "0.png"), *words]) == 2
    assert "one prompt a line" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "noise").exists()


def test_the_engine_shows_no_picture_to_a_method_that_works_from_texts(
    captioned: Path, tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    def curious(summary: DataSummary, *_: object) -> None:
        assert summary.study is not None
        assert [item.text for item in summary.study.items][:2] == ["a red wall", "a green wall"]
        summary.study.images(8)

    monkeypatch.setattr(t2ue, "prepare", curious)
    request = RunRequest(str(captioned), str(tmp_path / "safe"), t2ue.SPEC, t2ue.Config(), key)
    with pytest.raises(UsageError, match="works without the pictures"):
        run_data(request)
