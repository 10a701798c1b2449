"""What a scene shows to new cameras: its co-visible pixels, their depth, and what is unknown."""

from recam.render.path import render, render_frames, render_windows
from recam.render.splat import View, splat
from recam.render.static import StaticSet, build_static

__all__ = [
    "StaticSet", "View", "build_static", "render", "render_frames", "render_windows", "splat",
]  # fmt: skip
