"""Makes what the services need before they start: roles, schemas and tables in PostgreSQL, topics in Kafka."""
