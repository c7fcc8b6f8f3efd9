"""The api: everything is wired here. `python -m api`, or `uvicorn --factory api.main:create_app`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api import problems
from api.accounts import Accounts
from api.activity import Activity
from api.bearers import Bearers
from api.browser_sessions import BrowserSessions
from api.consents import Consents
from api.dead_letters import DeadLetters
from api.dependencies import Services
from api.erasure import Erasure
from api.export import Exports
from api.flat_choices import FlatChoices
from api.flow import KafkaFlow
from api.forecasts import Forecasts
from api.handlers import subscribe
from api.housekeeping import keep_house
from api.issuer import Issuer, PublishedKeys
from api.middleware import Bounds, Metrics, SecurityHeaders
from api.openapi import describe
from api.pages.cookies import WriteCookies
from api.pages.problem_pages import page_of
from api.phone_links import PhoneLinks
from api.previews import Previews
from api.rates import PostgresCounters, RateLimits
from api.recent import RecentListings
from api.recipients import Recipients
from api.replies import RenterReplies
from api.routes import activity, auth, forecast, listings, me, messages, pages, saved, subscriptions, watch, whatsapp
from api.security import AccessTokens, Passwords, Pseudonyms
from api.settings import ApiSettings
from api.statistics import Statistics
from api.subscriptions import Subscriptions
from api.watch import Watch
from common.comuni import Comuni
from common.kafka import Publisher, create_topics, make_broker
from common.links import Links
from common.outbox import Outbox, Relay
from common.postgres import migrate, open_pool
from common.service import health_routes, in_background, run, serve
from common.settings import load
from common.telemetry import configure_logging

NAME: Final = "api"


def main() -> None:
    settings = load(ApiSettings)
    configure_logging(NAME, settings.log_level_of(NAME), settings.log_file)
    run(_serve(settings))


async def _serve(settings: ApiSettings) -> None:
    app = application(settings)
    async with running(settings) as app.state.services:
        await serve(app, settings.http_host, settings.http_port, proxies=settings.forwarded_allow_ips)


def create_app() -> FastAPI:
    """The application for a server that runs its lifespan, such as uvicorn with reload."""
    settings = load(ApiSettings)
    configure_logging(NAME, settings.log_level_of(NAME), settings.log_file)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings) as app.state.services:
            yield

    return application(settings, lifespan)


@contextlib.asynccontextmanager
async def running(settings: ApiSettings, passwords: Passwords | None = None) -> AsyncIterator[Services]:
    """Everything that the routes need, with the consumers and the outbox's relay at work."""
    async with connected(settings, passwords) as services:
        broker = make_broker(settings.kafka_bootstrap_servers, NAME)
        subscribe(
            broker,
            publisher=services.publisher,
            topics=settings.topics,
            phones=services.phones,
            activity=services.activity,
            watch=services.watch,
            forecasts=services.forecasts,
            instance_id=settings.kafka_instance_id,
        )
        relay = Relay(settings.database_url, services.publisher)
        house = keep_house(services.pool, services.phones, services.erasure)
        async with broker, in_background(relay.run(), house, services.recent.keep_up()):
            await broker.start()
            yield services


@contextlib.asynccontextmanager
async def connected(settings: ApiSettings, passwords: Passwords | None = None) -> AsyncIterator[Services]:
    """Everything that the routes need, on a database and topics that are as they should be.

    Passwords are hashed as dearly as is recommended unless `passwords` says otherwise.
    """
    topics = settings.topics
    await migrate(settings.database_url, NAME)
    await asyncio.to_thread(Comuni.load)
    await create_topics(settings.kafka_bootstrap_servers, topics)
    async with (
        open_pool(settings.database_url, NAME) as pool,
        Publisher.connected(settings.kafka_bootstrap_servers, NAME) as publisher,
        KafkaFlow.connected(settings.kafka_bootstrap_servers, topics, settings.matcher_shards) as flow,
        RecentListings.following(pool) as recent,
    ):
        outbox = Outbox(NAME)
        recipients = Recipients(pool, outbox, topics.recipients)
        pseudonyms = Pseudonyms(settings.link_signing_key.get_secret_value())
        consents = Consents(pool, pseudonyms)
        accounts = Accounts(pool, recipients, consents, pseudonyms)
        choices, forecasts = FlatChoices(pool), Forecasts(pool)
        tokens = AccessTokens(settings.jwt_secret.get_secret_value())
        yield Services(
            settings=settings,
            pool=pool,
            publisher=publisher,
            accounts=accounts,
            browser_sessions=BrowserSessions(pool, accounts, settings.jwt_secret.get_secret_value()),
            consents=consents,
            recipients=recipients,
            erasure=Erasure(
                pool,
                outbox,
                topics,
                consents,
                pseudonyms=pseudonyms,
                dead_letters=DeadLetters(settings.kafka_bootstrap_servers, topics),
            ),
            exports=Exports(pool, pseudonyms),
            subscriptions=Subscriptions(pool, outbox, topics.subscriptions),
            phones=PhoneLinks(
                pool,
                recipients,
                consents,
                outbox,
                topics.notifications,
                pseudonyms=pseudonyms,
                replies=RenterReplies(choices, settings.interval),
            ),
            choices=choices,
            activity=Activity(pool, settings.zone_rents),
            statistics=Statistics(pool),
            recent=recent,
            previews=Previews(recent, settings.prices, settings.interval),
            watch=Watch(pool, flow, topics, forecasts),
            forecasts=forecasts,
            rates=RateLimits(PostgresCounters(pool)),
            passwords=passwords or Passwords(),
            tokens=tokens,
            bearers=Bearers(accounts, tokens, issuer_of(settings)),
            links=Links(settings.public_url, settings.link_signing_key.get_secret_value()),
        )


def issuer_of(settings: ApiSettings) -> Issuer | None:
    """The external issuer, where there is one."""
    if not (settings.oidc_issuer and settings.oidc_audience and settings.oidc_jwks_url):
        return None
    return Issuer(settings.oidc_issuer, settings.oidc_audience, PublishedKeys(settings.oidc_jwks_url))


def application(settings: ApiSettings, lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """The routes and what is done with every request; `app.state.services` is set before the first one."""
    app = FastAPI(
        title="ITA RENT",
        version="1",
        description=(
            "Searches, phones and listings. Every error is a problem detail (RFC 9457). "
            'Bodies are read strictly: neither "3" nor 3.0 is a whole number.'
        ),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    for routes in (auth, me, subscriptions, whatsapp, listings, activity, messages, saved, forecast, watch, pages):
        app.include_router(routes.router)
    app.router.routes.extend(health_routes())
    app.mount("/static", _StaticFiles(directory=Path(__file__).parent / "static"))
    problems.install(app, page_of)
    app.add_middleware(WriteCookies)
    app.add_middleware(Bounds)
    app.add_middleware(Metrics)
    app.add_middleware(SecurityHeaders, served_over_tls=settings.served_over_tls)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign] # FastAPI's own way to extend it
    return app


class _StaticFiles(StaticFiles):
    """Files that browsers keep and ask about again: they change with the next version."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - as Starlette has them
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
