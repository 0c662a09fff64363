"""What recorded and simulated sequences of RGB-D frames have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera

_Source = TypeVar("_Source", bound="FrameSource")


class FrameSource(ABC):
    """Frames by position, made when asked for. Close it, or use it as a context, when done."""

    @property
    @abstractmethod
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) times of exposure, nanoseconds, ascending."""

    @property
    @abstractmethod
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image, corner convention."""

    @property
    @abstractmethod
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) the source's own frame numbers, which may have gaps."""

    @property
    @abstractmethod
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera of every frame, optical convention; nothing is decoded."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end."""

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self[index] for index in range(len(self)))

    @property
    def rate_hz(self) -> float:
        """Median frame rate; 0 for a single frame."""
        if len(self) < 2:
            return 0.0
        return float(1e9 / np.median(np.diff(self.stamps_ns)))

    def close(self) -> None:
        """Free what is held open; no frame can be had afterwards."""
        return

    def __enter__(self: _Source) -> _Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
