"""What is said to chat models, as files: `name-version.part.md`, read by `prompt.py`."""
