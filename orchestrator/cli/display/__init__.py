"""What people and programs see of it: lines, tables, bars, JSON."""
