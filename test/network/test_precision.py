"""Which precision a device computes in: the one asked for, or float32 where bf16 would only be emulated."""

from __future__ import annotations

import platform

import pytest
import torch

from monotakd_ros.errors import ConfigError
from monotakd_ros.network.precision import autocast, check_amp, cpu_computes_bf16, usable_amp

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def processor(monkeypatch):
    """Says what CPU this is."""

    def pretend(machine: str, capability: str) -> None:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)

    return pretend


@pytest.mark.parametrize(
    ("machine", "capability", "fast"),
    [
        ("x86_64", "AVX512", True),
        ("x86_64", "AVX2", False),
        ("AMD64", "AVX2", False),
        ("x86_64", "DEFAULT", False),
        ("aarch64", "DEFAULT", True),
        ("arm64", "SVE256", True),
    ],
)
def test_which_cpus_compute_bf16(processor, machine, capability, fast):
    processor(machine, capability)
    assert cpu_computes_bf16() is fast


def test_emulated_bf16_becomes_float32_with_a_warning(processor, caplog):
    processor("x86_64", "AVX2")
    assert usable_amp("bf16", CPU, "training.amp") == "off"
    assert "training.amp: bf16 is left out: this CPU (AVX2) has no instructions for it" in caplog.text


@pytest.mark.parametrize(("amp", "device"), [("off", CPU), ("bf16", CUDA), ("fp16", CUDA)])
def test_what_else_is_asked_for_is_used(processor, caplog, amp, device):
    processor("x86_64", "AVX2")
    assert usable_amp(amp, device) == amp and not caplog.records


def test_bf16_is_used_where_the_cpu_has_it(processor, caplog):
    processor("x86_64", "AVX512")
    assert usable_amp("bf16", CPU) == "bf16" and not caplog.records


@pytest.mark.parametrize("check", [check_amp, usable_amp])
def test_precisions_that_do_not_exist(check):
    with pytest.raises(ConfigError, match="amp: expected one of off, bf16, fp16, got 'int8'"):
        check("int8", CPU)
    with pytest.raises(ConfigError, match=r"training\.amp: fp16 needs a CUDA device"):
        check("fp16", CPU, "training.amp")


def test_autocast_covers_matrix_products():
    x = torch.ones(2, 2)
    for amp, dtype in (("off", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(amp, CPU):
            assert (x @ x).dtype == dtype
