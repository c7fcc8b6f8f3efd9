"""Settings from the environment and `.env`: checked at the start, each fault with its variable and the cure."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NoReturn, TypeAlias, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from common.prices import InvalidPrices, Prices, prices
from common.topics import Topics
from common.zone_rents import ZoneRents

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


# --- what is in force, and what is wrong with it ---------------------------------------------------------------------


@dataclass(frozen=True)
class SettingFault:
    """What is wrong with a setting, or with several that contradict each other. It holds nothing of a secret."""

    names: tuple[str, ...]
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{', '.join(self.names)}: {self.problem}. {self.cure}"


class Origin(StrEnum):
    """Where a setting's value comes from; the first of these that has one decides."""

    ENVIRONMENT = "environment"
    FILE = ".env"
    LOCAL = "the local system"
    DEFAULT = "default"


@dataclass(frozen=True)
class SettingInForce:
    """A setting as people may see it: of a secret, and of what may be one in the wrong place, only the length."""

    name: str
    shown: str
    source: Origin
    description: str


def load(settings: type[SettingsT]) -> SettingsT:
    """The settings, or the end of the process with a line for each variable that is wrong."""
    try:
        return settings()
    except (ValidationError, SettingsError) as error:
        _refuse(_faults_in(settings, error))


def faults_of(settings: type[BaseSettings], local: Mapping[str, str] | None = None) -> list[SettingFault]:
    """What is wrong with the settings in force. `local` is all the environment that a local system gives a service."""
    try:
        _alone(settings)(**{name: value for name, (value, _) in _given(settings, local).items()})
    except (ValidationError, SettingsError) as error:
        return _faults_in(settings, error)
    return []


def in_force(settings: type[BaseSettings], local: Mapping[str, str] | None = None) -> list[SettingInForce]:
    """Every setting, masked, with where it comes from. `local` is as for `faults_of`."""
    given = _given(settings, local)
    at_fault = {name for fault in faults_of(settings, local) for name in fault.names}
    listed = []
    for name, field in settings.model_fields.items():
        value, source = given.get(name, (field.get_default(call_default_factory=True), Origin.DEFAULT))
        wrong_and_set = name.upper() in at_fault and source is not Origin.DEFAULT
        shown = _shown(value, hidden=_is_secret(field.annotation) or wrong_and_set)
        listed.append(SettingInForce(name.upper(), shown, source, field.description or ""))
    return listed


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _given(settings: type[BaseSettings], local: Mapping[str, str] | None) -> dict[str, tuple[Any, Origin]]:
    """By field: the value as it was written, and where."""
    environment, file = EnvSettingsSource(settings)(), DotEnvSettingsSource(settings)()
    if local is None:
        return {name: (value, Origin.FILE) for name, value in file.items()} | {
            name: (value, Origin.ENVIRONMENT) for name, value in environment.items()
        }

    def origin_of(name: str, value: str) -> Origin:
        if environment.get(name) == value:
            return Origin.ENVIRONMENT
        return Origin.FILE if file.get(name) == value else Origin.LOCAL

    told = {name.lower(): value for name, value in local.items() if value}
    return {name: (value, origin_of(name, value)) for name, value in told.items() if name in settings.model_fields}


def _alone(settings: type[BaseSettings]) -> type[BaseSettings]:
    """The same settings, made of what they are given and of nothing around them."""

    class Alone(settings):  # type: ignore[misc, valid-type] # whichever they are
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],  # noqa: ARG003 - called by keyword
            init_settings: PydanticBaseSettingsSource,
            **_others: object,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    return Alone


def _shown(value: object, *, hidden: bool) -> str:
    text = str(value.get_secret_value() if isinstance(value, SecretStr) else "" if value is None else value)
    if not text:
        return "not set"
    if hidden:
        return "*** (its example value)" if EXAMPLES.search(text) else f"*** ({len(text)} characters)"
    return _PASSWORD.sub(r"\1***@", text)


_PASSWORD: Final = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")


def _faults_in(settings: type[BaseSettings], error: ValidationError | SettingsError) -> list[SettingFault]:
    if isinstance(error, ValidationError):
        return [_fault(settings, each) for each in error.errors(include_url=False)]
    names = re.findall(r'field "(\w+)"', str(error))
    return [_fault(settings, {"type": "json_invalid", "loc": tuple(names[:1]), "msg": "", "input": None})]


def _fault(settings: type[BaseSettings], error: ErrorDetails) -> SettingFault:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    context = error.get("ctx", {})
    if error["type"] == WRONG:
        return SettingFault((name.upper(), *context["names"]), context["problem"], context["cure"])
    problem = _PROBLEMS.get(error["type"], "it does not look as it should").format(**context)
    return SettingFault((name.upper(),), problem, _cure_by_description(settings, name))


