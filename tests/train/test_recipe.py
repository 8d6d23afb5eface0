import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from noli.train.recipe import Recipe


@pytest.mark.parametrize(("total", "warmup"), [(8, 0.25), (100, 0.25), (257, 0.3)])
def test_onecycle_equals_torchs_scheduler(total, warmup):
    recipe = Recipe(warmup=warmup)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=total, pct_start=warmup)
    for step in range(total):
        group = optimiser.param_groups[0]
        assert recipe.rates(step, total) == pytest.approx((group["lr"], group["momentum"]), abs=1e-9)
        optimiser.step()
        if step < total - 1:
            schedule.step()


@given(total=st.integers(1, 50), warmup=st.floats(0.01, 0.99), momentum=st.floats(0, 0.94))
@settings(max_examples=50, deadline=None)
def test_rates_stay_in_range(total, warmup, momentum):
    recipe = Recipe(warmup=warmup, momentum=momentum)
    for step in range(total):
        lr, beta = recipe.rates(step, total)
        assert 0 < lr <= recipe.lr + 1e-12
        assert 0 <= beta < 1


def test_constant_schedule_is_constant():
    assert {Recipe(schedule="constant").rates(s, 10) for s in range(10)} == {(0.1, 0.9)}


@given(items=st.integers(2, 5000), steps=st.integers(0, 500), batch=st.integers(2, 256))
@settings(max_examples=50, deadline=None)
def test_small_sets_get_more_epochs_but_not_more_than_needed(items, steps, batch):
    recipe = Recipe(epochs=3, min_steps=steps, batch=batch)
    epochs, per_epoch = recipe.epochs_for(items), math.ceil(items / batch)
    assert recipe.batches_per_epoch(items) == per_epoch
    assert epochs >= 3
    assert epochs * per_epoch >= steps
    assert epochs == 3 or (epochs - 1) * per_epoch < steps


def test_recipes_are_frozen_strict_and_round_trip():
    recipe = Recipe(lr=0.02, bf16="off")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    with pytest.raises(ValidationError):
        recipe.lr = 1
    for bad in ({"lr": 0}, {"batch": 1}, {"epochs": 0}, {"unknown": 1}, {"bf16": "maybe"}):
        with pytest.raises(ValidationError):
            Recipe(**bad)
