"""Fixtures that every member's tests share: real servers, fresh topics and databases, a browser."""

pytest_plugins = ["testkit.servers", "testkit.browser"]
