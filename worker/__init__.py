"""Queue in: the Celery worker."""
