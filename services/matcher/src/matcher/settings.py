"""What the matcher needs to know."""

from pydantic import Field

from common.settings import PostgresUrl, ServiceSettings


class Settings(ServiceSettings):
    database_url: PostgresUrl = Field(description="postgresql://role:password@host:5432/database, as the role matcher")
    http_port: int = Field(default=8001, ge=0, le=65535, description="the matcher's port for health and metrics")
