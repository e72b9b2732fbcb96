"""Labels of a random sample, and thresholds that keep a promised precision with 95 % confidence."""
