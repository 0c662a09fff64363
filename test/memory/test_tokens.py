from dataclasses import replace

import pytest
import torch

from mirage_ros.errors import MemoryFormatError
from mirage_ros.memory.tokens import OBSERVED, TokenBuffer, TokenCloud


def make(count: int, channels: int = 4, start: int = 0) -> TokenCloud:
    number = torch.arange(start, start + count)
    return TokenCloud(
        position=number[:, None].float().repeat(1, 3),
        features=number[:, None].half().repeat(1, channels),
        footprint=torch.full((count,), 0.01),
        view=torch.tensor([[0.0, 0.0, 1.0]]).repeat(count, 1),
        normal=torch.tensor([[0, 0, -127]], dtype=torch.int8).repeat(count, 1),
        stamp_ns=number,
        provenance=torch.full((count,), OBSERVED, dtype=torch.uint8),
        confidence=torch.ones(count),
        keyframe=number.int(),
    )


def test_bytes_are_those_of_all_fields() -> None:
    position, features, footprint, view, normal = 3 * 4, 48 * 2, 4, 3 * 4, 3
    stamp, provenance, confidence, keyframe = 8, 1, 4, 4
    seen = footprint + view + normal + stamp
    token = position + features + seen + provenance + confidence + keyframe
    assert make(10, channels=48).nbytes == 10 * token


def test_concatenate_and_select() -> None:
    both = TokenCloud.concatenate([make(3), make(2, start=3)])
    both.validate()
    assert both.stamp_ns.tolist() == [0, 1, 2, 3, 4]
    assert both.select(torch.tensor([4, 1])).keyframe.tolist() == [4, 1]
    assert both.select(both.stamp_ns > 2).features[:, 0].tolist() == [3.0, 4.0]
    with pytest.raises(MemoryFormatError, match="channels"):
        TokenCloud.concatenate([make(1), make(1, channels=5)])
    with pytest.raises(MemoryFormatError, match="at least one"):
        TokenCloud.concatenate([])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position", torch.zeros(3, 2)),
        ("position", torch.full((3, 3), float("nan"))),
        ("position", torch.zeros(3, 3, dtype=torch.float64)),
        ("features", torch.zeros(3).half()),
        ("features", torch.full((3, 4), float("inf")).half()),
        ("footprint", torch.zeros(3)),
        ("view", torch.zeros(2, 3)),
        ("stamp_ns", torch.zeros(3, dtype=torch.int32)),
        ("confidence", torch.full((3,), float("nan"))),
    ],
)
def test_malformed_fields_are_named(field: str, value: torch.Tensor) -> None:
    with pytest.raises(MemoryFormatError, match=f"token {field}.*Got"):
        replace(make(3), **{field: value}).validate()


def test_buffer_holds_what_was_appended() -> None:
    buffer = TokenBuffer(4)
    assert len(buffer.tokens) == 0
    sizes = [1, 5, 0, 40, 7]
    for size in sizes:
        buffer.append(make(size, start=buffer.count))
    assert buffer.count == sum(sizes)
    assert buffer.tokens.stamp_ns.tolist() == list(range(sum(sizes)))
    buffer.tokens.validate()
    buffer.clear()
    assert buffer.count == 0
    assert buffer.tokens.nbytes == 0


def test_appending_seldom_moves_the_storage() -> None:
    buffer = TokenBuffer(4)
    addresses = set()
    for _ in range(256):
        buffer.append(make(4))
        addresses.add(buffer.tokens.features.data_ptr())
    assert len(addresses) <= 10


def test_buffer_refuses_other_channels() -> None:
    buffer = TokenBuffer(4)
    with pytest.raises(MemoryFormatError, match="4 channels"):
        buffer.append(make(1, channels=5))
    assert buffer.count == 0
