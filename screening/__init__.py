"""List screening: names as they can be compared, and the comparison of one name with all entries of the lists."""
