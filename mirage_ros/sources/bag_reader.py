"""Messages of a rosbag2 recording, by way of the ``rosbags`` library: no ROS is needed."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirage_ros.errors import ConfigurationError, MirageError, SequenceError
from mirage_ros.geometry.interpolation import NANOSECONDS

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

#: What a bag is, for error messages.
EXPECTED = "a rosbag2 recording (a directory with metadata.yaml, or a .db3 or .mcap file)"

#: Suffixes of single storage files.
STORAGE_SUFFIXES = (".db3", ".mcap")


def is_bag(path: Path) -> bool:
    """Whether a path looks like a rosbag2 recording; nothing is opened."""
    return (path / "metadata.yaml").is_file() or (
        path.suffix in STORAGE_SUFFIXES and path.is_file()
    )


def stamp_ns_of(message: Any) -> int:
    """Nanoseconds of a message's header stamp."""
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


class BagReader:
    """An open bag. Messages have the fields that ROS gives them; arrays are read-only numpy.

    A message is found again by the time at which it was recorded. With sqlite3 that is a look-up in
    the file's index of time. An MCAP file is read by whole chunks (1 MiB or so, decompressed where
    need be); one without chunks or summary has to be read from its beginning for every message. A
    bag that was compressed as a file is decompressed as a whole into the directory for temporary
    files when it is opened.

    Args:
        path: the bag's directory, or one storage file.

    Attributes:
        path: the bag.
        types: message type of every topic, ``sensor_msgs/msg/Image`` for instance.
        counts: number of messages of every topic.

    Raises:
        SequenceError: not a bag, or a damaged one.
        ConfigurationError: the package ``rosbags`` is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import Reader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise ConfigurationError(
                "reading bags needs the Python package rosbags. Got none installed"
            ) from error
        self.path = path
        if not is_bag(path):
            raise SequenceError(f"{path}: expected {EXPECTED}. Got {_kind(path)}")
        # Only standard messages are read, whose definitions are the same in all of ROS 2: a bag may
        # hold others that cannot be understood here, or no definitions at all.
        self._store = get_typestore(Stores.LATEST)
        self._lock = threading.Lock()
        self._resources = ExitStack()
        with self._explained():
            self._reader = Reader(path)
            self._resources.enter_context(self._reader)
            self._connections: dict[str, list[Connection]] = {}
            for connection in self._reader.connections:
                self._connections.setdefault(connection.topic, []).append(connection)
        self.types = {
            topic: " or ".join(sorted({connection.msgtype for connection in connections}))
            for topic, connections in sorted(self._connections.items())
        }
        self.counts = {
            topic: sum(connection.msgcount for connection in connections)
            for topic, connections in self._connections.items()
        }

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) of some topics, in order of recording.

        Not to be used while another thread reads the bag.

        Raises:
            SequenceError: the bag is damaged.
        """
        with self._explained():
            yield from self._read(topics)

    def first(self, topic: str) -> Any | None:
        """The first message of a topic, None where it has none.

        Raises:
            SequenceError: the bag is damaged.
        """
        with self._lock, self._explained():
            return next((message for _, _, message in self._read([topic])), None)

    def message(self, topic: str, recorded_ns: int, stamp_ns: int) -> Any:
        """The message of a topic that was recorded at a time and has a header stamp.

        Safe to call from several threads.

        Raises:
            SequenceError: the bag is damaged.
        """
        with self._lock, self._explained():
            for _, _, message in self._read([topic], recorded_ns, recorded_ns + 1):
                if stamp_ns_of(message) == stamp_ns:
                    return message
        raise SequenceError(
            f"{self.path}: expected the message of {topic} with stamp {stamp_ns} ns again. Got none"
        )

    def close(self) -> None:
        """Close the bag's files; nothing can be read afterwards."""
        with self._lock:
            self._resources.close()

    def _read(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        connections = [each for topic in topics for each in self._connections[topic]]
        if not connections:
            return
        for connection, recorded_ns, data in self._reader.messages(connections, start_ns, stop_ns):
            # A view: slices of bytes would copy whole images.
            message = self._store.deserialize_cdr(memoryview(data), connection.msgtype)
            yield connection.topic, recorded_ns, message

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell errors as ours: on a damaged file the libraries below raise almost anything."""
        try:
            yield
        except MirageError:
            raise
        except Exception as error:
            raise SequenceError(
                f"{self.path}: expected {EXPECTED} that is whole. "
                f"Got {type(error).__name__}: {error}"
            ) from error


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a directory without metadata.yaml (a storage file in it can be given itself)"
    if not path.exists():
        return "no such file or directory"
    return "a bag of ROS 1" if path.suffix == ".bag" else "another kind of file"
