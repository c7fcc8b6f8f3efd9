"""A connection to Kafka that breaks is broken under uvloop, too.

aiokafka takes an OSError for that, and under uvloop a write to a connection that was reset a moment ago is a
RuntimeError: it ended the task that fetches, for good, and the reader waited for ever in a process that seemed well.
"""

from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_SEND: Final = AIOKafkaConnection.send


def _send(connection: AIOKafkaConnection, request: object, expect_response: bool = True) -> Any:  # noqa: ANN401 - theirs
    try:
        return _SEND(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error


def break_as_expected() -> None:
    """From now on, for every connection of this process."""
    AIOKafkaConnection.send = _send
