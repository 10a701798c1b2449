"""What a program needs around its work: compiled kernels, threads, caches, checkpoints."""
