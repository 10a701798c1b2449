"""Several paths through one scene, which is reconstructed once."""

import sys

import recam
from recam.reconstruct import reconstruct
from recam.synthetic import demo_clip

frames, height, width = (int(v) for v in sys.argv[1:4]) if len(sys.argv) > 3 else (16, 216, 384)

clip, _ = demo_clip(frames, height, width)
scene = reconstruct(clip.video)
for name, path in {
    "dolly": recam.dolly(0.2),
    "freeze": recam.freeze(yaw_deg=20, at_frame=0),
    "still": recam.static(at_frame=0),
}.items():
    print(recam.save(recam.reshoot(scene, path), f"path-{name}.mp4"))
