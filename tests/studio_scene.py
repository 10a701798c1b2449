"""A small scene for the tests of the studio: true geometry, no reconstruction."""

from functools import cache

from recam.synthetic import demo_clip
from recam.types import Scene


@cache
def small_clip(num_frames: int = 8) -> Scene:
    """``num_frames`` frames of 96×144."""
    return demo_clip(num_frames, 96, 144)[0]
