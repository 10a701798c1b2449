"""Depth measured by a camera that moves."""
