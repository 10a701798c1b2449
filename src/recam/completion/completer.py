"""What completes a video: one interface, whether there is a network behind it or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from recam.types import PartialVideo, Progress, Scene, no_progress


@dataclass(frozen=True)
class Windows:
    """How a video is cut. new: frames that each window adds. overlap: frames of the window before
    that come first, finished and known but for the last ``blend``, which are filled again and
    cross-faded (see windows.fill_pieces)."""

    new: int
    overlap: int
    blend: int


class Completer(Protocol):
    """Fills what is not known.

    note: what the user should know of the model; "" where there is none.
    weights_sha256: of the model's file, None where there is none (or gigabytes of it).
    identity: all that its results depend on beside the video, for content_hash.
    """

    @property
    def note(self) -> str: ...

    @property
    def weights_sha256(self) -> str | None: ...

    @property
    def identity(self) -> Sequence[Any]: ...

    def plan(self, total: int, height: int, width: int) -> Windows:
        """How to cut a video of ``total`` frames of height × width px."""
        ...

    def fill(
        self, window: PartialVideo, first: int = 0, progress: Progress = no_progress
    ) -> Tensor:
        """uint8 [t, 3, h, w]: a window of at most new + overlap frames, filled.

        first: number in the video of its first frame that is not finished; it tells apart the noise
        of windows.
        """
        ...

    def adapt(
        self,
        shown: Scene | PartialVideo,
        identity: Sequence[Any],
        progress: Progress = no_progress,
    ) -> Completer:
        """The same, adapted to a video by what its scene shows from elsewhere, or by hiding more of
        what is known; itself where there is nothing to adapt, or no time was given for it.

        identity: what the video is, for the cache (see content_hash).
        """
        ...
