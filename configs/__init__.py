"""Training configurations that ``osparse train NAME`` takes by name, a reason beside each number; read by the trainer.

The first line of each file says what it is for, and is what ``osparse configs`` shows.
"""
