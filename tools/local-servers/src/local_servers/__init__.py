"""Real Apache Kafka and PostgreSQL beside the services, without Docker, root or a system JVM."""
