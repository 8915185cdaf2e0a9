"""Answers of a chat model: what it is shown, what it replied, and what is told meanwhile."""
