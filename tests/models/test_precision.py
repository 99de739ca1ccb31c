"""The precision is decided before weights are loaded, and what crashed the pipeline before this one is refused."""

from __future__ import annotations

import pytest
import torch

from yoyak.errors import UserError
from yoyak.models.precision import Decision, Hardware, check_trainable, decide, loading_dtype

CPU = Hardware(device="cpu", bf16=False)
MPS = Hardware(device="mps", bf16=True)
AMPERE = Hardware(device="cuda", bf16=True)
TURING = Hardware(device="cuda", bf16=False)


@pytest.mark.parametrize(
    ("requested", "model_type", "hardware", "expected"),
    [
        ("auto", "llama", CPU, "fp32"),
        ("auto", "llama", MPS, "fp32"),
        ("auto", "llama", AMPERE, "bf16"),
        ("auto", "llama", TURING, "fp16"),
        ("auto", "mt5", TURING, "fp32"),
        ("auto", "mt5", AMPERE, "bf16"),
        ("bf16", "llama", CPU, "bf16"),
        ("fp16", "llama", AMPERE, "fp16"),
        ("fp32", "t5", AMPERE, "fp32"),
    ],
)
def test_the_precision_follows_the_hardware_and_the_model(
    requested: str, model_type: str, hardware: Hardware, expected: str
) -> None:
    decision = decide("members.m.precision", requested, model_type, hardware)  # type: ignore[arg-type]
    assert decision.precision == expected
    assert decision.reason
    assert decision.scaler == (expected == "fp16")


@pytest.mark.parametrize(
    ("requested", "model_type", "hardware", "reason"),
    [("fp16", "llama", CPU, "CPU"), ("fp16", "llama", MPS, "MPS"), ("fp16", "t5", AMPERE, "t5"),
     ("bf16", "llama", TURING, "bf16")],
)  # fmt: skip
def test_what_cannot_work_is_refused(requested: str, model_type: str, hardware: Hardware, reason: str) -> None:
    with pytest.raises(UserError, match=rf"members\.m\.precision.*{reason}"):
        decide("members.m.precision", requested, model_type, hardware)  # type: ignore[arg-type]


CRASHES = [("cpu", torch.float16)] + [("cuda", torch.bfloat16)] * torch.cuda.is_available()
"""Where torch's gradient scaler fails over weights of 16 bits: on a CPU it only accepts those in bf16."""


@pytest.mark.parametrize(("device", "dtype"), CRASHES)
def test_a_gradient_scaler_over_weights_of_16_bits_is_caught_before_its_crash(device: str, dtype: torch.dtype) -> None:
    model = torch.nn.Linear(4, 4).to(device, dtype)
    scaler, optimizer = torch.amp.GradScaler(device), torch.optim.SGD(model.parameters(), lr=0.1)
    scaler.scale(model(torch.ones(1, 4, dtype=dtype, device=device)).sum()).backward()
    with pytest.raises((NotImplementedError, ValueError)):
        scaler.step(optimizer)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_trained_weights_of_16_bits_are_refused(dtype: str) -> None:
    model = torch.nn.Linear(4, 4).to(getattr(torch, dtype))
    with pytest.raises(UserError, match=rf"members\.m: weight is trained and is {dtype}.*scaler"):
        check_trainable("members.m", model, Decision(precision="fp16", reason=""))
    model.requires_grad_(False)
    check_trainable("members.m", model, Decision(precision="fp16", reason=""))


def test_a_model_is_loaded_as_it_was_trained_where_the_hardware_computes_so() -> None:
    assert loading_dtype("bfloat16", AMPERE) == torch.bfloat16
    assert loading_dtype("bfloat16", CPU) == torch.float32
    assert loading_dtype("bfloat16", Hardware(device="cpu", bf16=True)) == torch.bfloat16
    assert loading_dtype("float16", TURING) == torch.float16
    assert loading_dtype("float16", CPU) == torch.float32
    assert loading_dtype("float32", AMPERE) == torch.float32
