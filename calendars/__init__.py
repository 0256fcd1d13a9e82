"""Working days: published years from libraries, with what operators loaded on top (A6.4b)."""
