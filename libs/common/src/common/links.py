"""Signed links to a message's page: whoever has the link may see what the message told, until it expires."""

import datetime as dt
import functools
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode

VALID_FOR: Final = dt.timedelta(days=30)
SALT: Final = "message"


@dataclass(frozen=True)
class Links:
    """Makes and reads links; `public_url` is the api's, without a slash at its end."""

    public_url: str
    signing_key: str

    def to_message(self, message_id: UUID) -> str:
        """An address that shows every flat of a message; about 90 characters after the public URL."""
        # As the serializer writes it, which would also try to compress the id: five times the work of the signature.
        payload = base64_encode(f'"{message_id.hex}"')
        return f"{self.public_url}/m/{self._signer.sign(payload).decode()}"

    def message_of(self, token: str) -> UUID | None:
        """The message that a token stands for, or None if it was not made by us or has expired."""
        try:
            return UUID(self._serializer.loads(token, max_age=int(VALID_FOR.total_seconds())))
        except (BadData, ValueError):
            return None

    @functools.cached_property
    def _signer(self) -> TimestampSigner:
        return TimestampSigner(self.signing_key, salt=SALT)

    @functools.cached_property
    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.signing_key, salt=SALT)
