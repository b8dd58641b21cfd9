"""Ways for a Hub to fail, for `HubState.faults`."""

from __future__ import annotations

from collections.abc import Callable

from loopback_hub.protocol import CutError, RefusedError, Request

Fault = Callable[[Request], None]
Matches = Callable[[Request], bool]


def failing(times: int, matches: Matches, status: int | None = None, *, after: int = 0) -> Fault:
    """So many matching requests are refused with a status, or the connection is closed where that is None.

    Args:
        times: how many.
        matches: which.
        status: of HTTP.
        after: how many matching requests are answered before.
    """
    error = ConnectionError() if status is None else RefusedError(status)
    return _raising(times, matches, error, after)


def cutting(times: int, matches: Matches, after_bytes: int) -> Fault:
    """The answers to so many matching requests end after that many bytes."""
    return _raising(times, matches, CutError(after_bytes), 0)


def _raising(times: int, matches: Matches, error: Exception, after: int) -> Fault:
    seen = 0

    def fault(request: Request) -> None:
        nonlocal seen
        if matches(request):
            seen += 1
            if after < seen <= after + times:
                raise error

    return fault
