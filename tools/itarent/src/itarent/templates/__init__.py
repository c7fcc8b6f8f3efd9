"""`itarent templates`: what WhatsApp has approved of our texts."""
