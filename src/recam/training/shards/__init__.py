"""Training pairs of many films: shots, quality gates, webdataset shards, and their stream."""
