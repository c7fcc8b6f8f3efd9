"""Does it work? Twilio and the system, asked step by step, each fault with its cure."""