def _cure_by_description(settings: type[BaseSettings], name: str) -> str:
    field = settings.model_fields.get(name)
    return f"What belongs there: {field.description}." if field and field.description else "See .env.example."


_PROBLEMS: Final[Mapping[str, str]] = {
    "missing": "it is not set",
    "bool_parsing": "it is neither true nor false",
    "int_parsing": "it is not a whole number",
    "float_parsing": "it is not a number",
    "greater_than_equal": "it must be {ge} or more",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be {le} or less",
    "less_than": "it must be less than {lt}",
    "string_too_short": "it is too short: {min_length} characters are the least",
    "string_too_long": "it is too long: {max_length} characters are the most",
    "enum": "it must be one of {expected}",
    "literal_error": "it must be one of {expected}",
    "json_invalid": "it is not JSON",
}
"""Pydantic's kinds of errors in our words. The text of a ValueError is not among them: it may quote the value."""


def _refuse(faults: list[SettingFault]) -> NoReturn:
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201 - no log yet
    sys.exit(2)


# --- rules for single values -----------------------------------------------------------------------------------------

WRONG: Final = "setting"


def wrong(problem: str, cure: str, *also: str) -> PydanticCustomError:
    """For a validator to raise: what is wrong with its setting, and with those that are named `also`."""
    return PydanticCustomError(WRONG, "{problem}. {cure}", {"problem": problem, "cure": cure, "names": also})


EXAMPLES: Final = re.compile(
    r"(?i)your_|ваш\w*_|change_?me|AC1234567890abcdef1234567890abcdef|^abcdef1234567890abcdef1234567890$"
)
"""What `.env.example` and the guides write where a value of one's own belongs."""

QUOTES: Final = "\"'`“”‘’«»"  # noqa: RUF001 - typographic ones are pasted from guides


def _parts(url: str) -> SplitResult:
    """The parts of an address; of none where it is so malformed that it has none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return urlsplit("")
    return parts


def _base_url(url: str) -> str:
    """An address to which paths are added: without a query, and without the last slash."""
    parts = _parts(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or " " in url:
        raise wrong("it is not an address of this kind", "Write it like https://example.org, without a query.")
    return url.rstrip("/")


def _postgres_url(url: str) -> str:
    parts = _parts(url)
    if parts.scheme != "postgresql" or not parts.hostname or not parts.path.strip("/"):
        raise wrong(
            "it is not the address of a database", "Write it like postgresql://role:password@host:5432/itarent."
        )
    return url


def _log_levels(text: str) -> str:
    level = "(DEBUG|INFO|WARNING|ERROR)"
    if not re.fullmatch(rf"{level}(,[a-z-]+={level})*", text):
        raise wrong(
            "it is no level of logs",
            "Write DEBUG, INFO, WARNING or ERROR; for single services add theirs: INFO,sender=DEBUG.",
        )
    return text


BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url)]
PostgresUrl: TypeAlias = Annotated[str, AfterValidator(_postgres_url)]
LogLevels: TypeAlias = Annotated[str, AfterValidator(_log_levels)]


# --- what every service needs ----------------------------------------------------------------------------------------


class CheckedSettings(BaseSettings):
    """Settings whose values are checked for what people paste along with them, or forget to replace."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_value_of_ones_own(cls, value: object, info: ValidationInfo) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str) or not text:
            return value
        if text[0] in QUOTES or text[-1] in QUOTES:
            raise wrong("it stands in quotation marks", "Remove them: the value is taken as it is written.")
        if text != text.strip() or not text.isprintable():
            raise wrong("it has blanks or invisible characters around it or in it", "Type it again without them.")
        if EXAMPLES.search(text):
            raise wrong("it still has its example value", _cure_by_description(cls, str(info.field_name)))
        return value


class ServiceSettings(CheckedSettings):
    """What every service needs to know."""

    kafka_bootstrap_servers: str = Field(description="Kafka's host:port, several separated by commas")
    kafka_namespace: str = Field(
        default="itarent", pattern=r"^[a-zA-Z0-9._-]+$", description="the prefix of all topics: letters, digits, . _ -"
    )
    kafka_instance_id: str | None = Field(
        default=None, description="a stable name of this process, for Kafka's static membership"
    )
    log_level: LogLevels = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR; for single services INFO,sender=DEBUG"
    )
    log_file: Path | None = Field(
        default=None, description="a file that gets readable lines besides the JSON on stderr; services may share it"
    )
    debug_notifications: bool = Field(
        default=False, description="true: verbose logs, and no intervals between two messages to a user"
    )
    http_host: str = Field(default="127.0.0.1", description="the address to listen at; 0.0.0.0 is every one")
    http_port: int = Field(ge=0, le=65535, description="the port to listen at; 0 is any that is free")

    @property
    def topics(self) -> Topics:
        return Topics.within(self.kafka_namespace)

    def log_level_of(self, service: str) -> str:
        """The level for a service: its own if one is given."""
        everywhere, *single = self.log_level.split(",")
        level = dict(each.split("=") for each in single).get(service, everywhere)
        return "DEBUG" if self.debug_notifications else level


