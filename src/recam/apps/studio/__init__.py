"""recam studio: aim the camera in the browser, see what it would see, then make it."""

from recam.apps.studio.launch import open_viewer, run

__all__ = ["open_viewer", "run"]
