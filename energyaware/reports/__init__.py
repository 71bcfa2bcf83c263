"""Records in, text or files out."""
