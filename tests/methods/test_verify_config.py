import pytest
from pydantic import ValidationError

from noli.methods.verify.config import Config


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound": 0},
        {"bound": 1},
        {"claim": "context"},
        {"battery": "huge"},
        {"size": 4},
        {"size": "big"},
        {"seeds": 0},
        {"holdout": 1.0},
        {"network": "vgg"},
        {"rows": ["plain"]},
        {"partial": (0.0,)},
        {"partial": (1.0,)},
        {"min_test": 7},
    ],
)
def test_configurations_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Config(**wrong)


def test_defaults_follow_the_battery():
    quick, standard = Config(), Config(battery="standard")
    assert (quick.item_limit, standard.item_limit) == (5000, 20_000)
    assert (quick.shares, standard.shares) == ((0.5,), (0.2, 0.4, 0.6, 0.8))
    assert Config(partial=(0.3,), max_items=70, seeds=2, battery="standard").shares == (0.3,)
    assert Config(max_items=70).item_limit == 70
    recipe = Config(epochs=3, min_steps=9, device="cpu").recipe(4)
    assert (recipe.epochs, recipe.min_steps, recipe.device, recipe.seed) == (3, 9, "cpu", 4)
