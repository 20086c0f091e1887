"""How gpunn imports its modules: at first use (`lazy`), and under other names (`aliases`)."""
