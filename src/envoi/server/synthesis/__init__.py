"""Making images out of the teachers' weights and statistics."""
