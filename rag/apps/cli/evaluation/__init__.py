"""`octavo eval`: one file a command, and what they share."""
