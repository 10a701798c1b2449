"""Fill what is missing in any video: everything else is a way to get here."""

import sys

import numpy as np

import recam
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (16, 216, 384)

clip, _ = demo_clip(frames, height, width)
known = np.ones((frames, height, width), bool)
for i in range(frames):
    known[i, height // 3 : height // 2, (5 * i) % width : (5 * i) % width + width // 8] = False
result = recam.complete(clip.video, known)
error = (result.video.frames.float() - clip.video.frames.float()).abs().mean(1)[~known]
print(f"mean error where nothing was known: {float(error.mean()):.1f} levels")
print(recam.save(result, "complete.mp4"))
