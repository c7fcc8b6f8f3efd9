"""The data sets, read in place, and a short way from a file's text to what becomes of its rows."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.comuni import Comuni
from itarent.listings.draft import Judge
from itarent.listings.files import Format, How, opened, outcomes
from itarent.listings.mapping import Mapping
from itarent.listings.outcomes import Outcome

ReadText = Callable[..., list[Outcome]]


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Path:
    """The folder of the real listings."""
    root = Path(os.environ.get("ITARENT_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"the data sets are not at {root}: set ITARENT_DATA")
    return root / "listings"


@pytest.fixture
def read_text(tmp_path: Path) -> ReadText:
    """What becomes of the rows of a file with the given content."""

    def read(content: str | bytes, form: Format = Format.AUTO, mapping: Mapping | None = None) -> list[Outcome]:
        path = tmp_path / "listings"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with opened(path) as file:
            return list(outcomes(path, file, How(Judge(Comuni.load()), form, mapping)))

    return read
