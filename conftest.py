"""Fixtures that every member's tests share: real servers, fresh topics and databases, a browser."""

from hypothesis import settings

# In CI it is none anyway: an example may be the one for which something is loaded, on a machine that is busy.
settings.register_profile("without deadline", settings(), deadline=None)
settings.load_profile("without deadline")

collect_ignore = ["test_twilio_whatsapp.py", "test_whatsapp_integration.py"]  # commands of the guide
pytest_plugins = ["testkit.servers", "testkit.browser"]
