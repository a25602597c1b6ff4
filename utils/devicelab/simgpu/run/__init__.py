"""One operator: looked at, refused or run, its result marked, its time counted."""
