"""The families of faults, one line each; `itarent.faults.scene` says how to add one."""

from typing import Final

from itarent.faults.families import (
    callbacks,
    clock,
    crash_points,
    frozen,
    hostile,
    kafka,
    killed,
    malformed,
    network,
    postgres,
    restore,
    twilio,
    upgrade,
)
from itarent.faults.scene import Family

FAMILIES: Final[tuple[Family, ...]] = (
    killed.FAMILY,
    crash_points.FAMILY,
    frozen.FAMILY,
    kafka.BROKER,
    kafka.GROUPS,
    postgres.SERVER,
    postgres.CONNECTIONS,
    postgres.DISK,
    twilio.FAMILY,
    twilio.ACCOUNT,
    callbacks.FAMILY,
    network.FAMILY,
    clock.FAMILY,
    malformed.FAMILY,
    hostile.FAMILY,
    upgrade.FAMILY,
    restore.FAMILY,
)
