"""The secrets of one local system: drawn once, kept in its home, readable by its user alone."""

import secrets
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field

from local_servers.home import write_secret


def _secret() -> str:
    return secrets.token_urlsafe(32)


class Credentials(BaseModel, frozen=True):
    """What services and the Twilio simulator must agree on, and the passwords of the database's roles."""

    account_sid: str = Field(default_factory=lambda: "AC" + secrets.token_hex(16))
    auth_token: str = Field(default_factory=lambda: secrets.token_hex(16))
    jwt_secret: str = Field(default_factory=_secret)
    link_signing_key: str = Field(default_factory=_secret)
    producer_key: str = Field(default_factory=_secret)
    operator_key: str = Field(default_factory=_secret)
    webhook_verify_token: str = Field(default_factory=_secret)
    renters_password: str = Field(default_factory=_secret)
    api_password: str = Field(default_factory=_secret)
    matcher_password: str = Field(default_factory=_secret)
    sender_password: str = Field(default_factory=_secret)

    @classmethod
    def kept_in(cls, home: Path) -> Self:
        """Those of `home`, drawn at the first call. A secret that a later version adds is drawn when it is missing."""
        file = home / "credentials.json"
        credentials = cls.model_validate_json(file.read_bytes()) if file.exists() else cls()
        write_secret(file, credentials.model_dump_json(indent=2))
        return credentials

    @property
    def database_passwords(self) -> dict[str, str]:
        """By role."""
        return {"api": self.api_password, "matcher": self.matcher_password, "sender": self.sender_password}
