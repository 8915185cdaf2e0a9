"""What an answer model is shown: pages chosen, drawn and cut to size; `gather.py` first."""
