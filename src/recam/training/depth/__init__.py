"""Training of the depth network (depth prior)."""
