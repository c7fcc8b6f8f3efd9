"""The searches on the disk, so that a matcher that starts again reads the rest of their topic only.

A snapshot is a shortcut and never the truth: one that is damaged, old, of another version or of another topic is
ignored, and everything is read from Kafka. It is written beside the one before and then renamed.
"""

import datetime as dt
import gc
import hashlib
import io
import os
import pickle
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, Final

import orjson

from common.rules import RULES, Rule
from matcher.table import Table
from matcher.verdicts import BOUNDED, Bounds

FORMAT: Final = b"itarent searches 1\n"

OURS: Final = ("common", "matcher")

OLDEST: Final = dt.timedelta(days=7)
"""An older one is ignored: Kafka may have forgotten by then that a search was deleted (its topic's compaction lag)."""

_LENGTH_BYTES: Final = 8
_DIGEST_BYTES: Final = 32


class UnusableError(Exception):
    """The snapshot cannot be used; the message says why."""


@dataclass(frozen=True)
class Mark:
    """How far one partition was read: the offset of the next record, and the time of the last one, which proves it."""

    offset: int
    timestamp_ms: int


@dataclass(frozen=True)
class Of:
    """What a snapshot is of; another matcher's is of no use."""

    topic: str
    shard: str


@dataclass(frozen=True)
class Snapshot:
    table: Table
    marks: tuple[Mark, ...]
    """By partition."""


@dataclass(frozen=True)
class Snapshots:
    """Where the snapshots of one matcher are kept: each replaces the one before."""

    path: Path
    of: Of
    clock: Callable[[], dt.datetime]

    def written(self, snapshot: Snapshot) -> "Written":
        """A snapshot as bytes: it does not change any more when the table does."""
        return _written(snapshot, self.of, self.clock())

    def load(self) -> Snapshot | None:
        """The latest one; None if there is none.

        Raises:
            UnusableError: it is of no use here.
        """
        return _load(self.path, self.of, self.clock())


def _written(snapshot: Snapshot, of: Of, now: dt.datetime) -> "Written":
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(snapshot.table)
    parts = [stream.getvalue(), *(bytes(buffer.raw()) for buffer in buffers)]
    head = {
        **asdict(of),
        "version": _version(),
        "taken_at": now,
        "marks": [asdict(mark) for mark in snapshot.marks],
        "lengths": [len(part) for part in parts],
    }
    return Written(orjson.dumps(head), parts)


@dataclass(frozen=True)
class Written:
    head: bytes
    parts: Sequence[bytes]

    def save(self, path: Path) -> None:
        """Replace the snapshot at a path, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        with beside.open("wb") as file:
            for part in (FORMAT, len(self.head).to_bytes(_LENGTH_BYTES, "big"), self.head, self._digest(), *self.parts):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def _digest(self) -> bytes:
        return _digest(self.head, self.parts)


def _load(path: Path, of: Of, now: dt.datetime) -> Snapshot | None:
    try:
        with path.open("rb") as file:
            head, parts = _read(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableError("it is damaged") from error
    if head["version"] != _version():
        raise UnusableError("it was written by another version")
    if Of(head["topic"], head["shard"]) != of:
        raise UnusableError(f"it is of {head['topic']}, shard {head['shard']}")
    if now - dt.datetime.fromisoformat(head["taken_at"]) > OLDEST:
        raise UnusableError(f"it is older than {OLDEST.days} days")
    return Snapshot(_unpickled(parts), tuple(Mark(**mark) for mark in head["marks"]))


def _read(file: IO[bytes]) -> tuple[dict[str, Any], list[bytearray]]:
    if file.read(len(FORMAT)) != FORMAT:
        raise UnusableError("it is no snapshot of this format")
    raw_head = file.read(int.from_bytes(file.read(_LENGTH_BYTES), "big"))
    digest = file.read(_DIGEST_BYTES)
    head: dict[str, Any] = orjson.loads(raw_head)
    parts = [bytearray(file.read(length)) for length in head["lengths"]]
    if _digest(raw_head, parts) != digest:
        raise UnusableError("its checksum is wrong")
    return head, parts


def _digest(head: bytes, parts: Sequence[bytes | bytearray]) -> bytes:
    digest = hashlib.blake2b(head, digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _unpickled(parts: Sequence[bytearray]) -> Table:
    """The digest has shown that the bytes are those that a matcher has written; other classes are refused even so."""
    gc.disable()  # nothing of it is garbage, and looking for some takes as long as the rest
    try:
        table = _Unpickler(io.BytesIO(parts[0]), buffers=parts[1:]).load()
    except Exception as error:  # whatever a changed class makes of it
        raise UnusableError(f"it cannot be read: {type(error).__name__}") from error
    finally:
        gc.enable()
    assert isinstance(table, Table)
    return table


@cache
def _version() -> str:
    """Of everything that has a say in what a pickled table is: our own code, and that of others in it."""
    digest = hashlib.blake2b(digest_size=16)
    for package in OURS:
        for source in sorted(_sources(package)):
            digest.update(source)
    others = [f"{name} {version(name)}" for name in ("numpy", "pydantic", "shapely")]
    return f"{digest.hexdigest()}, Python {platform.python_version()}, {', '.join(others)}"


def _sources(package: str) -> Iterator[bytes]:
    return (file.read_bytes() for file in files(package).iterdir() if file.name.endswith(".py"))


def _members(of: type[Enum]) -> Iterator[Enum]:
    """Those of every enumeration of ours. Some Pythons 3.11 pickle a member as a call of `getattr`."""
    for each in of.__subclasses__():
        if each.__module__.partition(".")[0] in OURS:
            yield from each
        yield from _members(each)


_NAMED: Final[dict[str, Rule[Any, Any] | Bounds | Enum]] = {
    **{f"{type(each).__module__}.{type(each).__qualname__}.{each.name}": each for each in _members(Enum)},
    **{rule.criterion.value: rule for rule in RULES},
    **{f"bounds of {criterion}": bounds for criterion, (bounds, _) in BOUNDED.items()},
}
_NAMES: Final = {id(named): name for name, named in _NAMED.items()}
"""What is code and no data, or exists once: it is named, and found again under its name."""


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        return _NAMES.get(id(value))


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, name: Any) -> object:  # noqa: ANN401 - whatever the stream says
        return _NAMED[name]

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's own signature
        if module.partition(".")[0] in OURS or (module, name) in _OF_OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a snapshot")


_OF_OTHERS: Final = frozenset(
    {
        ("builtins", "bytearray"),
        ("builtins", "frozenset"),
        ("builtins", "set"),
        ("builtins", "object"),
        ("copyreg", "_reconstructor"),
        ("datetime", "date"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("shapely.io", "from_wkb"),
        ("uuid", "UUID"),
    }
)
