"""X-Twilio-Signature: how a receiver knows that a request comes from the holder of the auth token."""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha1


def signature_of(auth_token: str, url: str, parameters: Mapping[str, str]) -> str:
    """Base64 of the HMAC-SHA1 over the URL (with its query, without a fragment) and the sorted parameters."""
    signed = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), sha1)).decode()
