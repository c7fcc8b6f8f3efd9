"""What the matcher needs to know."""

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from common.settings import BaseUrl, ComparesRents, PostgresUrl, Sharded, wrong
from common.shards import Shard
from matcher.engines import EngineKind

PROFILE: Final = "{profile}"


class Settings(Sharded, ComparesRents):
    database_url: PostgresUrl = Field(description="postgresql://role:password@host:5432/database, as the role matcher")
    http_port: int = Field(default=8001, ge=0, le=65535, description="the matcher's port for health and metrics")
    matcher_shard: int = Field(
        default=1, ge=1, validate_default=True, description="which of MATCHER_SHARDS this process is, from 1"
    )
    matcher_snapshot: Path | None = Field(
        default=None, description="a file for the searches, so that a restart need not read all of them from Kafka"
    )
    commute_engine: EngineKind | None = Field(
        default=None, description="what answers for minutes to work: otp, valhalla or osrm; empty: nothing does"
    )
    commute_url: BaseUrl | None = Field(
        default=None,
        description="where it answers: OpenTripPlanner's http://host:8080/otp/gtfs/v1, Valhalla's http://host:8002, "
        "OSRM's http://osrm-{profile}:5000",
    )
    commute_within_seconds: float = Field(
        default=2.0, gt=0, le=20, description="how long a batch of listings waits for it at the most"
    )

    @field_validator("matcher_shard")
    @classmethod
    def _is_one_of_them(cls, number: int, info: ValidationInfo) -> int:
        if (of := info.data.get("matcher_shards")) and number > of:
            raise wrong(
                f"it is {number}, and there are {of} shards",
                "Give each matcher a number from 1 to MATCHER_SHARDS.",
                "MATCHER_SHARDS",
            )
        return number

    @field_validator("commute_url")
    @classmethod
    def _fits_the_engine(cls, url: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("commute_engine")
        if (url is None) is not (kind is None):
            raise wrong("of these two one is set and one is not", "Set both, or none.", "COMMUTE_ENGINE")
        if kind is EngineKind.OSRM and url and PROFILE not in url:
            raise wrong(
                "each server of OSRM knows one profile",
                "Write {profile} where the addresses of those for car, bike and foot differ.",
            )
        return url

    @property
    def shard(self) -> Shard:
        return Shard(self.matcher_shard, self.matcher_shards)
