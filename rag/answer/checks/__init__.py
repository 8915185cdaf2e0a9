"""What of a draft holds on the pages shown; `check.py` first, which makes the answer."""
