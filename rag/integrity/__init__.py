"""What the data folder holds, held against what it should hold: counts, checksums, norms."""
