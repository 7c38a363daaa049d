"""Studies: what every kind of study shares, from a YAML file to records."""
