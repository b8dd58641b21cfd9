"""How large the prompt is whose features are coded: what to send in their place, if the other side had the front."""

from __future__ import annotations

import math

from lamofcbench.scenarios.base import Scenario

TOKEN_BYTES = 2
"""A token's id; vocabularies of 65,536 and fewer fit, larger ones nearly."""
TEXT = "CLU"
"""The category whose raw inputs are text."""


def prompt_bytes(scenario: Scenario | None, elements_per_sample: float) -> float | None:
    """The bytes of a prompt as token ids, mean over samples; None where the input is no text.

    Tokens are counted from the features: tensors with one ragged axis have a row a token.

    Args:
        scenario: the declaration; None where it is not known.
        elements_per_sample: feature points, mean over samples.

    Example:
        >>> from lamofcbench.scenarios.base import SCENARIOS
        >>> facts = SCENARIOS.get("mini-clu-facts")
        >>> a_token = sum(math.prod(n for n in spec.shape if isinstance(n, int)) for spec in facts.specs.tensors)
        >>> prompt_bytes(facts, 34 * a_token)
        68.0
    """
    if scenario is None or scenario.category != TEXT or len(scenario.specs.axes) != 1:
        return None
    fixed = a_token = 0
    for spec in scenario.specs.tensors:
        sizes = [size for size in spec.shape if isinstance(size, int)]
        if len(spec.shape) - len(sizes) > 1:
            return None
        if len(sizes) == len(spec.shape):
            fixed += math.prod(sizes)
        else:
            a_token += math.prod(sizes)
    tokens = (elements_per_sample - fixed) / a_token
    return TOKEN_BYTES * tokens if tokens > 0 else None
