"""The short version of the fault suite: one run of each family that is quick. The long one is `make faults SEEDS=5`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from itarent.faults.families import FAMILIES
from itarent.faults.run import run
from itarent.faults.scene import Family
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home

QUICK = [family for family in FAMILIES if family.quick]
ENOUGH_LISTINGS, ENOUGH_MESSAGES = 200, 50


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", QUICK, ids=lambda family: family.name)
async def test_what_is_broken_while_listings_flow_breaches_no_law(home: Path, family: Family) -> None:
    [result] = await run(family, [1], home)

    assert not result.breaches, [str(each) for each in result.breaches]
    assert result.strikes, "something was broken"
    assert result.listings >= ENOUGH_LISTINGS, "there was something to lose"
    assert result.messages >= ENOUGH_MESSAGES


def test_families_have_names_of_their_own() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
