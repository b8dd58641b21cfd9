"""Decoder language models, split after a layer: caches of the front layers, and the hidden state at the split.

Splitting after layer S gives, for a prompt of T tokens,

* ``key.i`` and ``value.i``, ``[H, T, D]`` for i = 0..S: the caches as transformers holds them, keys normalised and
  rotated to their positions 0..T-1;
* ``hidden``, ``[T, C]``: the output of layer S.

The tail lets the model's own ``generate`` run with stand-ins for layers 0..S. At the prefill they compute nothing:
they put the decoded caches where the layers would have put theirs, and pass the decoded hidden state on, so the prompt
costs layers S+1 and above only. Every *new* token runs through all layers, as it must: that is what the caches are for.
So the front's weights decide nothing about the logits behind the prompt, nor about the first new token, and the
caches matter from the second new token on.

Batches are padded on the left with zeros (masked attention still multiplies by what it masks, so padding has to be
finite), with explicit positions: a restored key carries its position in it, and a model left to count the padding
would place new tokens wrongly and go astray from the second one on.

Instances are not reentrant: one front or tail at a time.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lamofcbench.errors import PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.injection import StandIn, capture, replaced
from lamofcbench.models.loading import AdapterOptions, load_pretrained, load_tokenizer, parse_options
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase


class DecoderOptions(AdapterOptions):
    """A decoder's options.

    Attributes:
        max_new_tokens: where generation stops at the latest; None to take the checkpoint's own limit.
        chat_template: True to put the prompt as a user's message into the tokenizer's chat template, with thinking
            switched off where the template knows it; False for the prompt as it is.
        add_special_tokens: False to keep the tokenizer from adding its own, such as ``<bos>``, to a plain prompt.
    """

    max_new_tokens: int | None = None
    chat_template: bool = False
    add_special_tokens: bool = True


class RestoredLayer(StandIn):
    """Stands in for a front layer: at its first call it restores what the layer would have left; later it is the layer.

    Args:
        layer: the layer.
        index: its index, by which the cache knows it.
        key: ``[B, H, T, D]``.
        value: ``[B, H, T, D]``.
        hidden: what the first call returns, ``[B, T, C]``.
        caching: False where nothing is generated, so that there is no cache to restore.
    """

    def __init__(
        self, layer: nn.Module, index: int, key: Tensor, value: Tensor, hidden: Tensor, *, caching: bool
    ) -> None:
        super().__init__(layer)
        self.index, self.key, self.value, self.hidden, self.caching = index, key, value, hidden, caching
        self.restored = False

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        """The stored hidden state at the first call, the layer's output later."""
        if self.restored:
            return self.original(hidden_states, *arguments, **keywords)
        self.restored = True
        if self.caching:
            # The cache is filled here, not beforehand: the model makes its mask for the prompt from an empty cache.
            cache: Cache | None = keywords.get("past_key_values")
            if cache is None:
                raise PluginError(f"{type(self.original).__name__} gets no cache; this adapter cannot restore it")
            cache.update(self.key, self.value, self.index)
        return self.hidden


