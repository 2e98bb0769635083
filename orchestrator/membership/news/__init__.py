"""What is told outside: status events, what needs a person, forecasts as documents. Pure."""
