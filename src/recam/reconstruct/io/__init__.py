"""Scenes on disk, and depth that other programs wrote."""
