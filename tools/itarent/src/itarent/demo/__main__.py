"""`python -m itarent.demo`: renters and listings for a system that runs elsewhere, named by the environment."""

import time

from rich.console import Console

from common.settings import load
from itarent.commands import until_stopped
from itarent.demo.flats import Market
from itarent.demo.stage import Stage, play


def main() -> None:
    console = Console()
    until_stopped(play(load(Stage), console, Market(int(time.time()))), console)


main()
