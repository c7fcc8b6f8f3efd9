"""What the matcher needs to know."""

from pydantic import Field, ValidationInfo, field_validator

from common.settings import PostgresUrl, Sharded, wrong
from common.shards import Shard


class Settings(Sharded):
    database_url: PostgresUrl = Field(description="postgresql://role:password@host:5432/database, as the role matcher")
    http_port: int = Field(default=8001, ge=0, le=65535, description="the matcher's port for health and metrics")
    matcher_shard: int = Field(
        default=1, ge=1, validate_default=True, description="which of MATCHER_SHARDS this process is, from 1"
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

    @property
    def shard(self) -> Shard:
        return Shard(self.matcher_shard, self.matcher_shards)
