"""What survives a restart: a file with one JSON line per change. The last line about a thing is how it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import orjson
from pydantic import Discriminator, TypeAdapter, ValidationError

from twilio_simulator.contents import Content
from twilio_simulator.phones import Phone
from twilio_simulator.resources import Message


@dataclass(frozen=True, slots=True)
class Removal:
    """A message or a template was deleted."""

    sid: str
    kind: Literal["removal"] = "removal"


Entry = Message | Phone | Content | Removal

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Discriminator("kind")])


def read(path: Path) -> Iterator[Entry]:
    """The entries of a journal. A line that was cut by a crash ends it."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield _ENTRY.validate_json(line)
            except ValidationError:
                if line.endswith(b"\n"):
                    raise
                return


class Journal:
    """Takes entries; each is with the operating system before the next one comes, so that a kill loses none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def restart(self, entries: Iterable[Entry]) -> None:
        """Replace the file by what is still true, and go on from there."""
        if self._path is None:
            return
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines(map(_line, entries))
        fresh.replace(self._path)
        self._file = self._path.open("ab", buffering=0)

    def append(self, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(_line(entry))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(entry: Entry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
