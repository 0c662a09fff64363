"""MuJoCo, imported so that it renders without a display; import it from here, never directly.

MuJoCo chooses its way to OpenGL when it is first imported, and by default wants a display. Of the
ways without one, EGL comes first, because it can use a GPU; OSMesa draws on the CPU.
"""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library

if "MUJOCO_GL" not in os.environ and sys.platform.startswith("linux"):
    if find_library("EGL") is not None:
        os.environ["MUJOCO_GL"] = "egl"
    elif find_library("OSMesa") is not None:
        os.environ["MUJOCO_GL"] = "osmesa"
    else:
        # Importing with a missing library fails; physics needs none.
        os.environ["MUJOCO_GL"] = "disabled"

import mujoco

#: Whether anything can be rendered.
CAN_RENDER = hasattr(mujoco, "GLContext")

__all__ = ["CAN_RENDER", "mujoco"]
