"""Many rows of work on one machine, on a Ray cluster, or in the shards of any scheduler."""

from recam.apps.batch.engines import Worker
from recam.apps.batch.job import run_job

__all__ = ["Worker", "run_job"]
