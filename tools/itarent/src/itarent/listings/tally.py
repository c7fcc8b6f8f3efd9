"""What an import has done: counts that add up, and the report of what was refused."""

import collections
import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from common.listing import Listing, ListingFlag
from itarent.listings.outcomes import Outcome, Refusal, Refused


@dataclass
class Tally:
    """Every row read is accepted, refused, or repeated."""

    accepted: int = 0
    repeated: int = 0
    refused_by_reason: collections.Counter[Refusal] = field(default_factory=collections.Counter)
    flags: collections.Counter[ListingFlag] = field(default_factory=collections.Counter)

    @property
    def refused(self) -> int:
        return self.refused_by_reason.total()

    @property
    def read(self) -> int:
        return self.accepted + self.repeated + self.refused

    def accept(self, listing: Listing) -> None:
        self.accepted += 1
        self.flags.update(listing.flags)

    def add(self, other: "Tally") -> None:
        self.accepted += other.accepted
        self.repeated += other.repeated
        self.refused_by_reason += other.refused_by_reason
        self.flags += other.flags

    def as_json(self) -> str:
        counts: dict[str, Any] = {"read": self.read, "accepted": self.accepted, "refused": self.refused}
        return json.dumps({**counts, "repeated": self.repeated, "refused_by_reason": dict(self.refused_by_reason)})


class Seen:
    """Tells what came before: an exact repeat, or another content under the same id and version.

    It remembers two numbers for each listing, not the listings.
    """

    def __init__(self) -> None:
        self._content_of: dict[int, int] = {}

    def before(self, listing: Listing) -> bool | Refused:
        """Whether this listing came before; a refusal if its id and version did, with other content."""
        key, content = hash((listing.listing_id, listing.version)), hash(listing.model_dump_json())
        known = self._content_of.get(key)
        if known is None:
            self._content_of[key] = content
            return False
        if known == content:
            return True
        return Refused(Refusal.VERSION_CONFLICT, "version", f"{listing.listing_id} {listing.version}")


class RefusedReport:
    """A file with a line of JSON for each refusal; it is made when there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def add(self, outcome: Outcome, refused: Refused) -> None:
        if self._file is None:
            self._file = self._exit.enter_context(self.path.open("w", encoding="utf-8"))
        line = {"file": outcome.file, "line": outcome.line, **asdict(refused)}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
