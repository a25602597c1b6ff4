"""What replaces names of torch while a card is simulated; each module installs its own, and `machine.patches` puts them back."""
