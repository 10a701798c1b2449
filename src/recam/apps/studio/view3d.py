"""The scene in 3D: points, source cameras, the new path, keys to drag, and where an orbit may end.

Everything is shown in units in which the focus is VIEW_FOCUS away, whatever the scene's are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recam.apps.studio.aim import Key, key_camera, pose_parts
from recam.apps.studio.preview import (
    PITCHES_DEG,
    YAWS_DEG,
    Previewer,
    fov_y_deg,
    orbit_by,
    spread,
    thumbnail,
)
from recam.geometry import intrinsics_from_fov, unproject
from recam.types import CameraPath, Cameras, Scene

VIEW_FOCUS = 3.0
MAX_STATIC_POINTS = 160_000
MAX_FRAME_POINTS = 40_000
NUM_FRUSTA = 5
SOURCE_RGB, TARGET_RGB, KEY_RGB, PICKED_RGB = (
    (70, 130, 220), (236, 120, 40), (250, 200, 60), (255, 255, 255),
)  # fmt: skip
MOVING_RGB = np.array([236, 64, 122])
GOOD_RGB, BAD_RGB = np.array([46, 160, 90]), np.array([140, 40, 140])
WORST_SHOWN = 0.4
"""Never-seen share at which the dome is all purple."""
Coloring = Literal["picture", "confidence", "moving"]
Array = NDArray[Any]


@dataclass
class Shown:
    """What of the scene is shown."""

    coloring: Coloring = "picture"
    static: bool = True
    moving: bool = True
    this_frame: bool = False
    """Points of this frame alone, instead of all frames' static ones."""
    cameras: bool = True
    path: bool = True
    ground: bool = True
    dome: bool = True
    point_size: float = 1.0


