"""One worker for what takes seconds: it tells how far it has come, and can be told to stop."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gateflow.errors import ConfigError, GateflowError
from gateflow.inspector.session import Session
from gateflow.inspector.views import VIEWS
from gateflow.inspector.views.question import Answer

__all__ = ["Job", "Jobs"]

# Jobs that wait or whose answers are kept.
MOST = 8


class _Cancelled(Exception):  # noqa: N818  # no error, but what ends a job
    """Raised within a job that is to end."""


@dataclass
class Job:
    """What is being worked on.

    Attributes:
        done, total: how far it has come.
        answer, error: one of them when it has ended; neither if it was cancelled.
    """

    done: int = 0
    total: int = 1
    answer: Answer | None = None
    error: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def tick(self, done: int, total: int) -> None:
        """Called by the work."""
        self.done, self.total = done, total
        if self.stop.is_set():
            raise _Cancelled


class Jobs:
    """The worker, and what it works on.

    Args:
        session: whose models are copied when there is the first work.
    """

    def __init__(self, session: Session):
        self._original, self._copy = session, None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="gateflow-inspect")
        self._numbers, self._jobs = itertools.count(1), OrderedDict[int, Job]()

    def start(self, view: str, question: bytes) -> int:
        """Put a question to the worker; the number of the job.

        Raises:
            ConfigError: the view is none that takes long, or too many wait.
        """
        if view not in VIEWS or not VIEWS[view].heavy:
            raise ConfigError(f"{view!r:.60} is no view that takes long.")
        waiting = [job for job in self._jobs.values() if not job.ended.is_set()]
        if len(waiting) >= MOST:
            raise ConfigError("too much is being worked on; wait, or cancel some of it.")
        number, job = next(self._numbers), Job()
        self._jobs[number] = job
        while len(self._jobs) > 2 * MOST:
            self._jobs.popitem(last=False)
        self._worker.submit(self._work, job, view, question)
        return number

    def job(self, number: int) -> Job:
        """A job by its number.

        Raises:
            ConfigError: there is none.
        """
        if number not in self._jobs:
            raise ConfigError(f"there is no work {number}.")
        return self._jobs[number]

    def close(self) -> None:
        """End all work."""
        for job in self._jobs.values():
            job.stop.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _work(self, job: Job, view: str, question: bytes) -> None:
        try:
            job.tick(0, 1)
            if self._copy is None:
                self._copy = self._original.apart()
            job.answer = self._copy.ask(view, question, job.tick)
        except _Cancelled:
            pass
        except GateflowError as error:
            job.error = str(error)
        finally:
            if job.answer is None and not job.error and not job.stop.is_set():
                # What nobody has foreseen must not leave a page waiting; the future keeps the exception.
                job.error = "this could not be computed; see the terminal"
            job.ended.set()
