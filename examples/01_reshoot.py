"""Move the camera after the shot: a 10° orbit of a clip that recam makes itself."""

import sys

import recam
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (24, 216, 384)

clip, _ = demo_clip(frames, height, width)  # a path to any film does as well
result = recam.reshoot(clip.video, path=recam.orbit(yaw_deg=10))
print(f"{float((result.partial.known > 0.5).float().mean()):.0%} seen, the rest completed")
print(recam.save(result, "reshoot.mp4"))
