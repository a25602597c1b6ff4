"""A room of learners on one machine: the JupyterHub of workshop/, what its learners' servers start from, and its load test."""
