"""Questions that compare, add, count or order what a page lists."""
