"""A service ends when it is told to, and never in silence for another reason."""

import asyncio

import pytest

from common.service import NobodySaidSoError, run


def test_a_service_that_is_cancelled_by_what_it_calls_does_not_end_as_if_it_had_been_told_to() -> None:
    async def lost() -> None:
        raise asyncio.CancelledError

    with pytest.raises(NobodySaidSoError, match="cancelled"):
        run(lost())
