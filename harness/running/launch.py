"""Several processes: starting them here, and working together wherever they were started.

A process that some launcher started (torchrun, ``accelerate launch``, ours) knows its rank from the environment and
joins the others through accelerate. All ranks read and write one results folder, so machines must share it.

When a process is lost, the others end: at once where they wait for it, else at the next batch if it ran on the same
machine, else when they next talk. What they have computed is kept.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from harness.console import OneLineFormatter
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.processes import is_running, machine

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
Outcome = tuple[Any, str | None]
"""What a process's work came to: its result, or the message of its error."""

LAUNCHER_PID = "LAMOFCBENCH_LAUNCHER_PID"
"""Set by our launcher, so that its processes end with it."""

DEBUG = "LAMOFCBENCH_DEBUG"
"""Set where tracebacks are wanted: only messages travel between processes."""

EXIT_STATUSES = 2
"""Commands end with 0, or with 1 or 2 after a message."""

_RANK_TIMEOUT = timedelta(days=7)  # a rank may fit a codec, or run long batches, while the others wait
_JOIN_TIMEOUT = timedelta(minutes=10)  # processes that are started together begin together


class Team:
    """The processes of a run: just this one, or several ranks.

    Attributes:
        rank: 0 leads: it fits codecs, merges and prints.
        size: how many processes there are.
        accelerator: through which several processes talk; None where there is one.
    """

    rank = 0
    local_rank = 0
    size = 1
    accelerator: Accelerator | None = None

    @property
    def leads(self) -> bool:
        """True in the process that fits, merges and prints."""
        return self.rank == 0

    def from_leader(self, work: Callable[[], T]) -> T:
        """What ``work`` returns in the leading process, in every process; its error is everybody's error."""
        return work()

    def together(self, work: Callable[[], T]) -> T:
        """Runs ``work`` in every process and waits for all; one process's error is everybody's error."""
        return work()

    def require_all(self) -> None:
        """Checks that the other processes still run, as far as this one can see without talking to them.

        Raises:
            LostProcessError: if one of them, on this machine, has ended.
        """

    def end(self) -> None:
        """Leaves the other processes."""


class _Ranks(Team):
    def __init__(self, options: Mapping[str, Any]) -> None:
        from accelerate.utils import gather_object

        self.accelerator: Accelerator = _joined(options)
        self.rank, self.size = self.accelerator.process_index, self.accelerator.num_processes
        self.local_rank = self.accelerator.local_process_index
        wanted = int(os.environ["WORLD_SIZE"])
        if self.size != wanted:
            raise LaMoFCBenchError(f"the launcher announced {wanted} processes, accelerate joined {self.size}")
        with _others_may_be_gone():
            places = gather_object([(machine(), os.getpid())])
        self._neighbours = {
            rank: process for rank, (where, process) in enumerate(places) if where == machine() and rank != self.rank
        }

    def from_leader(self, work: Callable[[], T]) -> T:
        from accelerate.utils import broadcast_object_list

        outcome: list[Outcome] = [_attempt(work) if self.leads else (None, None)]
        with _others_may_be_gone():
            broadcast_object_list(outcome)
        return _settle(outcome)

    def together(self, work: Callable[[], T]) -> T:
        from accelerate.utils import gather_object

        result, error = _attempt(work)
        with _others_may_be_gone():
            outcomes = gather_object([(None, error)])
        _settle(outcomes)
        return result

    def require_all(self) -> None:
        for rank, process in self._neighbours.items():
            if not is_running(process):
                raise LostProcessError(f"process {rank} of this run is gone; rerun the same command to resume")

    def end(self) -> None:
        with suppress(RuntimeError):  # of a process that is lost
            self.accelerator.end_training()


def _joined(options: Mapping[str, Any]) -> Accelerator:
    """An accelerator that has joined the other processes, for which it waits less long than for their work later."""
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs
    from torch.distributed import distributed_c10d

    set_timeout = getattr(distributed_c10d, "_set_pg_timeout", None)
    timeout = _RANK_TIMEOUT if set_timeout is None else _JOIN_TIMEOUT
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as launchers do; accelerate warns of other numbers
    try:
        accelerator = Accelerator(**options, kwargs_handlers=[InitProcessGroupKwargs(timeout=timeout)])
    except RuntimeError as error:
        raise LaMoFCBenchError(
            f"process {os.environ['RANK']} did not meet all {os.environ['WORLD_SIZE']} processes of this run "
            f"({str(error).splitlines()[0]}); see why another ended, and rerun"
        ) from error
    if set_timeout is not None:
        set_timeout(_RANK_TIMEOUT)
    return accelerator


