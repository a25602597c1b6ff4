"""An environment in which the course runs, and the lab opened in it; only Python is needed."""
