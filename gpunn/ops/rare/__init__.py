"""Operations that few programs need, as NumPy has them. Each module is imported when one of its
operations is first used."""
