"""What the state of a link is concluded from: the last sign counts, and a join lasts three days."""

import datetime as dt

import pytest

from api.joins import JOIN_LASTS, Heard, LinkState, state_of

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
EARLIER = NOW - dt.timedelta(hours=1)
RUN_OUT = NOW - JOIN_LASTS


def state(heard: Heard, *, proven: bool = True, claimed: bool = False, sandbox: bool = True) -> LinkState:
    return state_of(heard, NOW, proven=proven, claimed=claimed, sandbox=sandbox)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(), LinkState.CONNECTED),
        (Heard(refused_at=EARLIER), LinkState.NOT_JOINED),
        (Heard(joined_at=EARLIER), LinkState.CONNECTED),
        (Heard(joined_at=RUN_OUT + SECOND), LinkState.CONNECTED),
        (Heard(joined_at=RUN_OUT), LinkState.JOIN_EXPIRED),
        (Heard(wrote_at=RUN_OUT + SECOND), LinkState.CONNECTED),
        (Heard(wrote_at=RUN_OUT), LinkState.JOIN_EXPIRED),
        (Heard(reached_at=RUN_OUT), LinkState.JOIN_EXPIRED),
        # Refused although it was joined an hour ago: it has run out, or the phone has left.
        (Heard(joined_at=EARLIER, refused_at=NOW), LinkState.JOIN_EXPIRED),
        (Heard(reached_at=EARLIER, refused_at=NOW), LinkState.JOIN_EXPIRED),
        # And joined again since.
        (Heard(refused_at=EARLIER, joined_at=NOW), LinkState.CONNECTED),
        (Heard(refused_at=EARLIER, reached_at=NOW), LinkState.CONNECTED),
        # Writing does not prolong a join that was seen; a message that arrives after its end shows another one.
        (Heard(joined_at=RUN_OUT, wrote_at=EARLIER - JOIN_LASTS + SECOND), LinkState.JOIN_EXPIRED),
        (Heard(joined_at=RUN_OUT - SECOND, reached_at=NOW - SECOND), LinkState.CONNECTED),
    ],
)
def test_the_last_sign_counts(heard: Heard, expected: LinkState) -> None:
    assert state(heard) == expected


def test_a_claim_waits_for_its_proof_unless_the_sandbox_refuses_it() -> None:
    assert state(Heard(), proven=False) == LinkState.NONE
    assert state(Heard(), proven=False, claimed=True) == LinkState.PENDING
    assert state(Heard(refused_at=EARLIER), proven=False, claimed=True) == LinkState.NOT_JOINED
    assert state(Heard(), claimed=True) == LinkState.PENDING


def test_outside_the_sandbox_nobody_has_to_join() -> None:
    assert state(Heard(refused_at=EARLIER, joined_at=RUN_OUT), sandbox=False) == LinkState.CONNECTED


def test_the_end_of_a_join_is_counted_from_it_if_it_was_seen_else_from_the_last_sign() -> None:
    assert Heard(joined_at=EARLIER, wrote_at=NOW).ends_at == EARLIER + JOIN_LASTS
    assert Heard(wrote_at=EARLIER, reached_at=NOW).ends_at == NOW + JOIN_LASTS
    assert Heard(refused_at=NOW).ends_at is None
