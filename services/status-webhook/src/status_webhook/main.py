"""The status webhook: Twilio's callbacks become events on Kafka."""

from common.kafka import Publisher
from common.service import run, serve
from common.settings import load
from common.telemetry import configure_logging
from status_webhook.routes import Webhook
from status_webhook.settings import Settings

SERVICE = "status-webhook"


def main() -> None:
    settings = load(Settings)
    configure_logging(SERVICE, settings.log_level_of(SERVICE), settings.log_file)
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with Publisher.connected(settings.kafka_bootstrap_servers, SERVICE) as publisher:
        await serve(Webhook(settings, publisher), settings.http_host, settings.http_port)
