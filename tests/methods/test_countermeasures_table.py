"""The table of countermeasures: order, levels, listing without heavy imports, plug-ins good and bad."""

import hashlib
import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace

import pytest

from noli.api import countermeasures as countermeasure_list
from noli.core.errors import MissingPrerequisite, UsageError
from noli.methods.verify import countermeasures
from noli.methods.verify.battery import table
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import battery, find, own
from noli.methods.verify.measure import BATTERIES
from noli.methods.verify.rows import Training

QUICK = ["plain", "crop+flip", "cutout+mixup", "grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin",
         "leak-1-pair", "partial-50"]  # fmt: skip
STANDARD = [*QUICK[:2], "test-time", *QUICK[2:5], "jpeg-30", "jpeg-75", *QUICK[5:-1],
            "partial-20", "partial-40", "partial-60", "partial-80"]  # fmt: skip
PLUGIN = """
from noli.methods.verify.measure import Measure
SMOOTH = Measure("acme/smooth", "smooths", "routine", squeeze=lambda x: x, battery="quick")
OTHER = Measure("acme/other", "is another", "routine")
WRONG = Measure("acme/wrong", "no level", "hopeless")
def made(cfg):
    return Measure("acme/made", f"for {cfg.epochs} epochs", "adaptive")
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    (tmp_path / "acme_rows.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_rows", raising=False)

    def add(**points):
        dist = SimpleNamespace(name="acme", version="1.2")
        made = [SimpleNamespace(name=f"acme/{n}", value=v, dist=dist) for n, v in points.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made)

    return add


def test_the_old_batteries_keep_their_rows_in_their_order():
    assert [m.name for m in table(Config())] == QUICK
    assert [m.name for m in table(Config(battery="standard"))] == STANDARD


def test_each_battery_holds_the_smaller_ones():
    same = [{m.name for m in battery(Config(battery=b, partial=(0.5,)))} for b in BATTERIES]
    assert same[0] < same[1] <= same[2]
    by_name_only = {f"partial-{share}" for share in (20, 40, 60, 80)}
    assert same[2] == {m.name for m in own(Config(partial=(0.5,)))} - by_name_only


def test_every_usual_share_can_be_named_and_says_which_battery_has_it():
    usual = [f"partial-{share}" for share in (50, 20, 40, 60, 80)]
    for cfg, home in ((Config(), "standard"), (Config(battery="full"), "quick")):
        assert [find(name, cfg).battery for name in usual[1:]] == [home] * 4
        assert [find(name, cfg).share for name in usual] == [0.5, 0.2, 0.4, 0.6, 0.8]
    assert find("partial-50", Config(battery="standard")).battery == ""
    mine = Config(partial=(3 * 0.2, 0.3))
    assert [m.name for m in battery(mine) if m.share] == ["partial-30", "partial-60"]
    assert find("partial-20", mine).battery == ""
    assert len({m.name for m in own(mine)}) == len(own(mine))


def test_names_are_unique_and_levels_follow_the_written_rule():
    measures = own(Config())
    assert len({m.name for m in measures}) == len(measures)
    for m in measures:
        assert find(m.name, Config()).name == m.name
        assert m.about
        assert not m.about.endswith(".")
        targets = m.leaked or m.learn is not None or m.own is not None
        assert m.level in ("adaptive",) if targets else m.level in ("naive", "routine", "adaptive", "context")
        if m.squeeze is not None and not targets:
            assert m.view is not None, "a trainer may always squeeze the test images, too"


def test_listing_imports_no_heavy_library():
    code = (
        "import sys; from noli.methods.verify import countermeasures as c; "
        "from noli.methods.verify.config import Config; c.own(Config()); c.plugins(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'cv2', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_get_the_nearest_ones():
    with pytest.raises(UsageError) as caught:
        find("grayscle", Config())
    assert "did you mean grayscale or grayscale+op or grayscale+coin? `noli attack` says" in caught.value.fix
    with pytest.raises(UsageError, match=r"choose from: .*\w\. `noli attack` says"):
        find("nonsense", Config())


def test_a_plugin_is_found_but_enters_no_battery_by_itself(acme):
    acme(smooth="acme_rows:SMOOTH", made="acme_rows:made")
    assert list(countermeasures.plugins()[0]) == ["acme/made", "acme/smooth"]
    assert [m.name for m in table(Config())] == QUICK
    assert [m.name for m in table(Config(also=("acme/made", "coin")))] == [*QUICK, "acme/made"]
    found = find("acme/made", Config(epochs=3))
    digest = hashlib.sha256(PLUGIN.encode()).hexdigest()[:8]
    assert (found.about, found.origin) == ("for 3 epochs", f"acme 1.2 {digest}")
    # Another version of the plug-in, or a source that was edited, is another training.
    assert Training(found, "protected", 0).key == f"acme/made|protected|0|acme 1.2 {digest}"


def test_an_edited_plugin_is_another_training(acme, tmp_path):
    acme(made="acme_rows:made")
    before = find("acme/made", Config()).origin
    with (tmp_path / "acme_rows.py").open("a") as file:
        file.write("# edited\n")
    assert find("acme/made", Config()).origin != before


def test_the_list_shows_what_a_plugin_declares_and_survives_what_it_does(acme, tmp_path):
    (tmp_path / "acme_bad.py").write_text("raise OSError('no disk')")
    acme(smooth="acme_rows:SMOOTH", made="acme_rows:made", wrong="acme_rows:WRONG", bad="acme_bad:X")
    epochs = Config().epochs
    theirs = {one.name: one for one in countermeasure_list() if one.package == "acme"}
    assert {name: one.level for name, one in theirs.items()} == {
        "acme/smooth": "routine", "acme/made": "adaptive", "acme/wrong": "", "acme/bad": ""
    }  # fmt: skip
    assert theirs["acme/smooth"].about == "smooths (acme 1.2)"
    assert theirs["acme/made"].about == f"for {epochs} epochs (acme 1.2)"
    assert theirs["acme/bad"].about == "Plug-in of acme 1.2, which cannot be loaded: OSError"
    # A battery is the same on every machine, whatever a plug-in says of itself.
    assert {one.battery for one in theirs.values()} == {""}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("gone", "no_such_module_here:X", MissingPrerequisite),
        ("gone", "acme_rows:GONE", MissingPrerequisite),
        ("mine", "acme_rows:OTHER", UsageError),
        ("wrong", "acme_rows:WRONG", UsageError),
        ("noli/mine", "acme_rows:OTHER", UsageError),
    ],
)
def test_bad_plugins_are_refused(acme, name, value, error):
    acme(**{name: value})
    with pytest.raises(error):
        find(f"acme/{name}", Config())
