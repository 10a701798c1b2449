"""Depth, masks and tracks from models that are not recam's own."""
