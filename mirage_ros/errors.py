"""Exceptions that mirage_ros raises on bad input; every message says what was got and expected."""


class MirageError(ValueError):
    """Base of all errors that bad input to this package causes."""


class CameraError(MirageError):
    """A camera model, its intrinsics or its distortion cannot be used."""


class PoseError(MirageError):
    """A pose is not a rigid transform (NaN, non-unit quaternion, not a rotation)."""


class InterpolationError(MirageError):
    """No pose can be given for the stamp asked for."""


class FrameError(MirageError):
    """An image or depth map has a shape, type or content that cannot be used."""


class CodecError(MirageError):
    """Pixels or latents do not fit the codec."""


class MemoryFormatError(MirageError):
    """Tokens do not fit the memory (channels, shapes, non-finite values)."""


class ConfigurationError(MirageError):
    """A configured value is not allowed; the message names the allowed ones."""


class SequenceError(MirageError):
    """A recorded sequence on disk is missing, incomplete or malformed."""


class ResultFormatError(MirageError):
    """Results of a measurement, or their file, do not follow the schema."""


class UnavailableError(MirageError):
    """An optional package or its weights are not at hand; the message says what is missing."""


class TrainingDataError(MirageError):
    """Samples to train on are missing, damaged, not finite, or made otherwise than expected."""


class GenerationError(MirageError):
    """A model was given, or made, what it cannot: shapes, counts, numbers that are not finite."""


class CheckpointError(MirageError):
    """A model's files hold other tensors than the model has: names, shapes, types or values."""
