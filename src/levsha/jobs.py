"""Independent jobs on several cores, with a bar each; Ctrl-C stops them all and loses nothing that was finished."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from levsha.errors import LevshaError, show_warnings_in_a_line

WIDE = 110  # columns of text from which there is room for a longer bar
LINE_SECONDS = 10.0  # between two lines of one job where there is no terminal
_say_queue: Any = None


@dataclass(frozen=True)
class Job:
    """A call in a process of its own: work(*arguments), with `name` for its bar and the number of steps it will say."""

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    steps: int


@dataclass(frozen=True)
class News:
    """What a job says of itself: steps done, and a few words; stays: as a line of its own, above the bars too."""

    job: str
    done: int
    text: str
    stays: bool = False


def say(news: News) -> None:
    """Tell the parent process how far a job is."""
    if _say_queue is not None:
        _say_queue.put(news)


def run_jobs(jobs: Sequence[Job], processes: int, console: Console) -> list[Any]:
    """Run jobs in up to `processes` processes (0: one a core); return their results in order.

    A LevshaError in a job stops all and is raised here; so is KeyboardInterrupt.
    """
    watch = _Watch(jobs, console)
    before = {number: signal.signal(number, watch.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    workers = min(processes or os.cpu_count() or 1, len(jobs))
    scratch = tempfile.mkdtemp(prefix="levsha-")
    pool = ProcessPoolExecutor(workers, context, _start, (channel, scratch))
    try:
        futures = [pool.submit(job.work, *job.arguments) for job in jobs]
        watch.follow(futures, channel)
        for future in futures:
            if future.done():
                future.result()  # the first error at once, not after the jobs before it
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise LevshaError(
            "a worker process was killed (out of memory?); what was finished is kept: repeat the command to continue, "
            "with --jobs 1 to need less."
        ) from None
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(scratch, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def run_here(jobs: Sequence[Job], console: Console) -> list[Any]:
    """Run jobs one after the other in this process; return their results in order."""
    global _say_queue
    watch = _Watch(jobs, console)
    _say_queue, before = watch, _say_queue
    try:
        with watch.progress:
            return [job.work(*job.arguments) for job in jobs]
    finally:
        _say_queue = before


def _start(channel: Any, scratch: str) -> None:
    global _say_queue
    _say_queue = channel
    show_warnings_in_a_line()
    tempfile.tempdir = scratch  # the parent removes it, however this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Watch:
    """Shows the jobs' news: bars on a terminal, lines elsewhere."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.jobs, self.console = jobs, console
        self.shown: dict[str, tuple[str, float, str]] = {}
        self.stopped = False
        text = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(10 if console.width < WIDE else 24),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", table_column=text),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal, expand=True)
        self.tasks = {
            job.name: self.progress.add_task(job.name, total=job.steps, text="waiting", start=False) for job in jobs
        }

    def stop(self, *_: object) -> None:
        """Take note of Ctrl-C or a plain kill; raised by follow, where nothing can swallow it."""
        self.stopped = True

    def follow(self, futures: Sequence[Future[Any]], channel: Any) -> None:
        """Show news until every job has ended or one has failed."""
        with self.progress:
            while not all(future.done() for future in futures):
                self._next(channel)
                if self.stopped:
                    raise KeyboardInterrupt
                if any(future.done() and future.exception() for future in futures):
                    break
            while self._next(channel, wait=0.0):
                pass

    def _next(self, channel: Any, wait: float = 0.2) -> bool:
        try:
            news: News = channel.get(timeout=wait) if wait else channel.get_nowait()
        except queue.Empty:
            return False
        self.put(news)
        return True

    def put(self, news: News) -> None:
        """Show one piece of news: on its bar, or as a line where a stage begins and every few seconds."""
        task = self.tasks[news.job]
        self.progress.start_task(task)
        self.progress.update(task, completed=news.done, text=news.text)
        stage, now = news.text.partition("  ")[0], time.monotonic()
        last_stage, last_time, unsaid = self.shown.get(news.job, ("", 0.0, ""))
        if news.stays:
            self.shown[news.job] = (stage, now, "")
            self._print(news.job, news.text)
            return
        if self.console.is_terminal:
            return
        if stage != last_stage and unsaid:
            self._print(news.job, unsaid)  # where the stage before ended
        if stage != last_stage or now - last_time > LINE_SECONDS:
            self.shown[news.job] = (stage, now, "")
            self._print(news.job, news.text)
        else:
            self.shown[news.job] = (last_stage, last_time, news.text)

    def _print(self, job: str, text: str) -> None:
        self.console.print(f"{time.strftime('%H:%M:%S')}  {job:<22} {text}", highlight=False)
