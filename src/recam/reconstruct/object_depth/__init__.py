"""How deep things that move are."""
