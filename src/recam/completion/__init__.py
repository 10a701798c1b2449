"""Completing partially observed videos: PartialVideo to Video."""
