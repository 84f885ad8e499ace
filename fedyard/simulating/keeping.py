"""`context.keep` of simulated sites: as at an agent, what a hook leaves there counts with its result alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from fedyard.tasks import TaskError, jobs
from fedyard.tasks.kept import copy_to_work, is_as_copied, put_aside

WORK = "keep"
"""A hook's copy, in the folder of its task run."""


def begin(kept: Path, job: jobs.Job) -> jobs.Job:
    """The job with a copy of what its site has kept."""
    work = Path(job.folder) / WORK
    copy_to_work(kept, work)
    return msgspec.structs.replace(job, keep=str(work))


def end(kept: Path, job: jobs.Job, finished: jobs.Finished) -> jobs.Finished:
    """What a hook has left counts from now on, if it has ended well; the outcome, if that can be kept."""
    work = Path(job.keep)
    if finished.error or finished.stopped or (job.hook in ("prepare", "score") and is_as_copied(kept, work)):
        return finished
    if not any(work.iterdir()) and not kept.exists():
        return finished
    aside = kept.with_name(f".{kept.name}.next")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        put_aside(work, aside)
    except TaskError as error:
        return jobs.Finished(error=f"{job.hook}: {error}")
    shutil.rmtree(kept, ignore_errors=True)
    aside.rename(kept)
    return finished
