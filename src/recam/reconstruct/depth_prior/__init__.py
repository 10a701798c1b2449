"""Depth that is estimated from single pictures, and brought to agree over time."""
