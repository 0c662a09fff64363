"""How the nodes of this package run as processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from mirage_ros.errors import MirageError


def run_node(create: Callable[[], Node], args: list[str] | None) -> None:
    """Spin a node until it is shut down; a node that refuses its parameters ends with exit code 2.

    Args:
        create: makes the node; rclpy is initialised by then.
        args: of the command line.
    """
    # Worker threads hold the interpreter for long stretches; the default of 5 ms would be the least
    # that a callback waits for it.
    sys.setswitchinterval(5e-4)
    rclpy.init(args=args)
    executor = SingleThreadedExecutor()
    node: Node | None = None
    try:
        node = create()
        executor.add_node(node)
        executor.spin()
    except MirageError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal shuts the context down at once; whatever rclpy was about then fails, with an
        # RCLError (a RuntimeError) or one of its bindings.
        if rclpy.ok():
            raise
    finally:
        # Launch and terminal may both interrupt; a second one must not cut the tear-down short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
