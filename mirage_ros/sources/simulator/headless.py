"""MuJoCo, imported so that it renders without a display; import it from here.

MuJoCo chooses its way to OpenGL by the environment when it is first imported, and by default wants
a display. Of the ways without one, EGL comes first, because it can use a GPU; OSMesa draws on the
CPU. The environment variable ``MUJOCO_GL``, where set, decides.
"""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from typing import Any

if "MUJOCO_GL" not in os.environ and sys.platform.startswith("linux"):
    if find_library("EGL") is not None:
        os.environ["MUJOCO_GL"] = "egl"
    elif find_library("OSMesa") is not None:
        os.environ["MUJOCO_GL"] = "osmesa"
    else:
        # Importing with a missing library fails; physics needs none.
        os.environ["MUJOCO_GL"] = "disabled"

import mujoco


def _context_class() -> Any:
    """MuJoCo's own choice, unless it was imported elsewhere before the choice was made here."""
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen == "egl":
        from mujoco.egl import GLContext

        return GLContext
    if chosen == "osmesa":
        from mujoco.osmesa import GLContext

        return GLContext
    if chosen in ("disable", "disabled", "off", "false", "0"):
        return None
    return getattr(mujoco, "GLContext", None)


#: Class of an offscreen OpenGL context, made from (width, height); None: nothing can be rendered.
OffscreenContext = _context_class()

__all__ = ["OffscreenContext", "mujoco"]
