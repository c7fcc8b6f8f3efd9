"""The api's OpenAPI description, as it is committed."""
