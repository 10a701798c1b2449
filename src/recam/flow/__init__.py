"""Optical flow: apparent motion between frames, also of videos known only in part."""
