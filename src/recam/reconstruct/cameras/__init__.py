"""Where the camera was, how it turned, and through which lens."""
