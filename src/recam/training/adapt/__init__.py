"""Adapting a model to one video: test-time finetuning (seed 1)."""
