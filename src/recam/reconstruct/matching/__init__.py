"""Points to follow through the video, and where it cuts."""
