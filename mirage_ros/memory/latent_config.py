"""How a latent memory stores and reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from mirage_ros.errors import ConfigurationError
from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.bounds import BoundsConfig
from mirage_ros.memory.carving import CarvingConfig
from mirage_ros.memory.readout_config import ReadoutConfig

#: Shifts of the cell grid to the right and down, in half cells, by the number of grids.
GRID_SHIFTS = {
    1: ((0, 0),),
    2: ((0, 0), (1, 1)),
    4: ((0, 0), (1, 1), (1, 0), (0, 1)),
}


@dataclass(frozen=True)
class LatentMemoryConfig:
    """How a :class:`mirage_ros.memory.LatentMemory` stores and reads.

    Attributes:
        cell_depth: how depth is brought to the latent grid.
        readout: weights and limits of the readout.
        bounds: when a view is news, and how much is kept.
        features: how latents are stored, one of :data:`mirage_ros.memory.features.FORMATS`.
        grids: cell grids a frame is encoded on: 1, or 2 (another one, half a cell to the right and
            down), or 4 (also half a cell to the right, and down). More grids find a token closer to
            a target cell's centre, at up to so many times the tokens and the encoding.
        carving: when a view sees through a token.

    Raises:
        ConfigurationError: ``grids`` is none of these.
    """

    cell_depth: CellDepthConfig = field(default_factory=CellDepthConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    bounds: BoundsConfig = field(default_factory=BoundsConfig)
    features: str = "compact"
    grids: int = 1
    carving: CarvingConfig = field(default_factory=CarvingConfig)

    def __post_init__(self) -> None:
        if self.grids not in GRID_SHIFTS:
            raise ConfigurationError(
                f"grids must be one of {sorted(GRID_SHIFTS)}. Got {self.grids}"
            )
