"""Numbers that the coder's modules share; those of the format, and those of its arrays."""

from __future__ import annotations

PRECISION = 14
"""Frequencies of the coder sum to two to this power: part of the format."""
LOWEST = 2**16
"""States below this take a word from the stack, while there is one: part of the format."""

FREQUENCY_BITS = 15
"""In the arrays of the encoder a code is ``start << FREQUENCY_BITS | frequency``."""
BUCKET_BITS = 3
"""So many low bits of a slot are left out where a decoder looks up its symbol; a short search follows."""
