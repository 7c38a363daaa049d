"""From the tidy record to statistics, tables and figures."""
