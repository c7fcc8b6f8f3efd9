"""The families of faults, one line each; `itarent.faults.scene` says how to add one."""

from typing import Final

from itarent.faults.families import frozen, killed
from itarent.faults.scene import Family

FAMILIES: Final[tuple[Family, ...]] = (
    killed.FAMILY,
    frozen.FAMILY,
)
