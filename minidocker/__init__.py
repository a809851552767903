"""minidocker: a small, real container engine, and the course that explains it."""
