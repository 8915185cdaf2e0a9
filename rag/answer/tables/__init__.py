"""Tables as their words stand on the page: rows, columns, units, periods."""
