"""What modules offer: names imported at first use (`lazy`), other names of modules (`aliases`),
old names (`renamed`), and how stable each name is (`stability`)."""
