"""The course's notebooks and generated pages: how they are read, run, cut and written."""
