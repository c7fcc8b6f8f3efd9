"""What a cell or a field of a source says, in the words of the contract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from common.listing import Feature, ListingFlag


@dataclass(frozen=True)
class Reading:
    """What one cell says: fields of a listing, features, and what is doubtful about them."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[Feature, bool] = field(default_factory=dict)
    flags: tuple[ListingFlag, ...] = ()


NOTHING: Final = Reading()


def first_of_each(readings: Iterable[Reading]) -> Reading:
    """Readings as one: where two say something of the same field, the first does."""
    saying = [reading for reading in readings if reading is not NOTHING]
    if len(saying) <= 1:
        return saying[0] if saying else NOTHING
    fields: dict[str, Any] = {}
    features: dict[Feature, bool] = {}
    for reading in reversed(saying):
        fields.update(reading.fields)
        features.update(reading.features)
    return Reading(fields, features, tuple(flag for reading in saying for flag in reading.flags))
