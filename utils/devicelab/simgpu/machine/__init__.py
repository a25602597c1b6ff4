"""What a card is: its clock, its memory, its random numbers, and what is replaced of torch while it answers."""
