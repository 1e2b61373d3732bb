"""Help with schemas: made from codebooks and public tables, converted, compared, advised on. None of it reads a private record."""