def _price_table(path: Path) -> Path:
    try:
        prices(path)
    except InvalidPrices as error:
        raise wrong(str(error), "Compare it with common/data/prices.toml, which comes with us.") from error
    return path


class Digests(ServiceSettings):
    """How often messages come, and what they cost: for whoever sends or foretells them."""

    whatsapp_notification_interval_seconds: int = Field(
        default=1800, ge=0, description="seconds between two digests of a user who has not chosen another interval"
    )
    whatsapp_price_table: Annotated[Path, AfterValidator(_price_table)] | None = Field(
        default=None, description="a file like our prices.toml; empty: ours"
    )

    @property
    def prices(self) -> Prices:
        """What messages cost."""
        return prices(self.whatsapp_price_table)

    @property
    def interval(self) -> timedelta:
        """Between two digests of a user who has not chosen another."""
        return timedelta(seconds=0 if self.debug_notifications else self.whatsapp_notification_interval_seconds)


def _omi_directory(path: Path) -> Path:
    for pattern in ("omi_zones_*.geojson", "omi_residential_rent_*.csv.gz"):
        if not any(path.glob(pattern)):
            raise wrong(f"there is no {pattern} in it", "Name the directory that holds OMI's zones and rents.")
    return path


class ComparesRents(CheckedSettings):
    """Where the rents are that listings are compared with."""

    omi_directory: Annotated[Path, AfterValidator(_omi_directory)] | None = Field(
        default=None,
        description="a directory with the zones and rents of Agenzia Entrate - OMI; empty: none is compared",
    )

    @property
    def zone_rents(self) -> ZoneRents | None:
        """Read from the directory, which takes half a second."""
        return ZoneRents.load(self.omi_directory) if self.omi_directory else None


class Sharded(ServiceSettings):
    """Into how many shards the matcher is divided: for its own processes, and for who looks at their progress."""

    matcher_shards: int = Field(
        default=1,
        ge=1,
        le=64,
        description="how many shards of users the matcher has; each is run at least once, with its MATCHER_SHARD",
    )


# --- Twilio ----------------------------------------------------------------------------------------------------------

ACCOUNT_SID: Final = re.compile(r"AC[0-9a-f]{32}")
API_KEY_SID: Final = re.compile(r"SK[0-9a-fA-F]{32}")
AUTH_TOKEN_LENGTH: Final = 32
VERIFY_TOKEN_LENGTH: Final = 16

CONSOLE: Final = "It stands on the first page of console.twilio.com."
MESSAGES_URL: Final = "https://api.twilio.com/2010-04-01/Accounts/<Account SID>/Messages.json"


def _messages_url(url: str) -> str:
    if not url:
        return url
    parts = _parts(url)
    host, steps = parts.hostname or "", parts.path.split("/")
    if len(steps) > len(("", "2010-04-01", "Accounts")) and API_KEY_SID.fullmatch(steps[3]):
        raise wrong("it names an API key (SK…)", f"Put the Account SID (AC…) in its place. {CONSOLE}")
    if is_twilio(url) and parts.scheme != "https":
        raise wrong("it would send the auth token unencrypted", f"Write https: {MESSAGES_URL}.")
    shape = re.fullmatch(rf"/2010-04-01/Accounts/{ACCOUNT_SID.pattern}/Messages\.json", parts.path)
    if parts.scheme not in {"http", "https"} or not host or not shape or parts.query or parts.fragment:
        raise wrong("it is not the address of an account's messages", f"It looks like {MESSAGES_URL}.")
    return url


def _auth_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if API_KEY_SID.fullmatch(text) or ACCOUNT_SID.fullmatch(text):
        raise wrong("it is a SID and not the auth token", f"Copy the Auth Token (Show). {CONSOLE}")
    if text and len(text) != AUTH_TOKEN_LENGTH:
        raise wrong(
            f"it has {len(text)} characters, and an auth token has {AUTH_TOKEN_LENGTH}",
            f"Copy the whole Auth Token again. {CONSOLE}",
        )
    return token


def _whatsapp_number(number: str) -> str:
    if number and not number.startswith("whatsapp:"):
        raise wrong("it lacks whatsapp: before the number", "Write it like whatsapp:+14155238886.")
    if number and not re.fullmatch(r"whatsapp:\+[1-9]\d{6,14}", number):
        raise wrong(
            "it is not a number in international form",
            "After whatsapp: come + and digits only, as in whatsapp:+14155238886.",
        )
    return number


