"""Pictures as a video file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], rate_hz: float) -> None:
    """Write RGB frames of one size as H.264, which any browser plays."""
    with av.open(str(path), mode="w") as container:
        stream = None
        for frame in frames:
            # The pixel format halves colour in both directions, so sizes must be even.
            even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            if stream is None:
                rate = Fraction(rate_hz).limit_denominator(1000)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode(None))
