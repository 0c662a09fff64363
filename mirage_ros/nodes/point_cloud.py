"""The latent cloud as PointCloud2, for RViz and, with its features, for programs."""

from __future__ import annotations

import array
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

if TYPE_CHECKING:
    from mirage_ros.memory import MemoryCloud

#: One token: colour packed the way RViz reads it, age in seconds, observed 1 or imagined 0. The
#: padding keeps every point, and so every float, aligned to 4 bytes.
TOKEN_DTYPE = np.dtype(
    {
        "names": ["x", "y", "z", "rgb", "confidence", "age", "observed"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<f4", "<f4", "u1"],
        "offsets": [0, 4, 8, 12, 16, 20, 24],
        "itemsize": 28,
    }
)
_DATATYPES = {np.dtype("<f4"): PointField.FLOAT32, np.dtype("u1"): PointField.UINT8}


def pack_rgb(colours: NDArray[np.uint8]) -> NDArray[np.float32]:  # (N, 3) -> (N,)
    """Colours in the bits of a float, 0x00RRGGBB: the layout that RViz and PCL read."""
    wide = colours.astype(np.uint32)
    packed = (wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2]
    return np.asarray(packed, dtype=np.uint32).view(np.float32)


def thinned(snapshot: MemoryCloud, limit: int) -> MemoryCloud:
    """At most ``limit`` of the elements, evenly spread over their order, in that order."""
    count = len(snapshot.positions)
    if count <= limit:
        return snapshot
    kept = np.arange(limit) * count // limit
    parts = {
        field.name: values[kept]
        for field in dataclasses.fields(snapshot)
        if (values := getattr(snapshot, field.name)) is not None
    }
    return dataclasses.replace(snapshot, **parts)


def token_cloud(snapshot: MemoryCloud, header: Header, now_ns: int) -> PointCloud2:
    """X y z rgb confidence age observed, one point a token."""
    points = np.zeros(len(snapshot.positions), dtype=TOKEN_DTYPE)
    for axis, name in enumerate("xyz"):
        points[name] = snapshot.positions[:, axis]
    points["rgb"] = pack_rgb(snapshot.colours)
    points["confidence"] = snapshot.confidence
    points["age"] = (now_ns - snapshot.stamps_ns) * 1e-9
    points["observed"] = snapshot.observed
    fields = [
        PointField(name=name, offset=int(offset), datatype=_DATATYPES[dtype.base], count=1)
        for name, (dtype, offset) in _fields(TOKEN_DTYPE)
    ]
    return _cloud(points, fields, TOKEN_DTYPE.itemsize, header)


def feature_cloud(snapshot: MemoryCloud, header: Header) -> PointCloud2:
    """X y z and the field ``latent`` of C floats, one point a token.

    Raises:
        ValueError: the snapshot was taken without features.
    """
    if snapshot.features is None:
        raise ValueError("a feature cloud needs a snapshot with features. Got one without")
    channels = snapshot.features.shape[1]
    points = np.hstack([snapshot.positions, snapshot.features]).astype("<f4")
    fields = [
        PointField(name=name, offset=4 * axis, datatype=PointField.FLOAT32, count=1)
        for axis, name in enumerate("xyz")
    ]
    fields.append(PointField(name="latent", offset=12, datatype=PointField.FLOAT32, count=channels))
    return _cloud(points, fields, 4 * (3 + channels), header)


def _fields(dtype: np.dtype[Any]) -> list[tuple[str, tuple[np.dtype[Any], int]]]:
    assert dtype.fields is not None
    return [(name, (entry[0], entry[1])) for name, entry in dtype.fields.items()]


def _cloud(
    points: NDArray[Any], fields: list[PointField], point_step: int, header: Header
) -> PointCloud2:
    msg = PointCloud2()
    msg.header = header
    msg.height, msg.width = 1, len(points)
    msg.fields = fields
    msg.is_bigendian = False
    msg.point_step = point_step
    msg.row_step = point_step * len(points)
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(points).tobytes())
    msg.data = data
    msg.is_dense = True
    return msg
