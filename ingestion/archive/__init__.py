"""A collection in one file: documents with words and vectors, and the files they came from."""
