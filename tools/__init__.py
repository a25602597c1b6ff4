"""What the commands of course.py do: `setup` makes the environment, `notebooks` runs and writes, `proof` shows that it holds."""
