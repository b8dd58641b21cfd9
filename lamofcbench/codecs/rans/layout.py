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
RECIPROCAL_BITS = 46
"""An encoder divides by multiplying with ``ceil(2**46 / frequency)``.

That is exact for all dividends below ``frequency * 2**18`` and frequencies up to ``2**14``: with ``e < frequency`` what
rounding adds to the reciprocal times the frequency, it takes ``e * dividend < 2**46``. Products stay below ``2**64``,
so that their highest 18 bits are right in signed integers, too.
"""
