"""What every service shares: the domain's values and rules, the events and topics, and the glue to servers."""
