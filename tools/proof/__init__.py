"""What shows that the course holds: the stages of `test`, every way to run a lesson, answers broken and restyled."""
