"""The frames between two pictures, here every eighth of a clip, as numpy arrays."""

import sys

import recam
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (17, 216, 384)

clip, _ = demo_clip(frames, height, width)
views = clip.video.frames[::8].permute(0, 2, 3, 1).numpy()  # [k, h, w, 3]
result = recam.interpolate(*views, frames=7)
print(f"{len(views)} pictures, {len(result.video)} frames")
print(recam.save(result, "interpolate.mp4"))