class TeamError(LaMoFCBenchError):
    """An error that every process raises because one of them failed; the leading process alone reports it."""


class LostProcessError(TeamError):
    """Another process is gone, so there is nobody to tell."""


@contextmanager
def _others_may_be_gone() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo and NCCL raise it, with the address of a socket
        raise LostProcessError("another process of this run ended; rerun the same command to resume") from error


def _attempt(work: Callable[[], Any]) -> Outcome:
    try:
        return work(), None
    except LostProcessError:
        raise
    except LaMoFCBenchError as error:
        return None, str(error)
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return None, f"unexpected {type(error).__name__}: {error}"


def _settle(outcomes: Sequence[Outcome]) -> Any:
    """The result of the first; the error of the first that failed."""
    for _, error in outcomes:
        if error is not None:
            raise TeamError(error)
    return outcomes[0][0]


def is_launched() -> bool:
    """True in a process that a launcher started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def speaks() -> bool:
    """True in the one process of a run that reports what ends them all from outside: our launcher, else the leader."""
    return LAUNCHER_PID not in os.environ and os.environ.get("RANK", "0") == "0"


_TALK_ON_CPU = {"cpu": True}
"""How processes talk, not where models run: what they exchange is small, they may share one GPU, and without it a
machine with no GPU yields ranks that all call themselves 0."""


def join(options: Mapping[str, Any] | None = None) -> Team:
    """The processes that this one works with.

    Args:
        options: of the `Accelerator` that joins them, for work that exchanges more than messages.
    """
    if not is_launched():
        return Team()
    _end_with_launcher()
    return _Ranks(_TALK_ON_CPU if options is None else options)


def work_as_team(
    processes: int,
    arguments: Sequence[str],
    work: Callable[[Team], int],
    *,
    check: Callable[[], object],
    options: Mapping[str, Any] | None = None,
    debug: bool = False,
) -> int:
    """A command's work in as many processes as the user named, or in those that a launcher started; the exit status.

    Args:
        processes: started on this machine if there is more than one.
        arguments: of the command line, for the processes to be started.
        work: done by every process with its team.
        check: raises what is wrong with the command, before any process starts.
        options: see `join`.
        debug: whether processes print tracebacks.
    """
    if processes < 1:
        raise LaMoFCBenchError(f"--num-processes is {processes}; at least 1 is needed")
    if debug:
        os.environ[DEBUG] = "1"
    if processes > 1 and not is_launched():
        check()
        return launch(arguments, processes)
    _log_to_stderr()
    team = join(options)
    try:
        return work(team)
    except LostProcessError:
        if LAUNCHER_PID in os.environ:
            return 1  # our launcher reports it
        raise  # the leading process may be the one that is lost
    except TeamError:
        if not team.leads:
            return 0  # the leading process reports it; ending with an error here could cut its message off
        raise
    finally:
        team.end()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("lamofcbench: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _end_with_launcher() -> None:
    """Ends this process at an interruption, which our launcher reports, and when that launcher is gone, killed say.

    Ending at once loses no work: what the journal holds is safe, and there is nothing else to save.
    """
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher is None:
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def launch(arguments: Sequence[str], processes: int) -> int:
    """Runs this command line in several processes of this machine, as torchrun does; returns the exit status.

    Args:
        arguments: of the command line, without the program's name.
        processes: how many.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, run_id=f"lamofcbench-{os.getpid()}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="spawn",
    )  # fmt: skip
    os.environ[LAUNCHER_PID] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads are pinned anyway; this is for other libraries
    logging.disable(logging.CRITICAL)  # the process that failed has said what is wrong; the launcher's own log has not
    try:
        elastic_launch(config, sys.executable)("-m", "harness.cli", *arguments)
    except ChildFailedError as error:
        for rank, failure in sorted(error.failures.items()):
            if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:  # the launcher itself sends SIGTERM
                name = signal.Signals(-failure.exitcode).name
                raise LaMoFCBenchError(f"process {rank} was ended by {name}; rerun to resume") from error
            if failure.exitcode > EXIT_STATUSES:  # nobody has said why
                status = failure.exitcode
                raise LaMoFCBenchError(f"process {rank} ended with status {status}; rerun to resume") from error
        return 1
    except SignalException as error:
        raise KeyboardInterrupt from error
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[LAUNCHER_PID]
    return 0
