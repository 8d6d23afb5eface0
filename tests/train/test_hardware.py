import pytest
import torch

from noli.train import hardware


@pytest.mark.parametrize(("flag", "worth_it"), [("avx2", False), ("avx512_bf16", True), ("amx_bf16", True)])
def test_bf16_needs_a_flag(monkeypatch, flag, worth_it):
    monkeypatch.setattr(hardware, "processor", lambda: ("x", frozenset({"fpu", flag})))
    assert hardware.fast_bf16("cpu") == worth_it


def test_device_choice():
    assert hardware.pick_device("cpu") == torch.device("cpu")
    assert hardware.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        assert not hardware.fast_bf16("cuda")
