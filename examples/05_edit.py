"""Paint on one frame, and have it on all of them; then take something out."""

import sys

import numpy as np

import recam
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (16, 216, 384)

clip, _ = demo_clip(frames, height, width)
edited = clip.video.frames[0].permute(1, 2, 0).numpy().copy()
top, left = height // 2, width // 8
patch = edited[top : top + height // 5, left : left + width // 5]
patch[:] = 255 - patch  # the edit: a part of the picture in opposite colours
print(recam.save(recam.edit(clip.video, edited), "edit.mp4"))

mask = np.zeros((height, width), bool)
mask[top : top + height // 5, left : left + width // 5] = True
print(recam.save(recam.remove(clip.video, mask), "remove.mp4"))
