"""Prompts of judges, a file a part; a changed file is a new version."""
