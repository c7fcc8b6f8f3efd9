"""Twilio's error codes that the simulator answers or reports, as data."""

from dataclasses import dataclass

AUTHENTICATE = 20003
NOT_ACTIVE = 20005
NOT_FOUND = 20404
TOO_MANY_REQUESTS = 20429
INVALID_PARAMETER = 20001
METHOD_NOT_ALLOWED = 20004
PAGE_SIZE_TOO_LARGE = 20007
UNSUPPORTED_MEDIA_TYPE = 20415
TO_INVALID = 21211
FROM_INVALID = 21212
FROM_REQUIRED = 21603
TO_REQUIRED = 21604
FROM_NOT_OURS = 21606
STATUS_CALLBACK_INVALID = 21609
UNVERIFIED = 21608
UNSUBSCRIBED = 21610
BODY_TOO_LONG = 21617
CONTENT_REQUIRED = 21619
MEDIA_URL_INVALID = 21620
TOO_MANY_MEDIA = 21623
VARIABLES_INVALID = 21656
CHANNELS_DIFFER = 21910
VALIDITY_EXPIRED = 30036
NOT_CANCELABLE = 30409
CHANNEL_NOT_FOUND = 63007
VARIABLES_AGAINST_POLICY = 63013
NOT_JOINED = 63015
OUTSIDE_WINDOW = 63016
CHANNEL_TOO_FAST = 63018
TEMPLATE_TOO_LONG = 63021
TEMPLATE_UNKNOWN = 63027
VARIABLES_MISCOUNTED = 63028
TO_IS_FROM = 63031
DAILY_LIMIT = 63038
TEMPLATE_REJECTED = 63040
TEMPLATE_PAUSED = 63041
TEMPLATE_DISABLED = 63042
VALIDITY_OUT_OF_RANGE = 90007


@dataclass(frozen=True, slots=True)
class Meaning:
    """`message` may hold `{}` for what was refused."""

    http_status: int
    message: str


MEANINGS: dict[int, Meaning] = {
    AUTHENTICATE: Meaning(401, "Authenticate"),
    NOT_ACTIVE: Meaning(401, "Account not active"),
    NOT_FOUND: Meaning(404, "The requested resource {} was not found"),
    TOO_MANY_REQUESTS: Meaning(429, "Too Many Requests"),
    INVALID_PARAMETER: Meaning(400, "Invalid parameter: {}"),
    METHOD_NOT_ALLOWED: Meaning(405, "Method not allowed"),
    PAGE_SIZE_TOO_LARGE: Meaning(400, "Page size must be less than or equal to 1000"),
    UNSUPPORTED_MEDIA_TYPE: Meaning(415, "Unsupported Media Type: send application/x-www-form-urlencoded"),
    TO_INVALID: Meaning(400, "The 'To' number {} is not a valid phone number."),
    FROM_INVALID: Meaning(400, "The 'From' number {} is not a valid phone number, shortcode, or alphanumeric sender."),
    FROM_REQUIRED: Meaning(400, "A 'From' phone number is required."),
    TO_REQUIRED: Meaning(400, "A 'To' phone number is required."),
    FROM_NOT_OURS: Meaning(400, "The 'From' phone number {} is not a valid, message-capable phone number of yours."),
    STATUS_CALLBACK_INVALID: Meaning(400, "The StatusCallback URL {} is not a valid URL."),
    UNVERIFIED: Meaning(
        400,
        "The number is unverified. Trial accounts cannot send messages to unverified numbers; verify it or upgrade.",
    ),
    UNSUBSCRIBED: Meaning(400, "Attempt to send to unsubscribed recipient"),
    BODY_TOO_LONG: Meaning(400, "The concatenated message body exceeds the 1600 character limit."),
    CONTENT_REQUIRED: Meaning(400, "A text message body or media urls must be specified."),
    MEDIA_URL_INVALID: Meaning(400, "Invalid media URL(s)"),
    TOO_MANY_MEDIA: Meaning(400, "Number of media files exceeds allowed limit."),
    VARIABLES_INVALID: Meaning(400, "The Content Variables parameter is invalid."),
    CHANNELS_DIFFER: Meaning(400, "Invalid From and To pair. From and To should be of the same channel"),
    VALIDITY_EXPIRED: Meaning(400, "Validity Period Expired"),
    NOT_CANCELABLE: Meaning(400, "The message has left the queue and cannot be canceled."),
    CHANNEL_NOT_FOUND: Meaning(400, "Twilio could not find a Channel with the specified From address"),
    VARIABLES_AGAINST_POLICY: Meaning(400, "Channel policy violation"),
    NOT_JOINED: Meaning(400, "Channel Sandbox can only send messages to phone numbers that have joined the Sandbox"),
    OUTSIDE_WINDOW: Meaning(
        400,
        "Failed to send freeform message because you are outside the allowed window. "
        "If you are using WhatsApp, please use a Message Template.",
    ),
    CHANNEL_TOO_FAST: Meaning(429, "Rate limit exceeded for Channel"),
    TEMPLATE_TOO_LONG: Meaning(400, "Channel invalid content error"),
    TEMPLATE_UNKNOWN: Meaning(400, "Template does not exist for a language and locale"),
    VARIABLES_MISCOUNTED: Meaning(
        400, "Number of parameters provided does not match the expected number of parameters"
    ),
    TEMPLATE_REJECTED: Meaning(400, "Template rejected"),
    TEMPLATE_PAUSED: Meaning(400, "Template paused"),
    TEMPLATE_DISABLED: Meaning(400, "Template disabled"),
    TO_IS_FROM: Meaning(400, "Channel message cannot have same From and To"),
    DAILY_LIMIT: Meaning(429, "Account exceeded the daily messages limit"),
    VALIDITY_OUT_OF_RANGE: Meaning(400, "Invalid validity period value"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Twilio does not do what it was asked to; `detail` fills the message's blank."""

    code: int
    detail: str = ""


def meaning_of(code: int) -> Meaning:
    """The code's meaning; a code that is not in the table is a plain 400."""
    return MEANINGS.get(code, Meaning(400, f"Error {code}"))


def error_body(refusal: Refusal) -> dict[str, object]:
    """The JSON that Twilio answers instead of a resource."""
    meaning = meaning_of(refusal.code)
    return {
        "code": refusal.code,
        "message": meaning.message.format(refusal.detail),
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": meaning.http_status,
    }
