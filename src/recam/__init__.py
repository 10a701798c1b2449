"""recam: move the camera after the shot."""

__version__ = "0.1.0"
