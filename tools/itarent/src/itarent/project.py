"""Where the workspace is; its members are installed in place, so that this file knows."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[4]
