"""The sender's composition root: everything is made here, and handed on to what needs it."""

import contextlib
import os
import socket
from datetime import timedelta

import structlog
from starlette.applications import Starlette

from common.kafka import Publisher, make_broker
from common.links import Links
from common.outbox import Relay
from common.postgres import migrate, open_pool
from common.service import health_routes, in_background, run, serve
from common.settings import load
from common.telemetry import configure_logging
from sender.approvals import Approvals
from sender.backlog import Backlog
from sender.contents import Contents
from sender.dispatch import Callback, Dispatcher, Limits, follow_wakes
from sender.first_looks import FirstLooks
from sender.handlers import subscribe
from sender.intake import Intake
from sender.ledger import Ledger
from sender.outlook import Outlook
from sender.plan import Policy
from sender.reconciliation import Reconciliation
from sender.reports import Reports
from sender.rescan import Rescan
from sender.schedule import POLLS, POLLS_WITHOUT_CALLBACKS
from sender.settings import Settings
from sender.spending import BudgetWatch
from sender.twilio import NoAccount, Twilio

log = structlog.get_logger()

POOL_SIZE = 10  # as many as can be in a transaction at once: intake's shares, dispatcher and handlers


def main() -> None:
    settings = load(Settings)
    configure_logging("sender", settings.log_level_of("sender"), settings.log_file)
    if not settings.whatsapp_enabled:
        log.warning("nothing is sent to Twilio: WHATSAPP_ENABLED is false")
    run(sender(settings))


async def sender(settings: Settings) -> None:
    """Send until SIGTERM: then nothing new is begun, and what runs is finished and recorded."""
    bootstrap, topics, policy = settings.kafka_bootstrap_servers, settings.topics, policy_of(settings)
    database_url = settings.database_url.get_secret_value()
    name = f"{settings.kafka_instance_id or socket.gethostname()}/{os.getpid()}"
    await migrate(database_url, "sender")
    async with (
        open_pool(database_url, "sender", size=POOL_SIZE) as pool,
        Publisher.connected(bootstrap, "sender") as publisher,
        twilio_of(settings) as twilio,
        make_broker(bootstrap, "sender") as broker,
    ):
        approvals = Approvals(Contents(twilio), pool)
        watch = BudgetWatch(pool, policy.budget, policy.recipients_per_day)
        backlog = Backlog(pool)
        reports = Reports(
            pool,
            topics,
            policy.prices,
            polls=policy.polls,
            grace=timedelta(seconds=settings.in_doubt_grace_seconds),
            on_template_unusable=approvals.refuse,
        )
        dispatcher = Dispatcher(
            Ledger(
                pool,
                topics,
                policy,
                name=name,
                per_second=settings.whatsapp_messages_per_second,
                lease=timedelta(seconds=settings.sender_lease_seconds),
                standings=approvals.standings,
            ),
            reports,
            twilio,
            limits_of(settings),
            callback=callback_of(settings),
        )
        subscribe(
            broker,
            topics=topics,
            instance_id=settings.kafka_instance_id,
            publisher=publisher,
            intake=Intake(pool, topics, policy),
            reports=reports,
        )
        reconciliation = Reconciliation(pool, twilio, reports, name=name)
        await watch.announce()
        if settings.whatsapp_enabled:
            await approvals.check()
        async with in_background(
            dispatcher.run(),
            watch.run(),
            backlog.run(),
            Rescan(pool).run(),
            FirstLooks(pool).run(),
            Outlook(pool, topics, policy.prices).run(),
            *([approvals.run()] if settings.whatsapp_enabled else []),
            *([reconciliation.run()] if settings.whatsapp_enabled and settings.has_account else []),
            Relay(database_url, publisher).run(),
            follow_wakes(database_url, dispatcher.wake),
        ):
            await broker.start()
            await serve(app_of(dispatcher, approvals, watch, backlog), settings.http_host, settings.http_port)
            await broker.stop()


def app_of(dispatcher: Dispatcher, approvals: Approvals, watch: BudgetWatch, backlog: Backlog) -> Starlette:
    """Health and metrics. A sender in a pause is healthy, to be started again would not help: it says why it waits."""

    def told() -> dict[str, object]:
        return {
            "paused_for": dispatcher.paused_for or None,
            "messages_parked": backlog.parked,
            "templates": approvals.standings().as_json(),
            "budget": watch.spent.as_json() if watch.spent else None,
        }

    return Starlette(routes=health_routes(told=told))


def policy_of(settings: Settings) -> Policy:
    return Policy(
        enabled=settings.whatsapp_enabled,
        interval=settings.interval,
        intervals_off=settings.debug_notifications,
        in_sandbox=bool(settings.whatsapp_sandbox_join),
        links=Links(settings.public_url, settings.link_signing_key.get_secret_value()),
        prices=settings.prices,
        budget=settings.budget,
        recipients_per_day=settings.recipients_per_day,
        pace=timedelta(seconds=settings.whatsapp_seconds_per_recipient),
        polls=POLLS if settings.webhook_public_url else POLLS_WITHOUT_CALLBACKS,
    )


def callback_of(settings: Settings) -> Callback | None:
    """Where Twilio tells what becomes of a message; None: it is asked instead."""
    if settings.webhook_public_url is None:
        return None
    token = settings.whatsapp_webhook_verify_token
    return Callback(f"{settings.webhook_public_url}/twilio/status", token.get_secret_value() if token else None)


def limits_of(settings: Settings) -> Limits:
    return Limits(
        in_flight=settings.sender_in_flight,
        lease=timedelta(seconds=settings.sender_lease_seconds),
        request_timeout=timedelta(seconds=settings.sender_request_timeout_seconds),
    )


def twilio_of(settings: Settings) -> contextlib.AbstractAsyncContextManager[Twilio]:
    if not settings.has_account:
        return contextlib.nullcontext(NoAccount())
    return Twilio.connected(
        settings.twilio_base_url,
        settings.whatsapp_business_account_id,
        settings.whatsapp_api_token.get_secret_value(),
        settings.whatsapp_phone_number_id,
        timeout_s=settings.sender_request_timeout_seconds,
        in_flight=settings.sender_in_flight,
    )
