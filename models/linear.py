"""Linear layers whose weights can be replaced, held once in the layout that the CPU's matrix kernels want."""

from __future__ import annotations

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A linear layer over a weight reordered once by oneDNN, up to twice as fast in small batches.

    `torch.nn.Linear` in bfloat16 reorders its weight in every call.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.assign(weight)

    def assign(self, weight: torch.Tensor) -> None:
        """Take another weight, `(out, in)`."""
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(..., in)` to `(..., out)`."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


class PlainLinear:
    """Assigns to the weight of a module that stays as it is (`Linear`, or GPT-2's transposed `Conv1D`)."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def assign(self, weight: torch.Tensor) -> None:
        """Take another weight, `(out, in)`."""
        # A parameter of its own, since a tied one is the embedding too.
        own = weight if isinstance(self.module, nn.Linear) else weight.T.contiguous()
        self.module.weight = nn.Parameter(own, requires_grad=False)


def packs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether packed layers work here: a CPU, bfloat16, and kernels that agree with the plain ones."""
    if device.type != "cpu" or dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    weight = torch.linspace(-1, 1, 64 * 32).view(64, 32).to(dtype)
    x = torch.linspace(-1, 1, 3 * 32).view(3, 32).to(dtype)
    try:
        with torch.inference_mode():
            packed = PackedLinear(weight, None)(x)
    except (RuntimeError, AttributeError):
        return False
    return torch.allclose(packed.float(), nn.functional.linear(x, weight).float(), atol=0.1, rtol=0.02)
