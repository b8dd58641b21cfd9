"""Key-value caches of transformers as feature sets: out of a live cache, and back into one.

A codec of the registry is fitted on and codes one's own caches, with no scenario::

    specs = cache_specs(model.config, dtype="bfloat16")        # or cache_specs_of(cache, model.config)
    codec = CODECS.get("klt")(specs, {"step": 1.0}).fit([features_of(cache) for cache in some_caches])
    data = codec.encode(features_of(cache))
    restored = cache_of(codec.decode(data), model.config)

Tensors are named as scenarios name them, ``key.0``, ..., ``value.0``, ...: ``[H, T, D]`` for layer 0 and so on, keys
with their rotary embedding. A sequence starts at position 0: padding on its left belongs to no features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from lamofcbench.batches import collate
from lamofcbench.errors import ScenarioError, shown
from lamofcbench.features import FeatureSet, dtype_name
from lamofcbench.models.rotary import rotary_base_of
from lamofcbench.scenarios.base import Axis, DTypeName, FeatureSpecs, TensorSpec
from lamofcbench.scenarios.inferred import declaring

if TYPE_CHECKING:
    from transformers import Cache, DynamicCache, PretrainedConfig

MAX_TOKENS = 2**20
"""The longest cache that a decoder believes, unless `tokens` says otherwise."""


class _Layer(NamedTuple):
    """Heads of a layer, and the widths of their keys and values."""

    heads: int
    key_width: int
    value_width: int


def cache_specs(config: PretrainedConfig, dtype: DTypeName, *, tokens: int = MAX_TOKENS) -> FeatureSpecs:
    """The specs of a model's caches, from its config.

    Args:
        config: of a decoder with full attention in all layers.
        dtype: what the cache holds: the dtype in which the model runs.
        tokens: the limit of the ragged axis; a longer cache is refused.

    Raises:
        ScenarioError: if the config does not tell heads and widths, or a layer's cache forgets tokens: make the specs
            of a cache then, by `cache_specs_of`; or if dtype or limit are none that a cache may have.
    """
    text = _text_config(config)
    heads = getattr(text, "num_key_value_heads", None)
    if not heads and not getattr(text, "multi_query", False):  # with it, a cache holds one head or as many as queries
        heads = getattr(text, "num_attention_heads", None)
    layers, hidden = getattr(text, "num_hidden_layers", None), getattr(text, "hidden_size", None)
    queries, width = getattr(text, "num_attention_heads", None), getattr(text, "head_dim", None)
    if not width and isinstance(hidden, int) and isinstance(queries, int) and queries > 0:
        width = hidden // queries
    counts = [size for size in (heads, layers, width) if isinstance(size, int) and size > 0]
    if len(counts) < 3 or getattr(text, "kv_lora_rank", None):
        raise ScenarioError(
            f"{type(text).__name__} does not tell what its caches hold; use cache_specs_of(cache, config)"
        )
    heads, layers, width = counts
    kinds = sorted(set(getattr(text, "layer_types", None) or ()) - {"full_attention"})
    if kinds:
        raise ScenarioError(f"{type(text).__name__} has layers of {kinds[0]}, whose caches do not hold all tokens")
    return _specs([_Layer(heads, width, width)] * layers, dtype, rotary_base_of(text), tokens)


def cache_specs_of(cache: Cache, config: PretrainedConfig | None = None, *, tokens: int = MAX_TOKENS) -> FeatureSpecs:
    """The specs of caches like this one.

    Args:
        cache: with at least one token.
        config: of the model, which tells how keys are rotated; None to leave it unsaid. Codecs that turn keys back to
            position 0, such as `klt`, need fewer bytes with it.
        tokens: the limit of the ragged axis; a longer cache is refused.

    Raises:
        ScenarioError: naming a layer that does not hold keys and values of all tokens.
    """
    layers, dtypes = [], set()
    for keys, values in _memories(cache):
        layers.append(_Layer(keys.shape[1], keys.shape[-1], values.shape[-1]))
        dtypes |= {keys.dtype, values.dtype}
    if len(dtypes) != 1:
        raise ScenarioError(f"a cache holds one dtype; this one holds {shown(dtypes)}")
    dtype = dtype_name(dtypes.pop(), "the cache")
    return _specs(layers, dtype, None if config is None else rotary_base_of(_text_config(config)), tokens)


def features_of(cache: Cache, start: int = 0, stop: int | None = None, *, row: int = 0) -> FeatureSet:
    """Keys and values of a cache, or of some of its tokens, in memory of their own on the CPU.

    Args:
        cache: of any batch size.
        start: the first token; for what has been appended since, the number of tokens before.
        stop: the token behind the last; None for all.
        row: which sequence of the batch.

    Raises:
        ScenarioError: if there is no such row, or a layer does not hold keys and values of all tokens.
    """
    memories = _memories(cache)
    if not 0 <= row < len(memories[0][0]):
        raise ScenarioError(f"the cache has {len(memories[0][0])} rows; there is no row {row}")
    tokens = slice(start, stop)
    return _features_of_layers([(_taken(keys, row, tokens), _taken(values, row, tokens)) for keys, values in memories])


def cache_of(features: FeatureSet, config: PretrainedConfig | None = None, *, device: str = "cpu") -> DynamicCache:
    """A cache of one sequence, made of features that `features_of` names.

    Args:
        features: of all tokens from position 0 on; other tensors than keys and values are left out.
        config: of the model, for which the cache is made; None for a plain one.
        device: where it is.

    Raises:
        ScenarioError: if keys and values are not those of layers 0, 1, ...
    """
    from transformers import DynamicCache

    cache = DynamicCache() if config is None else DynamicCache(config=config)
    append_to(cache, features, device=device)
    return cache


def append_to(cache: Cache, features: FeatureSet, *, device: str | None = None) -> None:
    """Appends the tokens of features to a cache of one sequence, in the dtype and on the device that it has.

    Args:
        cache: written to.
        features: of tokens that stand where the cache ends.
        device: where tensors go, if the cache is empty; None for where they are.

    Raises:
        ScenarioError: if keys and values are not those of the cache's layers; it is left as it was then.
    """
    layers = _layers_of(features)
    held = _memories(cache) if cache.get_seq_length() else []
    if held and (len(held) != len(layers) or len(held[0][0]) != 1):
        raise ScenarioError(
            f"the cache has {len(held)} layers and {len(held[0][0])} rows; features of {len(layers)} layers are "
            "appended to a cache of as many and one row"
        )
    for index, (pair, likes) in enumerate(zip(layers, held, strict=False)):
        for name, tensor, like in zip(("key", "value"), pair, likes, strict=True):
            if (tensor.shape[0], tensor.shape[2]) != (like.shape[1], like.shape[3]):
                wanted = f"[{like.shape[1]}, tokens, {like.shape[3]}]"
                raise ScenarioError(f"{name}.{index} is {list(tensor.shape)}; the cache takes {wanted}")
    for index, pair in enumerate(layers):
        key, value = (
            (t[None].to(like) for t, like in zip(pair, held[index], strict=True))
            if held
            else (t[None].clone() if device is None else t[None].to(device, copy=True) for t in pair)
        )
        cache.update(key, value, index)


def features_of_batch(cache: Cache, mask: Tensor) -> list[FeatureSet]:
    """Keys and values of each sequence of a padded batch, without its padding.

    Args:
        cache: of B sequences.
        mask: ``[B, T]``, the attention mask of all tokens in the cache: nonzero for those that are no padding, which
            stand together, padding being on their left or right.

    Raises:
        ScenarioError: if the mask has another shape than the cache, a sequence has none or gaps, or as `features_of`.
    """
    keys = _memories(cache)[0][0]
    if tuple(mask.shape) != (keys.shape[0], keys.shape[2]):
        raise ScenarioError(f"the mask is {list(mask.shape)}; the cache holds {[keys.shape[0], keys.shape[2]]}")
    spans = []
    for row, tokens in enumerate(mask.bool().cpu()):
        places = tokens.nonzero().flatten().tolist()
        if not places or places[-1] - places[0] + 1 != len(places):
            raise ScenarioError(f"the mask of row {row} has no tokens, or a gap between them")
        spans.append((places[0], places[-1] + 1))
    return [features_of(cache, start, stop, row=row) for row, (start, stop) in enumerate(spans)]


def cache_of_batch(
    batch: Sequence[FeatureSet], config: PretrainedConfig | None = None, *, device: str = "cpu"
) -> tuple[DynamicCache, Tensor]:
    """A cache of several sequences, padded on the left with zeros as generation wants it, and its attention mask.

    Run the model on it with positions that count a sequence's own tokens: ``mask.sum(1, keepdim=True)`` is that of the
    next token.

    Args:
        batch: features as `features_of` makes them, of B sequences.
        config: of the model, for which the cache is made; None for a plain one.
        device: where it is.

    Returns:
        The cache and the mask, int64 ``[B, T]``.

    Raises:
        ScenarioError: if there is none, or keys and values are not those of layers 0, 1, ... alike in all.
    """
    if not batch:
        raise ScenarioError("a batch holds one feature set at least")
    sequences = [_layers_of(features) for features in batch]
    layers = [_Layer(key.shape[0], key.shape[2], value.shape[2]) for key, value in sequences[0]]
    specs = _specs(layers, dtype_name(sequences[0][0][0].dtype, "key.0"), None, MAX_TOKENS)
    try:
        padded = collate([_features_of_layers(each) for each in sequences], specs, padding="left")
    except ScenarioError as error:
        raise ScenarioError(f"sequences of one batch have the same layers, heads, widths and dtype: {error}") from error
    from transformers import DynamicCache

    cache = DynamicCache() if config is None else DynamicCache(config=config)
    for index in range(len(layers)):
        key, value = (padded.tensors[f"{kind}.{index}"].to(device) for kind in ("key", "value"))
        cache.update(key, value, index)
    return cache, padded.mask("tokens").long().to(device)


def _layers_of(features: FeatureSet) -> list[tuple[Tensor, Tensor]]:
    """Keys and values ``[H, T, D]`` of each layer.

    Raises:
        ScenarioError: if they are not those of layers 0, 1, ... with as many heads each and tokens all.
    """
    count = sum(name.startswith("key.") for name in features)
    names = {f"{kind}.{index}" for index in range(count) for kind in ("key", "value")}
    if not count or names != {name for name in features if name.startswith(("key.", "value."))}:
        raise ScenarioError(f"features hold {list(features)}; a cache takes key.0, value.0 and so on for all layers")
    layers = [(features[f"key.{index}"], features[f"value.{index}"]) for index in range(count)]
    for index, pair in enumerate(layers):
        for name, tensor in zip(("key", "value"), pair, strict=True):
            if tensor.dim() != 3 or tensor.shape[:2] != (len(pair[0]), layers[0][0].shape[1]):
                raise ScenarioError(
                    f"{name}.{index} is {list(tensor.shape)}; a cache takes [heads, tokens, width] of as many heads in "
                    f"keys and values and as many tokens in all layers, where key.0 is {list(layers[0][0].shape)}"
                )
    return layers


def _features_of_layers(layers: Sequence[tuple[Tensor, Tensor]]) -> FeatureSet:
    """Keys and values ``[H, T, D]`` of each layer, named as specs name them."""
    keys, values = zip(*layers, strict=True)
    kinds = {"key": keys, "value": values}
    return FeatureSet({f"{kind}.{i}": tensor for kind, tensors in kinds.items() for i, tensor in enumerate(tensors)})


def _taken(memory: Tensor, row: int, tokens: slice) -> Tensor:
    return memory[row, :, tokens].detach().cpu().clone()


def _memories(cache: Any) -> Sequence[tuple[Tensor, Tensor]]:
    """Keys and values of each layer, ``[B, H, T, D]``."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", None)
    if not layers:
        raise ScenarioError(f"{type(cache).__name__} has no layers to read; run the model on at least one token")
    for index, layer in enumerate(layers):
        if type(layer) is not DynamicLayer:  # windows forget tokens, static layers are longer than what they hold
            raise ScenarioError(
                f"layer {index} of the cache is a {type(layer).__name__}; features are made of DynamicLayer, which "
                "holds keys and values of all tokens and no more"
            )
        if layer.keys is None or layer.values is None or not layer.get_seq_length():
            raise ScenarioError(f"layer {index} of the cache is empty; run the model on at least one token")
    return [(layer.keys, layer.values) for layer in layers]


def _specs(layers: Sequence[_Layer], dtype: DTypeName, rotary_base: float | None, tokens: int) -> FeatureSpecs:
    base = rotary_base if all(layer.key_width % 2 == 0 for layer in layers) else None
    with declaring(f"a cache of {shown(dtype)} with up to {shown(tokens)} tokens"):
        axis = Axis(name="tokens", limit=tokens)
        keys = [
            TensorSpec(name=f"key.{n}", role="key", shape=(layer.heads, axis, layer.key_width), dtype=dtype,
                       rotary_base=base)
            for n, layer in enumerate(layers)
        ]  # fmt: skip
        values = [
            TensorSpec(name=f"value.{n}", role="value", shape=(layer.heads, axis, layer.value_width), dtype=dtype)
            for n, layer in enumerate(layers)
        ]
        return FeatureSpecs(tensors=(*keys, *values))


def _text_config(config: Any) -> Any:
    """The decoder's part of a config that may hold others, such as that of an image encoder."""
    find = getattr(config, "get_text_config", None)
    return config if find is None else find(decoder=True)
