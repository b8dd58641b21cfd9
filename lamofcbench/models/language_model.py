"""What all decoder language models share that are split after a layer S.

The features of a prompt of T tokens are what layers 0..S leave in the cache, and ``hidden`` ``[T, C]``, the output of
layer S.

The tail lets the model's own ``generate`` run with stand-ins for layers 0..S. At the prefill they compute nothing:
they put the decoded features where the layers would have put theirs, and pass the decoded hidden state on, so the
prompt costs layers S+1 and above only. Every *new* token runs through all layers, as it must: that is what the cached
features are for. So the front's weights decide nothing about the logits behind the prompt, nor about the first new
token, and the cached features matter from the second new token on.

Batches are padded on the left with zeros: masked padding is still multiplied by, so it has to be finite.

Instances are not reentrant: one front or tail at a time.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lamofcbench.errors import PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.generation import GenerationRules
from lamofcbench.models.injection import capture, replaced
from lamofcbench.models.loading import AdapterOptions, load_pretrained, load_tokenizer, parse_options
from lamofcbench.models.placement import device_of, settled
from lamofcbench.models.prompting import PromptRules
from lamofcbench.models.restored_layer import RestoredLayer, keyword_of_cache
from lamofcbench.models.rotary import require_declared_rotary, require_fixed_rotary
from lamofcbench.models.teacher_forcing import CONTINUATION, Prefilled, forced_logits
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

Model = TypeVar("Model", bound="SplitLanguageModel")


class DecoderOptions(AdapterOptions):
    """A decoder's options.

    Attributes:
        max_new_tokens: where generation stops at the latest; None to take the checkpoint's own limit.
        chat_template: True to put the prompt as a user's message into the tokenizer's chat template, with thinking
            switched off where the template knows it; False for the prompt as it is.
        add_special_tokens: False to keep the tokenizer from adding its own, such as ``<bos>``, to a plain prompt.
        answer_prefix: how the assistant's turn begins in the chat template; the model goes on from there.
        special_tokens_with_template: True to let the tokenizer add its own to the template's text, too, unless that
            begins with the ``<bos>``; False for what the template has written.
        stop_strings: see `GenerationRules`, and so for what follows.
        repetition_penalty: 1 for none.
        repetition_window: in tokens.
    """

    max_new_tokens: int | None = None
    chat_template: bool = False
    add_special_tokens: bool = True
    answer_prefix: str = ""
    special_tokens_with_template: bool = False
    stop_strings: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    repetition_penalty: float = Field(default=1.0, gt=0)
    repetition_window: int = Field(default=16, gt=0)

    @property
    def rules(self) -> GenerationRules:
        """Those of generation."""
        return GenerationRules(self.stop_strings, self.repetition_penalty, self.repetition_window)


@dataclass(frozen=True)
class PaddedBatch:
    """Feature sets as one batch, padded on the left.

    Attributes:
        hidden: ``[B, T, C]``.
        mask: 1 for tokens and 0 for padding, int64 ``[B, T]``.
        memories: a tuple of tensors a front layer, in the order of `SplitLanguageModel.memory_names`.
    """

    hidden: Tensor
    mask: Tensor
    memories: list[tuple[Tensor, ...]]

    @property
    def positions(self) -> Tensor:
        """The tokens' places in their own prompts, int64 ``[B, T]``."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


