"""After a database was restored from a backup: Kafka knows what has happened since, and the tables are told."""
