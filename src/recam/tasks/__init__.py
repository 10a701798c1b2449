"""The tasks: each composes the stages and does nothing else."""
