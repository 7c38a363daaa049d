"""Studies: from a YAML file to finished cells."""
