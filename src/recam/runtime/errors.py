"""The error that a user can fix. In a module of its own, which costs nothing to import."""


class RecamError(Exception):
    """Something that the user can fix; the apps print it as one line, without a traceback."""