class SplitLanguageModel(SplitModel):
    """A causal language model of transformers, split after a layer.

    A family's class says what its layers leave in the cache: it sets the class attributes and writes `check_memory`,
    `read_memory`, `write_memory` and `collated`. A model whose prompt is not text overrides `prompt`.

    Generation is greedy; of the checkpoint's generation settings only the end and padding tokens count, since the tail
    never sees the prompt's tokens that its repetition penalty, for one, would need.

    Attributes:
        memory_names: what a layer leaves in the cache; the features are named ``<name>.<layer>``.
        cache_keyword: the keyword by which the model and its layers are given the cache; it differs between families
            and releases of transformers.
        takes_positions: whether the model is to be told the tokens' positions.
        takes_tokens_together: whether the cache takes several tokens at a time, as those of attention do.

    Args:
        model: a causal language model, whose dtype is the compute dtype. Its generation settings are replaced.
        tokenizer: its tokenizer.
        split: S, the layer whose output is the hidden feature.
        max_new_tokens: where generation stops at the latest; None to take the model's own limit.
        chat_template: True to wrap prompts in the tokenizer's chat template.
        add_special_tokens: False to keep the tokenizer from adding special tokens to a plain prompt.
        answer_prefix: how the assistant's turn begins in the chat template.
        special_tokens_with_template: True to let the tokenizer add special tokens to the template's text, too.
        rules: of generation, beyond its limit and end tokens.
        device: a torch device.

    Raises:
        ScenarioError: if the model cannot be split there, its rotary frequencies depend on its batch, generation has no
            limit, or there is an answer prefix without a chat template.
    """

    memory_names: ClassVar[tuple[str, ...]]
    takes_positions: ClassVar[bool] = True
    takes_tokens_together: ClassVar[bool] = True
    response_kind = "logits"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        split: int,
        *,
        max_new_tokens: int | None = None,
        chat_template: bool = False,
        add_special_tokens: bool = True,
        answer_prefix: str = "",
        special_tokens_with_template: bool = False,
        rules: GenerationRules = GenerationRules(),  # noqa: B008  (frozen)
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        module: nn.Module = model
        settled(module, self.device).eval()
        self.model: Any = model
        self.tokenizer = tokenizer
        self.split = split
        self.prompting = PromptRules(chat_template, add_special_tokens, answer_prefix, special_tokens_with_template)
        self.rules = rules
        self._decoder: Any = model.get_decoder()
        self._check_split()
        self.cache_keyword = keyword_of_cache(self.layers[0])
        require_fixed_rotary(model)
        self._stop_tokens = _stop_tokens(model)
        self._set_generation(max_new_tokens)

    @classmethod
    def load(cls: type[Model], scenario: Scenario, directory: Path | None, device: str) -> Model:
        """The model of a scenario; its options are `DecoderOptions`, its one split point is S."""
        return cls._loaded(scenario, directory, device, parse_options(DecoderOptions, scenario))

    @classmethod
    def _loaded(
        cls: type[Model], scenario: Scenario, directory: Path | None, device: str, options: DecoderOptions, **more: Any
    ) -> Model:
        """The model of a scenario with these options, and more arguments of a subclass."""
        from transformers import AutoModelForCausalLM

        if len(scenario.splits) != 1:
            raise ScenarioError(f"scenario {scenario.id!r}: a decoder has one split point, not {scenario.splits}")
        model = load_pretrained(AutoModelForCausalLM, scenario, directory, options.dtype)
        require_declared_rotary(model, scenario)
        return cls(
            model,
            load_tokenizer(scenario, directory),
            scenario.splits[0],
            max_new_tokens=options.max_new_tokens,
            chat_template=options.chat_template,
            add_special_tokens=options.add_special_tokens,
            answer_prefix=options.answer_prefix,
            special_tokens_with_template=options.special_tokens_with_template,
            rules=options.rules,
            device=device,
            **more,
        )

    # ------------------------------------------------------------------------------------------- a family's own part

    @abstractmethod
    def check_memory(self, index: int, layer: Any) -> None:
        """Refuses a front layer whose memory this adapter does not know.

        Args:
            index: the layer's index.
            layer: its part of an empty cache.

        Raises:
            ScenarioError: naming the layer.
        """

    @abstractmethod
    def read_memory(self, layer: Any) -> tuple[Tensor, ...]:
        """What a layer has left in its part of the cache, ``[1, ...]`` each, in the order of `memory_names`."""

    @abstractmethod
    def write_memory(self, cache: Cache, index: int, memory: tuple[Tensor, ...]) -> None:
        """Puts a batch of memories where layer ``index`` would have put them."""

    @abstractmethod
    def collated(self, tensors: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        """One kind of memory of several prompts, whose lengths are given, as a batch."""

    @property
    def hidden_dtype(self) -> torch.dtype:
        """The dtype in which the hidden state goes on from the split."""
        return self.model.dtype

    def prompt(self, inputs: Any) -> dict[str, Tensor]:
        """The model's keyword inputs for one prompt, a batch of one; here its token ids."""
        return {"input_ids": self.token_ids(inputs)[None]}

    # ------------------------------------------------------------------------------------------------ the contract

    @torch.no_grad()
    def front(self, inputs: Any) -> FeatureSet:
        """Cached features and hidden state of one prompt; no layer after the split runs.

        Args:
            inputs: the prompt, or its token ids int64 ``[T]``.
        """
        from transformers import DynamicCache

        prompt = self.prompt(inputs)
        cache = DynamicCache(config=self.model.config)
        captured = capture(
            lambda: self.forward(**prompt, **{self.cache_keyword: cache}, use_cache=True),
            {"hidden": self.layers[self.split]},
        )
        memories = [self.read_memory(layer) for layer in cache.layers[: self.split + 1]]
        tensors = {
            f"{name}.{index}": memory[kind][0]
            for kind, name in enumerate(self.memory_names)
            for index, memory in enumerate(memories)
        }
        tensors["hidden"] = captured["hidden"][0]
        return FeatureSet({name: tensor.cpu() for name, tensor in tensors.items()})

    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """The text that the model writes after each prompt, without special tokens."""
        return self.text(self.generate_tokens(batch))

    def full(self, inputs: Any) -> Any:
        """The unsplit model's text after one prompt, without special tokens."""
        return self.text([self.full_tokens(inputs)])[0]

    def front_modules(self) -> list[nn.Module]:
        """Layers 0..S, and the token embedding where it is not also the output layer.

        The prefill does not depend on their weights; tokens after the first new one do (see the module's text).
        """
        embedding, output = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        tied = output is not None and output.weight is embedding.weight
        return [*([] if tied else [embedding]), *self.layers[: self.split + 1]]

    # ------------------------------------------------------------------------------------------------- responses

    def conditioned(self, batch: Sequence[FeatureSet]) -> list[FeatureSet]:
        """The feature sets, each beside the tokens that the tail writes from it (`CONTINUATION`, int64 ``[n]``)."""
        written = self.generate_tokens(batch)
        return [
            features.with_given({**features.given, CONTINUATION: torch.tensor(tokens)})
            for features, tokens in zip(batch, written, strict=True)
        ]

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """The logits that predict each token of each `CONTINUATION`, ``[B, longest n, vocabulary]``."""
        return self.continuation_logits(batch, _continuations(batch))

    def response_lengths(self, batch: Sequence[FeatureSet]) -> list[int]:
        """The tokens of each `CONTINUATION`."""
        return [len(tokens) for tokens in _continuations(batch)]

    @torch.no_grad()
    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both with one prefill, where the cache that generation leaves can be cut back to it."""
        from transformers.cache_utils import DynamicLayer

        if not batch or not self.tail_and_response_are_of(SplitLanguageModel) or not self.takes_tokens_together:
            return super().tail_and_response(batch)
        padded = self.padded_batch(batch)
        with self.restored(padded, caching=True):
            settings = {"return_dict_in_generate": True, "output_logits": True}
            output = self.generate(settings, **self.prefill_inputs(padded))
        texts = self.text(self.new_tokens(output.sequences))
        cache = getattr(output, self.cache_keyword)
        if not all(type(layer) is DynamicLayer for layer in cache.layers):  # a window has forgotten what it would need
            return texts, self.response(batch)
        new_tokens = cache.get_seq_length() - padded.mask.shape[1]
        if new_tokens > 0:  # to crop to nothing means all or nothing, by version
            cache.crop(-new_tokens)
        prompts = Prefilled(cache, padded.mask, output.logits[0])
        return texts, forced_logits(self, prompts, _continuations(batch))

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
        padded = self.padded_batch(batch)
        with self.restored(padded, caching=True):
            return self.generated(max_new_tokens, **self.prefill_inputs(padded))

    @torch.no_grad()
    def prefill_logits(self, batch: Sequence[FeatureSet]) -> Tensor:
        """Logits behind each prompt, ``[B, vocabulary]``: what scoring needs, with no layer up to the split run."""
        padded = self.padded_batch(batch)
        with self.restored(padded, caching=False):
            return self.forward(**self.prefill_inputs(padded), use_cache=False, logits_to_keep=1).logits[:, -1]

    def continuation_logits(self, batch: Sequence[FeatureSet], continuations: Sequence[Tensor]) -> Tensor:
        """The logits that predict each token of what follows each prompt; see `forced_logits`.

        The prompt costs the layers behind the split only, as in generation.
        """
        return forced_logits(self, self.prefilled(batch), continuations)

    def prefilled(self, batch: Sequence[FeatureSet]) -> Prefilled:
        """The model's caches and logits behind each prompt; no layer up to the split runs."""
        from transformers import DynamicCache

        padded = self.padded_batch(batch)
        cache = DynamicCache(config=self.model.config)
        with self.restored(padded, caching=True):
            inputs = {**self.prefill_inputs(padded), self.cache_keyword: cache, "use_cache": True}
            return Prefilled(cache, padded.mask, self.forward(**inputs, logits_to_keep=1).logits[:, -1])

    @torch.no_grad()
    def full_tokens(self, inputs: Any, max_new_tokens: int | None = None) -> list[int]:
        """The unsplit model's new tokens after one prompt; see `generate_tokens`."""
        prompt = self.prompt(inputs)
        shape = next(iter(prompt.values())).shape[:2]
        prompt.setdefault("attention_mask", torch.ones(shape, dtype=torch.int64, device=self.device))
        return self.generated(max_new_tokens, **prompt)[0]

    @torch.no_grad()
    def full_logits(self, inputs: Any) -> Tensor:
        """The unsplit model's logits behind one prompt, ``[vocabulary]``."""
        return self.forward(**self.prompt(inputs), use_cache=False, logits_to_keep=1).logits[0, -1]

    def token_ids(self, inputs: str | Tensor) -> Tensor:
        """The token ids of a prompt, int64 ``[T]`` on the model's device.

        Raises:
            ScenarioError: if there are none, or the tokenizer has no chat template where one is asked for.
        """
        if isinstance(inputs, Tensor):
            ids = inputs.to(self.device, torch.int64)
        else:
            ids = torch.tensor(self.prompting.tokens(self.tokenizer, inputs), dtype=torch.int64, device=self.device)
        if ids.dim() != 1 or not len(ids):
            raise ScenarioError(f"a prompt has at least one token; {inputs!r} has none")
        return ids

    def text(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Texts of new tokens, without special tokens and what a stop string has cut off."""
        decoded = (str(self.tokenizer.decode(list(sequence), skip_special_tokens=True)) for sequence in tokens)
        return [self.rules.cut(text) for text in decoded]

    # ------------------------------------------------------------------------------------------- running the model

    def forward(self, **inputs: Any) -> Any:
        """Runs the model once."""
        return self.model(**inputs)

    def generated(self, max_new_tokens: int | None, **inputs: Tensor) -> list[list[int]]:
        """The new tokens of each sequence of a batch, the end token included where it was reached.

        Args:
            max_new_tokens: a limit other than the model's; None for that one.
            **inputs: what the model's ``generate`` takes.
        """
        sequences = self.generate({} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}, **inputs)
        prompt = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0  # embeddings are not given back
        return self.new_tokens(sequences[:, prompt:])

    def generate(self, settings: Mapping[str, Any], **inputs: Tensor) -> Any:
        """What the model's ``generate`` returns.

        Args:
            settings: of generation, where they differ from the model's.
            **inputs: what the model's ``generate`` takes.
        """
        config = copy.copy(self.model.generation_config)
        for name, value in settings.items():
            setattr(config, name, value)
        prompt = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        keywords = self.rules.keywords(self.tokenizer, prompt)
        return self.model.generate(**inputs, generation_config=config, **keywords)

    def new_tokens(self, sequences: Tensor) -> list[list[int]]:
        """Each row of generated tokens, int64 ``[B, n]``, up to and including what ends it."""
        return [self.rules.ended(self.tokenizer, self._ended(sequence)) for sequence in sequences.tolist()]

    def padded_batch(self, batch: Sequence[FeatureSet]) -> PaddedBatch:
        """Feature sets of any lengths as one batch."""
        lengths = [len(features["hidden"]) for features in batch]
        if not all(lengths):
            raise ScenarioError("features of a prompt without tokens cannot be continued")
        mask = torch.zeros(len(batch), max(lengths), dtype=torch.int64, device=self.device)
        for row, length in enumerate(lengths):
            mask[row, -length:] = 1
        return PaddedBatch(
            hidden=self.left_padded([features["hidden"] for features in batch], lengths, self.hidden_dtype),
            mask=mask,
            memories=[
                tuple(
                    self.collated([features[f"{name}.{index}"] for features in batch], lengths)
                    for name in self.memory_names
                )
                for index in range(self.split + 1)
            ],
        )

    @contextlib.contextmanager
    def restored(self, padded: PaddedBatch, *, caching: bool) -> Iterator[None]:
        """The model with stand-ins for its front layers, for one prefill and what follows it."""
        stand_ins = {}
        for index, memory in enumerate(padded.memories):
            write = functools.partial(self._restore, index, memory, device_of(self.layers[index], self.device))
            stand_ins[str(index)] = RestoredLayer(
                self.layers[index], padded.hidden, self.cache_keyword, write if caching else None
            )
        with replaced(self.layers, stand_ins):
            yield

    def _restore(self, index: int, memory: tuple[Tensor, ...], place: torch.device, cache: Cache) -> None:
        self.write_memory(cache, index, tuple(tensor.to(place) for tensor in memory))

    def prefill_inputs(self, padded: PaddedBatch) -> dict[str, Tensor]:
        """The model's keyword inputs for the prompts, while stand-ins take its front layers' place."""
        inputs = {"inputs_embeds": padded.hidden, "attention_mask": padded.mask}
        # Positions are always said aloud: a restored key carries its own in it, and a model left to count the padding
        # would place new tokens wrongly and go astray from the second one on.
        return inputs | {"position_ids": padded.positions} if self.takes_positions else inputs

    # --------------------------------------------------------------------------------------------------- internals

    @property
    def layers(self) -> nn.ModuleList:
        """All layers of the decoder."""
        return self._decoder.layers

    def _check_split(self) -> None:
        from transformers.cache_utils import DynamicCache

        layers = getattr(self._decoder, "layers", None)
        name = type(self.model).__name__
        if not isinstance(layers, nn.ModuleList):
            raise ScenarioError(f"{name} keeps its layers in an unknown place; this adapter cannot split it")
        if not 0 <= self.split < len(layers):
            raise ScenarioError(f"split point {self.split} must name one of layers 0..{len(layers) - 1} of {name}")
        for index, layer in enumerate(DynamicCache(config=self.model.config).layers[: self.split + 1]):
            self.check_memory(index, layer)

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

    def left_padded(
        self, tensors: Sequence[Tensor], lengths: Sequence[int], dtype: torch.dtype | None = None
    ) -> Tensor:
        """Tensors ``[..., T, C]`` as one ``[B, ..., max T, C]``, zeros on the left; by default in compute precision."""
        *leading, _, channels = tensors[0].shape
        shape = (len(tensors), *leading, max(lengths), channels)
        padded = torch.zeros(shape, dtype=dtype or self.model.dtype, device=self.device)
        for row, (tensor, length) in enumerate(zip(tensors, lengths, strict=True)):
            padded[row, ..., -length:, :] = tensor
        return padded

    def _ended(self, tokens: list[int]) -> list[int]:
        """Tokens up to and including the first end token; padding follows it."""
        end = next((position for position, token in enumerate(tokens) if token in self._stop_tokens), len(tokens) - 1)
        return tokens[: end + 1]


def _continuations(batch: Sequence[FeatureSet]) -> list[Tensor]:
    missing = next((features for features in batch if CONTINUATION not in features.given), None)
    if missing is not None:
        raise PluginError(f"features have no {CONTINUATION!r} beside them; `conditioned` puts it there")
    return [features.given[CONTINUATION] for features in batch]


def _stop_tokens(model: PreTrainedModel) -> list[int]:
    stop = model.generation_config.eos_token_id
    return [] if stop is None else [stop] if isinstance(stop, int) else list(stop)
