"""Offscreen colour and depth of a MuJoCo scene for a pinhole camera at any pose."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.sources.simulator.headless import OffscreenContext, mujoco

#: What is nearer than this is not drawn, metres.
NEAR = 0.04

#: Four samples of a pixel are taken for one plane when their depths bend by less than this, and
#: span less than the steepest floor within range does.
_PLANAR_BEND, _PLANAR_SPAN = 2e-3, 0.04


class RgbdRenderer:
    """Renders colour and z-depth; owns an OpenGL context, so use it from one thread only.

    Every pixel averages 2x2 samples of colour. Its depth is that of the surface at the pixel's
    centre where the four samples lie in one plane, else that of one sample: depths are never
    averaged across an edge of more than 4 %.

    Args:
        model: the compiled scene.
        camera: intrinsics of the images; any principal point.
        max_range: depth beyond this many metres is unknown (0).
        hidden_groups: geom groups that are not drawn.

    Raises:
        ConfigurationError: this machine has no library to render with.
    """

    _SAMPLES = 2

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: PinholeCamera,
        *,
        max_range: float,
        hidden_groups: tuple[int, ...],
    ) -> None:
        if OffscreenContext is None:
            raise ConfigurationError(
                "rendering needs EGL (Debian: libegl1 libgl1-mesa-dri) or OSMesa (libosmesa6). "
                "Got neither library"
            )
        self.camera = camera
        self._model = model
        self._far = max_range + 1.0
        self._max_range = max_range
        width, height = camera.width * self._SAMPLES, camera.height * self._SAMPLES
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        # Multisampled depth is that of a sample beside the pixel's centre.
        model.vis.quality.offsamples = 0
        self._gl = OffscreenContext(width, height)
        self._gl.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 16)
        for flag in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_SKYBOX,
            mujoco.mjtRndFlag.mjRND_FOG,
            mujoco.mjtRndFlag.mjRND_HAZE,
        ):
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._shown = self._option.geomgroup.copy()
        self._shown[list(hidden_groups)] = 0
        self._view = mujoco.MjvCamera()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        # Read 1 at the near plane and 0 at the far one: float keeps far depth precise this way.
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._colour = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)

    def render(
        self,
        data: mujoco.MjData,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        *,
        leave_out: int | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # (H, W, 3), (H, W)
        """Colour, and z-depth in metres that is 0 where nothing is within range.

        ``leave_out`` names a geom group that is not drawn this time.
        """
        self._gl.make_current()
        self._option.geomgroup[:] = self._shown
        if leave_out is not None:
            self._option.geomgroup[leave_out] = 0
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        self._aim(T_world_camera)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._colour, self._depth, self._viewport, self._context)
        size = (self.camera.width, self.camera.height)
        # OpenGL's first row is the bottom one.
        colour = cv2.resize(self._colour, size, interpolation=cv2.INTER_AREA)[::-1]
        return np.ascontiguousarray(colour, dtype=np.uint8), self._metric_depth()

    def _aim(self, T_world_camera: NDArray[np.float64]) -> None:
        """Set the frustum whose image is the pinhole camera's."""
        c = self.camera
        left, right = -c.cx / c.fx * NEAR, (c.width - c.cx) / c.fx * NEAR
        top, bottom = c.cy / c.fy * NEAR, (c.cy - c.height) / c.fy * NEAR
        for eye in self._scene.camera:
            eye.pos[:] = T_world_camera[:3, 3]
            eye.forward[:] = T_world_camera[:3, 2]
            eye.up[:] = -T_world_camera[:3, 1]
            eye.frustum_center = (left + right) / 2.0
            eye.frustum_width = (right - left) / 2.0
            eye.frustum_bottom, eye.frustum_top = bottom, top
            eye.frustum_near, eye.frustum_far = NEAR, self._far

    def _metric_depth(self) -> NDArray[np.float32]:  # (H, W)
        """z-depth from the depth buffer.

        The buffer holds b = near (far - z) / (z (far - near)): affine in 1/z, and so affine over
        the image of a plane.
        """
        flipped = self._depth[::-1]
        a, b = flipped[::2, ::2], flipped[::2, 1::2]
        c, d = flipped[1::2, ::2], flipped[1::2, 1::2]
        nearest = np.maximum(np.maximum(a, b), np.maximum(c, d))
        farthest = np.minimum(np.minimum(a, b), np.minimum(c, d))
        planar = (np.abs(a + d - b - c) <= _PLANAR_BEND * nearest) & (
            nearest - farthest <= _PLANAR_SPAN * nearest
        )
        # Across an edge: the second nearest sample, so that what covers half a pixel has it, on
        # whichever side it lies.
        second = np.maximum(
            np.minimum(np.maximum(a, b), np.maximum(c, d)),
            np.maximum(np.minimum(a, b), np.minimum(c, d)),
        )
        value = np.where(planar, 0.25 * (a + b + c + d), second)
        near, far = np.float32(NEAR), np.float32(self._far)
        depth = near * far / (near + value * (far - near))
        depth[depth > self._max_range] = 0.0
        return np.ascontiguousarray(depth, dtype=np.float32)

    def close(self) -> None:
        """Free the OpenGL context; the renderer cannot be used afterwards."""
        self._context.free()
        self._gl.free()
