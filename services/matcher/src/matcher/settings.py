"""What the matcher needs to know."""

from pydantic import Field

from common.settings import ServiceSettings


class Settings(ServiceSettings):
    database_url: str = Field(description="postgresql://…, with the matcher's own role")
    http_port: int = Field(default=8001, ge=0, le=65535)
