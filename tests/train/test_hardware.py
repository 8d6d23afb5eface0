import torch

from noli.train import hardware


def test_cpu_flags_reads_the_first_cpu(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nflags\t\t: fpu sse amx_bf16\n\nprocessor : 1\nflags : fpu\n")
    assert hardware.cpu_flags(str(listing)) == {"fpu", "sse", "amx_bf16"}


def test_systems_without_a_listing_have_no_flags(tmp_path):
    assert hardware.cpu_flags(str(tmp_path / "none")) == frozenset()
    (tmp_path / "empty").write_text("processor: 0\n")
    assert hardware.cpu_flags(str(tmp_path / "empty")) == frozenset()


def test_bf16_needs_a_flag(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    assert not hardware.fast_bf16("cpu")
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    assert hardware.fast_bf16("cpu")


def test_device_choice():
    assert hardware.pick_device("cpu") == torch.device("cpu")
    assert hardware.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        assert not hardware.fast_bf16("cuda")
