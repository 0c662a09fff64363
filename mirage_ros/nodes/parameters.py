"""Parameters as a table: each with its default, meaning, range or choices, and when it may change.

A value that breaks its range or choices never keeps a node from starting: an override from the
command line or a file is set aside with the reason, and configuration is refused with it; a value
set at run time is rejected with the reason in the answer.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from mirage_ros.errors import ConfigurationError

ParameterValue = bool | int | float | str | list[Any]

_ARRAYS = {
    float: Parameter.Type.DOUBLE_ARRAY,
    int: Parameter.Type.INTEGER_ARRAY,
    str: Parameter.Type.STRING_ARRAY,
}


@dataclass(frozen=True)
class Spec:
    """One parameter.

    Attributes:
        name: as declared.
        default: its type is the parameter's type.
        description: meaning and unit, one sentence.
        minimum: smallest value allowed (numbers).
        maximum: largest value allowed (numbers).
        choices: the only values allowed (strings).
        dynamic: may change while the node is configured; others take effect at configuration.
        check: further check; returns what is wrong, or an empty string.
        element: type of a list's elements.
    """

    name: str
    default: ParameterValue
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False
    check: Callable[[Any], str] | None = field(default=None, compare=False)
    element: type = float

    def problem(self, value: Any) -> str:
        """What is wrong with ``value``, or an empty string."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}. Got '{value}'"
        below = self.minimum is not None and not value >= self.minimum
        above = self.maximum is not None and not value <= self.maximum
        if below or above:
            return f"{self.name} must lie in [{self.minimum}, {self.maximum}]. Got {value}"
        return self.check(value) if self.check is not None else ""

    def descriptor(self) -> ParameterDescriptor:
        """Description and range for introspection (``ros2 param describe``)."""
        description = self.description
        if self.choices:
            description += f" One of: {', '.join(self.choices)}."
        result = ParameterDescriptor(description=description)
        if self.minimum is None or self.maximum is None:
            return result
        if isinstance(self.default, float):
            bounds = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
            result.floating_point_range = [bounds]
        else:
            whole = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
            result.integer_range = [whole]
        return result


class ParameterTable:
    """Declares a table of parameters on a node and guards their values.

    Args:
        node: the node to declare on.
        specs: the table.
        problem_together: what is wrong with values that are each allowed, given a way to ask for
            a value by name.
        is_configured: whether only dynamic parameters may change now.
        on_change: called after dynamic parameters were accepted.
    """

    def __init__(
        self,
        node: Node,
        specs: Sequence[Spec],
        *,
        problem_together: Callable[[Callable[[str], Any]], str] = lambda values: "",
        is_configured: Callable[[], bool] = lambda: False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._specs = {spec.name: spec for spec in specs}
        self._problem_together = problem_together
        self._is_configured = is_configured
        self._rejected: dict[str, str] = {}
        for spec in specs:
            self._declare(spec)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(lambda _: on_change())

    def __getitem__(self, name: str) -> Any:
        """Current value; arrays come as lists."""
        try:
            value = self._node.get_parameter(name).value
        except ParameterUninitializedException:
            return self._specs[name].default
        return list(value) if isinstance(value, array.array) else value

    def require_valid(self) -> None:
        """Check the table before use.

        Raises:
            ConfigurationError: overrides given at start were refused and not corrected since.
        """
        if self._rejected:
            raise ConfigurationError("; ".join(self._rejected.values()))
        problem = self._problem_together(self.__getitem__)
        if problem:
            raise ConfigurationError(problem)

    def _declare(self, spec: Spec) -> None:
        # rclpy takes an empty list for an array of bytes, so arrays are declared by type; one that
        # nobody sets stays "not set", which __getitem__ reads as empty.
        value = _ARRAYS[spec.element] if isinstance(spec.default, list) else spec.default
        try:
            self._node.declare_parameter(spec.name, value, spec.descriptor())
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            self._node.declare_parameter(spec.name, value, spec.descriptor(), ignore_override=True)
            # Of a value out of range rclpy does not say which range.
            allowed = "" if spec.minimum is None else f" Allowed: {spec.minimum} to {spec.maximum}"
            self._rejected[spec.name] = f"{spec.name}: {error}{allowed}"
            return
        problem = spec.problem(self[spec.name])
        if problem:
            self._rejected[spec.name] = problem

    def _validate(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None:
                continue
            problem = spec.problem(parameter.value)
            if not problem and self._is_configured() and not spec.dynamic:
                problem = (
                    f"{spec.name} takes effect at configuration: clean up the node first "
                    f"(lifecycle transition 'cleanup'), then set it"
                )
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        wanted = {parameter.name: parameter.value for parameter in parameters}
        problem = self._problem_together(
            lambda name: wanted[name] if name in wanted else self[name]
        )
        if problem and self._is_configured():
            # Before configuration values come one by one, and are checked together then.
            return SetParametersResult(successful=False, reason=problem)
        for parameter in parameters:
            self._rejected.pop(parameter.name, None)
        return SetParametersResult(successful=True)
