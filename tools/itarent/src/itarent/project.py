"""Where the workspace is: around this file, as its members are installed in place. An image has none."""

from pathlib import Path

PROJECT = next(
    (folder for folder in Path(__file__).resolve().parents if (folder / "requirements.lock").exists()), Path.cwd()
)
