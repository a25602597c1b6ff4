"""The judges of exercise 11: several processes, several cards."""
