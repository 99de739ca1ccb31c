"""The numbers that a member computes with, decided before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from yoyak.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""The names that torch and config.json use."""
OVERFLOWS_IN_FP16 = ("t5", "mt5", "umt5", "longt5", "byt5")
"""Models whose activations exceed the range of fp16, because they were pretrained in bf16: their loss becomes NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What decides the precision."""

    device: str
    """``cpu``, ``cuda`` or ``mps``."""
    bf16: bool
    """Whether it computes in bf16 itself rather than by emulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The precision of a member on this machine."""

    precision: Precision
    reason: str

    @property
    def scaler(self) -> bool:
        """Whether gradients are scaled, since those of fp16 would vanish."""
        return self.precision == "fp16"

    @property
    def dtype(self) -> str:
        """The dtype of the weights that are not trained."""
        return DTYPES[self.precision]


def find_device() -> torch.device:
    """Return CUDA, else Apple's MPS, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def find_hardware() -> Hardware:
    """Return the hardware that this process trains on."""
    import torch

    device = find_device().type
    if device == "cuda":
        return Hardware(device=device, bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    native = device == "mps" or any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return Hardware(device=device, bf16=native)


def decide(where: str, requested: Literal["auto"] | Precision, model_type: str, hardware: Hardware) -> Decision:
    """Return the precision of a model on this hardware.

    Args:
        where: What error messages call the param, such as ``members.bart.precision``.
        model_type: The ``model_type`` of its config.json.

    Raises UserError if the requested one cannot work.
    """
    device = {"cpu": "a CPU", "cuda": "this GPU", "mps": "Apple's MPS"}[hardware.device]
    overflows = model_type in OVERFLOWS_IN_FP16
    if requested == "fp16":
        if hardware.device != "cuda":
            raise UserError(f"{where} is fp16, which trains on CUDA GPUs only, and this is {device}: use auto.")
        if overflows:
            raise UserError(f"{where} is fp16, in which the activations of {model_type} overflow: use auto.")
    if requested == "bf16" and hardware.device == "cuda" and not hardware.bf16:
        raise UserError(f"{where} is bf16, in which {device} does not compute: use auto.")
    if requested != "auto":
        return Decision(precision=requested, reason=f"{where} says so")
    if hardware.device != "cuda":
        return Decision(precision="fp32", reason=f"the default on {device}")
    if hardware.bf16:
        return Decision(precision="bf16", reason=f"{device} computes in it")
    if overflows:
        return Decision(precision="fp32", reason=f"{device} has no bf16, and {model_type} overflows in fp16")
    return Decision(precision="fp16", reason=f"{device} has no bf16")


def check_trainable(where: str, model: Any, decision: Decision) -> None:
    """Raise UserError if weights that are trained are not fp32.

    Small updates vanish in 16 bits; and a gradient scaler, which fp16 needs, crashes over gradients in bf16, at the end
    of the first step.
    """
    import torch

    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            crash = "; the gradient scaler of fp16 would crash" if decision.scaler else ""
            raise UserError(
                f"{where}: {name} is trained and is {str(parameter.dtype).removeprefix('torch.')}, but weights that "
                f"are trained must be float32{crash}."
            )


def loading_dtype(saved: str, hardware: Hardware) -> torch.dtype:
    """Return the dtype to load a trained model in: that which it was trained for, where the device computes in it.

    16 bits on hardware that only emulates them would be slower, and no nearer to the training.
    """
    import torch

    supported = {"bfloat16": hardware.bf16, "float16": hardware.device != "cpu"}
    return getattr(torch, saved) if supported.get(saved, False) else torch.float32
