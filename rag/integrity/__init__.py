"""Whether a data folder is as it was left: an inventory of its files, and of what they hold."""
