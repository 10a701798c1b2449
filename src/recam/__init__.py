"""recam: move the camera after the shot.

    import recam
    result = recam.reshoot("a.mp4", path=recam.orbit(yaw_deg=20))
    recam.save(result, "b.mp4")

What is listed in ``__all__`` is loaded when it is first used, so that importing this costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_FROM_API = (
    "complete", "edit", "image", "interpolate", "open_scene", "remove", "render_path", "reshoot",
    "save", "stereo",
)  # fmt: skip
_FROM_PRESETS = (
    "arc", "dolly", "dolly_zoom", "freeze", "handheld", "orbit", "pan", "pedestal", "roll",
    "spiral", "stabilise", "static", "stereo", "tilt", "truck", "zoom",
)  # fmt: skip

if TYPE_CHECKING:
    from recam.api import (
        complete,
        edit,
        image,
        interpolate,
        open_scene,
        remove,
        render_path,
        reshoot,
        save,
        stereo,
    )
    from recam.apps.studio import open_viewer as studio
    from recam.path_presets import (
        arc,
        dolly,
        dolly_zoom,
        freeze,
        handheld,
        orbit,
        pan,
        pedestal,
        roll,
        spiral,
        stabilise,
        static,
        tilt,
        truck,
        zoom,
    )

__all__ = [
    "arc", "complete", "dolly", "dolly_zoom", "edit", "freeze", "handheld", "image", "interpolate",
    "open_scene", "orbit", "pan", "pedestal", "remove", "render_path", "reshoot", "roll", "save",
    "spiral", "stabilise", "static", "stereo", "studio", "tilt", "truck", "zoom",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _FROM_API:
        return getattr(import_module("recam.api"), name)
    if name in _FROM_PRESETS:
        return getattr(import_module("recam.path_presets"), name)
    if name == "studio":
        return import_module("recam.apps.studio").open_viewer
    raise AttributeError(f"module 'recam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
