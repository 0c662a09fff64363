import pytest
import torch

from mirage_ros.generation.fill import (
    distance_to_known,
    fade_with_distance,
    fill_holes,
    neighbour_correlation,
)


def random_case(
    frames: int, channels: int, height: int, width: int, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(frames, channels, height, width, generator=generator)
    known = torch.rand(frames, height, width, generator=generator) < share
    return torch.where(known[:, None], values, 0.0), known


def ramp(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (0.5 * x - 2.0 * y + 3.0).to(torch.float32)


def dense_reference(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The same equation, cell by cell, as one dense system per frame."""
    frames, channels, height, width = values.shape
    result = values.to(torch.float64).clone()
    for t in range(frames):
        if not known[t].any():
            result[t] = 0.0
            continue
        matrix = torch.zeros(height * width, height * width, dtype=torch.float64)
        right = torch.zeros(height * width, channels, dtype=torch.float64)
        for y in range(height):
            for x in range(width):
                cell = y * width + x
                if known[t, y, x]:
                    matrix[cell, cell] = 1.0
                    right[cell] = values[t, :, y, x].to(torch.float64)
                    continue
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    if 0 <= v < height and 0 <= u < width:
                        matrix[cell, cell] += 1.0
                        matrix[cell, v * width + u] -= 1.0
        result[t] = torch.linalg.solve(matrix, right).T.reshape(channels, height, width)
    return result


@pytest.mark.parametrize("size", [(7, 11), (11, 7), (1, 6), (6, 1), (5, 5)])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_agrees_with_the_dense_system(size: tuple[int, int], share: float) -> None:
    values, known = random_case(4, 3, *size, share)
    expected = dense_reference(values, known)
    torch.testing.assert_close(fill_holes(values, known), expected.float(), rtol=1e-6, atol=1e-6)


def test_ramp_with_a_hole_is_recovered() -> None:
    plane = ramp(12, 15)
    known = torch.ones(1, 12, 15, dtype=torch.bool)
    known[0, 3:10, 4:13] = False
    filled = fill_holes(torch.where(known, plane, 0.0)[:, None], known)
    torch.testing.assert_close(filled[0, 0], plane, rtol=1e-6, atol=1e-6)


def test_saddle_with_a_ragged_hole_is_recovered() -> None:
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    saddle = (x - 9) ** 2 - (y - 7) ** 2  # solves the discrete equation exactly
    known = torch.rand(1, 16, 20, generator=torch.Generator().manual_seed(1)) < 0.3
    known[:, [0, -1], :] = True
    known[:, :, [0, -1]] = True
    filled = fill_holes(torch.where(known, saddle, 0.0)[:, None], known)
    torch.testing.assert_close(filled[0, 0], saddle, rtol=1e-5, atol=1e-5)


def test_known_cells_are_bit_identical() -> None:
    values, known = random_case(3, 5, 16, 20, 0.4)
    filled = fill_holes(values, known)
    at = known[:, None].expand_as(values)
    assert torch.equal(filled[at].view(torch.int32), values[at].view(torch.int32))
    assert filled.dtype == values.dtype
    assert filled.is_contiguous()


def test_constants_are_preserved() -> None:
    _, known = random_case(6, 1, 9, 13, 0.03)
    known[0, 0, 0] = True
    constant = torch.tensor([0.3, -7.25])[:, None, None]
    values = torch.where(known[:, None], constant, 0.0)
    filled = fill_holes(values, known)
    for t in range(6):
        expected = constant.expand(2, 9, 13) if known[t].any() else torch.zeros(2, 9, 13)
        torch.testing.assert_close(filled[t], expected, rtol=1e-6, atol=0.0)


def test_fill_stays_between_the_known_extremes() -> None:
    values, known = random_case(5, 4, 16, 20, 0.1)
    filled = fill_holes(values, known)
    for t in range(5):
        for c in range(4):
            seen = values[t, c][known[t]]
            assert filled[t, c].min() == seen.min()
            assert filled[t, c].max() == seen.max()


def test_frames_do_not_mix_and_an_unknown_frame_is_zero() -> None:
    values, known = random_case(3, 2, 8, 8, 0.5)
    known[1] = False
    values[1] = 9.0  # what stands in unknown cells must not matter
    filled = fill_holes(values, known)
    assert not filled[1].any()
    for t in (0, 2):
        alone = fill_holes(values[t : t + 1], known[t : t + 1])
        torch.testing.assert_close(filled[t : t + 1], alone, rtol=1e-6, atol=1e-6)


def test_nan_in_unknown_cells_does_not_spread() -> None:
    values, known = random_case(1, 2, 8, 8, 0.5)
    expected = fill_holes(values, known)
    poisoned = torch.where(known[:, None], values, torch.nan)
    assert torch.equal(fill_holes(poisoned, known), expected)


def test_no_hole_is_a_copy() -> None:
    values, known = random_case(2, 3, 4, 6, 2.0)
    filled = fill_holes(values, known)
    assert torch.equal(filled, values)
    assert filled.data_ptr() != values.data_ptr()


def test_the_same_bits_twice() -> None:
    values, known = random_case(9, 48, 16, 20, 0.6)
    assert torch.equal(fill_holes(values, known), fill_holes(values, known))


def test_distance_counts_steps_to_the_nearest_known_cell() -> None:
    known = torch.zeros(2, 4, 6, dtype=torch.bool)
    known[:, 1, 0] = True
    known[1, 3, 5] = True
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    first = torch.maximum((rows - 1).abs(), columns)
    second = torch.maximum((rows - 3).abs(), (columns - 5).abs())
    expected = torch.stack([first, torch.minimum(first, second)])
    assert torch.equal(distance_to_known(known), expected)


def test_smooth_channels_go_on_and_texture_fades_to_the_mean() -> None:
    generator = torch.Generator().manual_seed(4)
    ramp = torch.linspace(0.0, 1.0, 24)[None, :].repeat(16, 1)
    noise = torch.randn(16, 24, generator=generator)
    constant = torch.full((16, 24), 0.7)
    known = torch.ones(1, 16, 24, dtype=torch.bool)
    known[0, :, 14:] = False
    values = torch.stack([ramp, noise, constant])[None] * known[:, None]
    filled = fill_holes(values, known)
    faded = fade_with_distance(filled, known)
    assert torch.equal(faded[:, :, :, :14], values[:, :, :, :14])
    torch.testing.assert_close(faded[0, 2, :, 14:], constant[:, 14:])
    # The ramp's rim is carried on nearly whole, the noise is gone a cell or two into the hole.
    mean = ramp[:, :14].mean()
    carried = (faded[0, 0, :, 20] - mean) / (filled[0, 0, :, 20] - mean)
    assert (carried > 0.85).all()
    assert faded[0, 1, :, 16].std() < 0.1 * filled[0, 1, :, 16].std()


def test_correlation_between_neighbours() -> None:
    stripes = torch.tensor([1.0, -1.0] * 6)[None, :].repeat(8, 1)
    blocks = torch.repeat_interleave(torch.tensor([1.0, -1.0]), 6)[None, :].repeat(8, 1)
    values = torch.stack([stripes, blocks])[None]
    known = torch.ones(1, 8, 12, dtype=torch.bool)
    correlation = neighbour_correlation(values, known)
    # Pairs: 88 side by side, all opposite in the stripes and 80 alike in the blocks; 84 above each
    # other, all alike.
    assert correlation[0] == pytest.approx(max(0.0, (84 - 88) / 172))
    assert correlation[1] == pytest.approx((84 + 80 - 8) / 172)
    assert neighbour_correlation(values, torch.zeros_like(known)).tolist() == [1.0, 1.0]
