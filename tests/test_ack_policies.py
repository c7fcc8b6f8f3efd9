"""At least once, everywhere: no subscriber of any service may lose what it could not handle."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faststream import AckPolicy
from faststream.kafka.subscriber.usecase import BatchSubscriber, LogicSubscriber

from common.kafka import make_broker
from common.shards import EVERYBODY
from common.topics import Topics

SERVICES = Path(__file__).parents[1] / "services"
TOPICS = Topics.within("itarent")
FEWEST_SUBSCRIBERS = 9  # api 5, matcher 1, sender 3


def subscribers_of(service: str) -> list[LogicSubscriber[Any]]:
    """The subscribers that a service declares, without what they would work with: none of them is started."""
    subscribe = importlib.import_module(f"{service}.handlers").subscribe
    broker = make_broker("nowhere:9092", service)
    given = {"broker": broker, "topics": TOPICS, "instance_id": "one", "shard": EVERYBODY}
    subscribe(**{name: given.get(name) for name in inspect.signature(subscribe).parameters})
    return [subscriber for subscriber in broker.subscribers if isinstance(subscriber, LogicSubscriber)]


def all_subscribers() -> Iterator[Any]:
    for handlers in sorted(SERVICES.glob("*/src/*/handlers.py")):
        service = handlers.parent.name
        for subscriber in subscribers_of(service):
            yield pytest.param(service, subscriber, id=f"{service} {','.join(subscriber.topic_names)}")


SUBSCRIBERS = list(all_subscribers())


@pytest.mark.parametrize(("service", "subscriber"), SUBSCRIBERS)
def test_a_subscriber_commits_only_what_it_has_handled(service: str, subscriber: LogicSubscriber[Any]) -> None:
    assert subscriber.ack_policy is AckPolicy.NACK_ON_ERROR
    assert subscriber.group_id == TOPICS.group(service)
    assert isinstance(subscriber, BatchSubscriber)
    assert subscriber.batch_timeout_ms <= 20
    connection = subscriber._connection_args
    assert connection["enable_auto_commit"] is False
    assert connection["auto_offset_reset"] == "earliest"


@pytest.mark.parametrize("service", sorted({param.values[0] for param in SUBSCRIBERS}))
def test_every_subscriber_of_a_service_is_another_member_of_its_group(service: str) -> None:
    members = [each._connection_args["group_instance_id"] for each in subscribers_of(service)]
    assert None not in members
    assert len(set(members)) == len(members)


def test_every_subscriber_was_looked_at() -> None:
    """A subscriber that is declared elsewhere, on a router for example, would escape the tests above."""
    declared = [
        node
        for source in SERVICES.glob("*/src/**/*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "subscriber"
    ]
    assert len(SUBSCRIBERS) == len(declared) >= FEWEST_SUBSCRIBERS
