"""How people use recam: the command line (and later a web page, a viewer, a cluster runner)."""
