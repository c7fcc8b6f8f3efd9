"""The api beside the system that runs on this machine, as an application for uvicorn."""

import os
import sys
from pathlib import Path

from fastapi import FastAPI

from api.main import create_app
from itarent.environment import API, names_of
from itarent.given import given_in
from itarent.project import PROJECT
from itarent.refusal import Refusal
from itarent.serving import environment_beside
from local_servers.home import home_of


def attached_app() -> FastAPI:
    """The application, with the settings of the system that runs; the process ends with a reason if none does."""
    try:
        environment = environment_beside(home_of(PROJECT), given_in(Path.cwd()))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201 - no log yet
        sys.exit(1)
    names = names_of(API)
    for stray in names & os.environ.keys():
        del os.environ[stray]
    os.environ.update({name: environment[name] for name in names & environment.keys()})
    return create_app()
