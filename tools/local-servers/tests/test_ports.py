import socket

import pytest

from local_servers.ports import LOOPBACK, NoFreePort, free_port, free_ports


def test_a_preferred_port_that_is_taken_gives_way_to_the_next_free_one() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100


def test_names_never_share_a_port() -> None:
    start = free_port()
    with socket.create_server((LOOPBACK, start)):
        ports = free_ports({"first": start, "second": start + 1, "third": 0, "fourth": 0})
    assert len(set(ports.values())) == 4
    assert ports["first"] not in {start, start + 1}


def test_when_no_port_is_free_the_error_says_where_it_looked() -> None:
    with pytest.raises(NoFreePort, match="between 8000 and 8099"):
        free_port(8000, avoid=range(8000, 8100))
