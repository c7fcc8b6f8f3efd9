"""The system's steps: services, topics, consumer groups, databases, clocks, and one listing all the way."""

from collections.abc import Callable

from itarent.check.clocks import clocks
from itarent.check.databases import databases
from itarent.check.kafka import check_lag, check_topics
from itarent.check.probe import travel
from itarent.check.report import Step
from itarent.check.services import services
from itarent.check.where import Where


def steps_of(where: Where, *, to: str | None, fix: bool, told: Callable[[str], None]) -> list[Step]:
    """`to` is a phone of the operator's own; `fix` creates what is missing; `told` hears how the listing gets on."""
    kafka = f"Does Kafka run at {where.kafka}, and may this machine reach it?"
    return [
        Step("services", lambda: services(where), "Start the services."),
        Step("topics", lambda: check_topics(where.kafka, where.topics, fix=fix), kafka),
        Step("consumers", lambda: check_lag(where.kafka, where.topics, where.shards), kafka),
        Step("databases", lambda: databases(where), "Does PostgreSQL run?", within_seconds=60),
        Step("clocks", lambda: clocks(where), kafka, within_seconds=60),
        Step(
            "listing",
            lambda: travel(where, to, told),
            kafka,
            needs=("services", "topics"),
            within_seconds=90,
        ),
    ]