@dataclass
class View3D:
    """The nodes of one scene on a viser server, all below /scene."""

    server: Any
    shown: Shown = field(default_factory=Shown)
    previewer: Previewer | None = None
    picked: Callable[[float, float], None] = lambda yaw, pitch: None
    """Called with the place on the dome that was clicked, in degrees."""
    key_clicked: Callable[[int], None] = lambda frame: None
    key_moved: Callable[[Array, Array], None] = lambda wxyz, position: None

    def __post_init__(self) -> None:
        self.root = self.server.scene.add_frame("/scene", show_axes=False)
        self.key_names: list[str] = []
        self.gizmo: Any = None
        self.moving: Any = None
        self.eye: Any = None

    @property
    def scale(self) -> float:
        """View units of one scene unit."""
        assert self.previewer is not None
        return VIEW_FOCUS / self.previewer.focus_depth

    def show_scene(self, previewer: Previewer) -> None:
        """Draw a scene from anew."""
        self.previewer = previewer
        self.server.scene.set_up_direction(tuple(up_of(previewer.source).tolist()))
        self.draw_points()
        self._draw_cameras()
        self._draw_ground()

    def start_view(self) -> tuple[Array, Array, Array]:
        """Position, look-at and up of a view over the source camera's shoulder."""
        assert self.previewer is not None
        source, focus = self.previewer.source, self.previewer.focus_depth
        middle = len(source) // 2
        rotation, center = pose_parts(source.cam_from_world[middle])
        back = torch.tensor([0.35 * focus, -0.3 * focus, -0.6 * focus], dtype=torch.float64)
        ahead = torch.tensor([0.0, 0.0, focus], dtype=torch.float64)
        position, look = center + rotation @ back, center + rotation @ ahead
        up = up_of(source)
        return (position * self.scale).numpy(), (look * self.scale).numpy(), up

    def source_view(self, frame: int) -> tuple[Array, Array, Array, float]:
        """Position, look-at, up and vertical field of view (radians) of a source camera."""
        assert self.previewer is not None
        return self.camera_view(self.previewer.source, frame)

    def camera_view(self, cameras: Cameras, frame: int) -> tuple[Array, Array, Array, float]:
        """The same of any camera."""
        assert self.previewer is not None
        rotation, center = pose_parts(cameras.cam_from_world[frame])
        look = center + rotation[:, 2] * self.previewer.focus_depth
        fov = math.radians(fov_y_deg(cameras, frame))
        up = -rotation[:, 1].numpy()
        return (center * self.scale).numpy(), (look * self.scale).numpy(), up, fov

    def camera_of(self, wxyz: Array, position: Array) -> Tensor:
        """cam_from_world float64 [4, 4] of something placed in the view (OpenCV axes)."""
        from viser.transforms import SO3

        rotation = torch.from_numpy(SO3(np.asarray(wxyz, np.float64)).as_matrix())
        center = torch.from_numpy(np.asarray(position, np.float64)) / self.scale
        out = torch.eye(4, dtype=torch.float64)
        out[:3, :3] = rotation.T
        out[:3, 3] = -rotation.T @ center
        return out

    def place(self, cam_from_world: Tensor) -> tuple[Array, Array]:
        """wxyz and position in the view of a camera."""
        from viser.transforms import SO3

        rotation, center = pose_parts(cam_from_world)
        return SO3.from_matrix(rotation.numpy()).wxyz, (center * self.scale).numpy()

    # Points

    def draw_points(self, frame: int = 0) -> None:
        """The static points of some frames, and what moves in one."""
        assert self.previewer is not None
        scene = self.previewer.scene
        picked = [frame] if self.shown.this_frame else spread(len(scene), 12)
        budget = MAX_STATIC_POINTS // len(picked)
        clouds = [self._cloud(scene, i, ~scene.dynamic[i], budget) for i in picked]
        points = np.concatenate([c[0] for c in clouds])
        colors = np.concatenate([c[1] for c in clouds])
        self.static = self.server.scene.add_point_cloud(
            "/scene/static", points, colors, point_size=self._point_size(),
            point_shape="circle", point_shading="flat", precision="float32",
            visible=self.shown.static,
        )  # fmt: skip
        self.draw_moving(frame)

    def draw_moving(self, frame: int) -> None:
        """What moves, as it is in a frame; with ``this_frame`` its static points too."""
        assert self.previewer is not None
        scene = self.previewer.scene
        points, colors = self._cloud(scene, frame, scene.dynamic[frame], MAX_FRAME_POINTS)
        if self.shown.this_frame:
            fixed = self._cloud(scene, frame, ~scene.dynamic[frame], MAX_FRAME_POINTS)
            self.static.points, self.static.colors = fixed
        self.moving = self.server.scene.add_point_cloud(
            "/scene/moving", points, colors, point_size=1.1 * self._point_size(),
            point_shape="circle", point_shading="flat", precision="float32",
            visible=self.shown.moving,
        )  # fmt: skip

    def _point_size(self) -> float:
        assert self.previewer is not None
        focal_px = float(self.previewer.scene.cameras.intrinsics[0, 0, 0])
        h, w = self.previewer.scene.depth.shape[1:]
        num = 1 if self.shown.this_frame else min(len(self.previewer.scene), 12)
        step = _step(h, w, MAX_STATIC_POINTS // num)
        return 1.3 * step * self.shown.point_size * VIEW_FOCUS / focal_px

    def _cloud(self, scene: Scene, frame: int, which: Tensor, most: int) -> tuple[Array, Array]:
        """Points float32 [k, 3] in view units and colours uint8 [k, 3] of a frame's pixels."""
        h, w = scene.depth.shape[1:]
        step = _step(h, w, most)
        part = slice(frame, frame + 1)
        keep = (scene.valid[frame] & (scene.depth[frame] > 0) & which)[::step, ::step]
        world = unproject(scene.depth[part].double(), scene.cameras[part])[0][::step, ::step][keep]
        points = (world * self.scale).float().numpy()
        if self.shown.coloring == "confidence":
            colors = confidence_rgb(scene.confidence[frame][::step, ::step][keep].numpy())
        else:
            small = F.interpolate(scene.video.frames[part].float(), (h, w), mode="area")[0]
            colors = small.permute(1, 2, 0)[::step, ::step][keep].round().to(torch.uint8).numpy()
            if self.shown.coloring == "moving":
                moves = scene.dynamic[frame][::step, ::step][keep].numpy()
                grey = colors.mean(1, keepdims=True)
                tint = np.where(moves[:, None], MOVING_RGB, 255)
                colors = (grey * tint / 255).astype(np.uint8)
        # Beyond a hundred focus depths is sky: it would make the view's controls useless.
        near = np.abs(points).max(1, initial=0) < 100 * VIEW_FOCUS
        return points[near], colors[near]

    # Cameras and paths

    def _draw_cameras(self) -> None:
        assert self.previewer is not None
        source, video = self.previewer.source, self.previewer.scene.video
        self._line("/scene/source/line", source, SOURCE_RGB, self.shown.cameras)
        for n, i in enumerate(spread(len(source), NUM_FRUSTA)):
            self._frustum(
                f"/scene/source/{n}", source, i, SOURCE_RGB, 0.2, thumbnail(video, i).numpy(),
                self.shown.cameras,
            )  # fmt: skip

    def show_path(self, path: CameraPath | None) -> None:
        """The new camera's path; None takes it away."""
        if path is None:
            self._remove("/scene/path/line", "/scene/path/eye")
            return
        self._line("/scene/path/line", path.cameras, TARGET_RGB, self.shown.path)

    def show_eye(self, path: CameraPath, frame: int, picture: Array | None) -> None:
        """The new camera at a frame, with what it sees."""
        self.eye = self._frustum(
            "/scene/path/eye", path.cameras, frame, TARGET_RGB, 0.3, picture, self.shown.path
        )

    def _frustum(
        self, name: str, cameras: Cameras, i: int, rgb: tuple[int, int, int], size: float,
        picture: Array | None, visible: bool,
    ) -> Any:  # fmt: skip
        wxyz, position = self.place(cameras.cam_from_world[i])
        return self.server.scene.add_camera_frustum(
            name, math.radians(fov_y_deg(cameras, i)), cameras.width / cameras.height, scale=size,
            color=rgb, thickness=1.5, thickness_units="screen", image=picture, jpeg_quality=80,
            wxyz=wxyz, position=position, visible=visible, cast_shadow=False,
            receive_shadow=False,
        )  # fmt: skip

    def _line(self, name: str, cameras: Cameras, rgb: Any, visible: bool) -> None:
        centers = (cameras.centers * self.scale).numpy()
        moved = len(centers) > 1 and float(np.ptp(centers, axis=0).max()) > 1e-6
        if not moved:
            self._remove(name)
            return
        segments = np.stack([centers[:-1], centers[1:]], 1)
        self.server.scene.add_line_segments(
            name, segments, np.array(rgb, np.uint8), thickness=3.0, thickness_units="screen",
            visible=visible,
        )  # fmt: skip

    def _remove(self, *names: str) -> None:
        for name in names:
            handle = self.server.scene.get_handle_by_name(name)
            if handle is not None:
                handle.remove()

    # Keys

    def show_keys(
        self, keys: tuple[Key, ...], selected: int | None, keep_gizmo: bool = False
    ) -> None:
        """A frustum for each key; a gizmo on the selected one (left alone while it is dragged)."""
        assert self.previewer is not None
        self._remove(*self.key_names)
        self.key_names = []
        source, focus = self.previewer.source, self.previewer.focus_depth
        for key in keys:
            cameras = key_cameras(key, source, focus)
            name = f"/scene/keys/{key.frame}"
            rgb = PICKED_RGB if key.frame == selected else KEY_RGB
            handle = self._frustum(name, cameras, 0, rgb, 0.2, None, self.shown.path)
            handle.on_click(lambda _, frame=key.frame: self.key_clicked(frame))
            self.key_names.append(name)
        chosen = [k for k in keys if k.frame == selected]
        if keep_gizmo and chosen and self.gizmo is not None:
            return
        if self.gizmo is not None:
            self.gizmo.remove()
            self.gizmo = None
        if chosen:
            wxyz, position = self.place(key_camera(chosen[0], source, focus))
            self.gizmo = self.server.scene.add_transform_controls(
                "/scene/gizmo", scale=0.45, depth_test=False, wxyz=wxyz, position=position
            )
            self.gizmo.on_update(
                lambda event: self.key_moved(event.target.wxyz, event.target.position)
            )

    # Focus, ground, dome

    def show_focus(self, focus_depth: float, frame: int) -> None:
        """A ball at the focus of a source frame."""
        assert self.previewer is not None
        rotation, center = pose_parts(self.previewer.source.cam_from_world[frame])
        at = center + rotation[:, 2] * focus_depth
        self.server.scene.add_icosphere(
            "/scene/focus", radius=0.03, color=(220, 40, 80), position=(at * self.scale).numpy(),
            cast_shadow=False, receive_shadow=False, visible=self.shown.path,
        )  # fmt: skip

    def _draw_ground(self) -> None:
        """A grid at the height of the lowest points: a help for the eye, not a finding."""
        assert self.previewer is not None
        scene, up = self.previewer.scene, up_of(self.previewer.source)
        points = np.concatenate(
            [self._cloud(scene, i, ~scene.dynamic[i], 4000)[0] for i in spread(len(scene), 5)]
        )
        if len(points) == 0:
            return
        near = points[np.linalg.norm(points, axis=1) < 3 * VIEW_FOCUS]
        height = np.quantile((near if len(near) else points) @ up, 0.02)
        middle = np.median(near if len(near) else points, axis=0)
        at = middle + (height - middle @ up) * up
        self.server.scene.add_grid(
            "/scene/ground", width=12, height=12, cell_size=0.5, section_size=2.0,
            cell_color=(110, 110, 110), section_color=(140, 140, 140), plane="xy",
            wxyz=_turn_to(up), position=at, visible=self.shown.ground, shadow_opacity=0.0,
        )  # fmt: skip

    def show_dome(self, shares: list[list[float]] | None, frame: int) -> None:
        """Where an orbit of this frame may end, each place shaded by what is never seen there."""
        self._remove("/scene/dome")
        if shares is None or self.previewer is None or not self.shown.dome:
            return
        places, colors, poses = [], [], []
        source = self.previewer.source[frame : frame + 1]
        for row, pitch in enumerate(PITCHES_DEG):
            for column, yaw in enumerate(YAWS_DEG):
                turned = orbit_by(yaw, pitch, self.previewer.focus_depth) @ source.cam_from_world
                wxyz, position = self.place(turned[0])
                poses.append(wxyz)
                places.append(position)
                colors.append(share_rgb(shares[row][column]))
        size = math.radians(YAWS_DEG[1] - YAWS_DEG[0]) * VIEW_FOCUS * 0.09
        dome = self.server.scene.add_batched_meshes_simple(
            "/scene/dome", *_ball(size), np.array(poses), np.array(places),
            batched_colors=np.array(colors, np.uint8), side="double", opacity=0.8,
            material="toon3", cast_shadow=False, receive_shadow=False,
        )  # fmt: skip

        @dome.on_click
        def _(event: Any) -> None:
            if event.instance_index is not None:
                row, column = divmod(int(event.instance_index), len(YAWS_DEG))
                self.picked(YAWS_DEG[column], PITCHES_DEG[row])

    def nearest_depth(self, origin: Array, direction: Array, frame: int) -> float | None:
        """Depth in the source camera of a frame, in scene units, of the point that a ray of the
        view meets; None where it meets none."""
        assert self.previewer is not None
        scene = self.previewer.scene
        points = np.concatenate([
            self._cloud(scene, frame, ~scene.dynamic[frame], MAX_FRAME_POINTS)[0],
            self._cloud(scene, frame, scene.dynamic[frame], MAX_FRAME_POINTS)[0],
        ])  # fmt: skip
        along = (points - origin) @ direction
        across = np.linalg.norm(points - origin - along[:, None] * direction, axis=1)
        near = (along > 0) & (across < 0.02 * along)
        if not near.any():
            return None
        hit = points[near][np.argmin(along[near])] / self.scale
        camera = scene.cameras.cam_from_world[frame]
        return float((camera[2, :3] @ torch.from_numpy(hit).double()) + camera[2, 3])


def up_of(source: Cameras) -> Array:
    """Which way is up: against the mean of the cameras' downward axes, [3]."""
    up = -source.cam_from_world[:, 1, :3].mean(0)
    return (up / up.norm()).numpy()


def key_cameras(key: Key, source: Cameras, focus_depth: float) -> Cameras:
    """A key as Cameras of length 1, with its own lens."""
    intrinsics = intrinsics_from_fov(key.fov_deg, source.height, source.width)
    pose = key_camera(key, source, focus_depth)
    return Cameras(pose[None], intrinsics[None], source.height, source.width)


def share_rgb(share: float) -> Array:
    """Green where nothing is never seen, to purple at WORST_SHOWN and above."""
    t = min(1.0, share / WORST_SHOWN)
    return ((1 - t) * GOOD_RGB + t * BAD_RGB).astype(np.uint8)


def confidence_rgb(confidence: Array) -> Array:
    """uint8 [k, 3]: red (none) over yellow to green (full)."""
    t = np.clip(confidence, 0, 1)[:, None]
    low, middle, high = np.array([200, 40, 40]), np.array([240, 200, 60]), np.array([40, 160, 80])
    mixed = np.where(t < 0.5, low + (middle - low) * 2 * t, middle + (high - middle) * (2 * t - 1))
    return mixed.astype(np.uint8)


def _step(height: int, width: int, most: int) -> int:
    """Every how many pixels a point is drawn, so that a frame has at most ``most``."""
    return max(1, math.ceil(math.sqrt(height * width / most)))


def _ball(radius: float) -> tuple[Array, Array]:
    """Vertices [n, 3] and faces [m, 3] of a ball."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=1, radius=radius)
    return np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.uint32)


def _turn_to(up: Array) -> Array:
    """wxyz of a rotation that takes +z to ``up``."""
    from viser.transforms import SO3

    x = np.cross([0.0, 1.0, 0.0] if abs(up[1]) < 0.9 else [1.0, 0.0, 0.0], up)
    x /= np.linalg.norm(x)
    return SO3.from_matrix(np.stack([x, np.cross(up, x), up], 1)).wxyz
