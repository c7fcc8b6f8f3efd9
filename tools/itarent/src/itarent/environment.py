"""What each process of a local system is told: its environment, from addresses, secrets, and what the operator set."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from api.settings import ApiSettings
from common.settings import ServiceSettings
from itarent.credentials import Credentials
from matcher.settings import Settings as MatcherSettings
from provisioning.database import url_as
from sender.settings import Settings as SenderSettings
from status_webhook.settings import Settings as WebhookSettings

LOOPBACK = "127.0.0.1"
SIMULATOR = "twilio-simulator"
API, MATCHER, SENDER, WEBHOOK = SERVICES = ("api", "matcher", "sender", "status-webhook")
WORKER = (MATCHER, SENDER)
SETTINGS: Mapping[str, type[ServiceSettings]] = MappingProxyType(
    {API: ApiSettings, MATCHER: MatcherSettings, SENDER: SenderSettings, WEBHOOK: WebhookSettings}
)
WHATSAPP_NUMBER = "+14155238886"
JOIN_WORDS = "silver-harbour"
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
"""All that comes from the caller's environment as it is: a stray TWILIO_EDGE must not reach a service."""

DRAWN_HERE = frozenset(
    {
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_INSTANCE_ID",
        "DATABASE_URL",
        "HTTP_HOST",
        "HTTP_PORT",
        "MATCHER_SHARD",
        "MATCHER_SNAPSHOT",
    }
)
"""Settings that differ from process to process: a local system gives each its own."""

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Addresses:
    """Where everything listens; `ports` holds one for the simulator and each process of a service, by name."""

    kafka: str
    postgres: str  # the administrator's URL of the system's database
    ports: Mapping[str, int]

    def url(self, name: str) -> str:
        """The base URL of the simulator or a service."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    def database_url(self, role: str, credentials: Credentials) -> str:
        """The database, as one of its roles."""
        return url_as(role, credentials.database_passwords[role], self.postgres)


def environments(
    addresses: Addresses, credentials: Credentials, given: Mapping[str, str] = NOTHING
) -> dict[str, dict[str, str]]:
    """The environment of the simulator and each process of a service, by name.

    `given` are settings that the operator has chosen: they go before those drawn here. A service is told what its
    settings class names, and nothing else.
    """
    shared = {**_drawn(addresses, credentials, given), **given}
    simulator = _simulator(shared) | {"HTTP_HOST": LOOPBACK, "HTTP_PORT": str(addresses.ports[SIMULATOR])}
    processes = [name for name in addresses.ports if service_of(name)]
    services = {name: _told(name, shared) | _own(name, addresses, credentials, shared) for name in processes}
    return {name: _inherited() | each for name, each in {SIMULATOR: simulator, **services}.items()}


def service_of(process: str) -> str:
    """Of which service a process is, by its name: `matcher-2` is a matcher. Empty if of none."""
    name = re.sub(r"-\d+$", "", process)
    return name if name in SERVICES else ""


def matchers(count: int) -> tuple[str, ...]:
    """The names of so many matchers."""
    return replicas(MATCHER, count)


def replicas(service: str, count: int) -> tuple[str, ...]:
    """The names of so many processes of a service."""
    return (service, *(f"{service}-{number}" for number in range(2, count + 1)))


def shards_in(given: Mapping[str, str]) -> int:
    """How many shards of the matcher there are to be; 1 also where the setting is none: its service refuses it."""
    number = given.get("MATCHER_SHARDS", "")
    return max(1, int(number)) if number.isdecimal() else 1


def simulates_twilio(given: Mapping[str, str]) -> bool:
    """Whether Twilio is simulated: unless WHATSAPP_API_URL names another machine."""
    return (url := given.get("WHATSAPP_API_URL")) is None or local_port(url) is not None


def ports_named_by(given: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """The settings, with the port, whose address is on this machine: by the service that must listen there."""
    settings = {SIMULATOR: "WHATSAPP_API_URL", API: "PUBLIC_URL", WEBHOOK: "WEBHOOK_PUBLIC_URL"}
    ports = {name: (setting, local_port(given.get(setting, ""))) for name, setting in settings.items()}
    return {name: (setting, port) for name, (setting, port) in ports.items() if port}


def local_port(url: str) -> int | None:
    """The port of an address on this machine; None of any other."""
    try:
        parts = urlsplit(url)
        return (parts.port or 80) if parts.scheme == "http" and _is_this_machine(parts.hostname or "") else None
    except ValueError:  # what is wrong with the address, the settings say themselves
        return None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def _drawn(addresses: Addresses, credentials: Credentials, given: Mapping[str, str]) -> dict[str, str]:
    """What services must agree on and nobody has to choose. Twilio's account is drawn only where it is simulated."""
    secrets = {
        "PUBLIC_URL": addresses.url(API),
        "JWT_SECRET": credentials.jwt_secret,
        "LINK_SIGNING_KEY": credentials.link_signing_key,
        "PRODUCER_KEY": credentials.producer_key,
        "OPERATOR_KEY": credentials.operator_key,
    }
    return secrets | (_simulated_account(addresses, credentials, given) if simulates_twilio(given) else {})


