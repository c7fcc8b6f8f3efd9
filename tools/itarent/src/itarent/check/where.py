"""Where the system is that is to be checked: the local one, else what options and the environment say."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.topics import Topics
from itarent.environment import API, MATCHER, SENDER, SIMULATOR
from itarent.local import Local

ROLES = (API, MATCHER, SENDER)


@dataclass(frozen=True)
class Where:
    """Addresses; what is not given is empty or missing, and is said not to be checked."""

    kafka: str
    namespace: str
    services: Mapping[str, str]  # base URL by name
    databases: Mapping[str, str]  # URL by role
    twilio: str = ""  # base URL of Twilio's API
    simulator: str = ""  # base URL, where Twilio is simulated by the local system
    auth_token: str = ""  # of the simulator
    logs: str = ""
    shards: int = 1  # of the matcher

    @property
    def topics(self) -> Topics:
        return Topics.within(self.namespace)

    @classmethod
    def of(cls, local: Local, twilio: str = "") -> "Where":
        """The system that runs here; `twilio` is the base URL of its API unless that is simulated."""
        return cls(
            kafka=local.kafka,
            namespace=local.namespace,
            services={name: local.url(name) for name in local.ports if name != SIMULATOR},
            databases={role: local.addresses.database_url(role, local.credentials) for role in ROLES},
            twilio=local.url(SIMULATOR) if local.twilio_is_simulated else twilio,
            simulator=local.url(SIMULATOR) if local.twilio_is_simulated else "",
            auth_token=local.environment_of(SENDER).get("WHATSAPP_API_TOKEN", ""),
            logs=str(local.home / "logs"),
            shards=local.shards,
        )
