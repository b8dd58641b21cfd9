"""A Hub on the loopback device: what the real huggingface_hub client asks of one, with repositories in memory.

Repositories, commits (regular and LFS uploads), files by range, trees, pull requests and discussions. It counts what is
sent and fetched, and can be told to fail, so that tests prove what an interrupted upload costs.
"""

from loopback_hub.client import connected
from loopback_hub.faults import cutting, failing
from loopback_hub.repositories import Blob
from loopback_hub.server import LoopbackHub

__all__ = ["Blob", "LoopbackHub", "connected", "cutting", "failing"]
