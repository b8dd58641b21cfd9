"""The loops of `quantising`. Import this module inside functions: that is when it is compiled.

Each does what numpy would in several passes over memory, with the same operations on the same floats, so that integers
and values are equal bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamofcbench.codecs.integers import EXACT, ZERO
from lamofcbench.codecs.rans.compiling import kernel

LARGEST = float(np.finfo(np.float32).max)


@kernel("int64(int32[:, ::1], float32[:, ::1], int64[::1], float64[::1], float64)")
def tokens(symbols: Any, values: Any, order: Any, means: Any, step: float) -> int:
    """Fills ``symbols`` with tokens of values less their mean, in steps; those from `EXACT` on are cut off there.

    Args:
        symbols: ``[channels, rows]``.
        values: likewise.
        order: the channel of each row of symbols.
        means: of the channels.
        step: of the quantiser.

    Returns:
        How many were cut off.
    """
    large = 0
    for place in range(len(order)):
        channel = order[place]
        mean = means[channel]
        for row in range(values.shape[1]):
            integer = np.rint((values[channel, row] - mean) / step)
            integer = min(max(integer, -EXACT), EXACT)
            large += abs(integer) == EXACT
            symbols[place, row] = ZERO + np.int32(integer)
    return large


@kernel("int64(float32[:, ::1], int32[:, ::1], int64[::1], float64[::1], float64[::1])")
def values(restored: Any, symbols: Any, order: Any, means: Any, scaled: Any) -> int:
    """Fills ``restored`` with what tokens stand for, their plain bits taken for zero.

    Args:
        restored: ``[channels, rows]``.
        symbols: likewise.
        order: the channel of each row of symbols.
        means: of the channels.
        scaled: the value of each token, without the mean.

    Returns:
        How many tokens are those of no small integer.
    """
    large = 0
    for place in range(len(order)):
        channel = order[place]
        mean = means[channel]
        for row in range(symbols.shape[1]):
            symbol = symbols[place, row]
            large += abs(symbol - ZERO) >= EXACT
            restored[channel, row] = min(max(scaled[symbol] + mean, -LARGEST), LARGEST)
    return large
