"""CPU kernels: compiled inner loops, the worker pool, and the ufuncs made of them."""
