"""Values of every kind that custom code may read, and the effect of changing one."""
