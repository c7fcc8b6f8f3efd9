"""X-Twilio-Signature: whether a request comes from the holder of the account's auth token."""

import base64
import hmac
from hashlib import sha1

from twilio.request_validator import RequestValidator

from status_webhook.form import Form


class SignatureCheck:
    """Checks requests against the public address that Twilio was given, never the one a proxy passes on."""

    def __init__(self, auth_token: str) -> None:
        self._key = auth_token.encode()
        self._validator = RequestValidator(auth_token)

    def accepts(self, url: str, form: Form, signature: bytes | None) -> bool:
        """Whether `signature` is Twilio's for `url` (with its query) and the form."""
        if not signature:
            return False
        if hmac.compare_digest(signature_of(self._key, url, form), signature):
            return True
        # Twilio is inconsistent about the port in what it signs. Its package tries both, at 20 times the cost.
        accepted: bool = self._validator.validate(url, form, signature.decode("latin-1"))
        return accepted


def signature_of(key: bytes, url: str, form: Form) -> bytes:
    """Base64 of the HMAC-SHA1 over the URL and the form: names in order, each with its different values in order."""
    signed = [url]
    for name in sorted(form):
        for value in sorted(set(form.values[name])):
            signed += (name, value)
    return base64.b64encode(hmac.digest(key, "".join(signed).encode(), sha1))
