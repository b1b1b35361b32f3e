"""What keeps a serving index fast, and what is read from it to watch it."""
