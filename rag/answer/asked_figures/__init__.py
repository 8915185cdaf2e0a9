"""Figures that a question asks of tables and sentences, looked up or calculated without a model."""
