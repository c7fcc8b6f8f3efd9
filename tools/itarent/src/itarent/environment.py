"""What each process of a local system is told: its environment, from addresses and secrets alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from itarent.credentials import Credentials

LOOPBACK = "127.0.0.1"
SIMULATOR = "twilio-simulator"
API, MATCHER, SENDER, WEBHOOK = SERVICES = ("api", "matcher", "sender", "status-webhook")
WHATSAPP_NUMBER = "+14155238886"
JOIN_WORDS = "silver-harbour"
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
"""All that comes from the caller's environment: a stray DATABASE_URL or TWILIO_EDGE must not reach a service."""


@dataclass(frozen=True)
class Addresses:
    """Where everything listens; `ports` holds one for the simulator and each service, by name."""

    kafka: str
    postgres: str  # the administrator's URL of the system's database
    ports: Mapping[str, int]

    def url(self, name: str) -> str:
        """The base URL of the simulator or a service."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    def database_url(self, role: str, credentials: Credentials) -> str:
        """The database, as one of its roles."""
        _, _, server = self.postgres.rpartition("@")
        return f"postgresql://{role}:{credentials.database_passwords[role]}@{server}"


def environments(addresses: Addresses, credentials: Credentials, namespace: str) -> dict[str, dict[str, str]]:
    """The environment of the simulator and each service, by name."""
    each = {
        SIMULATOR: _simulator(addresses, credentials),
        API: _api(addresses, credentials),
        MATCHER: {"DATABASE_URL": addresses.database_url(MATCHER, credentials)},
        SENDER: _sender(addresses, credentials),
        WEBHOOK: _callbacks(addresses, credentials),
    }
    return {name: _inherited() | _everywhere(name, addresses, namespace) | special for name, special in each.items()}


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def _everywhere(name: str, addresses: Addresses, namespace: str) -> dict[str, str]:
    return {
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "KAFKA_NAMESPACE": namespace,
        "KAFKA_INSTANCE_ID": f"{name}-1",
        "HTTP_HOST": LOOPBACK,
        "HTTP_PORT": str(addresses.ports[name]),
    }


def _simulator(addresses: Addresses, credentials: Credentials) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": credentials.account_sid,
        "TWILIO_AUTH_TOKEN": credentials.auth_token,
        "TWILIO_NUMBER": WHATSAPP_NUMBER,
        "TWILIO_SANDBOX_JOIN": JOIN_WORDS,
        "INBOUND_WEBHOOK_URL": f"{addresses.url(WEBHOOK)}/twilio/inbound?t={credentials.webhook_verify_token}",
        "STATE_FILE": "twilio-simulator.json",
    }


def _api(addresses: Addresses, credentials: Credentials) -> dict[str, str]:
    return {
        "DATABASE_URL": addresses.database_url(API, credentials),
        "PUBLIC_URL": addresses.url(API),
        "JWT_SECRET": credentials.jwt_secret,
        "LINK_SIGNING_KEY": credentials.link_signing_key,
        "PRODUCER_KEY": credentials.producer_key,
        "OPERATOR_KEY": credentials.operator_key,
        "WHATSAPP_PHONE_NUMBER_ID": f"whatsapp:{WHATSAPP_NUMBER}",
        "WHATSAPP_SANDBOX_JOIN": JOIN_WORDS,
        "WEBHOOK_PUBLIC_URL": addresses.url(WEBHOOK),
    }


def _sender(addresses: Addresses, credentials: Credentials) -> dict[str, str]:
    accounts = f"{addresses.url(SIMULATOR)}/2010-04-01/Accounts"
    return _callbacks(addresses, credentials) | {
        "DATABASE_URL": addresses.database_url(SENDER, credentials),
        "PUBLIC_URL": addresses.url(API),
        "LINK_SIGNING_KEY": credentials.link_signing_key,
        "WHATSAPP_ENABLED": "true",
        "WHATSAPP_API_URL": f"{accounts}/{credentials.account_sid}/Messages.json",
        "WHATSAPP_PHONE_NUMBER_ID": f"whatsapp:{WHATSAPP_NUMBER}",
        "WHATSAPP_MESSAGES_PER_SECOND": "80",
        "WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "1800",
        "DEBUG_NOTIFICATIONS": "false",
    }


def _callbacks(addresses: Addresses, credentials: Credentials) -> dict[str, str]:
    """What the sender and the webhook agree on: the account, and the address at which Twilio calls back."""
    return {
        "WHATSAPP_BUSINESS_ACCOUNT_ID": credentials.account_sid,
        "WHATSAPP_API_TOKEN": credentials.auth_token,
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN": credentials.webhook_verify_token,
        "WEBHOOK_PUBLIC_URL": addresses.url(WEBHOOK),
    }
