"""The value, date or name a question asks for, read off a page; `propose.py` first."""