def _account_sid(sid: str) -> str:
    if API_KEY_SID.fullmatch(sid):
        raise wrong("it is the SID of an API key (SK…)", f"Use the Account SID, which begins with AC. {CONSOLE}")
    if sid and not ACCOUNT_SID.fullmatch(sid):
        raise wrong("it is not an Account SID: AC and 32 digits from 0-9a-f", f"Copy it again. {CONSOLE}")
    return sid


def _verify_token(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < VERIFY_TOKEN_LENGTH:
        raise wrong(
            f"it is too short: {VERIFY_TOKEN_LENGTH} characters are the least",
            "Draw one with: python3 -c 'import secrets; print(secrets.token_urlsafe(24))'.",
        )
    return token


def _callback_base(url: str) -> str:
    if "_" in (urlsplit(url).hostname or ""):
        raise wrong("its host has an underscore, which Twilio refuses (21609)", "Use another name for the host.")
    return url


class WhatsApp(CheckedSettings):
    """The number that messages come from, whether any are sent, and where Twilio calls back."""

    needed_to_send: ClassVar[frozenset[str]] = frozenset({"whatsapp_phone_number_id"})
    """What must be set while sending is on."""

    whatsapp_enabled: bool = Field(default=True, description="false: everything runs and nothing is sent")
    whatsapp_phone_number_id: Annotated[str, AfterValidator(_whatsapp_number)] = Field(
        default="", description="the sender's number; whatsapp:+14155238886 is Twilio's sandbox"
    )
    whatsapp_sandbox_join: str | None = Field(
        default=None, description="the words after `join` of Twilio's sandbox; empty in production"
    )
    webhook_public_url: Annotated[BaseUrl, AfterValidator(_callback_base)] | None = Field(
        default=None,
        description="where Twilio reaches the status webhook, such as https://hooks.example.org; "
        "empty: statuses are asked for instead",
    )

    @field_validator("*")
    @classmethod
    def _is_set_if_needed(cls, value: object, info: ValidationInfo) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not text and info.field_name in cls.needed_to_send and info.data.get("whatsapp_enabled", True):
            cure = _cure_by_description(cls, info.field_name)
            raise wrong("it is not set", f"{cure} With WHATSAPP_ENABLED=false it may be missing.")
        return value

    @property
    def whatsapp_number(self) -> str:
        """Our number, E.164; empty if none is set."""
        return self.whatsapp_phone_number_id.removeprefix("whatsapp:")


class TwilioAccount(WhatsApp):
    """The account at Twilio. While sending is off all of it may be missing, and is then empty."""

    needed_to_send = frozenset(
        {"whatsapp_api_url", "whatsapp_api_token", "whatsapp_phone_number_id", "whatsapp_business_account_id"}
    )

    whatsapp_api_url: Annotated[str, AfterValidator(_messages_url)] = Field(default="", description=MESSAGES_URL)
    whatsapp_api_token: Annotated[SecretStr, AfterValidator(_auth_token)] = Field(
        default=SecretStr(""), description="the Auth Token of the account at Twilio"
    )
    whatsapp_business_account_id: Annotated[str, AfterValidator(_account_sid)] = Field(
        default="", description="the Account SID of the account at Twilio: AC and 32 digits"
    )
    whatsapp_webhook_verify_token: Annotated[SecretStr, AfterValidator(_verify_token)] | None = Field(
        default=None,
        description="random characters that callbacks must carry as t=… in their address, besides Twilio's signature",
    )

    @field_validator("whatsapp_business_account_id")
    @classmethod
    def _is_the_account_in_the_url(cls, sid: str, info: ValidationInfo) -> str:
        if sid and (url := info.data.get("whatsapp_api_url")) and (named := _account_in(url)) != sid:
            raise wrong(
                f"WHATSAPP_API_URL names account {_short(named)}, WHATSAPP_BUSINESS_ACCOUNT_ID names {_short(sid)}",
                "Both must be the Account SID of your Twilio console.",
                "WHATSAPP_API_URL",
            )
        return sid

    @property
    def has_account(self) -> bool:
        """Whether Twilio can be called."""
        return bool(self.whatsapp_api_url and self.whatsapp_api_token and self.whatsapp_business_account_id)

    @property
    def twilio_base_url(self) -> str:
        """Where Twilio's API is: https://api.twilio.com, or a simulator."""
        parts = urlsplit(self.whatsapp_api_url)
        return f"{parts.scheme}://{parts.netloc}"


def _account_in(messages_url: str) -> str:
    return urlsplit(messages_url).path.split("/")[3]


def _short(sid: str) -> str:
    return f"{sid[:6]}…{sid[-4:]}"


def is_twilio(url: str) -> bool:
    """Whether an address is Twilio's own, and not a simulator's."""
    host = _parts(url).hostname or ""
    return host == "twilio.com" or host.endswith(".twilio.com")
