"""Fixtures that every member's tests share: real servers, fresh topics and databases, a browser."""

collect_ignore = ["test_twilio_whatsapp.py", "test_whatsapp_integration.py"]  # commands of the guide
pytest_plugins = ["testkit.servers", "testkit.browser"]
