"""Shards of the matcher: where one machine cannot hold every search, each of `of` shards holds its users' searches."""

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID


@dataclass(frozen=True, order=True)
class Shard:
    """Shard `number`, from 1, of `of`; 1 of 1 is everybody."""

    number: int = 1
    of: int = 1

    @classmethod
    def all(cls, of: int) -> tuple[Self, ...]:
        """Every shard, where there are `of`."""
        return tuple(cls(number, of) for number in range(1, of + 1))

    @property
    def service(self) -> str:
        """What its consumer group is called after: `matcher`, or `matcher-1-of-4`."""
        return "matcher" if self.of == 1 else f"matcher-{self.number}-of-{self.of}"

    def holds(self, user_id: UUID) -> bool:
        """Whether a user is of this shard: the id as a number, modulo `of`, is one less than the shard's number.

        So every shard of 4 is a part of one shard of 2: what is known there is true here.
        """
        return user_id.int % self.of == self.number - 1

    def shares_users_with(self, other: "Shard") -> bool:
        """Whether somebody may be of both; one number of shards is a multiple of the other."""
        return (self.number - other.number) % min(self.of, other.of) == 0


EVERYBODY: Final = Shard()


def is_matcher(service: str) -> bool:
    """Whether a name is that of the matcher's group, of whichever shard."""
    return re.fullmatch(r"matcher(-\d+-of-\d+)?", service) is not None
