"""A camera that moves there and back through one picture, given its depth."""

import sys
from dataclasses import replace

import recam
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (24, 216, 384)

clip, _ = demo_clip(1, height, width)  # a Scene; a picture alone is laid out as a stage
path = replace(recam.orbit(yaw_deg=12), speed="there-and-back")
result = recam.image(clip, path, frames=frames)
difference = result.video.frames[0].float() - result.video.frames[-1].float()
print(f"first and last frame differ by {float(difference.abs().mean()):.2f} levels")
print(recam.save(result, "image.mp4"))
