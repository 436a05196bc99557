"""Bytes that others wrote: their headers announce any size, and parsers raise anything on them."""