@dataclass(frozen=True)
class _PaddedBatch:
    """Feature sets as one batch, padded on the left: hidden ``[B, T, C]``, mask and positions int64 ``[B, T]``."""

    hidden: Tensor
    mask: Tensor
    positions: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class DecoderSplitModel(SplitModel):
    """A decoder of transformers with a key-value cache, split after a layer; proven on Qwen3.

    Generation is greedy; of the checkpoint's generation settings only the end and padding tokens count, since the tail
    never sees the prompt's tokens that a repetition penalty, for one, would need.

    Args:
        model: a causal language model, whose dtype is the compute dtype. Its generation settings are replaced.
        tokenizer: its tokenizer.
        split: S, the layer whose output is the hidden feature.
        max_new_tokens: where generation stops at the latest; None to take the model's own limit.
        chat_template: True to wrap prompts in the tokenizer's chat template.
        add_special_tokens: False to keep the tokenizer from adding special tokens to a plain prompt.
        device: a torch device.

    Raises:
        ScenarioError: if the model cannot be split there, or generation has no limit.
    """

    name = "qwen3-decoder"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        split: int,
        *,
        max_new_tokens: int | None = None,
        chat_template: bool = False,
        add_special_tokens: bool = True,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        module: nn.Module = model
        module.to(self.device).eval()
        self.model: Any = model
        self.tokenizer = tokenizer
        self.split = split
        self.chat_template, self.add_special_tokens = chat_template, add_special_tokens
        self._decoder: Any = model.get_decoder()
        self._check_split()
        self._stop_tokens = _stop_tokens(model)
        self._set_generation(max_new_tokens)

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> DecoderSplitModel:
        """The model of a scenario; its options are `DecoderOptions`, its one split point is S."""
        from transformers import AutoModelForCausalLM

        options = parse_options(DecoderOptions, scenario)
        if len(scenario.splits) != 1:
            raise ScenarioError(f"scenario {scenario.id!r}: a decoder has one split point, not {scenario.splits}")
        return cls(
            load_pretrained(AutoModelForCausalLM, scenario, directory, options.dtype),
            load_tokenizer(scenario, directory),
            scenario.splits[0],
            max_new_tokens=options.max_new_tokens,
            chat_template=options.chat_template,
            add_special_tokens=options.add_special_tokens,
            device=device,
        )

    # ------------------------------------------------------------------------------------------------ the contract

    @torch.no_grad()
    def front(self, inputs: str | Tensor) -> FeatureSet:
        """Caches and hidden state of one prompt; no layer after the split runs.

        Args:
            inputs: the prompt, or its token ids int64 ``[T]``.
        """
        from transformers import DynamicCache

        ids = self.token_ids(inputs)[None]
        cache = DynamicCache(config=self.model.config)
        captured = capture(
            lambda: self.model(input_ids=ids, past_key_values=cache, use_cache=True),
            {"hidden": self._layers[self.split]},
        )
        layers: list[Any] = cache.layers[: self.split + 1]
        tensors = {f"key.{index}": layer.keys[0] for index, layer in enumerate(layers)}
        tensors |= {f"value.{index}": layer.values[0] for index, layer in enumerate(layers)}
        tensors["hidden"] = captured["hidden"][0]
        return FeatureSet({name: tensor.cpu() for name, tensor in tensors.items()})

    def tail(self, batch: Sequence[FeatureSet]) -> list[str]:
        """The text that the model writes after each prompt, without special tokens."""
        return self.text(self.generate_tokens(batch))

    def full(self, inputs: str | Tensor) -> str:
        """The unsplit model's text after one prompt, without special tokens."""
        return self.text([self.full_tokens(inputs)])[0]

    def front_modules(self) -> list[nn.Module]:
        """Layers 0..S, and the token embedding where it is not also the output layer.

        The prefill does not depend on their weights; tokens after the first new one do (see the module's text).
        """
        embedding, output = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        tied = output is not None and output.weight is embedding.weight
        return [*([] if tied else [embedding]), *self._layers[: self.split + 1]]

    # --------------------------------------------------------------------------------------- tokens and logits

    @torch.no_grad()
    def generate_tokens(self, batch: Sequence[FeatureSet], max_new_tokens: int | None = None) -> list[list[int]]:
        """The new tokens after each prompt, the end token included where it was reached.

        Args:
            batch: feature sets of any lengths, generated as one batch.
            max_new_tokens: a limit other than the model's.
        """
        if not batch:
            return []
        padded = self._padded(batch)
        with self._restored(padded, caching=True):
            return self._generated(
                max_new_tokens,
                inputs_embeds=padded.hidden,
                attention_mask=padded.mask,
                position_ids=padded.positions,
            )

    @torch.no_grad()
    def prefill_logits(self, batch: Sequence[FeatureSet]) -> Tensor:
        """Logits behind each prompt, ``[B, vocabulary]``: what scoring needs, with no layer up to the split run."""
        padded = self._padded(batch)
        with self._restored(padded, caching=False):
            return self.model(
                inputs_embeds=padded.hidden,
                attention_mask=padded.mask,
                position_ids=padded.positions,
                use_cache=False,
                logits_to_keep=1,
            ).logits[:, -1]

    @torch.no_grad()
    def full_tokens(self, inputs: str | Tensor, max_new_tokens: int | None = None) -> list[int]:
        """The unsplit model's new tokens after one prompt; see `generate_tokens`."""
        ids = self.token_ids(inputs)[None]
        return self._generated(max_new_tokens, input_ids=ids, attention_mask=torch.ones_like(ids))[0]

    @torch.no_grad()
    def full_logits(self, inputs: str | Tensor) -> Tensor:
        """The unsplit model's logits behind one prompt, ``[vocabulary]``."""
        return self.model(input_ids=self.token_ids(inputs)[None], use_cache=False, logits_to_keep=1).logits[0, -1]

    def token_ids(self, inputs: str | Tensor) -> Tensor:
        """The token ids of a prompt, int64 ``[T]`` on the model's device.

        Raises:
            ScenarioError: if there are none, or the tokenizer has no chat template where one is asked for.
        """
        if isinstance(inputs, Tensor):
            ids = inputs.to(self.device, torch.int64)
        else:
            ids = torch.tensor(self._tokenized(inputs), dtype=torch.int64, device=self.device)
        if ids.dim() != 1 or not len(ids):
            raise ScenarioError(f"a prompt has at least one token; {inputs!r} has none")
        return ids

    def text(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Texts of token sequences, without special tokens."""
        return [str(self.tokenizer.decode(list(sequence), skip_special_tokens=True)) for sequence in tokens]

    # --------------------------------------------------------------------------------------------------- internals

    @property
    def _layers(self) -> nn.ModuleList:
        return self._decoder.layers

    def _check_split(self) -> None:
        from transformers.cache_utils import DynamicCache, DynamicLayer

        layers = getattr(self._decoder, "layers", None)
        name = type(self.model).__name__
        if not isinstance(layers, nn.ModuleList):
            raise ScenarioError(f"{name} keeps its layers in an unknown place; this adapter cannot split it")
        if not 0 <= self.split < len(layers):
            raise ScenarioError(f"split point {self.split} must name one of layers 0..{len(layers) - 1} of {name}")
        for index, layer in enumerate(DynamicCache(config=self.model.config).layers[: self.split + 1]):
            if type(layer) is not DynamicLayer:  # its subclass for sliding windows forgets the older tokens
                raise ScenarioError(
                    f"layer {index} of {name} keeps a {type(layer).__name__}; front layers need full attention with "
                    "one key and one value per token"
                )

    def _set_generation(self, max_new_tokens: int | None) -> None:
        from transformers import GenerationConfig

        limit = max_new_tokens or self.model.generation_config.max_new_tokens
        if not limit:
            raise ScenarioError("generation has no limit; set option max_new_tokens")
        stop = self._stop_tokens
        padding = self.model.generation_config.pad_token_id
        # Replaced on the model too, because generate() fills in from there whatever is unset here.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=stop or None,
            pad_token_id=padding if padding is not None else (stop[0] if stop else 0),
        )

    def _tokenized(self, prompt: str) -> list[int]:
        if not self.chat_template:
            return self.tokenizer(prompt, add_special_tokens=self.add_special_tokens)["input_ids"]
        if not self.tokenizer.chat_template:
            raise ScenarioError("option chat_template is set, but the tokenizer has no chat template")
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]  # the template has written them

    def _padded(self, batch: Sequence[FeatureSet]) -> _PaddedBatch:
        lengths = [len(features["hidden"]) for features in batch]
        if not all(lengths):
            raise ScenarioError("features of a prompt without tokens cannot be continued")
        mask = torch.zeros(len(batch), max(lengths), dtype=torch.int64, device=self.device)
        for row, length in enumerate(lengths):
            mask[row, -length:] = 1
        layers = range(self.split + 1)
        return _PaddedBatch(
            hidden=self._left_padded([features["hidden"] for features in batch], lengths),
            mask=mask,
            positions=(mask.cumsum(-1) - 1).clamp(min=0),
            keys=[self._left_padded([features[f"key.{index}"] for features in batch], lengths) for index in layers],
            values=[self._left_padded([features[f"value.{index}"] for features in batch], lengths) for index in layers],
        )

    def _left_padded(self, tensors: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        """Tensors ``[..., T, C]`` as one ``[B, ..., max T, C]`` in compute precision, zeros on the left."""
        *leading, _, channels = tensors[0].shape
        padded = torch.zeros(len(tensors), *leading, max(lengths), channels, dtype=self.model.dtype, device=self.device)
        for row, (tensor, length) in enumerate(zip(tensors, lengths, strict=True)):
            padded[row, ..., -length:, :] = tensor
        return padded

    @contextlib.contextmanager
    def _restored(self, padded: _PaddedBatch, *, caching: bool) -> Iterator[None]:
        """The model with stand-ins for its front layers, for one prefill and what follows it."""
        stand_ins = {
            str(index): RestoredLayer(self._layers[index], index, key, value, padded.hidden, caching=caching)
            for index, (key, value) in enumerate(zip(padded.keys, padded.values, strict=True))
        }
        with replaced(self._layers, stand_ins):
            yield

    def _generated(self, max_new_tokens: int | None, **inputs: Tensor) -> list[list[int]]:
        config = copy.copy(self.model.generation_config)
        if max_new_tokens is not None:
            config.max_new_tokens = max_new_tokens
        sequences = self.model.generate(**inputs, generation_config=config)
        prompt = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0  # embeddings are not given back
        return [self._ended(sequence) for sequence in sequences[:, prompt:].tolist()]

    def _ended(self, tokens: list[int]) -> list[int]:
        """Tokens up to and including the first end token; padding follows it."""
        end = next((position for position, token in enumerate(tokens) if token in self._stop_tokens), len(tokens) - 1)
        return tokens[: end + 1]


def _stop_tokens(model: PreTrainedModel) -> list[int]:
    stop = model.generation_config.eos_token_id
    return [] if stop is None else [stop] if isinstance(stop, int) else list(stop)
