"""Falcon-Mamba decoders, split after a layer.

Splitting after layer S gives, for a prompt of T tokens,

* ``ssm_state.i``, ``[D, N]`` for i = 0..S: the state of the selective scan behind the prompt;
* ``conv_state.i``, ``[D, K]``: the last K inputs of the convolution, zeros where the prompt is shorter. The next step
  shifts the window before it reads it, so column 0 is never read: it is dead;
* ``hidden``, ``[T, C]``: the output of layer S. The residual stream is fp32 whatever the weights are.

How the tail goes on from there stands in `lamofcbench.models.language_model`. States have one size whatever the prompt,
so batches stack them; the hidden state is padded on the left, and the mask keeps the padding out of the layers' states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lamofcbench.errors import ScenarioError
from lamofcbench.models.language_model import SplitLanguageModel
from lamofcbench.models.mamba_gradients import library_steps_differentiable
from lamofcbench.models.selective_scan import library_scan_replaced
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from transformers import Cache


class MambaSplitModel(SplitLanguageModel):
    """A Falcon-Mamba decoder of transformers, split after a layer.

    Its arguments are those of `SplitLanguageModel`. Without CUDA kernels it runs the scan of
    `lamofcbench.models.selective_scan`, in the front, the tail and the full model alike.
    """

    name = "falcon-mamba-decoder"
    memory_names = ("ssm_state", "conv_state")
    takes_positions = False
    takes_tokens_together = False

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> MambaSplitModel:
        """The model of a scenario; its options are `DecoderOptions`, its one split point is S.

        Raises:
            ScenarioError: if the library would not load the weights as they are stored.
        """
        model = super().load(scenario, directory, device)
        if model.model.config.rescale_prenorm_residual:
            raise ScenarioError(
                f"scenario {scenario.id!r}: rescale_prenorm_residual is set in the model's config, which makes "
                "transformers change the weights that it loads; set it to false there"
            )
        return model

    def check_memory(self, index: int, layer: Any) -> None:
        """Refuses layers that keep anything but one scan state and one convolution state."""
        from transformers.cache_utils import LinearAttentionLayer

        if type(layer) is not LinearAttentionLayer or layer.number_of_states != 1:
            raise ScenarioError(
                f"layer {index} of {type(self.model).__name__} keeps a {type(layer).__name__}; this adapter splits "
                "decoders whose layers keep one state-space and one convolution state"
            )
        if self.model.config.use_bias:  # added to padding behind the mask, whence the convolution carries it on
            raise ScenarioError(
                f"{type(self.model).__name__} has use_bias set in its config; such a model reads padding, so this "
                "adapter cannot batch it"
            )

    def read_memory(self, layer: Any) -> tuple[Tensor, ...]:
        """Scan state ``[1, D, N]`` and convolution state ``[1, D, K]``."""
        return layer.recurrent_states[0].contiguous(), layer.conv_states[0].contiguous()

    def write_memory(self, cache: Cache, index: int, memory: tuple[Tensor, ...]) -> None:
        """Puts both states into the cache, which copies them."""
        layer: Any = cache.layers[index]
        scan_state, conv_state = memory
        layer.update_conv_state(conv_state.to(self.model.dtype))
        layer.update_recurrent_state(scan_state)

    def collated(self, tensors: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        """States ``[D, N]`` as ``[B, D, N]``, in fp32 or wider, as the scan keeps them."""
        return torch.stack([tensor.to(self.device, self._wide) for tensor in tensors])

    @property
    def hidden_dtype(self) -> torch.dtype:
        """The dtype of the residual stream."""
        return self._wide if self.model.config.residual_in_fp32 else self.model.dtype

    def forward(self, **inputs: Any) -> Any:
        """Runs the model once, with the fast scan, or with gradients where they are on."""
        with library_steps_differentiable() if torch.is_grad_enabled() else library_scan_replaced():
            return super().forward(**inputs)

    def generate(self, settings: Mapping[str, Any], **inputs: Tensor) -> Any:
        """Generates with the fast scan."""
        with library_scan_replaced():
            return super().generate(settings, **inputs)

    @property
    def _wide(self) -> torch.dtype:
        return torch.promote_types(self.model.dtype, torch.float32)
