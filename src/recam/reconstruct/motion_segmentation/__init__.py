"""What moves in the world."""