def _simulated_account(addresses: Addresses, credentials: Credentials, given: Mapping[str, str]) -> dict[str, str]:
    in_url = re.search(r"/Accounts/(AC[0-9a-f]{32})/", given.get("WHATSAPP_API_URL", ""))
    account_sid = given.get("WHATSAPP_BUSINESS_ACCOUNT_ID") or (in_url[1] if in_url else credentials.account_sid)
    return {
        "WHATSAPP_API_URL": f"{addresses.url(SIMULATOR)}/2010-04-01/Accounts/{account_sid}/Messages.json",
        "WHATSAPP_API_TOKEN": credentials.auth_token,
        "WHATSAPP_PHONE_NUMBER_ID": f"whatsapp:{WHATSAPP_NUMBER}",
        "WHATSAPP_BUSINESS_ACCOUNT_ID": account_sid,
        "WHATSAPP_SANDBOX_JOIN": JOIN_WORDS,
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN": credentials.webhook_verify_token,
        "WEBHOOK_PUBLIC_URL": addresses.url(WEBHOOK),
    }


def _simulator(shared: Mapping[str, str]) -> dict[str, str]:
    """The account that the services use; nothing of a real one, which needs no simulator."""
    if not simulates_twilio(shared):
        return {}
    token = shared["WHATSAPP_WEBHOOK_VERIFY_TOKEN"]
    number = shared["WHATSAPP_PHONE_NUMBER_ID"].removeprefix("whatsapp:")
    return {
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        "TWILIO_ACCOUNT_SID": shared["WHATSAPP_BUSINESS_ACCOUNT_ID"],
        "TWILIO_AUTH_TOKEN": shared["WHATSAPP_API_TOKEN"],
        "TWILIO_NUMBER": number,
        "TWILIO_SANDBOX": str(number == WHATSAPP_NUMBER).lower(),
        "TWILIO_SANDBOX_JOIN": shared["WHATSAPP_SANDBOX_JOIN"],
        "INBOUND_WEBHOOK_URL": f"{shared['WEBHOOK_PUBLIC_URL']}/twilio/inbound?t={token}",
        "STATE_FILE": "twilio-simulator.json",
    }


def _told(name: str, shared: Mapping[str, str]) -> dict[str, str]:
    kept_back = DRAWN_HERE if service_of(name) in WORKER else DRAWN_HERE | {"LOG_FILE"}  # it is the worker's log
    return {setting: shared[setting] for setting in names_of(name) - kept_back if setting in shared}


def names_of(process: str) -> set[str]:
    """The environment variables of a service's settings."""
    return {field.upper() for field in SETTINGS[service_of(process)].model_fields}


def _own(name: str, addresses: Addresses, credentials: Credentials, shared: Mapping[str, str]) -> dict[str, str]:
    service, number = service_of(name), int(name.removeprefix(service_of(name))[1:] or 1)
    own = {
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "KAFKA_INSTANCE_ID": f"{service}-{number}",
        "HTTP_HOST": LOOPBACK,
        "HTTP_PORT": str(addresses.ports[name]),
    }
    if service == MATCHER:
        own["MATCHER_SHARD"] = str((number - 1) % shards_in(shared) + 1)
        own["MATCHER_SNAPSHOT"] = f"{name}.snapshot"
    return own | ({"DATABASE_URL": addresses.database_url(service, credentials)} if service != WEBHOOK else {})
